// The upper edge: tools, presets, record, import and export.

import { toCompact, toJson } from "../core/path_text.js";
import { PRESETS, preset } from "../core/presets.mjs";
import { pathFromSamples } from "../core/record.mjs";
import { t } from "../view/texts.js";
import { button, choice, el, toggle } from "./fields.mjs";

const FORMATS = [
  "json", "spatia", "realestate10k", "colmap", "colmap_binary", "transforms", "nerfstudio", "ngp", "inria", "tum",
  "kitti", "lyra", "gltf", "glb", "chan", "wanvideo", "wan", "recammaster", "matrices",
];
const ICONS = {
  move: "M8 1v14M1 8h14M8 1l-2 2M8 1l2 2M8 15l-2-2M8 15l2-2M1 8l2-2M1 8l2 2M15 8l-2-2M15 8l-2 2",
  rotate: "M13 8a5 5 0 1 1-2-4M11 1v3.5h-3.5", scale: "M2 9v5h5M14 7V2H9M2 14L14 2",
  marquee: "M2 2h3M7 2h3M12 2h2v3M14 7v3M14 12v2h-2M10 14H7M5 14H2v-2M2 10V7M2 5V2",
  draw: "M2 14l2-5 7-7 3 3-7 7zM9 4l3 3", fly: "M1 8l14-6-5 13-3-5z",
  snap: "M3 2v6a5 5 0 0 0 10 0V2h-3v6a2 2 0 0 1-4 0V2zM3 5h3M10 5h3",
  through: "M1 8c4-6 10-6 14 0c-4 6-10 6-14 0zM8 6a2 2 0 1 0 .1 0",
  overview: "M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4",
  undo: "M6 3L2 7l4 4M2 7h7a4 4 0 0 1 0 8H7", redo: "M10 3l4 4-4 4M14 7H7a4 4 0 0 0 0 8h2",
};

function icon(name) {
  const box = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  box.setAttribute("viewBox", "0 0 16 16");
  box.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", ICONS[name]);
  box.append(line);
  return box;
}

/** actions {close, help, through, fly, mode(name), overview, record, said}. Returns {element, record()}. */
export function toolbar(session, stage, server, importer, actions) {
  const refreshers = [];
  const pictured = (name, text, read, click) => {
    const made = toggle("", read, click, { title: text, className: `tool ${name}`, "aria-label": text });
    made.element.append(icon(name));
    refreshers.push(made.refresh);
    return made.element;
  };
  const plain = (name, text, click) => {
    const made = button("", click, { title: text, className: `tool ${name}`, "aria-label": text });
    made.append(icon(name));
    return made;
  };
  const tool = (name) => pictured(name, t(`tool.${name}`), () => session.tool === name,
    () => session.set({ tool: name, axis: null }, "tool"));
  const mode = (name) => pictured(name, t(`tool.${name}`), () => session.mode === name, () => actions.mode(name));
  const undo = plain("undo", t("undo"), session.undo);
  const redo = plain("redo", t("redo"), session.redo);

  const amount = el("input", { type: "number", step: 0.05, "aria-label": t("menu.amount"), className: "amount" });
  const unit = el("span", { className: "faint" });
  const names = choice(Object.keys(PRESETS).map((name) => [name, t(`preset.${name}`)]), picked,
    { "aria-label": t("menu.preset"), className: "presets" });
  function picked() {
    const { amount: usual, unit: measure } = PRESETS[names.value];
    amount.value = usual;
    amount.disabled = measure === "none";
    unit.textContent = t(`menu.unit.${measure}`);
  }
  names.value = "out_and_back";
  picked();
  const apply = button(t("menu.apply"), () => {
    const { numFrames, fps, keyframes } = session.path;
    session.step(() => preset(names.value, numFrames, amount.valueAsNumber, fps, keyframes[0].verticalFov));
    session.choose([]);
    stage.overview();
  }, { className: "apply" });

  const record = toggle(t("tool.record"), () => stage.samples, recording, { className: "record" });
  function recording() {
    if (!stage.samples) return begin();
    const { list } = stage.samples;
    stage.samples = null;
    actions.mode(null);
    record.element.textContent = t("tool.record");
    record.refresh();
    const { fps, units } = session.path;
    const samples = [];
    for (const { at, pose } of list) {
      const frame = (at / 1000) * fps;
      if (samples.length && frame - samples.at(-1).frame < 0.5) continue;
      samples.push({
        frame: samples.length ? frame : 0, position: pose.slice(0, 3), rotation: pose.slice(3, 7), verticalFov: pose[7],
      });
    }
    if (samples.length < 2 || samples.at(-1).frame < 4) return actions.said("");
    const tolerance = { distance: 0.01, degrees: 1 };
    session.step(() => pathFromSamples(samples, tolerance, { fps, units, name: "recorded" }));
    session.choose([]);
    actions.said("");
  }
  function begin() {
    const [first] = session.path.keyframes;
    stage.setEye({ pose: [...first.position, ...first.rotation, first.verticalFov], distance: 1 });
    stage.samples = { begun: performance.now(), list: [{ at: 0, pose: [...stage.eye.pose] }] };
    actions.mode("fly");
    stage.fly(actions.codes);
    record.element.textContent = t("tool.stop");
    record.refresh();
    actions.said(t("said.recording"));
  }

  const pick = el("input", { type: "file", hidden: true });
  pick.addEventListener("change", () => {
    if (pick.files[0]) importer.open(pick.files[0]);
    pick.value = "";
  });
  const format = choice(FORMATS.map((name) => [name, name]), () => {}, { "aria-label": t("menu.export") });
  async function write() {
    if (format.value === "json") {
      return download(new Blob([toJson(session.path)], { type: "application/json" }), `${session.path.name}.json`);
    }
    const header = session.scene?.header;
    const film = header ? { height: header.film.height, width: header.film.width, scene_unit: header.scene_unit } : {};
    try {
      const asked = { path: toCompact(session.path), format: format.value, ...film };
      const { blob, name, dropped } = await server.export(asked);
      download(blob, name);
      actions.said(dropped.length ? t("said.exported", { dropped: dropped.join("; ") }) : t("said.exported_all"));
    } catch (error) {
      actions.said(error.message);
    }
  }

  function download(blob, name) {
    const link = el("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  const group = (...children) => el("div", { className: "group" }, ...children);
  const element = el("header", {},
    el("h2", { textContent: t("title") }),
    group(undo, redo),
    group(tool("move"), tool("rotate"), tool("scale"),
      pictured("snap", t("tool.snap"), () => session.snap, () => session.set({ snap: !session.snap }, "tool"))),
    group(mode("marquee"), mode("draw"), mode("fly")),
    group(pictured("through", t("tool.through"), () => session.through, actions.through),
      plain("overview", t("tool.overview"), () => {
        stage.seeThrough(false);
        stage.overview();
      })),
    group(names, amount, unit, apply),
    group(record.element),
    group(button(t("menu.import"), () => pick.click(), { className: "pick" }), pick, format,
      button(t("menu.export"), write, { className: "export" })),
    el("span", { className: "space" }),
    group(button("?", actions.help, { title: t("help"), "aria-label": t("help"), className: "help" }),
      button(t("close"), actions.close, { className: "close" })));

  function refresh() {
    for (const one of refreshers) one();
    [undo.disabled, redo.disabled] = [!session.canUndo, !session.canRedo];
  }
  for (const event of ["tool", "saved"]) session.on(event, refresh);
  refresh();
  return { element, record: recording };
}
