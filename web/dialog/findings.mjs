// What is doubtful about the path, and what to change.

import { diagnose, pointGrid } from "../core/diagnostics.mjs";
import { drawnPoints } from "../view/scene.js";
import { t } from "../view/texts.js";
import { button, el } from "./fields.mjs";

const MOST_POINTS = 40_000;
const QUIET = 160; // milliseconds

export function findings(session) {
  const list = el("ul", { className: "findings", "aria-live": "polite" });
  let [timer, facts] = [0, {}];

  session.on("scene", () => {
    facts = session.scene ? factsOf(session.scene) : {};
    later();
  });

  function factsOf(scene) {
    const { header } = scene;
    const clearance = 0.04 * header.scene_unit;
    const { points } = drawnPoints(scene, MOST_POINTS, 1);
    const { unsure = 0, middle } = header.confidence ?? {};
    const depth = middle && {
      median: middle, relativeError: 0.02 + 0.1 * unsure, height: header.film.height, sceneUnit: header.scene_unit,
    };
    return { grid: pointGrid(points, clearance), clearance, sceneUnit: header.scene_unit, ...(depth && { depth }) };
  }

  function later() {
    clearTimeout(timer);
    timer = setTimeout(refresh, QUIET);
  }

  function refresh() {
    const found = diagnose(session.path, { ...facts, ...(session.holes && { chunks: session.holes.chunks }) });
    list.replaceChildren(...found.map(({ key, severity, frames: [first, last], values }) =>
      el("li", { className: severity }, button(
        t(key, { first, last, ...values }), () => session.seek(values.frame ?? first)))));
    if (!found.length) list.append(el("li", { className: "faint", textContent: t("findings.none") }));
  }

  for (const event of ["path", "holes"]) session.on(event, later);
  later();
  return el("section", {}, el("h3", { textContent: t("findings.title") }), list);
}
