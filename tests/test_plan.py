"""Chunk plans: exact cover, the papers' bookkeeping, refusals."""

import json
import os
from pathlib import Path

import pytest
from spatial_memory.models.layout import MINI_LAYOUT, SPATIA_LAYOUT
from spatial_memory.rollout.plan import ChunkPlan, plan, plan_overlap, plan_repeat, window

GOLDEN = Path(os.environ.get("GOLDEN_DIR", Path(__file__).parent / "golden"))


def test_repeat_equals_the_released_plans():
    plans = json.loads((GOLDEN / "plan_mirage.json").read_text())["plans"]
    for num_frames, expected in plans.items():
        chunks = plan_repeat(int(num_frames), 33)
        assert [[c.start, c.stop, c.window_frames] for c in chunks] == expected


def test_overlap_is_33_then_24_for_the_demo():
    chunks = plan(MINI_LAYOUT, 153)
    assert [(c.start, c.stop) for c in chunks] == [(0, 33), (33, 57), (57, 81), (81, 105), (105, 129), (129, 153)]
    assert chunks[0] == ChunkPlan(0, 0, 33, 0, 0) and chunks[1] == ChunkPlan(1, 33, 57, 24, 9)
    assert all(c.window_frames == 33 for c in chunks)


def test_overlap_is_the_papers_81_then_72():
    assert [c.stop for c in plan_overlap(81 + 2 * 72, 81, 81, 9)] == [81, 153, 225]


def test_overlap_is_the_released_codes_121_then_72():
    chunks = plan(SPATIA_LAYOUT, 121 + 2 * 72)
    assert [(c.start, c.stop, c.window_frames) for c in chunks] == [(0, 121, 121), (121, 193, 81), (193, 265, 81)]
    assert all(window(SPATIA_LAYOUT, c.index, c.start, c.stop) == c for c in chunks)
    with pytest.raises(ValueError, match="makes frames 121 to 197, expected 1 to 72"):
        window(SPATIA_LAYOUT, 1, 121, 197)


@pytest.mark.parametrize("num_frames", range(1, 182, 4))
@pytest.mark.parametrize("scheme", ["overlap", "repeat"])
def test_every_frame_is_made_once_and_windows_begin_on_a_latent(num_frames, scheme):
    chunks = plan_overlap(num_frames, 33, 33, 9) if scheme == "overlap" else plan_repeat(num_frames, 33)
    assert [f for c in chunks for f in range(c.start, c.stop)] == list(range(num_frames))
    for c in chunks:
        assert c.window_start % 4 == 0 and c.window_frames % 4 == 1 and c.window_frames <= 33
        assert c.start - c.window_start == c.history
    assert [c.index for c in chunks] == list(range(len(chunks)))


@pytest.mark.parametrize("chunk", plan(MINI_LAYOUT, 149))
def test_the_window_of_a_chunk_needs_no_plan(chunk):
    assert window(MINI_LAYOUT, chunk.index, chunk.start, chunk.stop) == chunk


def test_refusals_name_the_nearest_lengths():
    with pytest.raises(ValueError, match="num_frames is 80.*77 and 81"):
        plan(MINI_LAYOUT, 80)
    with pytest.raises(ValueError, match="chunk_frames is 32.*29 and 33"):
        plan_overlap(81, 33, 32, 9)
    with pytest.raises(ValueError, match="history_frames is 8"):
        plan_overlap(81, 33, 33, 8)
    with pytest.raises(ValueError, match="history_frames is 33, expected fewer"):
        plan_overlap(81, 33, 33, 33)
    with pytest.raises(ValueError, match="chunk_frames is 1, expected at least 5"):
        plan_repeat(81, 1)
    with pytest.raises(ValueError, match="makes frames 33 to 61"):
        window(MINI_LAYOUT, 1, 33, 61)
    with pytest.raises(ValueError, match="end is 56.*53 and 57"):
        window(MINI_LAYOUT, 1, 33, 56)
