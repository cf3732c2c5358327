"""What cameras see of a memory, voxel by voxel: kept for each frame, and told of new points alone.

A memory is looked at through its outline: the oldest point of each voxel. A voxel is seen where that point lies no more
than ``BEHIND`` behind the nearest of its cell, and nothing nearer stands around it (``fence``). The second rule closes
the gaps that open between points when a camera comes closer than the one that wrote them: from half the depth three of
four cells of a near surface are empty.

An outline only grows while a memory only grows, and the front only comes nearer: what is out of reach once stays so.
So a frame's sight after any growth equals, to the bit, the one that is made from nothing.
"""

import math
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, product

import torch
from torch import Tensor

from .camera import Cameras
from .cloud import SpatialMemory
from .front import front
from .laid import laid_out
from .observation import Observation, owners, spacing_of
from .order import grouped
from .voxels import voxel_keys
from .which import which

BEHIND = 0.1  # relative: a point this much farther than the surface in its cell is hidden
AROUND = 2.1  # footprints that a front point reaches to close a gap: no round number, as neighbours stand at those
WIDEST = 0.25  # of the short side of the image, at most
CACHED = 128 << 20  # bytes of sights that are kept


@dataclass(frozen=True, eq=False)
class Outline:
    """The oldest point of each voxel, M in all. Behind one another: what each growth brought."""

    voxel: float  # world units
    keys: Tensor  # (M,) int64
    spacing: Tensor  # (M,) world units: the voxel, or the footprint that the point was written with, if wider
    parts: tuple[Observation, ...] = ()  # the points, one part a growth, without features

    def grown(self, observations: Sequence[Observation]) -> "Outline":
        """The outline of a memory that draws these observations as well, behind those before."""
        if not observations:
            return self
        points = torch.cat([o.points for o in observations])
        keys, home = voxel_keys(points, self.voxel).unique(return_inverse=True)
        count = torch.arange(len(points), device=points.device)
        oldest = torch.full_like(keys, len(points)).scatter_reduce_(0, home, count, "amin")
        fresh = oldest[~among(keys, self.keys.sort()[0])].sort()[0]
        if not len(fresh):
            return self
        points, last = points[fresh], observations[-1]
        nothing = torch.empty(len(fresh), 0, dtype=last.features.dtype, device=points.device)
        no_cell = count[:1].int().expand(len(fresh))  # nobody asks
        part = Observation(points, nothing, no_cell, last.camera, last.frame, last.chunk)
        spacing = spacing_of(observations, owners(observations, fresh)[0], points.T).clamp(min=self.voxel)
        return Outline(
            self.voxel,
            torch.cat([self.keys, voxel_keys(points, self.voxel)]),
            torch.cat([self.spacing, spacing]),
            (*self.parts, part),
        )

    def get_ram_usage(self) -> int:
        """Bytes, those derived from the points included."""
        points = sum(p.get_ram_usage() + p.index_bytes() for p in self.parts)
        return points + sum(t.numel() * t.element_size() for t in (self.keys, self.spacing))


@dataclass(frozen=True, eq=False)
class Sight:
    """What one camera reaches of an outline: E of its points, the nearest of each cell and those close behind."""

    parts: int  # of the outline, that it was told of
    depth: Tensor  # (h w) z of the nearest point in each cell, inf where there is none
    cell: Tensor  # (E,) int16, or int32 on a large grid
    z: Tensor  # (E,)
    point: Tensor  # (E,) int32 into the outline
    free: Tensor | None = None  # (E,) bool, whether nothing nearer stands around it; None = not asked since it changed

    def get_ram_usage(self) -> int:
        kept = (self.depth, self.cell, self.z, self.point, self.free)
        return sum(t.numel() * t.element_size() for t in kept if t is not None)

    def told(self, parts: int, depth: Tensor, cell: Tensor, z: Tensor, point: Tensor) -> "Sight":
        """This sight and what a camera reaches of more parts: depth (h w) and E points as here."""
        if not len(point):
            return replace(self, parts=parts)
        if not len(self.point):
            return Sight(parts, depth.clone(), cell.clone(), z.clone(), point.clone())  # they are parts of larger ones
        reaches = which(z <= self.depth[cell.long()] * (1 + BEHIND))
        if not len(reaches):
            return replace(self, parts=parts)
        cell, z, point = cell[reaches], z[reaches], point[reaches]
        nearest = torch.minimum(self.depth, depth)
        cell, z, point = (torch.cat(both) for both in ((self.cell, cell), (self.z, z), (self.point, point)))
        keep = which(z <= nearest[cell.long()] * (1 + BEHIND))
        return Sight(parts, nearest, cell[keep], z[keep], point[keep])


def outlined(memory: SpatialMemory, voxel: float) -> Outline:
    """The outline of what a memory draws, from nothing."""
    none = torch.empty(0, dtype=torch.int64, device=memory.device)
    return Outline(voxel, none, none.float()).grown(memory.drawn)


