"""The spatial memory: a tuple of immutable observations, each the points that one frame taught, and edits over them.

Nothing here changes in place. Inserting shares every tensor that was there before, so appending costs what is new, and
a memory that ComfyUI has cached stays what it was. What is read is what is ``drawn``: the points that no later frame
retired, with the edits replayed over them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from .copies import Last, located
from .laid import Laid, laid_out
from .observation import NEVER, Observation, joined, owners
from .order import grouped

KINDS = ("latent", "rgb")
FEATURES = {"latent": torch.float16, "rgb": torch.uint8}
DERIVED = ("living", "drawn", "laid", "rank")  # from the points and the edits alone
FARTHEST = 1e15  # world units: what lies farther out overflows float32 on its way through a camera


class Edit(Protocol):
    """What a user changed. Kept beside the points and replayed over them at every read (``memory/edits.py``)."""

    @property
    def chunk(self) -> int:
        """The last chunk of the memory that was edited."""

    def replay(self, observations: tuple[Observation, ...]) -> tuple[Observation, ...]:
        """What is drawn after this edit, from what was drawn before it."""

    def refuses(self, points: Tensor) -> Tensor:
        """Which new points (N, 3) may not be remembered from now on: (N,) bool."""

    def holds(self, observation: Observation) -> Tensor:
        """Which points of an observation, shown as before this edit, must not be replaced, evicted or contradicted."""

    def touches(self, observation: Observation) -> Tensor:
        """Which of them this edit removes, moves or paints: (N,) bool."""

    def carried(self, observation: Observation) -> Observation:
        """The same points where this edit shows them; none is left out."""


@dataclass(frozen=True, eq=False)
class SpatialMemory:
    """A place as points, oldest observation first."""

    kind: str  # "latent" or "rgb"
    codec: str  # name of the codec whose latents these are; "" for rgb
    channels: int
    scene_unit: float  # median known depth of the start frame, world units
    metric: bool  # world units are metres
    observations: tuple[Observation, ...] = ()  # as they were written; some of their points may be retired
    edits: tuple[Edit, ...] = ()  # oldest first
    ledger: tuple[dict, ...] = ()  # one row a write: what was added, merged, replaced, contradicted, evicted

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind!r}, expected one of {KINDS}")
        for o in self.observations:
            check_features(o, self.kind, self.channels, self.codec)

    @cached_property
    def living(self) -> tuple[Observation, ...]:
        """The stored observations without their retired points: one for each, empty ones included."""
        return tuple(o.living for o in self.observations)

    @cached_property
    def drawn(self) -> tuple[Observation, ...]:
        """What is read: the points that still draw, after all edits. Observations that nothing changed are shared."""
        shown = self.living
        for edit in self.edits:
            shown = edit.replay(shown)
        return tuple(o for o in shown if len(o))

    @cached_property
    def laid(self) -> Laid:
        """What is drawn, ready to be looked at."""
        return laid_out(self.drawn)

    @property
    def laid_as_stored(self) -> Laid:
        """What is stored, retired points and what edits hide included; ``laid`` itself where the two are the same."""
        stored = [o for o in self.observations if len(o)]
        same = len(stored) == len(self.drawn) and all(a is b for a, b in zip(stored, self.drawn))
        return self.laid if same else laid_out(stored)

    def noted(self, row: dict) -> "SpatialMemory":
        """The same memory with one more row in its ledger; what was derived from the points goes along."""
        made = replace(self, ledger=(*self.ledger, row))
        made.__dict__.update({name: self.__dict__[name] for name in DERIVED if name in self.__dict__})
        return made

    @property
    def device(self) -> torch.device:
        """Where the points lie; the CPU where there are none."""
        return self.observations[0].points.device if self.observations else torch.device("cpu")

    def to(self, device: torch.device | str) -> "SpatialMemory":
        """What this memory draws, to be read on a device; the memory itself where it lies there already.

        The points are those that draw, in their order: retired ones stay behind, and edits, replayed where they were
        made, are done. So every readout says the same, by the same indices. Bounds and ranks are made on the CPU, kept
        with this memory, and brought along. How long a copy lives: ``memory/copies.py``.
        """
        device = located(device)
        if self.device == device:
            return self
        return COPIES.copy(self, device, lambda: self._brought(device))

    def _brought(self, device: torch.device) -> "SpatialMemory":
        made = replace(self, observations=tuple(o.to(device) for o in self.drawn), edits=())
        made.__dict__["drawn"] = made.observations
        made.__dict__["rank"] = None if self.rank is None else self.rank.to(device)
        return made

    @property
    def num_points(self) -> int:
        """Points that are stored, retired ones included."""
        return sum(len(o) for o in self.observations)

    @property
    def points(self) -> Tensor:  # (M, 3) world
        """All drawn points in the order of the observations. A new tensor each time: hold on to it in a loop."""
        return joined(self.drawn, "points", torch.empty(0, 3, device=self.device))

    @property
    def features(self) -> Tensor:  # (M, C) float16 or uint8
        """All features in the order of ``points``. A new tensor each time: hold on to it in a loop."""
        nothing = torch.empty(0, self.channels, dtype=FEATURES[self.kind], device=self.device)
        return joined(self.drawn, "features", nothing)

    @property
    def spacing(self) -> Tensor:  # (M,) world units
        return joined(self.drawn, "spacing", torch.empty(0, device=self.device))

    def stored(self, owner: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:  # both (K,) int64
        """Features as they are kept, of points given by their observation among those drawn and their place in it.

        Returns:
            rows (K + 1, C), one observation after another and a last one of zeros; and which of them is that of each
            point (K,) int64. So whoever asks brings them into his own order, once.
        """
        order, end = grouped(owner), 0
        counts = torch.bincount(owner, minlength=len(self.drawn)).tolist()
        place = place.index_select(0, order)
        rows = torch.empty(len(owner) + 1, self.channels, dtype=FEATURES[self.kind], device=owner.device)
        rows[-1] = 0
        for o, count in zip(self.drawn, counts):
            if count:
                begin, end = end, end + count
                torch.index_select(o.features, 0, place[begin:end], out=rows[begin:end])
        return rows, torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))

    def gather(self, index: Tensor) -> Tensor:  # index: (K,) int64 into points
        """Features (K, C) float32 of some points; colours in [0, 1]."""
        rows, row = self.stored(*owners(self.drawn, index))
        return told(self.kind, rows.index_select(0, row).float())

    @cached_property
    def rank(self) -> Tensor | None:  # (M,) int64, or None where the points are in this order already
        """The place of each drawn point in the order of (chunk, frame, cell), which settles ties in depth."""
        times = [(o.chunk, o.frame) for o in self.drawn]
        strictly = all(a < b for a, b in zip(times, times[1:]))
        if strictly and all(o.ascending for o in self.drawn):
            return None
        ranks = {time: rank for rank, time in enumerate(sorted(set(times)))}
        keys = torch.cat([(ranks[time] << 32) + o.cells.long() for time, o in zip(times, self.drawn)])
        order = torch.argsort(keys, stable=True)
        return torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))

    def insert(self, observations: Sequence[Observation]) -> "SpatialMemory":
        """This memory and the new observations behind it; empty ones are left out.

        Raises:
            ValueError: an observation has another number or kind of channels, or points that are not finite.
        """
        check_places(observations)
        fresh = tuple(o for o in observations if len(o))
        return replace(self, observations=self.observations + fresh) if fresh else self

    def select(self, predicate: Callable[[Observation], Tensor]) -> "SpatialMemory":
        """The stored points for which ``predicate(observation)`` (N,) bool is True; observations left empty go."""
        kept = [(o, predicate(o)) for o in self.observations]
        chosen = [o if bool(keep.all()) else o.where(keep) for o, keep in kept]
        return replace(self, observations=tuple(o for o in chosen if len(o)))

    def revert(self, chunk: int) -> "SpatialMemory":
        """The memory as it was after ``chunk`` (-1 = at the start): later points, stamps, edits and rows are gone.

        Points that a budget evicted are not brought back.
        """
        kept = tuple(_before(o, chunk) for o in self.observations if o.chunk <= chunk)
        return replace(
            self,
            observations=kept,
            edits=tuple(e for e in self.edits if e.chunk <= chunk),
            ledger=tuple(row for row in self.ledger if row["chunk"] <= chunk),
        )

    def edited(self, edit: Edit) -> "SpatialMemory":
        """This memory with one more edit."""
        return replace(self, edits=(*self.edits, edit))

    def undone(self) -> "SpatialMemory":
        """This memory without its last edit.

        Raises:
            ValueError: there is none.
        """
        if not self.edits:
            raise ValueError("the memory has no edit to undo")
        return replace(self, edits=self.edits[:-1])

    def get_ram_usage(self) -> int:
        """Bytes that the observations hold, and those that edits brought in."""
        inserted = (o for e in self.edits for o in getattr(e, "observations", ()))
        return sum(o.get_ram_usage() for o in (*self.observations, *inserted))

    def index_bytes(self) -> int:
        """Bytes of derived indices that can be dropped and made again: bounds, and the points that still draw."""
        laid = self.laid.get_ram_usage() if "laid" in self.__dict__ else 0
        return laid + sum(o.index_bytes() for o in self.observations)


COPIES: Last[SpatialMemory] = Last()


def told(kind: str, features: Tensor) -> Tensor:
    """Features as floats -> latents as they are, colours in [0, 1]."""
    return features / 255 if kind == "rgb" else features


def check_places(observations: Sequence[Observation]) -> None:
    """Refuse points that lie nowhere.

    Raises:
        ValueError: NaN, infinite, or so far away that float32 overflows.
    """
    for o in observations:
        if len(o) and not bool((o.points.abs() < FARTHEST).all()):
            raise ValueError(
                f"frame {o.frame} brings points that are NaN, infinite or beyond {FARTHEST:g} world units; check "
                "its depth and its camera"
            )


def check_features(observation: Observation, kind: str, channels: int, codec: str) -> None:
    """Refuse an observation that a memory of this kind cannot hold.

    Raises:
        ValueError: another number of channels, or another type of feature.
    """
    found = observation.features
    if found.shape[1] != channels or found.dtype != FEATURES[kind]:
        raise ValueError(
            f"an observation of frame {observation.frame} has {found.shape[1]} channels of {found.dtype}, the memory "
            f"holds {channels} of {FEATURES[kind]}; it comes from another codec than {codec!r}, or of another kind"
        )


def _before(observation: Observation, chunk: int) -> Observation:
    """An observation without what happened to it after ``chunk``."""
    for name in ("doubted", "retired"):
        stamps = getattr(observation, name)
        later = (stamps > chunk) & (stamps != NEVER)
        if bool(later.any()):
            observation = observation.marked(name, later, NEVER)
            if bool((getattr(observation, name) == NEVER).all()):
                once: dict[str, Any] = {name: torch.tensor(NEVER, dtype=torch.int16)}  # one value stands for all again
                observation = replace(observation, **once)
    return observation
