"""Gestures on the view, by mouse and keyboard: handles, the gizmo, selection, falloff, snapping."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from spatial_memory.memory.path import CameraPath, Keyframe
from spatial_memory.memory.quaternion import conjugate, multiply

sys.path.insert(0, str(Path(__file__).parent))
import editor as ed  # noqa: E402

pytestmark = [pytest.mark.host, pytest.mark.timeout(600)]

PLACES = ((0, (0.0, 0.0, 0.0)), (16, (0.35, -0.15, 0.3)), (40, (0.7, 0.1, 0.7)), (56, (1.1, 0.0, 0.5)))
PATH = CameraPath(tuple(Keyframe(frame, position) for frame, position in PLACES), 57)
DENSE = CameraPath(tuple(Keyframe(7 * i, (0.15 * i, 0.0, 0.1 * i)) for i in range(9)), 57)


def positions(path):
    return np.array([key.position for key in path.keyframes])


def moved(before, after):
    """How far each key went, (keys, 3)."""
    return positions(after) - positions(before)


def chosen(page):
    return sorted(ed.session(page, "[...s.chosen]"))


def undone(page, path):
    """One step of undo gives this path back."""
    page.keyboard.press("Control+z")
    back = CameraPath.from_json(ed.shown(page))
    return back == CameraPath.from_json(path.to_compact()) and not ed.session(page, "s.canUndo")


def around(centre, point, degrees):
    """The pixel turned about a centre, clockwise as the screen's Y points down."""
    angle = math.radians(degrees)
    dx, dy = point[0] - centre[0], point[1] - centre[1]
    return (
        centre[0] + dx * math.cos(angle) - dy * math.sin(angle),
        centre[1] + dx * math.sin(angle) + dy * math.cos(angle),
    )


def angle_of(centre, point):
    return math.degrees(math.atan2(point[1] - centre[1], point[0] - centre[0]))


def test_a_handle_pins_the_slope_where_it_is_let_go(desk):
    page = desk
    ed.begin(page, PATH)
    page.mouse.click(*ed.key_on_screen(page, 1))
    start = ed.handle_on_screen(page, 1, "out")
    ed.drag(page, start, (25, -30))
    pinned = ed.held(page)
    assert [key.velocity is not None for key in pinned.keyframes] == [False, True, False, False]
    assert not moved(PATH, pinned).any()
    assert ed.handle_on_screen(page, 1, "out") == pytest.approx((start[0] + 25, start[1] - 30), abs=1.5)
    into = ed.handle_on_screen(page, 1, "into")
    ed.drag(page, into, (-20, -10))
    assert ed.held(page).keyframes[1].velocity != pinned.keyframes[1].velocity
    assert ed.handle_on_screen(page, 1, "into") == pytest.approx((into[0] - 20, into[1] - 10), abs=1.5)
    page.locator("aside button", has_text="Smooth").click()
    assert ed.held(page).keyframes[1].velocity is None
    page.locator("aside select#spm-easing").select_option("ease_in_out")
    page.locator("canvas.lines").focus()
    ed.drag(page, ed.handle_on_screen(page, 1, "out"), (30, 20))
    lifted = ed.held(page).keyframes[1]
    assert lifted.easing == "ease_out" and lifted.velocity is not None, "the rest at the key is lifted, the other stays"
    start = ed.handle_on_screen(page, 1, "out")
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] + 50, start[1] + 50, steps=3)
    page.keyboard.press("Escape")
    page.mouse.up()
    assert ed.held(page).keyframes[1] == lifted, "Esc gives the gesture up"


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_the_gizmo_moves_along_one_axis(desk, axis):
    page = desk
    ed.begin(page, PATH)
    page.mouse.click(*ed.key_on_screen(page, 1))
    page.keyboard.press("w")
    (cx, cy), grip = ed.gizmo_on_screen(page, axis)
    way = np.array([grip[0] - cx, grip[1] - cy])
    way *= 50 / np.linalg.norm(way)
    before = np.array(ed.key_on_screen(page, 1))
    ed.drag(page, grip, tuple(way))
    went = moved(PATH, ed.held(page))
    n = "xyz".index(axis)
    assert went[1, n] > 0.03 and np.count_nonzero(np.abs(went) > 2e-6) == 1
    followed = np.array(ed.key_on_screen(page, 1)) - before
    assert followed == pytest.approx(way, abs=8), "the dot follows the pointer"
    assert undone(page, PATH)