def look(outline: Outline, cameras: Cameras, before: Sequence[Sight | None]) -> list[Sight]:
    """The sight of each camera (V,); one that it had ``before`` is told of the points that are new to it."""
    none, size = torch.empty(0, dtype=torch.int32, device=outline.keys.device), cameras.height * cameras.width
    kind = torch.int16 if size <= torch.iinfo(torch.int16).max else torch.int32
    blind = Sight(0, torch.full((size,), torch.inf, device=none.device), none.to(kind), none.float(), none)
    sights = [s or blind for s in before]
    begin = [0, *accumulate(len(p) for p in outline.parts)]
    for told in sorted({s.parts for s in sights} - {len(outline.parts)}):
        mine = [view for view, s in enumerate(sights) if s.parts == told]
        found = front(laid_out(outline.parts[told:]), cameras[mine], BEHIND)
        depth = torch.where(found.depth > 0, found.depth, torch.inf).flatten(1)
        view_of, cell = found.seen
        order = grouped(view_of)
        counts = torch.bincount(view_of, minlength=len(mine)).tolist()
        new = (t[order].split(counts) for t in (cell.to(kind), found.z, (found.point + begin[told]).int()))
        for view, *row in zip(mine, depth, *new):
            sights[view] = sights[view].told(len(outline.parts), *row)
    return asked(outline, cameras, sights)


def asked(outline: Outline, cameras: Cameras, sights: Sequence[Sight]) -> list[Sight]:
    """The sights of cameras (V,), each of which knows what is free."""
    new = [view for view, s in enumerate(sights) if s.free is None]
    if not new:
        return list(sights)
    some, cameras = [sights[view] for view in new], cameras[new].to(outline.keys.device)
    size = cameras.height * cameras.width
    depth = torch.stack([s.depth for s in some])  # (V, h w)
    place = torch.cat([s.cell.long() + row * size for row, s in enumerate(some)])  # (E,) into all of these views
    z, point = torch.cat([s.z for s in some]), torch.cat([s.point for s in some])
    first = which(z == depth.view(-1)[place])
    wide = torch.zeros_like(depth)  # of points at one depth the widest, whatever their order
    wide.view(-1).scatter_reduce_(0, place[first], outline.spacing[point[first]], "amax")
    focal = torch.minimum(cameras.K[:, 0, 0], cameras.K[:, 1, 1])[:, None]
    grid = (len(some), cameras.height, cameras.width)
    around = fence(depth.view(grid), (AROUND * focal * wide / depth).view(grid))
    free = (z <= around.view(-1)[place] * (1 + BEHIND)).split([len(s.point) for s in some])
    known = {view: replace(s, free=f.clone()) for view, s, f in zip(new, some, free)}
    return [known.get(view, s) for view, s in enumerate(sights)]


def seen(outline: Outline, sights: Sequence[Sight]) -> list[Tensor]:
    """The voxels that cameras see by their sights, which know what is free: sorted tensors of unique int64 keys."""
    return [outline.keys[s.point.masked_select(s.free)].sort()[0] for s in sights if s.free is not None]


def fence(depth: Tensor, reach: Tensor) -> Tensor:
    """How far away the front that stands all around each cell is at most: (V, h, w), inf where a quarter is free.

    Around each cell lie four quarters; in each the nearest front point counts whose ``reach`` the cell is within. One
    side of a straight edge always has a quarter free, so an edge hides nothing beside it, and a slanted surface does
    not hide itself. What shows through a slit that is narrower than two such reaches is lost.

    Args:
        depth: (V, h, w) of the front, inf where there is none.
        reach: (V, h, w) in cells, from cell to cell.
    """
    views, h, w = depth.shape
    reach = reach.clamp(max=WIDEST * min(h, w))
    pad = math.ceil(reach.amax().item())
    high, wide = h + 2 * pad, w + 2 * pad
    z, far = depth.new_full((views, high, wide), torch.inf), depth.new_zeros(views, high, wide)
    z[:, pad : pad + h, pad : pad + w], far[:, pad : pad + h, pad : pad + w] = depth, reach
    place = which(z < torch.inf)
    order = far.view(-1)[place].argsort(descending=True)
    place, z, far = place[order], z.view(-1), far.view(-1)
    reaches, fronts, edge = -far[place], z[place], pad * wide + pad
    quarters = depth.new_full((4, z.numel()), torch.inf)
    covers, inside = quarters.unbind(0), slice(edge, z.numel() - edge)
    rings = _rings(pad)
    counts = torch.searchsorted(reaches, reaches.new_tensor([-distance for distance, _ in rings])).tolist()
    for (distance, steps), count in zip(rings, counts):  # ``count`` fronts reach farther
        if 8 * count > z.numel():  # most do: in a row, without a list
            masked = torch.where(far > distance, z, torch.inf)[inside]
            for quarter, down, right in steps:
                shift = down * wide + right
                part = covers[quarter][edge + shift : z.numel() - edge + shift]
                torch.minimum(part, masked, out=part)
        elif count:
            some, near = place[:count], fronts[:count]
            for quarter, down, right in steps:
                there, cover = some + (down * wide + right), covers[quarter]
                cover.index_copy_(0, there, torch.minimum(cover.index_select(0, there), near))
    return quarters.amax(0).view(views, high, wide)[:, pad : pad + h, pad : pad + w].contiguous()


