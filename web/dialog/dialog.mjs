// The full-screen editor: its parts, how they stand together, and its end.

import { preset } from "../core/presets.mjs";
import { t } from "../view/texts.js";
import { button, el, says, tick } from "./fields.mjs";
import { findings } from "./findings.mjs";
import { importer } from "./importer.mjs";
import { inspector } from "./inspector.mjs";
import { insert, listenToKeys, stamp } from "./keyboard.mjs";
import { preview } from "./preview.mjs";
import { serverOf } from "./server.mjs";
import { newSession } from "./session.mjs";
import { openStage } from "./stage.mjs";
import { STYLE } from "./style.mjs";
import { timeline } from "./timeline.mjs";
import { toolbar } from "./toolbar.mjs";

const FIRST_POINTS = 200_000;
const SHORTCUTS = [
  "stamp", "insert", "drag", "gizmo", "select", "nudge", "look", "pan", "through", "play", "step", "ends", "loop",
  "delete", "undo", "escape",
];
let opened = null;

/** The path to begin with where the node has none that can be read. */
export const firstPath = (frames) => preset("out_and_back", frames);

/** host {path, save(path), api, told, setScene(told), onScene(listener), closed()}: see editor.js. */
export function openEditor(host) {
  if (opened) return opened;
  const drawing = import("./points.mjs"); // three.js is on its way while the rest is built
  const session = newSession(host.path, host.save);
  const server = serverOf(host.api);
  const codes = new Set(); // keys that are held to fly
  const root = el("div", { className: "spm-editor", tabIndex: -1 });
  const covered = el("style", {
    textContent: "body > :not(dialog) { visibility: hidden !important } .spm-dialog::backdrop { display: none }",
  });
  const dialog = el("dialog", { className: "spm-dialog", "aria-label": t("title") }, covered, root); // all behind rests
  dialog.style.cssText = "position:fixed;inset:0;width:100vw;height:100vh;max-width:none;max-height:none;" +
    "margin:0;padding:0;border:0;overflow:hidden;background:none";
  const shadow = root.attachShadow({ mode: "open" });
  // The host asks the focused element whether keys are being typed; while the dialog has the focus, they are ours.
  Object.defineProperty(root, "isContentEditable", { value: true });
  root.type = "textarea";

  const deep = el("canvas", { className: "deep" });
  const canvas = el("canvas", { className: "lines", tabIndex: 0, "aria-label": t("stage.label"), role: "application" });
  const status = el("div", { className: "status", role: "status" });
  const facts = el("div", { className: "facts" });
  const ticks = Object.keys(session.shown).filter((name) => name !== "mask").map((name) =>
    tick(t(`show.${name}`), () => session.shown[name], (on) => {
      session.shown[name] = on;
      session.tell("view");
    }).element);
  const place = el("div", { className: "stage" }, deep, canvas, facts, status,
    el("div", { className: "corner" }, ...ticks), el("div", { className: "divider" }));
  let said = 0;
  session.said = (text) => {
    status.textContent = text;
    clearTimeout(said);
    if (text && !stage.samples && session.mode === null) said = setTimeout(() => (status.textContent = ""), 6000);
  };
  const stage = openStage(deep, canvas, session);
  const files = importer(session, server, place, { said: session.said, setScene: host.setScene });
  const actions = {
    codes, close, help, escape, play,
    said: session.said,
    through: () => stage.seeThrough(!session.through),
    mode(name) {
      const mode = session.mode === name ? null : name;
      codes.clear();
      session.set({ mode }, "tool");
      session.said(mode === "fly" ? t("said.flying") : mode === "draw" ? t("said.draw") : "");
      canvas.focus();
    },
    record: () => bar.record(),
  };
  const bar = toolbar(session, stage, server, files, actions);
  const seen = preview(session, server);
  const frame = el("span", { className: "frame-now" });
  const playing = button("▶", play, { title: t("preview.play"), "aria-label": t("preview.play") });
  const transport = el("div", { className: "transport" }, frame,
    button("|◀", () => session.seek(0), { "aria-label": "Home" }), playing,
    button("▶|", () => session.seek(session.path.numFrames - 1), { "aria-label": "End" }),
    button("◆+", () => stamp(session, stage), { title: t("key.stamp"), "aria-label": t("key.stamp") }),
    button("◇+", () => insert(session), { title: t("key.insert"), "aria-label": t("key.insert") }));
  const side = el("aside", {}, seen.element, inspector(session), findings(session));
  const all = el("div", { className: "frame" }, bar.element, place, side,
    el("footer", {}, transport, timeline(session)));
  shadow.append(el("style", { textContent: STYLE }), all);

  function counted() {
    says(frame, `${Math.round(session.playhead)} / ${session.path.numFrames - 1}`);
  }
  for (const event of ["playhead", "path"]) session.on(event, counted);
  session.on("tool", () => {
    if (session.axis) session.said(t("said.axis", { axis: session.axis.toUpperCase() }));
  });
  counted();

  dialog.addEventListener("cancel", (event) => event.preventDefault());
  for (const kind of ["pointerdown", "mousedown", "wheel", "contextmenu", "dblclick", "copy", "paste", "cut"]) {
    dialog.addEventListener(kind, (event) => event.stopPropagation());
  }
  listenToKeys(dialog, session, stage, actions);
  dropped();
  divided(place.querySelector(".divider"), side);

  document.body.append(dialog);
  dialog.showModal();
  canvas.focus();
  host.onScene(setScene);
  setScene(host.told);
  const ready = drawing.then(({ openPoints }) => {
    if (opened !== editor) return;
    const lost = () => opened === editor && session.said(t("said.lost"));
    const restored = () => {
      session.said("");
      session.tell("view");
    };
    stage.attach(openPoints(deep, { lost, restored, arrived: () => session.tell("view") }));
  }).catch((error) => session.said(error.message));

  async function setScene(told) {
    session.told = told;
    if (!told) return session.set({ scene: null, holes: null }, "scene");
    try {
      const scene = await server.scene(told.scene, FIRST_POINTS);
      if (session.told !== told) return;
      session.set({ scene, holes: null }, "scene");
      shownPoints(scene, told);
      if (told.points <= scene.count) return;
      const whole = await server.scene(told.scene);
      if (session.told !== told || opened !== editor) return;
      session.set({ scene: whole }, "scene");
      shownPoints(whole, told);
    } catch (error) {
      session.said(error.message);
    }
  }

  function shownPoints(scene, told) {
    const points = scene.count.toLocaleString() + (scene.count < told.points ? "…" : "");
    facts.textContent = t("said.points", { points });
  }

  function play() {
    if (session.playing) return session.set({ playing: false }, "tool");
    const from = session.playhead >= session.path.numFrames - 1 ? 0 : session.playhead;
    const begun = performance.now();
    session.set({ playing: true }, "tool");
    const ticking = (now) => {
      if (!session.playing || opened !== editor) return;
      const frames = from + ((now - begun) / 1000) * session.path.fps;
      const end = session.path.numFrames - 1;
      if (frames >= end && !session.path.loop) {
        session.seek(end);
        return session.set({ playing: false }, "tool");
      }
      session.seek(session.path.loop ? frames % end : frames);
      requestAnimationFrame(ticking);
    };
    requestAnimationFrame(ticking);
  }

  let helping = null;
  function help() {
    if (helping) {
      helping.remove();
      helping = null;
      return canvas.focus();
    }
    const rows = SHORTCUTS.flatMap((name) => [
      el("dt", { textContent: t(`shortcut.${name}.keys`) }), el("dd", { textContent: t(`shortcut.${name}`) })]);
    helping = el("div", { className: "panel shortcuts", role: "dialog", "aria-label": t("help") },
      el("h3", { textContent: t("help") }), el("dl", {}, ...rows),
      el("div", { className: "row" }, button(t("close"), help)));
    place.append(helping);
    helping.querySelector("button").focus();
  }

  /** One thing at a time: the gesture, a panel, the tool, the selection, the dialog. */
  function escape(field) {
    if (stage.cancel() || session.dragging) return session.cancel();
    if (field) return canvas.focus();
    if (helping) return help();
    if (files.close()) return undefined;
    if (stage.samples) return bar.record();
    if (session.mode) return actions.mode(session.mode);
    if (session.axis) return session.set({ axis: null }, "tool");
    if (session.through) return stage.seeThrough(false);
    if (session.chosen.size) return session.choose([]);
    return close();
  }

  function dropped() {
    dialog.addEventListener("dragover", (event) => {
      event.preventDefault();
      event.stopPropagation();
      all.classList.add("drop");
    });
    dialog.addEventListener("dragleave", () => all.classList.remove("drop"));
    dialog.addEventListener("drop", (event) => {
      event.preventDefault();
      event.stopPropagation();
      all.classList.remove("drop");
      if (event.dataTransfer.files[0]) files.open(event.dataTransfer.files[0]);
    });
  }

  function close() {
    session.cancel();
    session.playing = false;
    opened = null;
    clearTimeout(said);
    seen.close();
    stage.close();
    dialog.close();
    dialog.remove();
    host.closed();
  }

  const editor = { session, stage, dialog, ready, close };
  opened = dialog.editor = editor;
  return editor;
}

/** Drag the edge between the view and the panels. */
function divided(divider, side) {
  divider.addEventListener("pointerdown", (event) => divider.setPointerCapture(event.pointerId));
  divider.addEventListener("pointermove", (event) => {
    if (!divider.hasPointerCapture(event.pointerId)) return;
    const width = Math.min(Math.max(innerWidth - event.clientX, 220), innerWidth / 2);
    side.style.setProperty("--side", `${width}px`);
  });
}
