"""A slow, obvious model of the memory: lists of points and plain loops. It shares no code with the pack.

Only the numbers of cameras come from there. Float32 where bits are compared.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

F = np.float32
NEVER = 32767
SURFACE, CENTRED, BEYOND, COARSE = 0.05, 0.1, 0.1, 8


class View(NamedTuple):
    """A camera's numbers."""

    w2c: tuple  # 3 rows of 4 float32
    K: tuple  # fx, fy, cx, cy
    height: int
    width: int


class Point(NamedTuple):
    at: tuple  # x, y, z float32
    feature: tuple
    cell: int
    confidence: int
    normal: tuple  # a unit vector, or zeros
    doubted: int
    retired: int


class Seen(NamedTuple):
    """What one frame taught."""

    frame: int
    chunk: int
    voxel: float
    view: View
    points: tuple


class Selected(NamedTuple):
    inside: Callable  # place -> bool
    frames: tuple | None

    def picks(self, seen, point):
        return (self.frames is None or seen.frame in self.frames) and self.inside(point.at)


class Edit(NamedTuple):
    kind: str
    chunk: int
    selected: Selected | None = None
    transform: np.ndarray | None = None  # (4, 4) float32
    paint: dict | None = None  # (chunk, frame) -> cell -> feature
    inserted: tuple = ()  # of Seen


class Model(NamedTuple):
    seen: tuple = ()
    edits: tuple = ()


@cache
def project(at, view):
    """u, v, z in float32, in the order of products that the pack fixes."""
    x, y, z = at
    a, b, c = (row[0] * x + row[1] * y + row[2] * z + row[3] for row in view.w2c)
    fx, fy, cx, cy = view.K
    with np.errstate(all="ignore"):
        return a / c * fx + cx, b / c * fy + cy, c


def cell_of(at, view):
    """The flat cell that a point falls into, or None."""
    u, v, z = project(at, view)
    if not (np.isfinite(z) and z > 0 and 0 <= u < view.width and 0 <= v < view.height):
        return None
    return int(math.floor(v)) * view.width + int(math.floor(u))


def off_middle(at, view):
    u, v, _ = project(at, view)
    du, dv = u - np.floor(u) - F(0.5), v - np.floor(v) - F(0.5)
    return np.sqrt(du * du + dv * dv)


def footprint(seen, point):
    """World units from a point to its neighbours: a cell at its depth, or the voxel."""
    return max(project(point.at, seen.view)[2] / min(seen.view.K[:2]), F(seen.voxel))


def thinner(seen, keep):
    """A frame's points for which ``keep`` holds; the very same value where all stay."""
    kept = tuple(p for p in seen.points if keep(p))
    return seen if len(kept) == len(seen.points) else seen._replace(points=kept)


def moved_by(M, at):
    x, y, z = at
    return tuple(M[i][0] * x + M[i][1] * y + M[i][2] * z + M[i][3] for i in range(3))


def turned_by(M, normal):
    return tuple(float(sum(M[i][k] * normal[k] for k in range(3))) for i in range(3))


def living(model):
    return [thinner(o, lambda p: p.retired == NEVER) for o in model.seen]


def drawn(model, alive=None):
    """What is read, in order: what was not retired, and every edit on top. What no edit changes is the very same."""
    shown = living(model) if alive is None else alive
    for edit in model.edits:
        shown = [part for o in shown for part in replayed(edit, o)] + list(edit.inserted)
    return [o for o in shown if o.points]


def replayed(edit, o):
    """One frame after one edit: what stays, and what stands elsewhere."""
    if edit.kind == "paint":
        new = edit.paint.get((o.chunk, o.frame), {})
        points = tuple(p._replace(feature=new.get(p.cell, p.feature)) for p in o.points)
        return [o._replace(points=points) if any(p.cell in new for p in o.points) else o]
    if edit.kind not in ("delete", "hide", "move") or (edit.kind == "move" and o.chunk > edit.chunk):
        return [o]
    gone = [p for p in o.points if edit.selected.picks(o, p)]
    rest = thinner(o, lambda p: p not in gone)
    if edit.kind != "move" or not gone:
        return [rest]
    M = edit.transform
    there = tuple(p._replace(at=moved_by(M, p.at), normal=turned_by(M, p.normal)) for p in gone)
    return [rest, o._replace(points=there)]


