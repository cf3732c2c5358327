"""The camera path editor on real pages: what is done by mouse and keyboard is what the prompt holds."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from spatial_memory.memory.path import CameraPath
from spatial_memory.models.world import MINI_FOLDER

sys.path.insert(0, str(Path(__file__).parent))
import editor as ed  # noqa: E402

IMAGES = ed.ROOT / "docs/images"

pytestmark = [
    pytest.mark.host,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not (MINI_FOLDER / "world.safetensors").is_file(), reason="the mini world has no weights here"),
]


def picture(page, server, name):
    """A screenshot for the docs, where ``SPATIAL_MEMORY_REFRESH=1`` asks for it and the host is the newest one."""
    if os.environ.get("SPATIAL_MEMORY_REFRESH") and server.place.nodes2:
        page.screenshot(path=IMAGES / f"editor_{name}.jpg", type="jpeg", quality=82)
        if name in ("key", "import"):  # the help page shows them
            shutil.copy(IMAGES / f"editor_{name}.jpg", ed.ROOT / "web/docs")


@pytest.mark.story
def test_a_path_is_made_by_mouse_and_keyboard_and_found_after_a_reload(page, server):
    ed.load(page)
    told = ed.make_memory(page)
    page.wait_for_timeout(1500)
    ed.look_at_node(page)
    picture(page, server, "node")
    ed.open_editor(page)
    page.wait_for_function(f"() => {ed.EDITOR}.session.scene?.count === {told['points']}")
    page.wait_for_timeout(800)
    assert ed.held(page) is None, "opening changes nothing"
    preset = CameraPath.from_json(ed.shown(page))
    picture(page, server, "opened")

    ed.drag(page, ed.key_on_screen(page, 2), (40, -50))
    dragged = ed.held(page)
    assert dragged.num_frames == preset.num_frames and len(dragged.keyframes) == len(preset.keyframes)
    moved = [i for i, (a, b) in enumerate(zip(preset.keyframes, dragged.keyframes)) if a.position != b.position]
    assert moved == [2]

    page.mouse.dblclick(*ed.frame_on_screen(page, 10))
    inserted = ed.held(page)
    assert len(inserted.keyframes) == len(dragged.keyframes) + 1
    assert abs(inserted.keyframes[1].frame - 10) < 2.5
    page.wait_for_timeout(700)
    picture(page, server, "key")

    page.keyboard.press("Delete")
    assert len(ed.held(page).keyframes) == len(dragged.keyframes)
    page.keyboard.press("Control+a")
    page.keyboard.press("Shift+ArrowRight")
    lifted = ed.held(page)
    assert lifted.keyframes[0].position[0] == pytest.approx(0.01, abs=2e-6)
    page.keyboard.press("Control+z")
    page.keyboard.press("l")
    assert not ed.held(page).loop
    page.keyboard.press("l")
    closed = ed.held(page)
    assert closed.loop and ed.prompt_of(page)["loop"]
    page.keyboard.press("Escape")
    page.keyboard.press("End")
    page.keyboard.press("c")
    assert ed.session(page, "s.through")
    page.wait_for_timeout(900)
    picture(page, server, "through")
    page.keyboard.press("c")
    page.keyboard.press("Home")
    for _ in range(20):
        page.keyboard.press("Period")
    page.keyboard.press("k")
    stamped = ed.held(page)
    assert [key.frame for key in stamped.keyframes if key.frame == 20] == [20]
    page.keyboard.press("Control+z")
    assert ed.held(page) == closed

    node = page.evaluate_handle(f"() => app.graph.getNodeById({ed.NODE})")
    while ed.session(page, "s.canUndo"):
        page.keyboard.press("Control+z")
    assert ed.text_of(page) == "", "all undone is the preset again"
    assert ed.prompt_of(page)["num_frames"] == 153 and ed.prompt_of(page)["loop"] is False
    while ed.session(page, "s.canRedo"):
        page.keyboard.press("Control+Shift+z")
    assert page.evaluate("([a, id]) => a === app.graph.getNodeById(id)", [node, ed.NODE]), "the host did not undo"
    last = ed.held(page)
    page.keyboard.press("Escape")
    while page.locator(".spm-dialog").count():
        page.keyboard.press("Escape")
    assert ed.held(page) == last

    saved = page.evaluate("() => JSON.parse(JSON.stringify(app.graph.serialize()))")
    page.reload()
    page.wait_for_function("window.app?.extensionManager && window.app.graph && window.app.canvas", timeout=120_000)
    page.evaluate("async (saved) => { await app.loadGraphData(saved); }", saved)
    ed.look_at_node(page)
    assert ed.held(page) == last
    ed.open_editor(page)
    page.wait_for_function(f"() => {ed.EDITOR}.session.scene?.count === {told['points']}")
    assert ed.held(page) == last
    page.wait_for_function(f"() => {ed.EDITOR}.session.holes?.frames.at(-1) === {last.num_frames - 1}")
    assert "%" in page.locator(".seen [role=status]").inner_text()
    assert ed.complaints(page) == []


def test_the_hosts_undo_takes_a_gesture_back(page):
    ed.load(page)
    ed.open_editor(page)
    page.keyboard.press("Control+a")
    page.keyboard.press("PageUp")
    first = ed.text_of(page)
    page.keyboard.press("PageUp")
    assert ed.text_of(page) != first
    page.locator("button.close").click()
    page.evaluate("() => document.activeElement.blur()")
    page.keyboard.press("Control+z")
    page.wait_for_function(
        f"(text) => app.graph.getNodeById({ed.NODE}).widgets.find((one) => one.name === 'keyframes').value === text",
        arg=first,
    )


def test_keys_reach_the_host_only_where_the_editor_is_closed(page):
    ed.load(page)
    ed.open_editor(page)
    before = page.evaluate("() => JSON.stringify(app.graph.serialize().nodes.map((node) => [node.id, node.mode]))")
    for key in ("r", "w", "q", "p", "m", "Control+b", "Control+m", "Delete", "Control+a", "Delete", "Control+Enter"):
        page.keyboard.press(key)
    assert page.locator(".spm-dialog").count() == 1
    after = page.evaluate("() => JSON.stringify(app.graph.serialize().nodes.map((node) => [node.id, node.mode]))")
    assert after == before


def test_a_value_of_a_newer_version_is_kept_and_the_node_says_so(page):
    text = '{"version": 9, "keys": "from the future"}'
    ed.load(page, text)
    page.locator(".spm-said.spm-wrong").wait_for()
    assert "newer" in page.locator(".spm-said").inner_text()
    page.locator(".spm-open").click()
    page.wait_for_timeout(500)
    assert page.locator(".spm-dialog").count() == 0
    assert ed.text_of(page) == text and ed.prompt_of(page)["keyframes"] == text


def test_the_raw_text_can_be_typed(page):
    ed.load(page)
    recipe = {"version": 1, "num_frames": 5, "keyframes": [{"frame": f, "position": [0, 0, f / 40]} for f in (0, 4)]}
    page.locator(".spm-node button", has_text="Text").click()
    area = page.locator(".spm-node textarea")
    area.fill(json.dumps(recipe))
    area.blur()
    assert ed.prompt_of(page)["keyframes"] == json.dumps(recipe)
    assert "2 keys" in page.locator(".spm-said").inner_text()


@pytest.fixture
def opened(page):
    ed.load(page)
    ed.make_memory(page)
    ed.open_editor(page)
    return page


def test_cameras_are_shown_before_they_become_the_path(opened, server, tmp_path):
    page = opened
    file = tmp_path / "poses.txt"  # TUM: time x y z qx qy qz qw
    file.write_text("".join(f"{i / 16} {i / 100} 0 {i / 50} 0 0 0 1\n" for i in range(57)))
    before = ed.shown(page)
    ed.drop(page, file)
    panel = page.locator(".import")
    panel.locator("li").first.wait_for()
    assert "57" in panel.inner_text() and "tum" in panel.inner_text()
    assert ed.shown(page) == before and ed.session(page, "s.ghost.poses.length") == 57
    page.wait_for_timeout(500)
    picture(page, server, "import")
    panel.locator("input[type=number]").fill("2")
    panel.locator("input[type=number]").blur()
    page.wait_for_function(f"() => Math.abs({ed.EDITOR}.session.ghost.poses[56][2]) > 1.8")
    panel.locator(".accept").click()
    imported = ed.held(page)
    assert imported.num_frames == 57
    end = imported.bake(192, 320, ed.session(page, "s.scene.header.scene_unit")).c2w[-1]
    assert end[2, 3].item() == pytest.approx(2 * 56 / 50, rel=0.02)
    page.keyboard.press("Control+z")
    assert ed.text_of(page) == "" and ed.shown(page) == before


def test_drawing_recording_presets_and_export(opened, server):
    page = opened
    page.keyboard.press("p")
    box = page.locator("canvas.lines").bounding_box()
    x, y = box["x"] + 0.45 * box["width"], box["y"] + 0.8 * box["height"]
    page.mouse.move(x, y)
    page.mouse.down()
    for i in range(1, 20):
        page.mouse.move(x + 14 * i, y - 40 * (i % 10 > 5) - 3 * i)
    page.mouse.up()
    drawn = ed.held(page)
    assert drawn.name == "drawn" and drawn.num_frames == 153 and 2 < len(drawn.keyframes) < 40
    page.locator("button.record").click()
    page.keyboard.down("w")
    page.wait_for_timeout(1200)
    page.keyboard.up("w")
    page.keyboard.down("d")
    page.wait_for_timeout(600)
    page.keyboard.up("d")
    page.keyboard.press("Enter")
    flown = ed.held(page)
    assert flown.name == "recorded" and flown.num_frames % 4 == 1 and len(flown.keyframes) < 20
    assert flown.bake(192, 320).c2w[-1, :3, 3].norm() > 0.2
    page.locator("select.presets").select_option("orbit")
    page.locator("button.apply").click()
    assert ed.held(page).loop and ed.held(page).num_frames == flown.num_frames
    with page.expect_download() as download:
        page.locator("button.export").click()
    written = Path(download.value.path()).read_text()
    assert CameraPath.from_json(written) == ed.held(page)
    assert ed.complaints(page) == []


def test_a_photograph_becomes_points_before_any_run(page, server):
    ed.load(page)
    ed.open_editor(page)
    photo = ed.ROOT / "workflows/inputs/spatial_memory_coffee.png"
    page.locator(".spm-dialog input[type=file]").set_input_files(photo)
    page.wait_for_function(f"() => {ed.EDITOR}.session.scene?.count > 1000", timeout=120_000)
    page.wait_for_timeout(1500)
    picture(page, server, "photograph")
    assert page.locator("canvas.preview").is_visible()


def test_chinese_and_light(page, server):
    page.evaluate(
        """async () => {
          await app.extensionManager.setting.set("Comfy.Locale", "zh");
          await app.extensionManager.setting.set("Comfy.ColorPalette", "light");
        }"""
    )
    page.reload()
    page.wait_for_function("window.app?.extensionManager && window.app.graph && window.app.canvas", timeout=120_000)
    ed.load(page)
    ed.open_editor(page)
    page.keyboard.press("Control+a")
    page.wait_for_timeout(500)
    try:
        assert "相机路径" in page.locator("h2").inner_text()
        picture(page, server, "chinese_light")
    finally:
        page.evaluate(
            """async () => {
              await app.extensionManager.setting.set("Comfy.Locale", "en");
              await app.extensionManager.setting.set("Comfy.ColorPalette", "dark");
            }"""
        )


FILM = """async () => {
  const { output, workflow } = await app.graphToPrompt();
  const find = (kind) => Object.keys(output).find((id) => output[id].class_type === `SpatialMemory_${kind}`);
  output[find("DenoiseChunk")].inputs.steps = 2;
  const kept = {};
  const keep = (name) => {
    if (kept[name]) return;
    kept[name] = output[name];
    for (const value of Object.values(output[name].inputs)) if (Array.isArray(value)) keep(value[0]);
  };
  keep(find("DecodeVideo"));
  kept.film = { class_type: "PreviewImage", inputs: { images: [find("DecodeVideo"), 0] } };
  await (app.api ?? window.comfyAPI.api.api).queuePrompt(0, { output: kept, workflow });
}"""


@pytest.mark.timeout(900)
@pytest.mark.story
def test_a_run_brings_its_memory_and_the_holes_shrink(page, server):
    ed.load(page)
    ed.make_memory(page)
    ed.open_editor(page)
    page.locator("select.presets").select_option("truck")
    page.locator("button.apply").click()
    page.locator("aside .field", has_text="Frames").first.locator("input").fill("33")
    page.keyboard.press("Tab")
    path = ed.held(page)
    assert path.num_frames == 33 and path.name == "truck"
    done = f"() => {{ const h = {ed.EDITOR}.session.holes; return h?.frames.at(-1) === 32 && h.hole; }}"
    before = page.wait_for_function(done, timeout=60_000).json_value()
    key = ed.session(page, "s.told.memory")
    page.evaluate(FILM)
    page.wait_for_function(f"(key) => {ed.EDITOR}.session.told.memory !== key", arg=key, timeout=600_000)
    page.wait_for_function(f"() => {ed.EDITOR}.session.scene.header.chunks.length === 1")
    after = page.wait_for_function(done, timeout=60_000).json_value()
    page.wait_for_timeout(1500)
    picture(page, server, "film")
    assert before[-1] > 25 and after[-1] < 0.6 * before[-1], (before, after)
    assert ed.held(page) == path
