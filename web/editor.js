// The camera path editor in ComfyUI: the widget of Camera Path, and what the host tells about its memory. Only this
// file knows the host's page; the dialog is loaded when it is opened.

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { openText, toCompact } from "./core/path_text.js";
import { importFresh } from "./fresh.js";
import { readScene } from "./view/scene.js";
import { loadTexts, t } from "./view/texts.js";
import { nodeView } from "./view/node_view.js";

const [NODE, WIDGET] = ["SpatialMemory_CameraPath", "SPATIAL_MEMORY_PATH_EDITOR"];
const LOOK_EVERY = 400; // milliseconds: whether another widget or a link has changed what the preset is
const editors = new Set(); // of the nodes on the page

app.registerExtension({
  name: "SpatialMemory.CameraPathEditor",
  async init() {
    await loadTexts((route) => api.fetchApi(route), app.extensionManager?.setting?.get("Comfy.Locale") ?? "en");
    api.addEventListener("executed", ({ detail }) => {
      const [told] = detail?.output?.spatial_scene ?? [];
      if (told) heardOf(told, String(detail.display_node ?? detail.node));
    });
    api.addEventListener("execution_success", () => [...editors].forEach(askAgain));
  },
  beforeRegisterNodeDef(nodeType, nodeData) {
    const keyframes = nodeData.name === NODE && nodeData.input?.optional?.keyframes;
    if (keyframes) keyframes[1].widgetType = WIDGET;
  },
  getCustomWidgets() {
    return {
      [WIDGET]: (node, name, data) => ({ widget: pathWidget(node, name, data), minWidth: 340, minHeight: 360 }),
    };
  },
  getNodeMenuItems(node) {
    const editor = [...editors].find((one) => one.node === node);
    return editor ? [{ content: t("node.open"), callback: editor.open }] : [];
  },
});

/** The newest memory goes to the node that ran, or to all where another one shows it. */
function heardOf(told, id) {
  const own = [...editors].filter(({ node }) => id === String(node.id) || id.endsWith(`:${node.id}`));
  for (const editor of own.length ? own : editors) editor.setScene(told);
}

/** A run in which nothing of the node was new has not told its memory: ask for the one that it showed last. */
async function askAgain({ node, setScene }) {
  if (node.properties.spatial_scene) return;
  const reply = await api.fetchApi(`/spatial_memory/node/${node.id}`);
  if (reply.ok && !node.properties.spatial_scene) setScene((await reply.json()).spatial_scene);
}