def held(model, seen, point):
    """Whether an edit keeps a stored point, wherever it stands by then, from being replaced, contradicted, evicted."""
    for edit in model.edits:
        locks = edit.kind == "hide" or (edit.kind == "lock" and seen.chunk <= edit.chunk)
        if locks and edit.selected.picks(seen, point):
            return True
        point = carried(edit, seen, point)
    return False


def touched(model, seen, point):
    """Whether an edit removes, moves or paints a stored point."""
    for edit in model.edits:
        if edit.kind == "paint":
            changes = point.cell in edit.paint.get((seen.chunk, seen.frame), {})
        else:
            ever = edit.kind in ("delete", "hide") or (edit.kind == "move" and seen.chunk <= edit.chunk)
            changes = ever and edit.selected.picks(seen, point)
        if changes:
            return True
        point = carried(edit, seen, point)
    return False


def kept(model, index, cell):
    """Whether an edit locks or has changed the point of a cell of a stored frame."""
    seen = model.seen[index]
    (point,) = (p for p in seen.points if p.cell == cell)
    return held(model, seen, point) or touched(model, seen, point)


def carried(edit, seen, point):
    """A point where an edit shows it."""
    if edit.kind == "move" and seen.chunk <= edit.chunk and edit.selected.picks(seen, point):
        return point._replace(at=moved_by(edit.transform, point.at))
    return point


def is_refused(model, at):
    return any(
        e.kind in ("delete", "hide") and e.selected.frames is None and e.selected.inside(at) for e in model.edits
    )


def is_overlooked(model, at):
    """Whether a given picture saw past this place to a surface behind."""
    for o in living(model):
        if o.chunk < 0:
            cell = cell_of(at, o.view)
            for p in o.points:
                if p.cell == cell and project(at, o.view)[2] < project(p.at, o.view)[2] * F(1 - SURFACE):
                    return True
    return False


def gives_way(policy, new, new_size, old, old_size):
    """Whether the older point gives way to the new one."""
    if policy == "keep_finest":
        surer = new.confidence >= old.confidence + 64
        return new_size < F(0.8) * old_size or (surer and new_size <= F(1.25) * old_size)
    return policy == "keep_newest"


def one_surface(seen, new, old):
    """Whether an older point that falls into a new point's cell lies on its surface and serves it."""
    z, depth = project(old.at, seen.view)[2], project(new.at, seen.view)[2]
    cosine = sum(a * b for a, b in zip(new.normal, old.normal))
    agree = not any(new.normal) or not any(old.normal) or cosine >= 0.5
    return abs(z - depth) <= F(SURFACE) * depth and agree and off_middle(old.at, seen.view) <= F(CENTRED)


def merge(model, frames, policy):
    """Insert what frames taught, one after another."""
    tally = dict.fromkeys(("lifted", "refused", "overlooked", "merged", "added", "replaced"), 0)
    for o in frames:
        fresh = []
        for p in o.points:
            tally["lifted"] += 1
            if is_refused(model, p.at):
                tally["refused"] += 1
            elif is_overlooked(model, p.at):
                tally["overlooked"] += 1
            else:
                fresh.append(p)
        alive = living(model)
        stored = {(other.chunk, other.frame): index for index, other in enumerate(alive)}
        older = {}  # cell -> (where the point is stored, None if an edit brought it in; its frame; the point)
        for other in drawn(model, alive):
            home = stored.get((other.chunk, other.frame))
            for p in other.points:
                older.setdefault(cell_of(p.at, o.view), []).append((home, other, p))
        added, gone = [], set()
        for p in fresh:
            same = [entry for entry in older.get(p.cell, []) if one_surface(o, p, entry[2])]
            leaving = []
            for home, other, old in same:
                able = home is not None and not (other.chunk < 0 <= o.chunk) and not kept(model, home, old.cell)
                if able and gives_way(policy, p, footprint(o, p), old, footprint(other, old)):
                    leaving.append((home, old.cell))
            if not same or len(leaving) == len(same):
                added.append(p)
                gone |= set(leaving)
        tally["merged"] += len(fresh) - len(added)
        tally["added"] += len(added)
        tally["replaced"] += len(gone)
        seen = []
        for index, other in enumerate(model.seen):
            points = tuple(
                p._replace(retired=o.chunk) if (index, p.cell) in gone and p.retired == NEVER else p
                for p in other.points
            )
            seen.append(other._replace(points=points))
        new = [o._replace(points=tuple(added))] if added else []
        model = model._replace(seen=tuple(seen + new))
    return model, tally