def test_a_locked_axis_holds_a_dragged_key(desk):
    page = desk
    ed.begin(page, PATH)
    page.keyboard.press("x")
    assert "X" in page.locator(".stage .status").inner_text()
    ed.drag(page, ed.key_on_screen(page, 2), (45, 30))
    went = moved(PATH, ed.held(page))
    assert abs(went[2, 0]) > 0.03 and np.count_nonzero(np.abs(went) > 2e-6) == 1
    page.keyboard.press("x")
    page.keyboard.press("Control+z")
    ed.drag(page, ed.key_on_screen(page, 2), (45, 30))
    assert np.count_nonzero(np.abs(moved(PATH, ed.held(page))) > 2e-6) > 1


def test_the_gizmo_turns_the_path_the_way_the_pointer_goes(desk):
    page = desk
    ed.begin(page, PATH)
    page.keyboard.press("Control+a")
    page.keyboard.press("e")
    for n, axis in enumerate("xyz"):
        centre, grip = ed.gizmo_on_screen(page, axis)
        before = angle_of(centre, ed.key_on_screen(page, 3))
        page.mouse.move(*grip)
        page.mouse.down()
        for degrees in (10, 20, 30, 40):
            page.mouse.move(*around(centre, grip, degrees))
        page.mouse.up()
        turned = ed.held(page)
        turns = [multiply(b.rotation, conjugate(a.rotation)) for a, b in zip(PATH.keyframes, turned.keyframes)]
        angles = [2 * math.degrees(math.atan2(q[1 + n], q[0])) for q in turns]
        assert [abs(angle) for angle in angles] == pytest.approx([40] * 4, abs=0.2)
        middle = (positions(PATH).max(0) + positions(PATH).min(0)) / 2
        lengths = [np.linalg.norm(positions(path) - middle, axis=1) for path in (PATH, turned)]
        assert lengths[1] == pytest.approx(lengths[0], abs=1e-5)
        if axis == "y":  # the ring that is seen from above: what it carries goes round with the pointer
            after = angle_of(centre, ed.key_on_screen(page, 3))
            assert (after - before) % 360 < 180
        assert undone(page, PATH)


def test_the_gizmo_scales_about_the_middle(desk):
    page = desk
    ed.begin(page, PATH)
    page.keyboard.press("Control+a")
    page.keyboard.press("r")
    (cx, cy), grip = ed.gizmo_on_screen(page, "all")
    ed.drag(page, grip, (grip[0] - cx, grip[1] - cy))
    middle = (positions(PATH).max(0) + positions(PATH).min(0)) / 2
    assert positions(ed.held(page)) - middle == pytest.approx(2 * (positions(PATH) - middle), abs=0.01)
    assert undone(page, PATH)
    page.keyboard.down("Control")  # held before the gizmo is gripped
    ed.drag(page, grip, (0.47 * (grip[0] - cx), 0.47 * (grip[1] - cy)))
    page.keyboard.up("Control")
    assert positions(ed.held(page)) - middle == pytest.approx(1.5 * (positions(PATH) - middle), abs=1e-5)


