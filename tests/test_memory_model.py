"""The memory against a slow, obvious model of it: insert, carve, evict, revert, edit, undo, save, merge, in any order.

After every step all that can be seen of the memory is compared, and every older memory is still what it was.
"""

import tempfile
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import memory_model as twin
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from scenes import pose
from spatial_memory.memory.budget import evict
from spatial_memory.memory.camera import Cameras, concatenate, intrinsics_from_fov
from spatial_memory.memory.carve import carve
from spatial_memory.memory.cloud import SpatialMemory
from spatial_memory.memory.edits import Delete, Hide, Insert, Lock, Move, Paint, Patch, last_chunk
from spatial_memory.memory.geometry import Geometry
from spatial_memory.memory.lift import lift_latents
from spatial_memory.memory.memory_file import memory_from_tensors, memory_to_tensors
from spatial_memory.memory.merge import POLICIES, merge
from spatial_memory.memory.normals import decode_normals
from spatial_memory.memory.observation import PER_POINT
from spatial_memory.memory.regions import Box, Everywhere, HalfSpace, Selection, Sphere, voxels_around
from spatial_memory.memory.splat import splat_centred, splat_nearest
from spatial_memory.memory.store import load_tensors, save_tensors
from spatial_memory.memory.worlds import merge_worlds

HEIGHT, WIDTH, h, w, CHANNELS, UNIT = 48, 80, 6, 10, 4, 2.0
CELL = 2 / intrinsics_from_fov(60.0, h, w)[0, 0].item()  # world units at depth 2
POSES = (
    pose(),
    pose((0.0, 0.0, 1.0)),  # a dolly to half depth
    pose((0.03, -0.02, 0.1), (0.0, 0.0, 1.0), 180.0),  # a roll
    pose((2 * CELL, 0.0, 0.0)),  # whole cells aside
    pose((0.02, 0.01, 0.0)),  # a tenth of a cell aside
    pose((0.3, -0.1, 0.2), (0.1, 1.0, 0.0), 15.0),
)
SCENES = ("wall", "farther wall", "box", "half a wall", "unsure wall")
POLICY = st.sampled_from(sorted(POLICIES))
SHOT = st.tuples(st.integers(0, len(POSES) - 1), st.sampled_from(SCENES))
EMPTY = SpatialMemory("latent", "toy", CHANNELS, UNIT, False)
MOST = 13  # observations: the model is slow
REACHED = Counter()  # what the random steps brought about: a test that never merges proves nothing
TURN = pose((0.4, 0.1, -0.3), (0.0, 1.0, 0.2), 30.0)