def reach_of(depth, counts):
    """How far each coarse cell and its eight neighbours see at least, 0 where any of it does not count."""
    h, w = depth.shape[0] // COARSE, depth.shape[1] // COARSE
    reach = [[0.0] * w for _ in range(h)]
    for i in range(1, h - 1):
        for j in range(1, w - 1):
            rows, columns = slice(COARSE * (i - 1), COARSE * (i + 2)), slice(COARSE * (j - 1), COARSE * (j + 2))
            if counts[rows, columns].all():
                reach[i][j] = float(depth[rows, columns].min())
    return reach


def carve(model, looks, chunk):
    """``looks``: (frame, reach, view of the coarse grid) of each new view."""
    tally = {"doubted": 0, "retired": 0}
    seen = list(model.seen)
    for frame, reach, view in looks:
        for index, o in enumerate(seen):
            own = o.chunk == chunk and (chunk >= 0 or o.frame == frame)
            if own or o.chunk < 0 <= chunk:
                continue
            points = []
            for p in o.points:
                cell = cell_of(p.at, view)
                far = -math.inf if cell is None else reach[cell // view.width][cell % view.width]
                through = p.retired == NEVER and project(p.at, view)[2] * 1.1 < far
                if through and not held(model, o, p) and not touched(model, o, p):
                    name = "doubted" if p.doubted == NEVER else "retired"
                    tally[name] += 1
                    p = p._replace(**{name: chunk})
                points.append(p)
            seen[index] = o._replace(points=tuple(points))
    return model._replace(seen=tuple(seen)), tally


def revert(model, chunk):
    seen = []
    for o in model.seen:
        if o.chunk <= chunk:
            points = tuple(
                p._replace(
                    doubted=p.doubted if p.doubted <= chunk else NEVER,
                    retired=p.retired if p.retired <= chunk else NEVER,
                )
                for p in o.points
            )
            seen.append(o._replace(points=points))
    return Model(tuple(seen), tuple(e for e in model.edits if e.chunk <= chunk))


def read(model, view, centred):
    """Which drawn point each cell sees: (h, w) index, -1 = hole."""
    entries = [(o, p) for o in drawn(model) for p in o.points]
    cells = {}
    for index, (o, p) in enumerate(entries):
        cell = cell_of(p.at, view)
        if cell is not None:
            age = (o.chunk, o.frame, p.cell, index)
            cells.setdefault(cell, []).append((project(p.at, view)[2], int(off_middle(p.at, view) * F(10)), age, index))
    winner = np.full((view.height, view.width), -1)
    for cell, found in cells.items():
        nearest = min(z for z, *_ in found)
        if centred:
            front = [(aside, age, index) for z, aside, age, index in found if z <= nearest * F(1 + SURFACE)]
        else:
            front = [(0, age, index) for z, _, age, index in found if z == nearest]
        winner[cell // view.width, cell % view.width] = min(front)[2]
    return winner


def worth(model, views, unit):
    """What each stored point is worth, by (chunk, frame, cell): views that see it x confidence / (footprint x way)."""
    seen = {}
    for view, _ in views:
        cells = {}
        for o in living(model):
            for p in o.points:
                cell = cell_of(p.at, view)
                if cell is not None:
                    cells.setdefault(cell, []).append((float(project(p.at, view)[2]), (o.chunk, o.frame, p.cell)))
        for found in cells.values():
            for z, key in found:
                seen[key] = seen.get(key, 0) + (z <= min(found)[0] * 1.05)
    value = {}
    for o in model.seen:
        for p in o.points:
            key = (o.chunk, o.frame, p.cell)
            way = min(math.dist(p.at, place) for _, place in views)
            value[key] = (
                (1 + seen.get(key, 0)) * (p.confidence + 1) / (abs(float(footprint(o, p))) * way + 1e-6 * unit**2)
            )
    return value
