"""The bundled workflows as a page draws them: nodes take the size that their inputs need, and cover no other node."""

import json
from pathlib import Path

import pictures
import pytest

EVERY = sorted((Path(__file__).parents[2] / "workflows").glob("*.json"))

pytestmark = [pytest.mark.host, pytest.mark.timeout(600)]


@pytest.mark.story
def test_no_node_covers_another(page):
    assert len(EVERY) == 8
    for file in EVERY:
        workflow = json.loads(file.read_text(encoding="utf-8"))
        page.evaluate(pictures.LAID, [workflow, 0.5, 90, 90])
        page.wait_for_timeout(800)
        assert page.evaluate(pictures.OVER) == [], file.name
    crowded = json.loads(EVERY[0].read_text(encoding="utf-8"))
    a, b = crowded["nodes"][:2]
    a["pos"] = list(b["pos"])
    page.evaluate(pictures.LAID, [crowded, 0.5, 90, 90])
    page.wait_for_timeout(800)
    assert len(page.evaluate(pictures.OVER)) >= 1
