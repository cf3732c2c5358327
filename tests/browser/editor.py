"""What the browser tests do on a page: load a workflow, run a part of it, open the editor, ask what it shows."""

import json
from pathlib import Path

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
