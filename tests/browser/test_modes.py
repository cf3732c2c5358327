"""Where the host does not show the node's widget: App mode, a collapsed node, a subgraph. The path stays."""

import json
import sys
from pathlib import Path

import pytest
from spatial_memory.memory.path import CameraPath, Keyframe

sys.path.insert(0, str(Path(__file__).parent))
import editor as ed  # noqa: E402

pytestmark = [pytest.mark.host, pytest.mark.timeout(600)]

PATH = CameraPath((Keyframe(0, (0.0, 0.0, 0.0)), Keyframe(28, (0.4, 0.0, 0.3)), Keyframe(56, (0.8, 0.1, 0.2))), 57)
APP_MODE = "Comfy.ToggleLinear"


def edited(page):
    """Open the editor, drag a key, close: the path is another one."""
    before = ed.held(page)
    ed.open_editor(page)
    ed.drag(page, ed.key_on_screen(page, 1), (30, -20))
    after = ed.held(page)
    page.locator("button.close").click()
    return after.keyframes[1].position != before.keyframes[1].position


def clean(page):
    return ed.complaints(page) == [] and not [said for said in page.said if said.startswith("pageerror")]


def switch_mode(page):
    page.evaluate("async (id) => { await app.extensionManager.command.execute(id); }", APP_MODE)
    page.wait_for_timeout(2500)


@pytest.mark.parametrize("shown", [[], ["preset", "keyframes"]], ids=["hidden", "shown"])
def test_app_mode_keeps_the_path_and_shows_the_node_view_where_it_is_chosen(page, shown):
    workflow = json.loads((ed.ROOT / "workflows/closed_loop.json").read_text(encoding="utf-8"))
    node = next(node for node in workflow["nodes"] if node["id"] == ed.NODE)
    node["widgets_values"][-1] = PATH.to_compact()
    films = [node["id"] for node in workflow["nodes"] if node["type"] == "SaveVideo"]
    workflow["extra"]["linearData"] = {"inputs": [[ed.NODE, name] for name in shown], "outputs": films}
    page.evaluate("async (workflow) => { await app.loadGraphData(workflow); }", workflow)
    has = "(id) => app.extensionManager.command.commands.some((command) => command.id === id)"
    if not page.evaluate(has, APP_MODE):
        pytest.skip("this frontend has no App mode")
    page.said.clear()
    switch_mode(page)
    assert page.locator("[data-testid=linear-outputs]").count() == 1  # the graph has gone
    assert not page.locator("#graph-canvas").is_visible()
    for greeting in page.locator("[data-testid=coach-landing]").get_by_text("Skip").all():
        greeting.click()
    assert ed.held(page) == CameraPath.from_json(PATH.to_compact())
    panel = page.locator("[data-testid=linear-right-panel]")
    assert panel.locator(".spm-open:visible").count() == (1 if shown else 0)
    if shown:  # the film's user edits the path without ever seeing the graph
        panel.locator(".spm-open").click()
        page.wait_for_selector(".spm-dialog")
        ed.drag(page, ed.key_on_screen(page, 1), (30, -20))
        moved = ed.held(page)
        assert moved.keyframes[1].position != PATH.keyframes[1].position
        page.locator("button.close").click()
        assert ed.held(page) == moved
    switch_mode(page)
    ed.look_at_node(page)
    assert edited(page) and clean(page)


def test_a_collapsed_node_keeps_its_path(page):
    ed.load(page, PATH.to_compact())
    page.said.clear()
    page.evaluate("(id) => app.graph.getNodeById(id).collapse()", ed.NODE)
    page.wait_for_timeout(1200)
    assert ed.held(page) == CameraPath.from_json(PATH.to_compact())
    page.evaluate("(id) => app.graph.getNodeById(id).collapse()", ed.NODE)
    ed.look_at_node(page)
    assert edited(page) and clean(page)


def test_a_node_in_a_subgraph_keeps_its_path(page):
    ed.load(page, PATH.to_compact())
    if not page.evaluate("() => typeof app.graph.convertToSubgraph === 'function'"):
        pytest.skip("this frontend has no subgraphs")
    page.said.clear()
    page.evaluate("(id) => { app.graph.convertToSubgraph(new Set([app.graph.getNodeById(id)])); }", ed.NODE)
    page.wait_for_timeout(1500)
    prompt = page.evaluate("async () => (await app.graphToPrompt()).output")
    (held,) = [node for node in prompt.values() if node["class_type"] == "SpatialMemory_CameraPath"]
    assert json.loads(held["inputs"]["keyframes"]) == json.loads(PATH.to_compact())
    assert clean(page)
