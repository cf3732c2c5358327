"""The loop: chunk k + 1 depends on chunk k through the state alone, so stopping and going on changes no bit."""

from dataclasses import replace

import pytest
import tiny_rollout as tiny
import torch
from spatial_memory.memory.presets import out_and_back, truck
from spatial_memory.rollout import loop
from spatial_memory.rollout.chunk import decode_film
from spatial_memory.rollout.state import load_state, save_state, without_seconds

SETTINGS = loop.Settings(tiny.WORLD.defaults, 2)


def run(state, path=tiny.PATH, on_event=loop.ignore, settings=SETTINGS):
    return loop.run(tiny.WORLD, state, path, settings, tiny.WallGeometry(), on_event)


class Stop(Exception):
    """Ends a run from outside."""


def states_after(kind, path=tiny.PATH):
    """The states of a straight run after each chunk."""
    states = []
    run(tiny.begin(kind, path=path), path, lambda e: states.append(e.state) if e.stage == "update" else None)
    return states


@pytest.fixture(scope="module")
def straight():
    """The states of a latent run after each of its chunks."""
    return states_after("latent")


@pytest.mark.parametrize("kind", ["latent", "rgb"])
def test_all_chunks_equal_one_saved_loaded_and_the_rest(kind, straight, tmp_path):
    path = tiny.PATH if kind == "latent" else out_and_back(57)
    states = straight if kind == "latent" else states_after(kind, path)
    assert [s.chunk for s in states] == [1, 2, 3][: len(states)] and len(states) > 1
    save_state(tmp_path / "world.safetensors", states[0])
    resumed = run(load_state(tmp_path / "world.safetensors", "mini"), path)
    assert tiny.same_bits(resumed, states[-1])
    assert without_seconds(resumed.records) == without_seconds(states[-1].records)
    assert torch.equal(decode_film(tiny.WORLD, resumed), decode_film(tiny.WORLD, states[-1]))
    assert not tiny.same_bits(run(replace(states[0], seed=1), path), states[-1])


def test_a_film_is_as_long_as_its_path(straight):
    film = straight[2]
    assert decode_film(tiny.WORLD, film).shape == (81, 3, 64, 96) and film.path == tiny.PATH
    short = out_and_back(45)
    film = run(tiny.begin(path=short), short)
    assert film.chunk == 2 and film.latents.shape[1] == 12 and len(film.cameras) == 45
    tiny_one = out_and_back(9)
    assert run(tiny.begin(path=tiny_one), tiny_one).latents.shape[1] == 3


def test_an_appended_path_goes_on_and_a_changed_one_is_refused():
    path = out_and_back(57)
    film = run(tiny.begin(path=path), path)
    last = path.keyframes[-1]
    rest = replace(last, frame=56.0)
    longer = replace(path, keyframes=(*path.keyframes[:-1], rest, replace(last, frame=80.0)), num_frames=81)
    assert torch.equal(longer.bake(64, 96).c2w[:57], path.bake(64, 96).c2w)
    assert run(film, longer).chunk == 3
    with pytest.raises(ValueError, match="first 57 frames of the path 'out_and_back'"):
        run(film, out_and_back(81))
    with pytest.raises(ValueError, match="the film has 57 frames, the path 33"):
        run(film, out_and_back(33))


def test_a_path_of_a_length_that_no_latents_carry_is_refused():
    with pytest.raises(ValueError, match="num_frames is 80.*77 and 81"):
        run(tiny.begin(), truck(80))


def test_events_tell_every_stage_and_step_in_order():
    told = []
    run(tiny.begin(), on_event=lambda e: told.append((e.chunk, e.chunks, e.stage, e.step and e.step.index)))
    one = ["retrieve", "warp", "denoise", "denoise", "denoise", "geometry", "update"]
    assert [stage for _, _, stage, _ in told] == one * 3
    assert [step for _, _, _, step in told[:7]] == [None, None, 0, 1, None, None, None]
    assert [(chunk, chunks) for chunk, chunks, _, _ in told] == [(k, 3) for k in range(3) for _ in one]


@pytest.mark.parametrize("stage", ["retrieve", "denoise", "update"])
def test_interrupted_anywhere_a_run_goes_on_from_the_last_whole_chunk(stage, straight):
    last = [tiny.begin()]

    def stop(event):
        if event.stage == "update":
            last.append(event.state)
        if event.chunk == 1 and event.stage == stage:
            raise Stop

    with pytest.raises(Stop):
        run(last[0], on_event=stop)
    assert tiny.same_bits(run(last[-1]), straight[2])


def test_the_baseline_is_the_same_film_without_memory(straight):
    state, film = tiny.begin(), straight[2]
    twin = loop.run_baseline(tiny.WORLD, state, tiny.PATH, tiny.WORLD.defaults)
    assert twin.memory is state.memory and twin.chunk == 3 and len(twin.cameras) == 81
    assert torch.equal(twin.cameras.c2w, film.cameras.c2w)
    assert all(record["coverage"] == 0 and record["references"] == [] for record in twin.records)
    assert film.records[0]["coverage"] > 0.5
    assert not torch.equal(film.latents[:, 1:], twin.latents[:, 1:])
    assert torch.equal(film.latents[:, :1], twin.latents[:, :1])


def test_the_number_of_references_and_the_policy_are_heeded():
    none = run(tiny.begin(), settings=replace(SETTINGS, max_references=0))
    assert all(record["references"] == [] for record in none.records)
    some = run(tiny.begin(), settings=replace(SETTINGS, policy="set_cover", max_references=1))
    assert [len(record["references"]) for record in some.records] == [0, 1, 1]


def test_a_run_repeats_to_the_bit(straight):
    assert tiny.same_bits(run(tiny.begin()), straight[2])
