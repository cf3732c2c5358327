// What is chosen, in numbers; below it the whole path, and the scale assistant.

import { closeLoop, openLoop, returnToStart } from "../core/closing.mjs";
import { deleteKeys, freeSlopes, setHold, setKeys, setRoll, setTension } from "../core/edit.mjs";
import { lockFirstPose, scaleFromStart, suggestScale } from "../core/fit.mjs";
import { edited, mapKeys } from "../core/keys.mjs";
import { changed } from "../core/path.js";
import { allKeys } from "../core/move.mjs";
import { fromAxis, multiply, normalised, rollOf, rotated } from "../core/quaternion.js";
import { constantSpeed } from "../core/retime.mjs";
import { moveInTime, segmentSeconds, setNumFrames, setSegmentSeconds, validNumFrames } from "../core/timing.mjs";
import { EASINGS } from "../core/spline.js";
import { t } from "../view/texts.js";
import { button, choice, el, number, tick } from "./fields.mjs";

const DEGREES = 180 / Math.PI;
const WHILE_DRAGGING = 120; // milliseconds

/** {yaw, pitch, roll} in degrees of a rotation. */
export function anglesOf(rotation) {
  const q = normalised(rotation);
  const [x, y, z] = rotated(q, [0, 0, 1]);
  return { yaw: Math.atan2(x, z) * DEGREES, pitch: Math.atan2(-y, Math.hypot(x, z)) * DEGREES, roll: rollOf(q) };
}

export function rotationOf({ yaw, pitch, roll }) {
  const level = multiply(fromAxis([0, 1, 0], yaw), fromAxis([1, 0, 0], pitch));
  return multiply(level, fromAxis([0, 0, 1], roll));
}

