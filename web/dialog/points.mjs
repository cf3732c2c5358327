// The memory's points, its pictures and a grid in WebGL2. three.js is loaded with this file.

import * as THREE from "../lib/three.module.mjs";
import { frustumCorners } from "../core/frusta.js";
import { multiply } from "../core/quaternion.js";
import { poseOf } from "../view/scene.js";

const MOST_PICTURES = 48;
const PICTURE_DEPTH = 0.12; // of a unit of the path
const START_DEPTH = 0.3;

const VERTEX = `
attribute vec4 place; attribute vec4 look;
uniform vec3 low, stepping; uniform float unit, size; uniform vec2 marks;
varying vec3 colour;
bool has(float flags, float bit) { return mod(floor(flags / bit), 2.0) > 0.5; }
void main() {
  float flags = floor(look.a * 255.0 + 0.5);
  bool contradicted = has(flags, 1.0) && marks.x > 0.5;
  bool edited = has(flags, 4.0) && marks.y > 0.5;
  gl_Position = projectionMatrix * modelViewMatrix * vec4((low + place.xyz * stepping) / unit, 1.0);
  gl_PointSize = clamp(size / gl_Position.w, 1.6, 26.0);
  colour = contradicted ? vec3(1.0, 0.45, 0.1) : edited ? vec3(0.2, 0.95, 0.4) : look.rgb;
  if (has(flags, 8.0) || (has(flags, 2.0) && !contradicted)) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
}`;
const FRAGMENT = "varying vec3 colour; void main() { gl_FragColor = vec4(colour, 1.0); }";

let renderer = null; // one for the page; released when the dialog closes

