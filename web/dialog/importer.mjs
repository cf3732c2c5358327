// Files that are dropped: camera files are shown as frusta on the memory before they become the path; photographs
// become points.

import { inUnits } from "../core/fit.mjs";
import { minus, times } from "../core/keys.mjs";
import { openText, parsePath, toCompact } from "../core/path_text.js";
import { conjugate, multiply, rotated } from "../core/quaternion.js";
import { bake } from "../core/spline.js";
import { t } from "../view/texts.js";
import { unitOf } from "../view/scene.js";
import { button, el, tick } from "./fields.mjs";

const MAX_OWN = 8_000_000; // bytes

/** The poses seen from the first of them, in units of `unit`. */
export function fromFirst(poses, unit) {
  const home = conjugate(poses[0].slice(3, 7));
  return poses.map((pose) => {
    const place = times(rotated(home, minus(pose, poses[0])), 1 / unit);
    return [...place, ...multiply(home, pose.slice(3, 7)), pose[7]];
  });
}

/** What the server would say of a file that holds a path of this pack, which is taken as it is; else null. */
async function ownPath(file, { invert, flip, scale }) {
  if (invert || flip || scale !== 1 || file.size > MAX_OWN || !/\.(json|txt)$/i.test(file.name)) return null;
  const { path } = openText(await file.text());
  if (!path) return null;
  const baked = bake(path);
  const poses = Array.from({ length: path.numFrames }, (_, i) => Array.from(baked.subarray(8 * i, 8 * i + 8)));
  const recipe = JSON.parse(toCompact(path));
  return { count: path.numFrames, format: "spatial-memory-path", assumed: [], poses, path: recipe };
}

/** {open(file)}; the panel is put into `place`. said(text) tells the user. */
export function importer(session, server, place, { said, setScene }) {
  let panel = null;

  async function open(file) {
    if (/^image\//.test(file.type)) return photograph(file);
    await cameras(file);
  }

  async function photograph(file) {
    said(t("busy.image", { name: file.name }));
    try {
      setScene(await server.image(file, session.path.keyframes[0].verticalFov));
      said("");
    } catch (error) {
      said(error.message);
    }
  }

  async function cameras(file) {
    close();
    const corrections = { invert: 0, flip: 0, scale: 1, fps: session.path.fps };
    let [found, path, round] = [null, null, 0];
    const facts = el("p", {});
    const assumed = el("ul", {});
    const scale = el("input", { type: "number", min: 0.000001, step: 0.1, value: 1, id: "spm-import-scale" });
    const correct = (fields) => {
      Object.assign(corrections, fields);
      read();
    };
    scale.addEventListener("change", () => correct({ scale: scale.valueAsNumber > 0 ? scale.valueAsNumber : 1 }));
    const [invert, flip] = ["invert", "flip"].map((name) =>
      tick(t(`import.${name}`), () => !!corrections[name], (on) => correct({ [name]: Number(on) })).element);
    const accept = button(t("import.accept"), () => {
      const header = session.scene?.header;
      session.step(() => (header ? inUnits(path, "scene", header.scene_unit) : path));
      session.choose([]);
      close();
    }, { className: "accept primary", disabled: true });
    const title = t("import.title", { name: file.name });
    panel = el("div", { className: "panel import", role: "dialog", "aria-label": title },
      el("h3", { textContent: title }), facts,
      el("strong", { textContent: t("import.assumed") }), assumed,
      el("div", { className: "row" }, invert, flip,
        el("label", { textContent: t("field.scale"), for: "spm-import-scale" }), scale),
      el("div", { className: "row" }, accept, button(t("cancel"), close, { className: "cancel" })));
    const mine = panel;
    place.append(panel);
    said(t("busy.file", { name: file.name }));
    await read();

    async function read() {
      const now = ++round;
      try {
        const answer = (await ownPath(file, corrections)) ?? (await server.cameras(file, corrections));
        if (now !== round || panel !== mine) return;
        found = answer;
        path = found.path && parsePath(JSON.stringify(found.path));
        said(path ? "" : t("import.single"));
        facts.textContent = t("import.found", { count: found.count, format: found.format });
        assumed.replaceChildren(...found.assumed.map((text) => el("li", { textContent: text })));
        const unit = unitOf(session.path, session.scene?.header);
        const shown = path && inUnits(path, session.path.units, session.scene?.header.scene_unit ?? 1);
        session.set({ ghost: { poses: fromFirst(found.poses, unit), path: shown } }, "tool");
        accept.disabled = !path;
        accept.focus();
      } catch (error) {
        if (panel !== mine) return;
        said(error.message);
        if (!found) close();
      }
    }
  }

  /** Whether a panel was open. */
  function close() {
    if (!panel) return false;
    panel.remove();
    panel = null;
    place.querySelector("canvas.lines").focus();
    session.set({ ghost: null }, "tool");
    return true;
  }

  return { open, close };
}
