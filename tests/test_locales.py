"""The texts in two languages: the same keys, nothing empty, nothing left in English by accident."""

import json
import re
from pathlib import Path

import pytest

LOCALES = Path(__file__).parents[1] / "locales"
SAME = {"LoRA", "VAE", "JSON", "CLIP", "X", "Y", "Z"}  # what a Chinese text calls by the same name
QUOTED = re.compile(r"(?<![A-Za-z])'([^']+)'(?![A-Za-z])")


def texts(folder, name):
    """Every text of a file by its place."""

    def walk(value, place=()):
        if isinstance(value, dict):
            for key, inner in value.items():
                yield from walk(inner, (*place, key))
        else:
            yield place, value

    return dict(walk(json.loads((LOCALES / folder / name).read_text(encoding="utf-8"))))


@pytest.mark.parametrize("name", ["main.json", "nodeDefs.json"])
def test_both_languages_hold_the_same_places(name):
    english, chinese = texts("en", name), texts("zh", name)
    assert english.keys() == chinese.keys() and len(english) > 50
    for some in (english, chinese):
        assert all(text.strip() for place, text in some.items() if "unit.none" not in place[-1])


def test_node_texts_are_chinese():
    for place, text in texts("zh", "nodeDefs.json").items():
        assert text in SAME or re.search("[\u4e00-\u9fff]", text), (place, text)


def test_options_are_called_by_their_own_names_in_both():
    """What stands in quotes is typed or chosen by that very name, whatever language the page speaks."""
    chinese = texts("zh", "nodeDefs.json")
    quoted = 0
    for place, text in texts("en", "nodeDefs.json").items():
        if place[-1] == "tooltip":
            assert sorted(set(QUOTED.findall(text))) == sorted(set(QUOTED.findall(chinese[place]))), place
            quoted += bool(QUOTED.search(text))
    assert quoted > 30