def test_keys_are_chosen_by_box_and_by_shift(desk):
    page = desk
    ed.begin(page, PATH)
    spots = [ed.key_on_screen(page, i) for i in range(4)]

    def box(*indices):
        xs, ys = zip(*(spots[i] for i in indices))
        return (min(xs) - 22, min(ys) - 22), (max(xs) - min(xs) + 44, max(ys) - min(ys) + 44)

    page.keyboard.press("b")
    ed.drag(page, *box(1, 2))
    assert chosen(page) == [1, 2] and ed.session(page, "s.mode") is None
    page.keyboard.down("Shift")
    ed.drag(page, *box(3))
    assert chosen(page) == [1, 2, 3]
    page.mouse.click(*spots[2])
    assert chosen(page) == [1, 3]
    page.mouse.click(*spots[0])
    page.keyboard.up("Shift")
    assert chosen(page) == [0, 1, 3]
    corner, size = box(2)
    page.keyboard.press("b")
    page.mouse.move(*corner)
    page.mouse.down()
    page.mouse.move(corner[0] + size[0], corner[1] + size[1], steps=3)
    assert chosen(page) == [0, 1, 2, 3]
    page.keyboard.press("Escape")
    page.mouse.up()
    assert chosen(page) == [0, 1, 3], "Esc gives the box up"
    page.keyboard.press("Escape")
    assert ed.session(page, "s.mode") is None and page.locator(".spm-dialog").count() == 1
    ed.drag(page, spots[3], (20, -20))
    went = moved(PATH, ed.held(page))
    assert not went[2].any() and went[0] == pytest.approx(went[3], abs=2e-6) and np.linalg.norm(went[1]) > 0.02
    box_of_stage = page.locator("canvas.lines").bounding_box()
    page.mouse.click(box_of_stage["x"] + 40, box_of_stage["y"] + box_of_stage["height"] - 60)
    assert chosen(page) == []


def test_neighbours_in_time_follow_less_and_less(desk):
    page = desk
    ed.begin(page, DENSE)
    ed.type_into(page, "Falloff", 16)
    ed.drag(page, ed.key_on_screen(page, 4), (10, -60))
    went = moved(DENSE, ed.held(page))
    weights = [max(1 - (7 * abs(i - 4) / 16) ** 2, 0) ** 2 for i in range(9)]
    assert np.linalg.norm(went[4]) > 0.05
    assert went == pytest.approx(np.outer(weights, went[4]), abs=3e-6)
    assert undone(page, DENSE)
    ed.type_into(page, "Falloff", 0)
    ed.drag(page, ed.key_on_screen(page, 4), (10, -60))
    assert [i for i, way in enumerate(moved(DENSE, ed.held(page))) if np.abs(way).max() > 2e-6] == [4]


def test_snapping_by_pointer_and_turned_round_by_ctrl(desk):
    page = desk
    ed.begin(page, PATH)

    def off_grid(went, step=0.05):
        return np.abs(went - step * np.round(went / step)).max()

    page.keyboard.press("n")
    assert page.locator("header .snap").get_attribute("aria-pressed") == "true"
    ed.drag(page, ed.key_on_screen(page, 2), (43, -37))
    went = moved(PATH, ed.held(page))
    assert np.abs(went[2]).max() >= 0.05 and off_grid(went) < 2e-6
    assert undone(page, PATH)
    page.keyboard.down("Control")
    ed.drag(page, ed.key_on_screen(page, 2), (43, -37))
    page.keyboard.up("Control")
    assert off_grid(moved(PATH, ed.held(page))) > 1e-3
    assert undone(page, PATH)
    page.keyboard.press("PageUp")
    assert moved(PATH, ed.held(page))[2] == pytest.approx((0, -0.05, 0), abs=2e-6)
    assert undone(page, PATH)
    page.keyboard.press("Control+a")
    page.keyboard.press("e")
    centre, grip = ed.gizmo_on_screen(page, "y")
    page.mouse.move(*grip)
    page.mouse.down()
    for degrees in (10, 20, 30, 41):
        page.mouse.move(*around(centre, grip, degrees))
    page.mouse.up()
    q = ed.held(page).keyframes[0].rotation
    assert abs(2 * math.degrees(math.atan2(q[2], q[0]))) == pytest.approx(45, abs=1e-3)
    page.keyboard.press("Control+z")
    page.keyboard.press("w")
    page.keyboard.press("n")
    (cx, cy), grip = ed.gizmo_on_screen(page, "x")
    page.keyboard.down("Control")
    ed.drag(page, grip, (grip[0] - cx, grip[1] - cy))
    page.keyboard.up("Control")
    went = moved(PATH, ed.held(page))
    assert went[0, 0] >= 0.05 and off_grid(went) < 2e-6, "Ctrl before the grip snaps too"
    assert ed.complaints(page) == []
