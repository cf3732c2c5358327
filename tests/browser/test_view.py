"""What the view shows, in pixels: marked points, many points, a lost WebGL context, the theme."""

import sys
from pathlib import Path

import numpy as np
import pytest
from spatial_memory.memory.path import CameraPath, Keyframe

sys.path.insert(0, str(Path(__file__).parent))
import editor as ed  # noqa: E402
import made_scene  # noqa: E402

pytestmark = [pytest.mark.host, pytest.mark.timeout(600)]

PATH = CameraPath((Keyframe(0, (0.0, 0.0, 0.0)), Keyframe(56, (0.3, 0.0, 0.2))), 57)
ORANGE, GREEN, GREY = (255, 115, 26), (51, 242, 102), (made_scene.GREY,) * 3
MILLION = 1_000_000
WATCH = """() => {
  window.drawn = [];
  const { prototype } = WebGL2RenderingContext;
  window.drawArrays ??= prototype.drawArrays;
  prototype.drawArrays = function (mode, first, count) {
    if (mode === this.POINTS) window.drawn.push(count);
    return window.drawArrays.call(this, mode, first, count);
  };
}"""
LOSE = """() => {
  const root = document.querySelector(".spm-dialog .spm-editor").shadowRoot;
  window.lost = root.querySelector("canvas.deep").getContext("webgl2").getExtension("WEBGL_lose_context");
  window.lost.loseContext();
}"""


def of_colour(page, colour):
    """How many pixels of the view have a colour, nearly."""
    page.wait_for_timeout(700)
    return int((np.abs(ed.pixels(page) - colour).max(-1) < 14).sum())


def tick(page, name):
    page.locator(".corner label", has_text=name).locator("input").click()


@pytest.mark.parametrize(
    ("flags", "name", "colour"),
    [
        (made_scene.CONTRADICTED, "Contradicted points", ORANGE),
        (made_scene.CONTRADICTED | made_scene.RETIRED, "Contradicted points", ORANGE),
        (made_scene.EDITED, "Edited points", GREEN),
    ],
)
def test_marked_points_are_shown_in_their_colour(desk, server, flags, name, colour):
    page = desk
    ed.begin(page, PATH, made_scene.told(server.base, made_scene.wall(20_000, flags)))
    grey, marked = of_colour(page, GREY), of_colour(page, colour)
    assert grey > 5000 and marked < 50
    tick(page, name)
    assert of_colour(page, colour) > 5000
    retired = flags & made_scene.RETIRED
    assert (of_colour(page, GREY) < 0.8 * grey) != bool(retired), "retired points are not drawn unless they are marked"
    tick(page, name)
    assert of_colour(page, colour) < 50 and of_colour(page, GREY) == pytest.approx(grey, rel=0.02)
    assert ed.text_of(page) == PATH.to_compact(), "what is shown is no part of the path"


def test_a_million_points_come_whole_and_are_fewer_while_the_view_moves(desk, server):
    page = desk
    page.evaluate(WATCH)
    ed.begin(page, PATH, made_scene.told(server.base, made_scene.wall(MILLION)))
    page.wait_for_timeout(1500)
    assert "1,000,000" in page.locator(".facts").inner_text()
    assert page.evaluate("() => window.drawn.at(-1)") == MILLION
    whole = of_colour(page, GREY)
    box = page.locator("canvas.lines").bounding_box()
    page.evaluate("() => { window.drawn = []; }")
    page.mouse.move(box["x"] + 60, box["y"] + 120)
    page.mouse.down()
    for i in range(1, 25):
        page.mouse.move(box["x"] + 60 + 2 * i, box["y"] + 120)
    page.mouse.up()
    moving = page.evaluate("() => [...window.drawn]")
    assert len(moving) > 3 and max(moving) <= 200_000
    page.wait_for_timeout(1500)
    assert page.evaluate("() => window.drawn.at(-1)") == MILLION
    assert of_colour(page, GREY) > 0.5 * whole
    ed.drag(page, ed.key_on_screen(page, 1), (30, -20))
    assert ed.held(page).keyframes[1].position != PATH.keyframes[1].position
    page.evaluate("() => { WebGL2RenderingContext.prototype.drawArrays = window.drawArrays; }")


def test_points_stay_on_the_screen_while_a_key_is_dragged(desk, server):
    page = desk
    ed.begin(page, PATH, made_scene.told(server.base, made_scene.wall(20_000)))
    before = of_colour(page, GREY)
    start = ed.key_on_screen(page, 1)
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] + 30, start[1] - 20, steps=4)
    assert of_colour(page, GREY) == pytest.approx(before, rel=0.03)
    page.mouse.wheel(0, 1500)  # the view moves below the gesture
    page.wait_for_timeout(600)
    smaller = of_colour(page, GREY)
    page.mouse.move(start[0] + 34, start[1] - 24, steps=2)
    assert smaller < 0.5 * before and of_colour(page, GREY) == pytest.approx(smaller, rel=0.05)
    page.mouse.up()
    assert of_colour(page, GREY) == pytest.approx(smaller, rel=0.05)


def test_a_lost_context_comes_back(desk, server):
    page = desk
    ed.begin(page, PATH, made_scene.told(server.base, made_scene.wall(20_000)))
    before = of_colour(page, GREY)
    page.evaluate(LOSE)
    page.locator(".stage .status", has_text="graphics").wait_for()
    assert of_colour(page, GREY) < 0.05 * before
    ed.drag(page, ed.key_on_screen(page, 1), (30, -20))
    moved = ed.held(page)
    assert moved.keyframes[1].position != PATH.keyframes[1].position, "the path is edited all the same"
    page.evaluate("() => window.lost.restoreContext()")
    assert of_colour(page, GREY) == pytest.approx(before, rel=0.03)
    assert ed.held(page) == moved
    page.evaluate(LOSE)
    page.locator("button.close").click()
    assert page.locator(".spm-dialog").count() == 0
    ed.open_editor(page)
    assert of_colour(page, GREY) == pytest.approx(before, rel=0.03)
    assert ed.complaints(page) == [] and not [said for said in page.said if said.startswith("pageerror")]


def test_the_view_has_the_themes_ground(desk, server):
    page = desk
    grounds = {}
    for palette in ("light", "dark"):
        page.evaluate("() => document.querySelector('.spm-dialog')?.editor.close()")
        page.evaluate("(name) => app.extensionManager.setting.set('Comfy.ColorPalette', name)", palette)
        page.wait_for_timeout(500)
        ed.begin(page, PATH, made_scene.told(server.base, made_scene.wall(3000)))
        page.wait_for_timeout(700)
        grounds[palette] = np.median(ed.pixels(page))
    assert grounds["light"] > 180 and grounds["dark"] < 70, grounds
