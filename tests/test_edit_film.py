"""A film whose memory is edited: what was deleted stays away, undoing gives every bit back, and so does going back."""

from dataclasses import replace

import pytest
import tiny_rollout as tiny
import torch
from spatial_memory.memory.camera import Cameras, project_planar, stack
from spatial_memory.memory.edits import Delete, Lock, Move, last_chunk
from spatial_memory.memory.exchange import Cloud
from spatial_memory.memory.regions import Box, Selection, Sphere
from spatial_memory.memory.splat import read, render_depth
from spatial_memory.rollout import chunk
from spatial_memory.rollout.edit import apply_edit, undo_edit
from spatial_memory.rollout.edit_content import insert_cloud, insert_pictures, recolour
from spatial_memory.rollout.history import revert
from spatial_memory.rollout.state import load_state, save_state, without_seconds

KINDS = ("latent", "rgb")
THING = Sphere((0.1, 0.05, 2.0), 0.35)  # a round patch of the wall, well inside the start frame's view
AWAY = torch.tensor([[1.0, 0, 0, 0.15], [0, 1, 0, -0.2], [0, 0, 1, -0.6], [0, 0, 0, 1]])


def everything(state):
    """All that an edit may touch, for comparison to the bit."""
    return [state.image, state.codes, state.latents, *(o.points for o in state.memory.drawn)], [
        o.features for o in state.memory.drawn
    ]


def same(a, b):
    first, second = (sum(everything(s), []) for s in (a, b))
    alike = len(first) == len(second) and all(torch.equal(x, y) for x, y in zip(first, second))
    return alike and tiny.same_bits(a, b) and a.stale == b.stale and (a.given is None) == (b.given is None)


def delete(state, region=THING):
    edit = Delete(Selection(region), last_chunk(state.memory))
    return apply_edit(tiny.WORLD, state, edit).state


def looks_at_the_same_place(state):
    """The next chunk, whose first frames still see what the start frame saw."""
    return tiny.one_chunk(state)


def views(state):
    """The start's camera and some of the film's, on the memory's grid."""
    some = stack([state.cameras[i] for i in range(0, len(state.cameras), 8)])
    return (
        some.resized(*tiny.WORLD.codec.grid.cells(state.height, state.width)) if state.memory.kind == "latent" else some
    )


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_deleted_is_still_gone_after_two_more_chunks_a_save_and_a_load(kind, tmp_path):
    begun = tiny.begin(kind)
    assert THING.contains(begun.memory.points).any()
    state = delete(begun)
    for _ in range(2):
        state = looks_at_the_same_place(state)
    refused = [row["refused"] for row in state.memory.ledger]
    assert refused[0] == 0 and max(refused[1:]) > 0  # the chunks did see the place and wanted to write it
    save_state(tmp_path / "world.safetensors", state)
    loaded = load_state(tmp_path / "world.safetensors", "mini")
    for some in (state, loaded):
        assert not THING.contains(some.memory.points).any()
        found, kept = (read(s.memory, views(some)) for s in (some, replace_edits(some)))
        shown = found.winner[found.winner >= 0]
        assert len(shown) and not THING.contains(some.memory.points[shown]).any()
        in_it = THING.contains(replace_edits(some).memory.points)[kept.winner.clamp(min=0)] & (kept.winner >= 0)
        assert in_it.any()  # without the edit these cells show the thing ...
        behind = found.known[in_it] == 0
        deeper = found.depth[in_it] >= kept.depth[in_it] * 0.95
        assert (behind | deeper).all() and behind.any()  # ... now a hole, or what is not before it
    back = undo_edit(tiny.WORLD, loaded).state
    assert THING.contains(back.memory.points).any() and len(back.memory.drawn[0]) == len(begun.memory.drawn[0])


def replace_edits(state):
    return replace(state, memory=replace(state.memory, edits=()))