def ray_cast(c2w, scene):
    """z-depth (H, W) of a scene from a pose, 0 where nothing is known."""
    K = intrinsics_from_fov(60.0, HEIGHT, WIDTH).double().numpy()
    M = c2w.double().numpy()
    u, v = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    ray = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones_like(u)], -1) @ M[:3, :3].T
    wall = 3.0 if scene in ("farther wall", "unsure wall") else 2.0
    depth = (wall - M[2, 3]) / ray[..., 2]
    if scene == "box":
        front = (1.3 - M[2, 3]) / ray[..., 2]
        place = M[:3, 3] + front[..., None] * ray
        hit = (np.abs(place[..., 0]) < 0.5) & (np.abs(place[..., 1]) < 0.4) & (front > 0)
        depth = np.where(hit, front, depth)
    if scene == "half a wall":
        depth[:, : WIDTH // 2] = 0
    return torch.from_numpy(depth).float()


@cache
def geometry_of(shot):
    place, scene = shot
    depth = ray_cast(POSES[place], scene)[None]
    sure = torch.full_like(depth, 0.4 if scene == "unsure wall" else 1.0)
    cameras = Cameras(POSES[place][None], intrinsics_from_fov(60.0, HEIGHT, WIDTH)[None], HEIGHT, WIDTH)
    return Geometry(depth, sure, torch.ones(depth.shape, dtype=torch.bool), cameras, False, UNIT)


@cache
def lifted(shot, frame, chunk):
    seed = shot[0] + 10 * SCENES.index(shot[1]) + 1000 * (frame + 100)
    latents = torch.randn(CHANNELS, 1, h, w, generator=torch.Generator().manual_seed(seed))
    return lift_latents(latents, geometry_of(shot), [frame], chunk)[0]


def joined(shots):
    parts = [geometry_of(shot) for shot in shots]
    return Geometry(
        torch.cat([g.depth for g in parts]),
        torch.cat([g.confidence for g in parts]),
        torch.cat([g.keep for g in parts]),
        concatenate([g.cameras for g in parts]),
        False,
        UNIT,
    )


def view_of(camera):
    rows = tuple(tuple(map(np.float32, row)) for row in camera.w2c[:3].numpy())
    K = camera.K.numpy()
    return twin.View(rows, (K[0, 0], K[1, 1], K[0, 2], K[1, 2]), camera.height, camera.width)


def seen_of(o):
    """An observation as the model keeps it."""
    columns = (
        [tuple(p) for p in o.points.numpy()],
        [tuple(f) for f in o.features.tolist()],
        o.cells.tolist(),
        o.confidence.tolist(),
        [tuple(n) for n in decode_normals(o.normals).tolist()],
        o.doubted.tolist(),
        o.retired.tolist(),
    )
    points = tuple(twin.Point(*row) for row in zip(*columns))
    return twin.Seen(o.frame, o.chunk, o.voxel, view_of(o.camera), points)


@cache
def look_of(shot):
    g = geometry_of(shot)
    depth, sure = g.depth[0].numpy(), g.confidence[0].numpy()
    K = g.cameras.K / torch.tensor([8.0, 8.0, 1.0])[:, None]
    return twin.reach_of(depth, (depth > 0) & (sure >= 0.5)), view_of(Cameras(g.cameras.c2w, K, h, w)[0])


READERS = Cameras(
    torch.stack([pose((0.01, 0.0, 0.6)), pose((0.1, 0.05, -0.1), (0.1, 0.2, 1.0), 170.0)]),
    intrinsics_from_fov(60.0, h, w).expand(2, 3, 3),
    h,
    w,
)


def frozen(memory):
    """All of a memory, copied."""
    fields = [
        (o.frame, o.chunk, o.voxel, *(getattr(o, name).clone() for name in PER_POINT), o.camera.c2w.clone())
        for part in (memory.observations, memory.drawn)
        for o in part
    ]
    return fields, memory.edits, memory.ledger, len(memory.observations)


def same(one, other):
    def equal(a, b):
        return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b

    return (
        one[1:] == other[1:]
        and len(one[0]) == len(other[0])
        and all(equal(a, b) for x, y in zip(one[0], other[0]) for a, b in zip(x, y))
    )


# --- selections: a region of the pack, and the same in plain numbers


def box_inside(centre, size, turn):
    def inside(at):
        away = [float(at[i]) - centre[i] for i in range(3)]
        local = [sum(turn[i][k] * away[i] for i in range(3)) for k in range(3)]
        return all(abs(x) <= s / 2 for x, s in zip(local, size))

    return inside


CENTRE, SIZE, SLANT = (0.13, 0.07, 1.31), (1.27, 0.93, 0.71), (0.9, 0.1, -0.2, 0.3)


def slanted():
    a, b, c, d = (x / np.sqrt(sum(y * y for y in SLANT)) for x in SLANT)
    return [
        [1 - 2 * (c * c + d * d), 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), 1 - 2 * (b * b + d * d), 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), 1 - 2 * (b * b + c * c)],
    ]


def regions(memory):
    """Some regions of every kind, and what lies inside them."""
    voxel = 0.11
    some = memory.points[::7]
    cubes = {tuple(int(np.floor(np.float32(x) / np.float32(voxel))) for x in p) for p in some.numpy()}
    around = {(i + a, j + b, k + c) for i, j, k in cubes for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1)}
    made = [
        (Box(CENTRE, SIZE, SLANT), box_inside(CENTRE, SIZE, slanted())),
        (
            Sphere((-0.31, 0.2, 2.02), 0.83),
            lambda at: np.hypot(np.hypot(at[0] + 0.31, at[1] - 0.2), at[2] - 2.02) <= 0.83,
        ),
        (HalfSpace((0.41, 0.0, 0.0), (1.0, 0.3, 0.2)), lambda at: (at[0] - 0.41) + 0.3 * at[1] + 0.2 * at[2] >= 0),
        (Everywhere(), lambda at: True),
    ]
    if len(some):
        inside = lambda at: tuple(int(np.floor(np.float32(x) / np.float32(voxel))) for x in at) in around  # noqa: E731
        made.append((voxels_around(some, voxel), inside))
    return made