export function inspector(session) {
  const refreshers = [];
  const add = (part) => {
    refreshers.push(part.refresh);
    return part.element;
  };
  const indices = () => [...session.chosen].sort((a, b) => a - b);
  const first = () => session.path.keyframes[indices()[0]];
  const single = () => session.chosen.size === 1;
  const field = (name, options) => add(number(session, t(`field.${name}`), options));
  const ofKey = (name, step, read, write, more = {}) =>
    field(name, { step, read: () => (first() ? read(first()) : null), write, ...more });

  const axis = (name, n) => ofKey(name, 0.01, (key) => key.position[n], (value, path) => {
    const shift = value - path.keyframes[indices()[0]].position[n];
    return mapKeys(path, indices(), (key) =>
      edited(key, { position: key.position.map((x, m) => (m === n ? x + shift : x)) }));
  });
  const angle = (name) => ofKey(name, 1, (key) => anglesOf(key.rotation)[name], (value, path) =>
    name === "roll"
      ? setRoll(path, indices(), value)
      : mapKeys(path, indices(), (key) =>
        edited(key, { rotation: rotationOf({ ...anglesOf(key.rotation), [name]: value }) })),
  name === "pitch" ? { min: -89.9, max: 89.9, digits: 2 } : { min: -720, max: 720, digits: 2 });
  const easing = choice(Object.keys(EASINGS).map((name) => [name, t(`easing.${name}`)]),
    (value) => session.step((path) => setKeys(path, indices(), { easing: value })), { id: "spm-easing" });

  const title = el("h3");
  const keyPart = el("div", {},
    el("div", { className: "fields" },
      field("frame", {
        step: 1, min: 0, max: 4095, read: () => (single() ? first().frame : null),
        write: (value, path) => moveInTime(path, indices(), value - path.keyframes[indices()[0]].frame),
      }),
      field("seconds", {
        step: 0.1, min: 0.02, max: 200,
        read: () => (single() && indices()[0] < session.path.keyframes.length - 1
          ? segmentSeconds(session.path, indices()[0]) : null),
        write: (value, path) => setSegmentSeconds(path, indices()[0], value),
      }),
      axis("x", 0), angle("yaw"), axis("y", 1), angle("pitch"), axis("z", 2), angle("roll"),
      ofKey("fov", 0.5, (key) => key.verticalFov, (value, path) => setKeys(path, indices(), { verticalFov: value }),
        { min: 1, max: 170, digits: 2 }),
      ofKey("hold", 1, (key) => key.hold, (value, path) => setHold(path, indices(), value), { min: 0, max: 2000 })),
    el("div", { className: "field wide" }, el("label", { textContent: t("field.easing"), for: "spm-easing" }), easing),
    el("div", { className: "row" },
      button(t("key.free"), () => session.step((path) => freeSlopes(path, indices())), { title: t("key.free_hint") }),
      button(t("key.level"), () => session.step((path) => setRoll(path, indices(), 0)), { title: t("key.level_hint") }),
      button(t("key.delete"), () => session.step((path) => deleteKeys(path, indices())), { className: "delete" })));
  const none = el("p", { className: "faint", textContent: t("key.none") });

  const facts = el("p", { className: "faint" });
  const loop = add(tick(t("path.loop"), () => session.path.loop,
    (on) => session.step((path) => (on ? closeLoop(path) : openLoop(path)))));
  const pathPart = el("section", {}, el("h3", { textContent: t("path.title") }), facts,
    el("div", { className: "fields" },
      field("frames", {
        step: 4, min: 5, max: 4093, read: () => session.path.numFrames,
        write: (value, path) => setNumFrames(path, validNumFrames(value)),
      }),
      field("fps", {
        step: 1, min: 1, max: 240, read: () => session.path.fps, write: (value, path) => changed(path, { fps: value }),
      }),
      field("tension", {
        step: 0.05, min: 0, max: 1, read: () => session.path.tension, write: (value, path) => setTension(path, value),
      }),
      falloff()),
    loop,
    el("div", { className: "row" },
      button(t("path.return"), () => session.step((path) => returnToStart(path, path.numFrames - 1)),
        { className: "return" }),
      button(t("path.constant"), () => session.step(constantSpeed), { className: "constant" }),
      button(t("path.all"), () => session.choose(allKeys(session.path)))));

  /** The falloff is a setting of the tools, no part of the path. */
  function falloff() {
    const id = "spm-falloff";
    const input = el("input", { type: "number", id, min: 0, step: 4, value: 0 });
    input.addEventListener("change", () => (session.falloff = Math.max(input.valueAsNumber || 0, 0)));
    return el("div", { className: "field" }, el("label", { textContent: t("field.falloff"), for: id }), input);
  }

  let [scaleBase, scale] = [null, 1]; // the path that the scale is relative to
  const units = el("p", { className: "faint" });
  const median = () => (session.path.units === "scene" ? 1 : session.scene?.header.scene_unit ?? 1);
  const scaled = (factor) => (path) => scaleFromStart(scaleBase ?? path, factor);
  const slider = el("input", { type: "range", min: -2, max: 2, step: 0.02, value: 0, "aria-label": t("field.scale") });
  const shownScale = el("output", { textContent: "1" });
  slider.addEventListener("input", () => {
    if (!session.dragging) {
      session.begin();
      scaleBase = session.before;
      session.set({ ghost: { poses: [], path: scaleBase } }, "tool");
    }
    scale = 10 ** slider.valueAsNumber;
    shownScale.textContent = scale.toPrecision(3);
    session.show(scaled(scale));
  });
  slider.addEventListener("change", () => {
    session.commit();
    session.set({ ghost: null }, "tool");
    [scaleBase, slider.value, shownScale.textContent] = [null, 0, "1"];
  });
  const scalePart = el("details", {}, el("summary", { textContent: t("scale.title") }), units,
    el("div", { className: "row" },
      button(t("scale.lock"), () => session.step((path) => lockFirstPose(path, [0, 0, 0], [1, 0, 0, 0]))),
      button(t("scale.suggest"), () => session.step((path) => scaleFromStart(path, suggestScale(path, median()))))),
    el("div", { className: "field wide" }, slider, shownScale));

  function refresh() {
    const count = session.chosen.size;
    title.textContent = count === 1
      ? t("key.title", { index: indices()[0] }) : count ? t("key.several", { count }) : t("key.title", { index: "–" });
    keyPart.hidden = !count;
    none.hidden = count > 0;
    if (count) easing.value = first().easing;
    const { numFrames, fps } = session.path;
    facts.textContent = t("path.length", { frames: numFrames, seconds: (numFrames - 1) / fps });
    units.textContent = session.path.units === "scene"
      ? t("scale.units", { unit: session.scene?.header.scene_unit ?? "?" }) : t("scale.world");
    for (const one of refreshers) one();
  }
  let later = 0;
  session.on("path", () => { // numbers need not follow a drag at every frame
    if (!session.dragging) return refresh();
    later ||= setTimeout(() => {
      later = 0;
      refresh();
    }, WHILE_DRAGGING);
  });
  for (const event of ["saved", "chosen", "scene"]) session.on(event, refresh);
  refresh();
  return el("div", {}, el("section", {}, title, none, keyPart), pathPart, scalePart);
}