@pytest.mark.parametrize("kind", KINDS)
def test_edits_undo_one_by_one_to_the_bit(kind):
    begun = tiny.begin(kind)
    generator = torch.Generator().manual_seed(3)
    points = torch.rand(400, 3, generator=generator) * 0.3 + torch.tensor([-0.4, -0.2, 1.2])
    colours = torch.randint(0, 256, (400, 3), generator=generator, dtype=torch.uint8)
    cloud = Cloud(points, colours, torch.zeros(400, 3))
    makers = [
        lambda s: Delete(Selection(THING), last_chunk(s.memory)),
        lambda s: insert_cloud(tiny.WORLD, s, cloud),
        lambda s: recolour(tiny.WORLD, s, Selection(Box((-0.5, 0.2, 2.0), (0.6, 0.5, 1.0))), (1.0, 0.1, 0.0)),
        lambda s: Move(Selection(Box((0.6, -0.2, 2.0), (0.4, 0.5, 1.0))), last_chunk(s.memory), AWAY),
        lambda s: Lock(Selection(THING), last_chunk(s.memory)),
    ]
    states = [begun]
    for make in makers:
        states.append(apply_edit(tiny.WORLD, states[-1], make(states[-1])).state)
    for before, after in zip(states[:4], states[1:5]):
        assert not torch.equal(before.image, after.image)  # each is seen in the start frame
        assert not torch.equal(before.codes[:, :1], after.codes[:, :1])
        assert torch.equal(after.codes[:, :1], tiny.WORLD.codec.encode_frames(after.image[None] * 2 - 1))
        assert torch.equal(after.latents[:, :1], after.codes[:, :1]) and torch.equal(after.given, begun.image)
    assert torch.equal(states[4].image, states[5].image)  # a lock changes nothing that is seen
    state = states[-1]
    for expected in reversed(states[:-1]):
        state = undo_edit(tiny.WORLD, state).state
        assert same(state, expected)
    assert state.given is None and state.memory.edits == ()
    with pytest.raises(ValueError, match="no edit to undo"):
        undo_edit(tiny.WORLD, state)


@pytest.mark.parametrize("kind", KINDS)
def test_the_start_frame_stays_to_the_bit_where_nothing_changed(kind):
    begun = tiny.begin(kind)
    state = delete(begun)
    changed = (state.image != begun.image).any(0)
    v, u = changed.nonzero().T
    assert len(v) and 0.01 < changed.float().mean() < 0.4
    x, y = (torch.tensor(THING.centre[i]) / 2 * state.cameras.K[0, i, i] + state.cameras.K[0, i, 2] for i in (0, 1))
    reach = 0.35 / 1.6 * state.cameras.K[0, 0, 0] + 17  # the patch, and two cells of the latent grid
    assert ((u - x).abs() <= reach).all() and ((v - y).abs() <= reach).all()


