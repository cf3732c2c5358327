"""The panels: every number typed or dragged, the path's helpers, the scale assistant."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from spatial_memory.memory.path import CameraPath, Keyframe
from spatial_memory.memory.quaternion import multiply

sys.path.insert(0, str(Path(__file__).parent))
import editor as ed  # noqa: E402
import made_scene  # noqa: E402

pytestmark = [pytest.mark.host, pytest.mark.timeout(600)]

PLACES = ((0, (0.0, 0.0, 0.0)), (16, (0.35, -0.15, 0.3)), (40, (0.7, 0.1, 0.7)), (56, (1.1, 0.0, 0.5)))
PATH = CameraPath(tuple(Keyframe(frame, position) for frame, position in PLACES), 57)


def about(axis, degrees):
    """A turn about an axis, wxyz."""
    half = math.radians(degrees) / 2
    return (math.cos(half), *(math.sin(half) * (n == axis) for n in range(3)))


def speeds(path):
    """Lengths of the steps from frame to frame."""
    return np.linalg.norm(np.diff(path.poses().positions.numpy(), axis=0), axis=1)


def undo(page, steps=1):
    page.keyboard.press("Escape")  # from a number to the view
    for _ in range(steps):
        page.keyboard.press("Control+z")


def test_the_numbers_of_a_key_are_typed(desk):
    page = desk
    ed.begin(page, PATH)
    page.mouse.click(*ed.key_on_screen(page, 1))
    for n, (name, value) in enumerate((("X", 0.125), ("Y (down)", -0.5), ("Z", 0.0625))):
        ed.type_into(page, name, value)
        assert ed.held(page).keyframes[1].position[n] == pytest.approx(value, abs=1e-6)
    ed.type_into(page, "Yaw °", 30)
    ed.type_into(page, "Pitch °", 20)
    ed.type_into(page, "Roll °", -10)
    turned = multiply(multiply(about(1, 30), about(0, 20)), about(2, -10))
    assert ed.held(page).keyframes[1].rotation == pytest.approx(turned, abs=2e-6)
    ed.type_into(page, "View °", 35.5)
    ed.type_into(page, "Hold", 4)
    key = ed.held(page).keyframes[1]
    assert (key.vertical_fov, key.hold, key.frame) == (35.5, 4, 16)
    ed.type_into(page, "Next in s", 1.75)
    after = ed.held(page)
    assert after.keyframes[2].frame == 16 + 4 + 28 and after.num_frames == 65
    ed.type_into(page, "Frame", 20)
    assert ed.held(page).keyframes[1].frame == 20
    ed.type_into(page, "Frame", 9000)
    assert ed.held(page).keyframes[1].frame == 43, "it stays a frame before the next key, its rest included"
    others = [key.position for i, key in enumerate(ed.held(page).keyframes) if i != 1]
    assert others == [key.position for i, key in enumerate(PATH.keyframes) if i != 1]
    undo(page, 11)
    assert ed.shown(page) and CameraPath.from_json(ed.shown(page)).keyframes == PATH.keyframes
    assert not ed.session(page, "s.canUndo"), "each number was one step"


def test_the_numbers_of_the_path_are_typed(desk):
    page = desk
    ed.begin(page, PATH)
    ed.type_into(page, "Tension", 0.75)
    assert ed.held(page).tension == 0.75
    ed.type_into(page, "Tension", 7)
    assert ed.held(page).tension == 1, "beyond its bound is at its bound"
    ed.type_into(page, "FPS", 24)
    ed.type_into(page, "Frames", 80)
    stretched = ed.held(page)
    assert stretched.num_frames in (77, 81) and stretched.fps == 24
    assert ed.prompt_of(page)["num_frames"] == stretched.num_frames and ed.prompt_of(page)["fps"] == 24
    assert ed.field(page, "Frames").input_value() == str(stretched.num_frames)
    undo(page, 4)
    page.keyboard.press("Control+a")
    ed.type_into(page, "View °", 60)
    assert {key.vertical_fov for key in ed.held(page).keyframes} == {60}
    ed.type_into(page, "X", 0.5)
    shifted = np.array([key.position for key in ed.held(page).keyframes])
    assert shifted - np.array([key.position for key in PATH.keyframes]) == pytest.approx(
        np.tile([0.5, 0, 0], (4, 1)), abs=2e-6
    ), "several keys move together"


def test_what_is_no_number_changes_nothing(desk):
    page = desk
    ed.begin(page, PATH)
    page.mouse.click(*ed.key_on_screen(page, 1))
    ed.field(page, "X").focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("-")
    page.keyboard.press("Enter")
    ed.field(page, "Roll °").focus()
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    page.keyboard.press("Tab")
    assert ed.held(page) == CameraPath.from_json(PATH.to_compact())
    ed.field(page, "X").focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("7")
    page.evaluate(f"() => {ed.EDITOR}.session.tell('saved')")  # as when a part of a scene arrives
    assert ed.field(page, "X").input_value() == "7", "what is being typed is left alone"
    page.keyboard.press("Escape")
    assert page.locator(".spm-dialog").count() == 1 and ed.field(page, "X").input_value() == "0.35"
    assert ed.held(page) == CameraPath.from_json(PATH.to_compact()), "Esc gives up what was typed"
    assert ed.session(page, "[...s.chosen][0]") == 1, "keys typed into a number are not shortcuts"


def test_a_name_is_dragged_to_change_its_number(desk):
    page = desk
    ed.begin(page, PATH)
    page.mouse.click(*ed.key_on_screen(page, 1))
    box = page.locator(".spm-dialog aside label", has_text="Z").first.bounding_box()
    ed.drag(page, (box["x"] + 5, box["y"] + box["height"] / 2), (-60, 0))
    assert ed.held(page).keyframes[1].position[2] == pytest.approx(0.3 - 0.2, abs=2e-6)
    undo(page)
    assert not ed.session(page, "s.canUndo") and ed.session(page, "s.path.keyframes[1].position[2]") == 0.3


def test_one_speed_along_the_same_way(desk):
    page = desk
    hasty = CameraPath(tuple(Keyframe(f, p) for f, (_, p) in zip((0, 8, 48, 56), PLACES)), 57)
    ed.begin(page, hasty)
    assert speeds(hasty).max() > 3 * speeds(hasty).min()
    page.locator("button.constant").click()
    even = ed.held(page)
    assert speeds(even).max() < 1.1 * speeds(even).min() and even.num_frames == 57
    ends = [even.keyframes[0].position, even.keyframes[-1].position]
    assert ends == [hasty.keyframes[0].position, hasty.keyframes[-1].position]
    page.keyboard.press("Control+z")
    assert CameraPath.from_json(ed.shown(page)) == CameraPath.from_json(hasty.to_compact())


def test_the_way_back_to_the_start(desk):
    page = desk
    ed.begin(page, PATH)
    page.locator("button.return").click()
    back = ed.held(page)
    assert back.num_frames == 113 and not back.loop and ed.prompt_of(page)["num_frames"] == 113
    first, last = back.keyframes[0], back.keyframes[-1]
    assert (last.position, last.rotation, last.vertical_fov) == (first.position, first.rotation, first.vertical_fov)
    assert [key.position for key in back.keyframes[:4]] == [key.position for key in PATH.keyframes]
    page.keyboard.press("Control+z")
    assert ed.prompt_of(page)["num_frames"] == 57


def test_an_imported_path_is_fitted_to_the_memory(desk, server, tmp_path):
    page = desk
    ed.begin(page, PATH, made_scene.told(server.base, made_scene.wall(3000)))
    file = tmp_path / "poses.txt"  # TUM: time x y z qx qy qz qw
    file.write_text("".join(f"{i / 16} {3 + i / 10} 0 {i / 5} 0 0 0 1\n" for i in range(57)))
    ed.drop(page, file)
    page.locator(".import .accept:enabled").click()
    page.locator(".import").wait_for(state="detached")
    far = ed.held(page)
    assert np.linalg.norm(far.poses().positions[-1]) == pytest.approx(56 * math.hypot(0.1, 0.2), rel=0.02)
    page.locator("summary", has_text="Scale assistant").click()
    page.locator("button", has_text="Fit to the memory").click()
    fitted = ed.held(page)
    reach = float(np.linalg.norm(fitted.poses().positions[-1]))
    assert 0.25 < reach < 1 and reach == pytest.approx(0.05 * 56 * math.hypot(0.1, 0.2), rel=0.02)
    slider = page.get_by_label("Scale", exact=True)
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 12, middle[1], steps=4)
    page.wait_for_timeout(100)
    assert ed.session(page, "!!s.ghost?.path"), "the path as it was is shown beside"
    factor = float(page.locator("aside output").inner_text())
    page.mouse.up()
    scaled = ed.held(page)
    assert factor > 1.2
    assert float(np.linalg.norm(scaled.poses().positions[-1])) == pytest.approx(factor * reach, rel=0.01)
    assert ed.session(page, "s.ghost") is None
    page.locator("canvas.lines").focus()
    page.keyboard.press("Control+z")
    assert ed.held(page) == fitted, "a drag of the slider is one step"
    page.keyboard.press("Control+a")
    page.keyboard.press("PageUp")
    page.locator("button", has_text="Start at the start frame").click()
    assert ed.held(page).keyframes[0].position == (0, 0, 0)
    assert ed.complaints(page) == []
