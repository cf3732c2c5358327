// What the model will see at the playhead, as the server reads it from the memory, and how much of it is unknown.

import { toCompact } from "../core/path_text.js";
import { chunksOf } from "../view/scene.js";
import { t } from "../view/texts.js";
import { el, says, tick } from "./fields.mjs";

const SIZE = 384;
const BREATH = 150; // milliseconds between two answers while something is dragged: the server may be this machine
const QUIET = 500; // milliseconds after an edit until the holes of all frames are asked for

export function preview(session, server) {
  const canvas = el("canvas", { className: "preview", role: "img" });
  const label = el("p", { className: "faint", role: "status" });
  const mask = tick(t("show.mask"), () => session.shown.mask, (on) => {
    session.shown.mask = on;
    paint();
  });
  let [busy, again, seen, gone, timer, round, closed] = [false, false, null, false, 0, 0, false];

  async function ask() {
    const memory = session.told?.memory;
    if (!memory || gone) return said(t(gone ? "preview.gone" : "preview.none"));
    if (busy) return (again = true);
    busy = true;
    try {
      const frame = Math.round(session.playhead);
      seen = await server.preview(memory, toCompact(session.path), frame, SIZE);
      if (!closed) paint();
    } catch (error) {
      gone ||= error.gone;
      said(error.gone ? t("preview.gone") : error.message);
    }
    if (session.dragging) await new Promise((done) => setTimeout(done, BREATH));
    busy = false;
    if (again && !closed) {
      again = false;
      ask();
    }
  }

  function said(text) {
    says(label, text);
    canvas.hidden = !seen;
  }

  function paint() {
    if (!seen) return;
    const { head, rgb, known } = seen;
    canvas.hidden = false;
    [canvas.width, canvas.height] = [head.width, head.height];
    const pixels = new ImageData(head.width, head.height);
    for (let i = 0; i < known.length; i++) {
      const stripe = ((i % head.width) + Math.floor(i / head.width)) % 4 < 2 ? 1 : 0.55;
      const hole = session.shown.mask ? 1 - known[i] / 255 : 0;
      const over = [225 * stripe, 60 * stripe, 150 * stripe];
      for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = rgb[3 * i + c] * (1 - hole) + over[c] * hole;
      pixels.data[4 * i + 3] = 255;
    }
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    const { stage, frame, hole, exact, milliseconds } = head;
    const text = t("preview.label", { stage, frame, hole: Math.round(10 * hole) / 10 });
    says(label, exact ? text : `${text}, ${t("preview.inexact")}`);
    label.title = `${head.kind}, ${head.height} x ${head.width}, ${Math.round(milliseconds)} ms`;
    canvas.setAttribute("aria-label", text);
  }

  /** The holes of the whole film, a piece at a time; another edit begins anew. */
  async function askHoles() {
    const mine = ++round;
    const memory = session.told?.memory;
    if (!memory || gone) return;
    const [frames, hole, sums] = [[], [], []];
    const path = toCompact(session.path);
    const chunks = chunksOf(session.path.numFrames, session.scene?.header);
    const every = Math.max(4, 4 * Math.ceil(session.path.numFrames / 320));
    try {
      for (let after = -1; after !== null; ) {
        const found = await server.holes({ memory, path, every, after, budget: 200, chunks });
        if (mine !== round || closed) return;
        frames.push(...found.frames);
        hole.push(...found.hole);
        found.chunks.forEach((chunk, i) => {
          sums[i] ??= { frames: [chunk.start, chunk.stop - 1], count: 0, sum: 0 };
          sums[i].count += chunk.frames;
          sums[i].sum += chunk.frames ? chunk.frames * chunk.hole : 0;
        });
        after = found.next;
        const shares = sums.map((chunk) =>
          ({ frames: chunk.frames, hole: chunk.count ? chunk.sum / chunk.count / 100 : 0 }));
        session.set({ holes: { frames, hole, chunks: shares } }, "holes");
      }
    } catch (error) {
      gone ||= error.gone;
    }
  }

  function later() {
    clearTimeout(timer);
    timer = setTimeout(askHoles, QUIET);
  }
  for (const event of ["path", "playhead"]) session.on(event, ask);
  session.on("saved", later);
  session.on("scene", () => {
    gone = false;
    seen = null;
    ask();
    later();
  });
  said(t("preview.none"));
  const element = el("section", { className: "seen" }, el("h3", { textContent: t("preview.title") }), canvas, label,
    mask.element);
  return {
    element,
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}