@pytest.mark.parametrize("kind", KINDS)
def test_an_inserted_thing_is_seen_and_stays(kind):
    begun = tiny.begin(kind)
    plate = torch.cartesian_prod(torch.arange(30) * 0.01 - 0.15, torch.arange(30) * 0.01 - 0.15)
    points = torch.cat([plate, torch.full((900, 1), 1.2)], 1)
    red = torch.tensor([[255, 0, 0]], dtype=torch.uint8).expand(900, 3)
    cloud = Cloud(points, red, torch.zeros(900, 3))
    edit = insert_cloud(tiny.WORLD, begun, cloud)
    state = apply_edit(tiny.WORLD, begun, edit).state
    depth, known = render_depth(state.memory, state.cameras[:1])
    u, v, z = project_planar(torch.tensor([[0.0], [0.0], [1.2]]), state.cameras[0])
    assert known[0, int(v), int(u)] and abs(depth[0, int(v), int(u)] - 1.2) < 0.03
    for _ in range(2):
        state = looks_at_the_same_place(state)
    depth, _ = render_depth(state.memory, state.cameras[:1])
    assert abs(depth[0, int(v), int(u)] - 1.2) < 0.03
    assert state.memory.edits[0] is edit and all(
        any(part is o for part in state.memory.drawn) for o in edit.observations
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_with_its_geometry_is_inserted(kind):
    begun = tiny.begin(kind)
    c2w = torch.eye(4)
    c2w[0, 3] = 0.4
    camera = Cameras(c2w[None], begun.cameras.K[:1], begun.height, begun.width)
    depth = torch.zeros(1, begun.height, begun.width)
    depth[:, 16:48, 24:72] = 0.9
    ones = torch.ones_like(depth)
    given = chunk.start_geometry(tiny.WallGeometry(), tiny.photograph(), camera)
    given = replace(given, depth=depth, confidence=ones, keep=ones > 0)
    edit = insert_pictures(tiny.WORLD, begun, tiny.photograph(5), given)
    assert {o.frame for o in edit.observations} == {-1}
    state = apply_edit(tiny.WORLD, begun, edit).state
    seen, _ = render_depth(state.memory, camera)
    assert (seen[0, 24:40, 36:60] - 0.9).abs().max() < 0.01


def test_frames_that_show_what_was_edited_are_references_no_more():
    state = looks_at_the_same_place(tiny.begin())
    edited = delete(state)
    assert 0 in edited.stale and set(edited.stale) <= set(state.code_frames)
    assert edited.image is state.image and torch.equal(edited.codes, state.codes)  # the film has begun
    aimed = tiny.aimed(edited)
    assert chunk.retrieve(tiny.WORLD, replace(aimed, stale=()), "algorithm1", 3).frames
    assert not set(chunk.retrieve(tiny.WORLD, aimed, "algorithm1", 3).frames) & set(edited.stale)
    assert undo_edit(tiny.WORLD, edited).state.stale == ()


def test_a_later_edit_leaves_the_frames_alone_that_were_made_under_the_first():
    state = looks_at_the_same_place(delete(tiny.begin()))
    assert state.stale == ()
    far = Sphere((40.0, 40.0, 40.0), 1.0)
    locked = apply_edit(
        tiny.WORLD, state, Lock(Selection(Sphere((0.5, 0.3, 1.9), 0.2)), last_chunk(state.memory))
    ).state
    assert locked.stale == ()  # frame 0 was rendered anew and chunk 0 made under the first edit: all tell the truth
    assert undo_edit(tiny.WORLD, locked).state.stale == ()
    with pytest.raises(ValueError, match="changes nothing"):
        delete(state, far)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("edited", [False, True])
def test_going_back_gives_the_bits_that_were_handed_on_and_goes_on_as_the_first_time(kind, edited):
    states = [delete(tiny.begin(kind)) if edited else tiny.begin(kind)]
    for _ in range(3):
        states.append(tiny.one_chunk(states[-1]))
    later = delete(states[-1], Box((0.5, 0.3, 1.9), (0.4, 0.4, 0.8)))
    assert later.stale
    for back in (-1, 0, 1):
        for of in (states[-1], later):
            found, expected = revert(of, back), states[back + 1]
            assert same(found, expected)
            assert (found.chunk, found.code_frames, found.prompts) == (expected.chunk, expected.code_frames, ("",))
            assert without_seconds(found.records) == without_seconds(expected.records)
            assert found.memory.ledger == expected.memory.ledger
    again = tiny.one_chunk(revert(later, 0))
    assert same(again, states[2]) and without_seconds(again.records) == without_seconds(states[2].records)
    for wrong in (-2, 3, 9):
        with pytest.raises(ValueError, match=f"chunk is {wrong}, the film has made 3"):
            revert(states[-1], wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_a_start_edit_that_is_undone_later_is_gone_when_the_film_goes_back(kind, tmp_path):
    begun = tiny.begin(kind)
    one = delete(begun)
    two = delete(one, Box((0.5, 0.3, 1.9), (0.4, 0.4, 0.8)))
    assert not torch.equal(one.image, begun.image) and not torch.equal(two.image, one.image)
    film = tiny.one_chunk(two)
    once = undo_edit(tiny.WORLD, film).state
    twice = undo_edit(tiny.WORLD, once).state
    save_state(tmp_path / "w.safetensors", twice)
    for state, expected in ((once, one), (twice, begun), (load_state(tmp_path / "w.safetensors"), begun)):
        assert state.outdated and not film.outdated
        assert torch.equal(state.image, two.image) and torch.equal(state.latents, film.latents)  # the film stands
        with pytest.raises(ValueError, match="undone after the film had begun; give the world model"):
            revert(state, -1)
        back = revert(state, -1, tiny.WORLD)
        assert same(back, expected) and not back.outdated
        assert (back.given is None) == (expected.given is None) and back.stale == expected.stale
    assert delete(once, Box((0.5, 0.3, 1.9), (0.4, 0.4, 0.8))).outdated  # whatever is edited after
    later = tiny.one_chunk(once)
    assert later.outdated and revert(later, 0).outdated and same(revert(later, -1, tiny.WORLD), one)
    assert same(revert(film, -1, tiny.WORLD), two)


def test_editing_needs_a_memory_a_whole_chunk_and_the_same_world():
    state = tiny.begin()
    edit = Delete(Selection(THING), -1)
    with pytest.raises(ValueError, match="no memory"):
        apply_edit(tiny.WORLD, replace(state, memory=None), edit)
    with pytest.raises(ValueError, match="world model 'wan'"):
        apply_edit(tiny.WORLD, replace(state, world="wan"), edit)
    aimed = tiny.aimed(state)
    half = chunk.denoise(tiny.WORLD, aimed, chunk.warp(tiny.WORLD, aimed), None, tiny.WORLD.defaults)
    with pytest.raises(ValueError, match="middle of a chunk"):
        apply_edit(tiny.WORLD, half, edit)
