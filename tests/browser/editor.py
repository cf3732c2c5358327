"""What the browser tests do on a page: load a workflow, run a part of it, open the editor, ask what it shows."""

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image
from spatial_memory.memory.path import CameraPath

ROOT = Path(__file__).parents[2]
NODE = 7  # Camera Path in closed_loop.json
START_IMAGE = """(id) => {
  const node = app.graph.getNodeById(id), photo = app.graph.getNodeById(2);
  photo.connect(0, node, node.inputs.findIndex((input) => input.name === "start_image"));
}"""
RUN = """async (id) => {
  const {output, workflow} = await app.graphToPrompt();
  const kept = {};
  const keep = (name) => {
    if (kept[name]) return;
    kept[name] = output[name];
    for (const value of Object.values(output[name].inputs)) if (Array.isArray(value)) keep(value[0]);
  };
  keep(String(id));
  kept.shown = {class_type: "PreviewImage", inputs: {images: [String(id), 1]}};
  await (app.api ?? window.comfyAPI.api.api).queuePrompt(0, {output: kept, workflow});
}"""
BEGIN = """([id, text, facts, told]) => {
  document.querySelector(".spm-dialog")?.editor.close();
  const node = app.graph.getNodeById(id);
  const widget = (name) => node.widgets.find((one) => one.name === name);
  for (const [name, value] of Object.entries(facts)) widget(name).value = value;
  widget("keyframes").value = text;
  node.properties.spatial_scene = told ?? undefined;
}"""
MODULES = """const [{ project }, { handlesOf }, { centreOf }, { gizmoAt }] = await Promise.all(
  ["core/frusta.js", "core/handles.mjs", "core/move.mjs", "dialog/gizmo.mjs"].map((file) =>
    import(`/extensions/ComfyUI-SpatialMemory/${file}`)));"""
EDITOR = "document.querySelector('.spm-dialog').editor"


def visit(page, server) -> None:
    """Load the page and wait until the host is ready."""
    page.goto(server.url)
    page.wait_for_function("window.app?.extensionManager && window.app.graph && window.app.canvas", timeout=120_000)


def load(page, text: str | None = None) -> None:
    """closed_loop.json with the photograph as start image, the node in the middle of the screen."""
    workflow = json.loads((ROOT / "workflows/closed_loop.json").read_text(encoding="utf-8"))
    if text is not None:
        node = next(node for node in workflow["nodes"] if node["id"] == NODE)
        node["widgets_values"][-1] = text
    page.evaluate("async (workflow) => { await app.loadGraphData(workflow); }", workflow)
    page.evaluate(START_IMAGE, NODE)
    look_at_node(page)


def look_at_node(page) -> None:
    """Bring the node to the middle of the screen; the host may move the graph once more after it has loaded."""
    button, top = page.locator(".spm-open").first, 120.0
    for _ in range(12):
        page.evaluate(
            """([id, top]) => {
              const node = app.graph.getNodeById(id);
              app.canvas.ds.scale = 1;
              app.canvas.ds.offset = [-node.pos[0] + 500, -node.pos[1] + top];
              app.canvas.setDirty(true, true);
            }""",
            [NODE, top],
        )
        page.wait_for_timeout(800)
        box = button.bounding_box() if button.count() else None
        if box and 200 < box["x"] < 1000 and 200 < box["y"] < 800:
            return
        top -= box["y"] - 600 if box else 0
    raise AssertionError(f"the node does not stay on the screen: {box}")


def make_memory(page) -> dict:
    """Run the workflow up to the path, from the page, and wait for the memory to arrive in the node."""
    page.evaluate(RUN, NODE)
    told = f"() => app.graph.getNodeById({NODE}).properties.spatial_scene"
    return page.wait_for_function(told, timeout=240_000).json_value()


def text_of(page) -> str:
    """What the node's widget holds."""
    return page.evaluate(
        f"() => app.graph.getNodeById({NODE}).widgets.find((widget) => widget.name === 'keyframes').value"
    )


def prompt_of(page) -> dict:
    """The node's inputs in the prompt that the host would queue."""
    return page.evaluate(f"async () => (await app.graphToPrompt()).output['{NODE}'].inputs")


def open_editor(page) -> None:
    page.locator(".spm-open").first.click()
    page.locator(".spm-dialog canvas.lines").wait_for()
    page.evaluate(f"() => {EDITOR}.ready")
    page.wait_for_timeout(500)


def begin(page, path: CameraPath, told: dict | None = None) -> None:
    """A fresh dialog over this path and the scene that a node was told of; what a test before left is thrown away."""
    page.mouse.up()
    page.said.clear()
    facts = {"num_frames": path.num_frames, "fps": path.fps, "loop": path.loop}
    page.evaluate(BEGIN, [NODE, path.to_compact(), facts, told])
    open_editor(page)
    if told:
        page.wait_for_function(f"() => {EDITOR}.session.scene?.count === {told['points']}")


def held(page) -> CameraPath | None:
    """The path in the widget; it is the prompt's, the saved workflow's, and what the editor shows."""
    text = text_of(page)
    assert prompt_of(page)["keyframes"] == text
    if page.locator(".spm-dialog").count() and text:
        assert json.loads(shown(page)) == json.loads(text)
    return CameraPath.from_json(text) if text else None