function pathWidget(node, name, data) {
  const view = nodeView({ open: () => editor.open(), typed: (text) => write(text) });
  let value = data?.[1]?.default ?? "";
  let [scene, sceneKey, shown, signature] = [null, null, null, ""];
  let answer = { question: null, path: null, problem: null }; // what the server says the widgets mean
  const editor = { node, open, setScene };
  const dialog = () => importFresh(new URL("./dialog/dialog.mjs", import.meta.url));
  view.element.querySelector(".spm-open").addEventListener("pointerenter", dialog, { once: true });

  const widget = node.addDOMWidget(name, "spatial_memory_path", view.element, {
    getValue: () => value,
    setValue: (given) => {
      value = typeof given === "string" ? given : JSON.stringify(given ?? "");
      signature = "";
      look();
    },
    getMinHeight: () => 260,
    hideOnZoom: false,
  });

  /** What the node's path is: {path, problem}; an empty text is the preset. */
  function current() {
    const linked = node.inputs?.find((input) => input.name === name)?.link != null;
    if (linked) return { path: null, problem: { code: "linked" } };
    const opened = openText(value);
    const preset = opened.problem?.code === "empty" ? valueOf(node, "preset") : null;
    if (preset === null && (!opened.path || opened.path.loop || valueOf(node, "loop") !== true)) return opened;
    if (answer.question !== question()) return { path: null, problem: { code: "loading" } };
    return answer.path && preset ? { path: answer.path, problem: { code: "preset", preset } } : answer;
  }

  function question() {
    const names = ["preset", "num_frames", "amount", "fps", "loop"];
    const facts = Object.fromEntries(names.map((one) => [one, valueOf(node, one)]));
    const fov = valueOf(node, "vertical_fov", scene?.header.home.vertical_fov);
    return JSON.stringify({ ...facts, vertical_fov: fov, keyframes: value });
  }

  /** Ask the server for the path that a preset makes, or that keys make when they are closed. */
  async function ask() {
    const asked = question();
    if (answer.question === asked) return;
    const reply = await api.fetchApi("/spatial_memory/path", { method: "POST", body: asked }).catch((error) => error);
    const said = reply instanceof Error ? { error: reply.message } : await reply.json();
    const problem = said.error ? { code: "invalid", message: said.error } : null;
    answer = { question: asked, path: problem ? null : openText(said.path).path, problem };
    signature = "";
    look();
  }

  /** Show what is there now, if it is not what was shown. */
  function look() {
    const now = JSON.stringify([question(), node.inputs?.map((input) => input.link), sceneKey, scene && 1]);
    if (now === signature) return;
    signature = now;
    const { path, problem } = current();
    if (problem?.code === "loading") ask();
    shown = path ?? shown;
    const wrong = ["invalid", "newer"].includes(problem?.code);
    const keys = { keys: path?.keyframes.length, frames: path?.numFrames };
    const said = problem ? t(`node.${problem.code}`, { ...problem, ...keys }) : t("node.keys", keys);
    view.show({ path: path ?? shown, scene, said, wrong, text: value });
  }

  function write(text) {
    value = text;
    node.graph?.change?.();
    widget.callback?.(value);
    app.canvas?.setDirty(true, true);
    look();
    const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker;
    tracker?.captureCanvasState ? tracker.captureCanvasState() : tracker?.checkState?.();
  }

  /** A gesture of the dialog has ended: its keys are the value, and the widgets beside it say the same. Where all was
   * undone, everything is as it was when the dialog opened. */
  function saving(start) {
    const [text, ...facts] = [value, ...["num_frames", "fps", "loop"].map((one) => valueOf(node, one))];
    return (path) => {
      const [frames, fps, loop] = path === start ? facts : [path.numFrames, path.fps, path.loop];
      for (const [one, fact] of Object.entries({ num_frames: frames, fps, loop })) setValue(node, one, fact);
      write(path === start ? text : toCompact(path));
    };
  }

  async function open() {
    if (current().problem?.code === "loading") await ask();
    const { path, problem } = current();
    if (problem?.code === "newer" || problem?.code === "linked") return look();
    const { openEditor, firstPath } = await dialog();
    const start = path ?? firstPath(valueOf(node, "num_frames"));
    openEditor({
      path: start, save: saving(start), api, told: node.properties.spatial_scene ?? null, setScene,
      onScene: (listener) => (editor.listener = listener),
      closed: () => {
        editor.listener = null;
        view.element.querySelector(".spm-open").focus();
        look();
      },
    });
  }

  /** A memory to show: kept with the workflow, so that it is there again after a reload. */
  function setScene(told) {
    node.properties.spatial_scene = told;
    editor.listener?.(told);
    fetchScene();
  }

  async function fetchScene() {
    const key = node.properties?.spatial_scene?.scene ?? null;
    if (key === sceneKey) return;
    sceneKey = key;
    scene = null;
    if (!key) return look();
    const reply = await api.fetchApi(`/spatial_memory/scene/${key}?points=4000`);
    if (reply.ok && key === sceneKey) scene = readScene(await reply.arrayBuffer());
    look();
  }

  const clock = setInterval(() => {
    if (!view.element.isConnected) return;
    look();
    fetchScene();
  }, LOOK_EVERY);
  const removed = node.onRemoved;
  node.onRemoved = function (...given) {
    clearInterval(clock);
    editors.delete(editor);
    return removed?.apply(this, given);
  };
  editors.add(editor);
  queueMicrotask(look);
  return widget;
}

/** The value of a node's widget, or of the one of the same name where a link leads, else `otherwise`. */
function valueOf(node, name, otherwise) {
  const own = node.widgets?.find((widget) => widget.name === name)?.value;
  const link = node.inputs?.find((input) => input.name === name)?.link;
  if (link == null) return own;
  const links = node.graph?.links;
  const { origin_id: origin } = links?.get?.(link) ?? links?.[link] ?? {};
  const far = node.graph?.getNodeById(origin)?.widgets?.find((widget) => widget.name === name);
  return typeof far?.value === "number" ? far.value : otherwise ?? own;
}

function setValue(node, name, value) {
  const widget = node.widgets?.find((one) => one.name === name);
  const linked = node.inputs?.find((input) => input.name === name)?.link != null;
  if (!widget || linked || widget.value === value) return;
  widget.value = value;
  widget.callback?.(value);
}
