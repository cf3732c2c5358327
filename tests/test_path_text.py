"""The compact text, and the fixtures that Python and JavaScript (tests/web) must agree on.

``SPATIAL_MEMORY_REFRESH=paths pytest tests/test_path_text.py`` writes tests/fixtures/paths anew.
"""

import json
import math
import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from spatial_memory.memory.path import MAX_KEYS, CameraPath
from spatial_memory.memory.presets import PRESETS, close_loop
from spatial_memory.memory.quaternion import from_rotation_vector, multiply
from spatial_memory.memory.spline import EASINGS, Keyframe

FIXTURES = Path(__file__).parent / "fixtures" / "paths"
AMOUNTS = {"orbit": (-200.0,), "zoom": (0.6,), "hold": (), "dolly_zoom": (-0.5,)}  # others: -0.7 times the default
KEYS = '[{"frame": 0, "position": [0, 0, 0]}, {"frame": 4, "position": [1, 0, 0]}]'


def random_path(seed, count=7, num_frames=97, turn=1.0, pinned=False, **fields):
    """A wandering path; every second key eased, held or, where asked, with slopes of its own."""
    g = torch.Generator().manual_seed(seed)
    step = (num_frames - 1) / (count - 1)
    keys, rotation, easings = [], (1.0, 0.0, 0.0, 0.0), list(EASINGS)
    for i in range(count):
        x = torch.randn(14, generator=g, dtype=torch.float64).tolist()
        rotation = multiply(rotation, from_rotation_vector(tuple(turn * v for v in x[:3])))
        slopes = {"velocity": tuple(0.05 * v for v in x[6:9]), "spin": tuple(0.02 * v for v in x[9:12]), "zoom": x[12]}
        key = Keyframe(round(step * i, 3), (x[3], x[4], x[5]), rotation, 50 + 10 * math.tanh(x[13]))
        if pinned:
            key = replace(key, **slopes)
        elif i % 2:
            key = replace(key, easing=easings[(i // 2) % 4], hold=float(i % 3) if i < count - 1 else 0.0)
        keys.append(key)
    keys[-1] = replace(keys[-1], frame=float(num_frames - 1))
    path = CameraPath(tuple(keys), num_frames, **fields)
    return CameraPath.from_json(path.to_compact())  # on the grid of the text


@cache
def cases():
    closed = close_loop(random_path(4))
    held = replace(random_path(9).keyframes[0], frame=90.0, hold=6.0)
    return {
        "wandering": random_path(1),
        "tense": random_path(2, tension=0.35, fps=24.0, units="world", name="straße 中"),
        "pinned": random_path(3, pinned=True),
        "loop": CameraPath.from_json(closed.to_compact()),
        "pinned_loop": CameraPath.from_json(close_loop(random_path(5, pinned=True)).to_compact()),
        "held_end": CameraPath((*random_path(9).keyframes[:-1], held), 97, loop=True),
        "half_turns": random_path(6, turn=3.0),
        "two_keys": random_path(7, count=2, num_frames=9, pinned=True),
        "out_and_back": CameraPath.from_json(PRESETS["out_and_back"](57).to_compact()),
        "many_keys": random_path(8, count=64, num_frames=257, turn=0.3),
    }


def preset_cases():
    for name in PRESETS:
        default = PRESETS[name].__defaults__[0]
        for num_frames in (153, 57, 12, 2):
            for amount in (default, *AMOUNTS.get(name, (-0.7 * default,))):
                yield name, num_frames, amount, PRESETS[name](num_frames, amount, 24.0, 40.0).to_compact()


def refused():
    """Texts that are no path, for whose messages both languages have the same words."""
    row = "0 0 0 0 lfls 0 0 0 trtxs"
    good = {"frame": 0, "position": [0, 0, 0]}
    end = {"frame": 4, "position": [1, 0, 0]}

    def recipe(**fields):
        return json.dumps({"version": 2, "num_frames": 5, "keyframes": [good, end], **fields})

    def keys(*records):
        return recipe(keyframes=list(records))

    def line(text):
        return json.dumps({"version": 2, "num_frames": 5, "keys": text})

    return [
        *("[1]", '"path"', "3", "null", "true", "2.5"),
        *(json.dumps({"version": version}) for version in (3, 1.5, None, 0, "2")),
        *(recipe(num_frames=count) for count in (5.5, "5", None, 1, 99999, 6, [1, "a", True, {"b": None}])),
        *(recipe(loop=loop) for loop in ("yes", True)),
        *(recipe(fps=fps) for fps in (0, True, -2.5)),
        *(recipe(tension=tension) for tension in (1.5, "it's", [])),
        *(recipe(units=units) for units in ("feet", 4)),
        *(recipe(keyframes=held) for held in ([], "none", [3, 4], [[1], 4], [good], [good] * (MAX_KEYS + 1))),
        recipe(format="other"),
        recipe(keyframes=None),
        keys(good, good),
        keys(good, {**end, "frame": 0.5}),
        keys({**good, "frame": 1}, end),
        keys({"frame": 0}, end),
        keys({"position": [0, 0, 0]}, end),
        *(keys({**good, "position": place}, end) for place in ([0, 0], [0, 0, True], [0, 0, 2e6], "0 0 0", [0] * 99)),
        *(keys({**good, "rotation": turn}, end) for turn in ([0, 0, 0, 0], [1, 0, 0], None)),
        *(keys({**good, "vertical_fov": fov}, end) for fov in (0.5, 171, "50")),
        *(keys({**good, "easing": easing}, end) for easing in ("bouncy", None, 3)),
        *(keys({**good, "hold": hold}, end) for hold in (-1, 4, 3.9995, None)),
        *(keys({**good, "velocity": slope}, end) for slope in ([1], [1, 2, None], 5)),
        *(keys({**good, "spin": slope}, end) for slope in ({"a": [1, None]}, [0, 0, 3e6])),
        keys({**good, "zoom": "fast"}, end),
        line(";".join([row] * (MAX_KEYS + 1))),
        *(
            line(f"{row};{word}")
            for word in ("", "2s8 0 0", f"2s8 0 0 0.5 {row[8:]}", f"2s8 0 0 12345678901 {row[8:]}")
        ),
        *(line(f"{row};2s8 0 0 {word} {row[8:]}") for word in ("--1", "-", "A", "1_0", "\u0661")),
        *(line(f"{row} {word};{row}") for word in ("e=4", "e=-1", "e", "h=1.5", "v=1,2", "z=", "s=1,2,A")),
        line(row),
        line(f"1{row};{row}"),
    ]


def message(text):
    with pytest.raises(ValueError) as caught:
        CameraPath.from_json(text)
    return str(caught.value)


def fixtures():
    """Everything below tests/fixtures/paths, as JSON values by file name."""
    made = {
        f"{name}.json": {
            "compact": path.to_compact(),
            "recipe": {name: value for name, value in json.loads(path.to_json()).items() if name != "bake"},
            "poses": json.loads(path.slice(0, path.num_frames))["poses"],
        }
        for name, path in cases().items()
    }
    made["presets.json"] = [
        {"name": name, "num_frames": num_frames, "amount": amount, "compact": text}
        for name, num_frames, amount, text in preset_cases()
    ]
    paths = {**cases(), **{name: PRESETS[name](57) for name in PRESETS}}
    made["closed.json"] = [
        {"compact": path.to_compact(), "closed": close_loop(CameraPath.from_json(path.to_compact())).to_compact()}
        for path in paths.values()
    ]
    made["refused.json"] = [{"text": text, "message": message(text)} for text in refused()]
    return made


def test_the_fixtures_hold_what_python_says():
    made = fixtures()
    if os.environ.get("SPATIAL_MEMORY_REFRESH") == "paths":
        FIXTURES.mkdir(parents=True, exist_ok=True)
        for name, content in made.items():
            (FIXTURES / name).write_text(json.dumps(content, separators=(",", ":"), ensure_ascii=False) + "\n", "utf-8")
    assert {file.name for file in FIXTURES.glob("*.json")} == set(made)
    for name, content in made.items():
        kept = json.loads((FIXTURES / name).read_text("utf-8"))
        if isinstance(content, dict):  # another libm may round the last of the six places differently
            torch.testing.assert_close(
                torch.tensor(kept.pop("poses")), torch.tensor(content.pop("poses")), rtol=0, atol=2e-6
            )
        assert kept == json.loads(json.dumps(content)), name


@pytest.mark.parametrize("name", cases())
def test_compact_text_and_long_form_are_read_back_to_the_same_path(name):
    path = cases()[name]
    text = path.to_compact()
    assert CameraPath.from_json(text) == CameraPath.from_json(path.to_json())
    assert CameraPath.from_json(text).to_compact() == text  # what a reload saves is what was saved
    assert CameraPath.from_json(text).name == path.name


@pytest.mark.parametrize("name", PRESETS)
def test_the_grid_of_the_text_moves_a_path_by_less_than_its_own_step(name):
    path = PRESETS[name](153)
    a, b = path.poses(), CameraPath.from_json(path.to_compact()).poses()
    torch.testing.assert_close(a.positions, b.positions, rtol=0, atol=2e-6)
    torch.testing.assert_close(a.quaternions, b.quaternions, rtol=0, atol=3e-6)
    torch.testing.assert_close(a.vertical_fov, b.vertical_fov, rtol=0, atol=2e-6)


def test_64_keys_with_all_that_keys_can_have_take_less_than_8_kilobytes():
    plain = random_path(10, 64, 1001)
    full = random_path(11, 64, 1001, pinned=True)
    full = replace(full, keyframes=tuple(replace(key, easing="ease_in_out", hold=2.125) for key in full.keyframes))
    assert len(plain.to_compact()) < 4500
    assert len(full.to_compact()) < 8000


def test_version_one_and_unknown_fields_are_read_and_newer_versions_name_the_remedy():
    path = CameraPath.from_json(f'{{"version": 1, "num_frames": 5, "later": [1], "keyframes": {KEYS}}}')
    text = json.loads(path.to_compact())
    assert not any(isinstance(value, list) for value in text.values())
    text["view"] = {"theme": "dark"}
    text["keys"] = text["keys"].replace(";", " q=later,1;")
    assert CameraPath.from_json(json.dumps(text)) == path
    with pytest.raises(ValueError, match="version 3, this pack reads up to 2: update the pack"):
        CameraPath.from_json(json.dumps({**text, "version": 3}))