def complaints(page) -> list[str]:
    """Errors that come from our files."""
    return [said for said in page.said if "SpatialMemory" in said and ("rror" in said)]


def pixels(page) -> np.ndarray:
    """The view as it is on the screen, (H, W, 3) of 0 to 255."""
    shot = page.screenshot(clip=page.locator("canvas.lines").bounding_box())
    with Image.open(io.BytesIO(shot)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def field(page, name: str):
    """A number of the panels, by its whole name."""
    return page.locator(".spm-dialog aside").get_by_label(name, exact=True)


def type_into(page, name: str, value) -> None:
    field(page, name).fill(str(value))
    field(page, name).press("Enter")


def shown(page) -> str:
    """The path that the editor shows, as the text that it would write."""
    return page.evaluate(
        f"""async () => {{
          const {{ toCompact }} = await import("/extensions/ComfyUI-SpatialMemory/core/path_text.js");
          return toCompact({EDITOR}.session.path);
        }}"""
    )


def key_on_screen(page, index: int) -> tuple[float, float]:
    """Where a key's dot is, in pixels of the page."""
    x, y, depth = page.evaluate(
        f"""async (index) => {{
          const {{ project }} = await import("/extensions/ComfyUI-SpatialMemory/core/frusta.js");
          const {{ session, stage }} = {EDITOR};
          return project(stage.view(), session.path.keyframes[index].position);
        }}""",
        index,
    )
    assert depth > 0
    box = page.locator("canvas.lines").bounding_box()
    return box["x"] + x, box["y"] + y


def frame_on_screen(page, frame: float) -> tuple[float, float]:
    """Where the path is at a frame, in pixels of the page."""
    x, y, _ = page.evaluate(
        f"""async (frame) => {{
          const [{{ project }}, {{ poseAt }}] = await Promise.all(["frusta", "spline"].map((file) =>
            import(`/extensions/ComfyUI-SpatialMemory/core/${{file}}.js`)));
          const {{ session, stage }} = {EDITOR};
          return project(stage.view(), poseAt(session.path, frame));
        }}""",
        frame,
    )
    box = page.locator("canvas.lines").bounding_box()
    return box["x"] + x, box["y"] + y


def handle_on_screen(page, index: int, side: str) -> tuple[float, float]:
    """Where an end ("into" or "out") of a key's tangent is, in pixels of the page."""
    x, y, _ = page.evaluate(
        f"""async ([index, side]) => {{
          {MODULES}
          const {{ session, stage }} = {EDITOR};
          return project(stage.view(), handlesOf(session.path, index)[side]);
        }}""",
        [index, side],
    )
    box = page.locator("canvas.lines").bounding_box()
    return box["x"] + x, box["y"] + y


def gizmo_on_screen(page, part: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """The gizmo's centre, and a pixel at which a part of it is gripped and nothing else, in pixels of the page."""
    cx, cy, x, y = page.evaluate(
        f"""async (part) => {{
          {MODULES}
          const {{ session, stage }} = {EDITOR};
          const [view, chosen] = [stage.view(), [...session.chosen]];
          const centre = centreOf(session.path, chosen);
          const [cx, cy] = project(view, centre);
          const ends = chosen.length > 1 ? [] : Object.values(handlesOf(session.path, chosen[0])).filter(Boolean);
          const others = ends.map((point) => project(view, point));
          const is = (x, y) => gizmoAt(view, centre, session.tool, x, y) === part;
          for (let r = 90; r > 25; r -= 2) {{
            for (let angle = 0; angle < 6.28; angle += 0.05) {{
              const [x, y] = [cx + r * Math.cos(angle), cy + r * Math.sin(angle)];
              const sure = [[0, 0], [3, 0], [-3, 0], [0, 3], [0, -3]].every(([dx, dy]) => is(x + dx, y + dy));
              if (sure && others.every(([a, b]) => Math.hypot(a - x, b - y) > 14)) return [cx, cy, x, y];
            }}
          }}
          throw new Error(`the gizmo has no free ${{part}}`);
        }}""",
        part,
    )
    box = page.locator("canvas.lines").bounding_box()
    return (box["x"] + cx, box["y"] + cy), (box["x"] + x, box["y"] + y)


def drag(page, start: tuple[float, float], by: tuple[float, float], steps: int = 6) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] + by[0], start[1] + by[1], steps=steps)
    page.mouse.up()


def session(page, expression: str):
    """An expression of the editor's session, ``s``."""
    return page.evaluate(f"() => {{ const s = {EDITOR}.session; return {expression}; }}")


def drop(page, file: Path) -> None:
    """Drop a file onto the editor."""
    page.evaluate(
        """([name, text]) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([text], name));
          const canvas = document.querySelector(".spm-dialog .spm-editor").shadowRoot.querySelector("canvas.lines");
          for (const kind of ["dragover", "drop"]) {
            canvas.dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true, composed: true,
              cancelable: true }));
          }
        }""",
        [file.name, file.read_text()],
    )