class Engine(RuleBasedStateMachine):
    """Both memories, step by step."""

    @initialize(given=st.sampled_from([None, None, (0, "half a wall"), (5, "farther wall"), (2, "box")]))
    def begin(self, given):
        self.memory, self.model, self.chunk, self.frame, self.painted = EMPTY, twin.Model(), -1, 0, 0
        self.past, self.handed = [], {}
        if given:
            self.written([given], "keep_first", -1)

    def written(self, shots, policy, chunk):
        frames = [self.frame + 4 * i for i in range(len(shots))]
        views = [lifted(shot, frame, chunk) for shot, frame in zip(shots, frames)]
        self.memory, tally = merge(self.memory, views, POLICIES[policy])
        self.model, expected = twin.merge(self.model, [seen_of(o) for o in views], policy)
        assert tally == expected
        REACHED.update(tally)
        self.memory, tally = carve(self.memory, joined(shots), tuple(frames), chunk)
        self.model, expected = twin.carve(self.model, [(f, *look_of(s)) for s, f in zip(shots, frames)], chunk)
        assert tally == expected
        REACHED.update(tally)
        self.memory = replace(self.memory, ledger=(*self.memory.ledger, {"chunk": chunk}))
        self.frame, self.chunk = frames[-1] + 4, chunk

    @rule(shots=st.lists(SHOT, min_size=1, max_size=2), policy=POLICY)
    def write(self, shots, policy):
        self.at_once(shots, policy)

    def at_once(self, shots, policy):
        if len(self.memory.observations) < MOST:
            self.handed[self.chunk] = frozen(self.memory)
            self.written(shots, policy, self.chunk + 1)

    @rule(place=st.sampled_from([0, 4, 2]), policy=POLICY)
    def look_again(self, place, policy):
        self.at_once([(place, "wall"), (0, "box")], policy)

    @rule(place=st.sampled_from([0, 1, 4]), policy=POLICY)
    def look_past(self, place, policy):
        self.at_once([(place, "farther wall"), (0, "farther wall")], policy)

    @rule(policy=POLICY)
    def look_closer(self, policy):
        self.at_once([(0, "unsure wall"), (1, "wall")], policy)

    def selection(self, which, by_frame):
        places = regions(self.memory)
        region, inside = places[which % len(places)]
        frames = tuple(o.frame for o in self.memory.observations[::2]) if by_frame else None
        return Selection(region, frames), twin.Selected(inside, frames)

    @rule(kind=st.sampled_from(["delete", "hide", "lock", "move"]), which=st.integers(0, 4), by_frame=st.booleans())
    def edit(self, kind, which, by_frame):
        ours, theirs = self.selection(which, by_frame)
        chunk = last_chunk(self.memory)
        assert chunk == self.chunk
        if kind == "move":
            made, model = Move(ours, chunk, TURN), twin.Edit("move", chunk, theirs, TURN.numpy())
        else:
            made = {"delete": Delete, "hide": Hide, "lock": Lock}[kind](ours, chunk)
            model = twin.Edit(kind, chunk, theirs)
        self.edited(made, model)

    @rule(which=st.integers(0, 4))
    def paint(self, which):
        ours, theirs = self.selection(which, False)
        self.painted += 1
        colour = (0.5 * self.painted, -1.0, 0.25, float(self.painted))
        cells = {}
        for o in self.memory.drawn:
            cells.setdefault((o.chunk, o.frame), []).append(o.cells[ours.mask(o)])
        patches, paint = [], {}
        for (chunk, frame), found in cells.items():
            some = torch.cat(found).sort().values
            patches.append(Patch(frame, chunk, some, torch.tensor(colour).half().expand(len(some), 4)))
        for o in twin.drawn(self.model):
            chosen = {p.cell: colour for p in o.points if theirs.inside(p.at)}
            paint.setdefault((o.chunk, o.frame), {}).update(chosen)
        self.edited(Paint(self.chunk, tuple(patches)), twin.Edit("paint", self.chunk, paint=paint))

    @rule(shot=SHOT)
    def put_in(self, shot):
        frame = min([0, *(o.frame for o in (*self.memory.observations, *self.memory.drawn))]) - 1
        o = lifted(shot, frame - len(self.memory.edits), self.chunk)
        self.edited(Insert(self.chunk, (o,)), twin.Edit("insert", self.chunk, inserted=(seen_of(o),)))

    def edited(self, made, model):
        if len(self.memory.edits) < 4:
            self.memory = self.memory.edited(made)
            self.model = self.model._replace(edits=(*self.model.edits, model))

    @precondition(lambda self: self.memory.edits)
    @rule()
    def undo(self):
        self.memory, self.model = self.memory.undone(), self.model._replace(edits=self.model.edits[:-1])
        left = len(self.memory.edits)
        self.handed = {k: snapshot for k, snapshot in self.handed.items() if len(snapshot[1]) <= left}

    @rule(back=st.integers(0, 3))
    def revert(self, back):
        chunk = max(-1, self.chunk - back)
        self.memory, self.model = self.memory.revert(chunk), twin.revert(self.model, chunk)
        if back and chunk in self.handed:
            assert same(frozen(self.memory), self.handed[chunk])
            REACHED["reverted"] += 1
        self.chunk, self.handed = chunk, {k: s for k, s in self.handed.items() if k < chunk}

    @precondition(lambda self: self.memory.observations)
    @rule(share=st.floats(0.5, 1.1))
    def evict(self, share):
        bound = max(1, int(share * self.memory.num_points))
        before, stored = self.model, self.memory.observations
        self.memory, tally = evict(self.memory, bound)
        kept = {(o.chunk, o.frame, cell) for o in self.memory.observations for cell in o.cells.tolist()}
        points = {(o.chunk, o.frame, p.cell): (o, p) for o in before.seen for p in o.points}
        gone = points.keys() - kept
        free = {
            key for key, (o, p) in points.items() if not twin.held(before, o, p) and not (o.chunk < 0 and o.frame == 0)
        }
        assert gone <= free and len(gone) == min(len(free), max(0, len(points) - bound))
        dead = {key for key, (_, p) in points.items() if p.retired != twin.NEVER}
        REACHED.update(tally)
        assert (tally["purged"], tally["evicted"]) == (len(gone & dead), len(gone - dead))
        assert not (gone - dead) or dead & free <= gone  # retired ones go first
        cameras = [o.camera.resized(48, 80) for o in stored]
        value = twin.worth(before, [(view_of(c), tuple(c.position.tolist())) for c in cameras], UNIT)
        stays = free - gone - dead
        if stays and gone - dead:
            assert max(value[k] for k in gone - dead) <= 1.0001 * min(value[k] for k in stays)
        seen = (
            o._replace(points=tuple(p for p in o.points if (o.chunk, o.frame, p.cell) in kept)) for o in before.seen
        )
        self.model = before._replace(seen=tuple(o for o in seen if o.points))
        if gone:
            self.handed = {}

    @rule()
    def save_and_load(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "world.safetensors"
            tensors, record = memory_to_tensors(self.memory, "m.")
            save_tensors(path, tensors, {"memory": record})
            loaded, header = load_tensors(path)
        after = memory_from_tensors(loaded, header["memory"], "m.")
        one, other = frozen(after), frozen(self.memory)
        assert same((one[0], *one[2:]), (other[0], *other[2:])) and len(one[1]) == len(other[1])
        self.memory, self.handed = after, {}  # edits are other values now: snapshots tell them by identity

    @rule(scale=st.sampled_from([1.0, 0.5]), policy=POLICY)
    def bring_in(self, scale, policy):
        if len(self.memory.observations) >= MOST:
            return
        views = [lifted((5, "box"), 0, -1), lifted((1, "farther wall"), 4, 0)]
        other, _ = merge(EMPTY, views)
        theirs, _ = twin.merge(twin.Model(), [seen_of(o) for o in views], "keep_first")
        shut = Selection(Box(CENTRE, SIZE, SLANT))
        other = other.edited(Delete(shut, 0))
        theirs = theirs._replace(
            edits=(twin.Edit("delete", 0, twin.Selected(box_inside(CENTRE, SIZE, slanted()), None)),)
        )
        self.memory, tally = merge_worlds(self.memory, other, TURN, scale, POLICIES[policy])
        inserted = [o for e in self.model.edits for o in e.inserted]
        first = min([0, *(o.frame for o in (*self.model.seen, *inserted))]) - 1
        numbers = sorted({o.frame for o in other.drawn}, reverse=True)
        brought = []
        for o, mine in zip(twin.drawn(theirs), other.drawn):
            points = tuple(
                p._replace(
                    at=twin.moved_by(TURN.numpy(), tuple(x * np.float32(scale) for x in p.at)),
                    normal=twin.turned_by(TURN.numpy(), p.normal),
                )
                for p in o.points
            )
            view = view_of(mine.camera.moved(TURN, scale))
            brought.append(twin.Seen(first - numbers.index(o.frame), self.chunk, 0.0, view, points))
        self.model, expected = twin.merge(self.model, brought, policy)
        assert tally == expected
        REACHED.update(tally)

    @invariant()
    def both_are_one(self):
        if not hasattr(self, "memory"):
            return
        for stored, ours in ((True, self.memory.observations), (False, self.memory.drawn)):
            theirs = self.model.seen if stored else twin.drawn(self.model)
            assert [(o.frame, o.chunk, len(o)) for o in ours] == [(o.frame, o.chunk, len(o.points)) for o in theirs]
            for o, expected in zip(ours, theirs):
                found = seen_of(o)
                assert [p._replace(normal=0) for p in found.points] == [p._replace(normal=0) for p in expected.points]
                for p, q in zip(found.points, expected.points):
                    assert sum(a * b for a, b in zip(p.normal, q.normal)) > 0.999 or p.normal == q.normal
        for centred, splat in ((True, splat_centred), (False, splat_nearest)):
            read = splat(self.memory, READERS)
            features = [p.feature for o in twin.drawn(self.model) for p in o.points]
            for view in range(2):
                winner = twin.read(self.model, view_of(READERS[view]), centred)
                assert (read.winner[view].numpy() == winner).all()
                for i, j in zip(*np.nonzero(winner >= 0)):
                    assert tuple(read.features[view, :, i, j].tolist()) == features[winner[i, j]]
                assert (read.known[view].numpy() == (winner >= 0)).all()
        for memory, snapshot in self.past:
            assert same(frozen(memory), snapshot), "an older memory has changed"
        self.past = [*self.past[-5:], (self.memory, frozen(self.memory))]


@pytest.mark.parametrize("given, policy", [(None, "keep_newest"), *(((0, "half a wall"), p) for p in sorted(POLICIES))])
def test_a_film_in_which_everything_happens(given, policy):
    film, before = Engine(), Counter(REACHED)
    steps = [
        lambda: film.begin(given),
        lambda: film.write([(0, "box"), (4, "wall")], policy),
        lambda: film.look_closer(policy),
        lambda: film.look_past(0, policy),
        lambda: film.edit("lock", 1, False),
        lambda: film.write([(3, "half a wall")], policy),
        lambda: film.paint(0),
        lambda: film.edit("delete", 0, False),
        film.save_and_load,
        lambda: film.write([(2, "box"), (5, "box")], policy),
        lambda: film.look_again(2, policy),
        lambda: film.revert(1),
        lambda: film.put_in((1, "box")),
        film.undo,
        film.undo,
        lambda: film.edit("move", 2, False),
        lambda: film.bring_in(0.5, policy),
        lambda: film.look_past(1, policy),
        lambda: film.evict(0.9),
        lambda: film.evict(0.6),
        film.undo,
        lambda: film.revert(2),
        film.undo,
    ]
    for step in steps:
        step()
        film.both_are_one()
    happened = REACHED - before
    wanted = ["refused", "merged", "added", "doubted", "retired", "purged", "evicted", "reverted"]
    wanted += [] if given is None else ["overlooked"]
    wanted += [] if policy == "keep_first" else ["replaced"]
    assert all(happened[name] for name in wanted), happened


def test_the_memory_is_its_model():
    run_state_machine_as_test(
        Engine,
        settings=settings(
            max_examples=16,
            stateful_step_count=12,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],  # the first failure as it is: shrinking takes longer than CI waits
            suppress_health_check=list(HealthCheck),
        ),
    )