def _rings(pad: int) -> list[tuple[float, list[tuple[int, int, int]]]]:
    """The steps (quarter, down, right) to all cells at most ``pad`` rows and columns away, by their distance.

    The quarter is where the step leads. Seen from there it began in the opposite one: the same four, named otherwise.
    """
    rings: dict[float, list[tuple[int, int, int]]] = {}
    for down, right in product(range(-pad, pad + 1), repeat=2):
        if down or right:
            rings.setdefault(math.hypot(down, right), []).append((_quarter(right, down), down, right))
    return sorted(rings.items())


def among(keys: Tensor, known: Tensor) -> Tensor:
    """Which of the keys (N,) are among those known (M,), which are sorted: (N,) bool."""
    if not len(known):
        return torch.zeros_like(keys, dtype=torch.bool)
    return known[torch.searchsorted(known, keys).clamp(max=len(known) - 1)] == keys


@dataclass(frozen=True, eq=False)
class Lineage:
    """A memory that was looked at, and what was seen: good for any memory that begins with the same observations."""

    told: tuple["weakref.ref[Observation]", ...]
    outline: Outline
    sights: dict[bytes, Sight]  # by pose, K and grid; the one used last stands last

    def leads_to(self, observations: Sequence[Observation], voxel: float) -> bool:
        """Whether a memory of these observations is this one, or this one grown."""
        begins = len(self.told) <= len(observations) and all(r() is o for r, o in zip(self.told, observations))
        return begins and self.outline.voxel == voxel

    def get_ram_usage(self) -> int:
        return self.outline.get_ram_usage() + sum(s.get_ram_usage() for s in self.sights.values())


class Sights:
    """Sights that were made once, up to ``most`` bytes. To forget them costs time and changes nothing.

    Observations are held by weak references and recognised by identity: a memory in which anything changed but its end
    is looked at afresh. Threads may share it: what is kept is frozen and swapped whole.
    """

    def __init__(self, most: int = CACHED) -> None:
        self._most, self._lock = most, threading.Lock()
        self._kept: tuple[Lineage, ...] = ()  # the one used last stands last

    def visible(self, memory: SpatialMemory, cameras: Cameras, voxel: float) -> list[Tensor]:
        """The voxels of side ``voxel`` that each camera (V,) sees: V sorted tensors of unique int64 keys."""
        shown = memory.drawn if memory.edits else memory.living
        stored = memory.drawn if memory.edits else memory.observations  # what tells a memory: living ones are remade
        with self._lock:
            leads = [line for line in self._kept if line.leads_to(stored, voxel)]
        base = max(leads, key=lambda line: len(line.told), default=None)
        if base is None:
            told, outline, sights = 0, outlined(memory, voxel), {}
        else:
            told, sights = len(base.told), dict(base.sights)
            outline = base.outline.grown([o for o in shown[told:] if len(o)])
        names = _names(cameras)
        made = look(outline, cameras, [sights.pop(name, None) for name in names])
        sights.update(zip(names, made))
        if stored:
            refs = (*(base.told if base else ()), *(weakref.ref(o) for o in stored[told:]))
            self._keep(Lineage(refs, outline, sights), base)
        return seen(outline, made)

    def get_ram_usage(self) -> int:
        return sum(line.get_ram_usage() for line in self._kept)

    def forget(self) -> None:
        with self._lock:
            self._kept = ()

    def _keep(self, line: Lineage, instead: Lineage | None) -> None:
        spare = self._most - line.outline.get_ram_usage()
        for name, sight in reversed(tuple(line.sights.items())):
            spare -= sight.get_ram_usage()
            if spare < 0:
                del line.sights[name]
        with self._lock:
            alive = [k for k in self._kept if k is not instead and all(r() is not None for r in k.told)]
            while alive and spare < sum(k.get_ram_usage() for k in alive):
                alive.pop(0)
            self._kept = (*alive, line) if line.sights else tuple(alive)


SIGHTS = Sights()


def visible_voxels(memory: SpatialMemory, cameras: Cameras, voxel: float) -> list[Tensor]:
    """The voxels of side ``voxel`` (world units) that each camera (V,) sees: V sorted tensors of unique int64 keys."""
    return SIGHTS.visible(memory, cameras, voxel)


def sight_bytes() -> int:
    """Bytes of the sights that are kept. They are derived and can be dropped: ``SIGHTS.forget()``."""
    return SIGHTS.get_ram_usage()


def _quarter(right: int, down: int) -> int:
    """Which of the four quarters a step leads into; each owns the axis that it begins with."""
    if right > 0 and down >= 0:
        return 0
    if down > 0:
        return 1
    return 2 if right < 0 else 3


def _names(cameras: Cameras) -> list[bytes]:
    """What tells the cameras (V,) from all others: pose, K and grid."""
    numbers = torch.cat([cameras.c2w.flatten(1), cameras.K.flatten(1)], 1).cpu().numpy()
    return [row.tobytes() + f"{cameras.height}x{cameras.width}".encode() for row in numbers]