/** The drawing of a scene on a canvas. told {lost(), restored(), arrived()}: a picture is there. */
export function openPoints(canvas, told) {
  THREE.ColorManagement.enabled = false;
  renderer = new THREE.WebGLRenderer({ canvas, antialias: false, alpha: false, powerPreference: "high-performance" });
  renderer.setClearColor(getComputedStyle(canvas.parentElement).backgroundColor); // the theme's
  renderer.outputColorSpace = THREE.LinearSRGBColorSpace;
  canvas.addEventListener("webglcontextlost", (event) => {
    event.preventDefault();
    told.lost();
  });
  canvas.addEventListener("webglcontextrestored", () => told.restored());
  const [world, camera] = [new THREE.Scene(), new THREE.PerspectiveCamera(50, 1, 0.01, 1000)];
  let [points, pictures, unit, spacing] = [null, new THREE.Group(), 1, 0.01];
  const grid = new THREE.GridHelper(10, 20, 0x888888, 0x888888);
  grid.material.transparent = true;
  grid.material.opacity = 0.22;
  grid.position.y = 0.6;
  world.add(grid, pictures);

  function setScene(scene, unitNow) {
    clear();
    unit = unitNow;
    grid.position.y = 0.6;
    if (!scene) return;
    const { header, place, look, count } = scene;
    const geometry = new THREE.BufferGeometry();
    geometry.setAttribute("place", new THREE.BufferAttribute(place, 4));
    geometry.setAttribute("look", new THREE.BufferAttribute(look, 4, true));
    geometry.setAttribute("position", geometry.getAttribute("place")); // three counts points by it
    const material = new THREE.ShaderMaterial({
      vertexShader: VERTEX, fragmentShader: FRAGMENT,
      uniforms: {
        low: { value: new THREE.Vector3(...header.box.low) },
        stepping: { value: new THREE.Vector3(...header.box.step) },
        unit: { value: unit }, size: { value: 1 }, marks: { value: new THREE.Vector2() },
      },
    });
    points = new THREE.Points(geometry, material);
    points.frustumCulled = false;
    spacing = header.spacing * Math.sqrt(Math.max(header.total / Math.max(count, 1), 1));
    grid.position.y = groundOf(scene) / unit;
    world.add(points);
    addPictures(scene);
  }

  async function addPictures({ header, pictures: bytes }) {
    const known = header.frusta.filter((frustum) => frustum.picture);
    const every = Math.max(1, Math.ceil(known.length / MOST_PICTURES));
    const into = pictures;
    for (const [n, frustum] of known.entries()) {
      if (n % every) continue;
      const [offset, size] = frustum.picture;
      const bitmap = await createImageBitmap(new Blob([bytes.slice(offset, offset + size)], { type: "image/jpeg" }));
      if (into !== pictures || !renderer) return bitmap.close();
      into.add(pictureOf(bitmap, frustum, n ? PICTURE_DEPTH : START_DEPTH));
      told.arrived();
    }
  }

  function pictureOf(bitmap, frustum, depth) {
    const texture = new THREE.Texture(bitmap);
    texture.flipY = false;
    texture.generateMipmaps = false;
    texture.minFilter = THREE.LinearFilter;
    texture.needsUpdate = true;
    const corners = frustumCorners(poseOf(frustum, unit), frustum.aspect, depth).slice(3);
    const geometry = new THREE.BufferGeometry();
    geometry.setAttribute("position", new THREE.Float32BufferAttribute(corners, 3));
    geometry.setAttribute("uv", new THREE.Float32BufferAttribute([0, 0, 1, 0, 1, 1, 0, 1], 2));
    geometry.setIndex([0, 1, 2, 0, 2, 3]);
    const look = { map: texture, side: THREE.DoubleSide, transparent: true, opacity: 0.85 };
    return new THREE.Mesh(geometry, new THREE.MeshBasicMaterial(look));
  }

  function clear() {
    if (points) {
      world.remove(points);
      points.geometry.dispose();
      points.material.dispose();
      points = null;
    }
    for (const mesh of pictures.children) {
      mesh.material.map.image.close();
      for (const part of [mesh.geometry, mesh.material.map, mesh.material]) part.dispose();
    }
    world.remove(pictures);
    pictures = new THREE.Group();
    world.add(pictures);
  }

  /** Draw the first `most` points from a pose on a canvas of so many CSS pixels. */
  function draw(pose, width, height, { shown, through }, most) {
    const ratio = Math.min(globalThis.devicePixelRatio || 1, 1.5);
    renderer.setPixelRatio(ratio);
    const size = renderer.getSize(new THREE.Vector2());
    if (size.x !== width || size.y !== height) renderer.setSize(width, height, false);
    camera.fov = pose[7];
    camera.aspect = width / height;
    camera.updateProjectionMatrix();
    camera.position.set(pose[0], pose[1], pose[2]);
    const [w, x, y, z] = multiply(pose.slice(3, 7), [0, 1, 0, 0]); // three looks along -Z with +Y up
    camera.quaternion.set(x, y, z, w);
    pictures.visible = shown.pictures && !through;
    if (points) {
      const { uniforms } = points.material;
      const focal = (height * ratio) / 2 / Math.tan((pose[7] * Math.PI) / 360);
      const thin = Math.sqrt(Math.max(points.geometry.getAttribute("place").count / most, 1));
      uniforms.size.value = (1.25 * thin * spacing * focal) / unit;
      uniforms.marks.value.set(Number(shown.contradicted), Number(shown.edited));
      points.geometry.setDrawRange(0, most);
    }
    renderer.render(world, camera);
  }

  function close() {
    clear();
    grid.geometry.dispose();
    grid.material.dispose();
    renderer.dispose();
    renderer.forceContextLoss();
    renderer = null;
  }

  return { setScene, draw, close, loseContext: () => renderer.forceContextLoss() };
}

/** How far down the ground is, in world units: below nearly all points. */
function groundOf({ header, place, count }) {
  const heights = [];
  const every = Math.max(1, Math.floor(count / 4000));
  for (let i = 0; i < count; i += every) heights.push(header.box.low[1] + place[4 * i + 1] * header.box.step[1]);
  return heights.sort((a, b) => a - b)[Math.floor(0.97 * (heights.length - 1))] ?? 0.6;
}
