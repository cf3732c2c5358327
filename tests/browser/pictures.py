"""Retake the workflows' pictures: each loaded into a real ComfyUI and photographed, as a user sees it.

python tests/browser/pictures.py workflows/*.json
"""

import io
import json
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
import conftest  # noqa: E402, F401  (the package under its name)
from PIL import Image  # noqa: E402

ASIDE, ABOVE, MARGIN = 90, 170, 24  # pixels of the page that its own bars take
SCALE = 0.8  # at which the nodes are drawn before the picture is made smaller
WIDEST = 1800  # pixels of a picture
HIDDEN = ".p-toast, .p-dialog-mask, .selection-toolbox, [role=alert], [role=status] { display: none !important; }"
LAID = """async ([workflow, scale, left, top]) => {
  await app.loadGraphData(workflow);
  const boxes = [...app.graph._nodes.map((n) => [n.pos[0], n.pos[1] - 30, n.size[0], n.size[1] + 30]),
    ...app.graph._groups.map((g) => [g.pos[0], g.pos[1], g.size[0], g.size[1]])];
  const x = Math.min(...boxes.map((b) => b[0])), y = Math.min(...boxes.map((b) => b[1]));
  const right = Math.max(...boxes.map((b) => b[0] + b[2])), bottom = Math.max(...boxes.map((b) => b[1] + b[3]));
  app.canvas.ds.scale = scale;
  app.canvas.ds.offset = [left / scale - x, top / scale - y];
  app.canvas.setDirty(true, true);
  return [(right - x) * scale, (bottom - y) * scale];
}"""
OVER = """() => {
  const nodes = app.graph._nodes, found = [];
  const box = (n) => [n.pos[0], n.pos[1] - 30, n.pos[0] + n.size[0], n.pos[1] + n.size[1]];
  nodes.forEach((a, i) => nodes.slice(i + 1).forEach((b) => {
    const [p, q] = [box(a), box(b)];
    if (p[0] < q[2] && q[0] < p[2] && p[1] < q[3] && q[1] < p[3]) found.push(`${a.title} (${a.size}) on ${b.title}`);
  }));
  return found;
}"""


def models_of(files) -> set[str]:
    """The model files that workflows name, below ``models``: those that a page offers, and branches and LoRAs."""
    nodes = [node for file in files for node in json.loads(file.read_text(encoding="utf-8"))["nodes"]]
    offered = [model for node in nodes for model in node.get("properties", {}).get("models", ())]
    widgets = [node["widgets_values"] for node in nodes if isinstance(node.get("widgets_values"), list)]
    named = {
        value for values in widgets for value in values if isinstance(value, str) and value.endswith(".safetensors")
    }
    others = {f"{folder}/{name}" for folder in ("model_patches", "loras") for name in named}
    return {f"{model['directory']}/{model['name']}" for model in offered} | others


def taken(page, workflow: dict) -> Image.Image:
    """A picture of the whole graph."""
    page.set_viewport_size({"width": 1600, "height": 1000})
    for _ in range(2):  # the canvas follows the window
        width, height = page.evaluate(LAID, [workflow, SCALE, ASIDE, ABOVE])
        page.set_viewport_size({"width": int(width) + 2 * ASIDE, "height": int(height) + ABOVE + ASIDE})
        page.wait_for_timeout(1500)
        for _ in range(3):
            page.keyboard.press("Escape")  # what the host asks about missing files
        page.add_style_tag(content=HIDDEN)
    page.wait_for_timeout(2500)
    clip = {"x": ASIDE - MARGIN, "y": ABOVE - MARGIN, "width": width + 2 * MARGIN, "height": height + 2 * MARGIN}
    return Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")


def main(files: list[str]) -> int:
    import importlib.util

    import comfyui
    from playwright.sync_api import sync_playwright

    spec = importlib.util.spec_from_file_location("browser_conftest", Path(__file__).with_name("conftest.py"))
    there = importlib.util.module_from_spec(spec)
    sys.modules["browser_conftest"] = there
    spec.loader.exec_module(there)
    place = there.places()[-1]
    place = there.Place(place.checkout, place.frontend, nodes2=False)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        for name in map(Path(folder, "models").joinpath, sorted(models_of(map(Path, files)))):
            name.parent.mkdir(parents=True, exist_ok=True)
            name.touch()  # so that nodes find what their workflow names
        server = there.start(place, Path(folder))
        browser = driver.chromium.launch(executable_path=there.chromium(), args=there.FLAGS)
        try:
            with there.visited(server, browser) as page:
                for file in map(Path, files):
                    picture = taken(page, json.loads(file.read_text(encoding="utf-8")))
                    if picture.width > WIDEST:
                        picture = picture.resize(
                            (WIDEST, round(picture.height * WIDEST / picture.width)), Image.LANCZOS
                        )
                    picture.save(file.with_suffix(".jpg"), quality=85)
                    print(file.with_suffix(".jpg"), picture.size, *page.evaluate(OVER), sep="\n  ")
        finally:
            browser.close()
            comfyui.end(server)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
