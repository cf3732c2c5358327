"""What a memory holds, in numbers: by chunk, by edit, and what its writes did."""

import torch

from .cloud import Edit, SpatialMemory
from .edits import Delete, Insert, Lock, Move, Paint
from .observation import NEVER, Observation
from .regions import Box, HalfSpace, Sphere, Voxels

KINDS = {Box: "a box", Sphere: "a sphere", HalfSpace: "a half-space", Voxels: "a surface"}


def memory_figures(memory: SpatialMemory) -> dict:
    """All that can be counted, as JSON: totals, a row a chunk, a row an edit, and the ledger."""
    chunks = sorted({o.chunk for o in memory.observations})
    doubted, retired = (sum(_stamped(o, name) for o in memory.observations) for name in ("doubted", "retired"))
    return {
        "kind": memory.kind,
        "codec": memory.codec,
        "channels": memory.channels,
        "scene_unit": memory.scene_unit,
        "metric": memory.metric,
        "views": len(memory.observations),
        "stored_points": memory.num_points,
        "drawn_points": sum(len(o) for o in memory.drawn),
        "contradicted_points": doubted,
        "retired_points": retired,
        "bytes": memory.get_ram_usage(),
        "index_bytes": memory.index_bytes(),
        "chunks": [_chunk(memory, chunk) for chunk in chunks],
        "edits": _edits(memory),
        "ledger": list(memory.ledger),
    }


def figures_table(figures: dict) -> str:
    """The figures as lines for a person."""
    unit = "m" if figures["metric"] else "world units"
    lines = [
        f"{figures['kind']} memory{' of ' + figures['codec'] if figures['codec'] else ''}, "
        f"scene unit {figures['scene_unit']:.3g} {unit}",
        f"{figures['drawn_points']:,} points drawn, {figures['stored_points']:,} stored, {figures['views']} views",
        f"{figures['contradicted_points']:,} contradicted once, {figures['retired_points']:,} retired",
        f"{figures['bytes']:,} bytes, {figures['index_bytes']:,} more of indices that can be dropped",
        "",
        "chunk     points   contradicted    retired       bytes",
    ]
    for row in figures["chunks"]:
        name = "given" if row["chunk"] < 0 else str(row["chunk"])
        numbers = f"{row['points']:>10,} {row['contradicted']:>14,} {row['retired']:>10,} {row['bytes']:>11,}"
        lines.append(f"{name:>5} {numbers}")
    if figures["edits"]:
        lines += ["", "edits, oldest first"]
        for i, row in enumerate(figures["edits"]):
            lines.append(f"{i + 1}  {row['edit']}: {row['what']}, {row['points']:,} points")
    return "\n".join(lines)


def inserted_frames(memory: SpatialMemory) -> set[int]:
    """The frame numbers of what edits brought in."""
    return {o.frame for edit in memory.edits if isinstance(edit, Insert) for o in edit.observations}


def _chunk(memory: SpatialMemory, chunk: int) -> dict:
    mine = [o for o in memory.observations if o.chunk == chunk]
    return {
        "chunk": chunk,
        "views": len(mine),
        "points": sum(len(o) for o in mine),
        "contradicted": sum(_stamped(o, "doubted") for o in mine),
        "retired": sum(_stamped(o, "retired") for o in mine),
        "bytes": sum(o.get_ram_usage() for o in mine),
    }


def _stamped(observation: Observation, name: str) -> int:
    """How many points carry a stamp; one that was retired no longer counts as contradicted."""
    stamped = getattr(observation, name) != NEVER
    if name == "doubted":
        stamped = stamped & (observation.retired == NEVER)
    return int(stamped.sum())


def _edits(memory: SpatialMemory) -> list[dict]:
    """What each edit did to what was drawn before it."""
    rows, shown = [], memory.living
    for edit in memory.edits:
        points, what = _effect(edit, shown)
        rows.append({"edit": type(edit).__name__.lower(), "after_chunk": edit.chunk, "points": points, "what": what})
        shown = edit.replay(shown)
    return rows


def _effect(edit: Edit, shown: tuple[Observation, ...]) -> tuple[int, str]:
    if isinstance(edit, Insert):
        return sum(len(o) for o in edit.observations), f"brought in by {len(edit.observations)} views"
    if isinstance(edit, Paint):
        return sum(
            len(patch.cells) for patch in edit.patches
        ), f"cells of {len(edit.patches)} frame{'s' * (len(edit.patches) != 1)}"
    assert isinstance(edit, (Delete, Lock, Move))  # a Hide is a Delete
    selection = edit.selection
    points = torch.cat([torch.empty(0, 3), *(o.points[selection.mask(o)] for o in shown)])
    what = KINDS.get(type(selection.region), "everywhere")
    if len(points):
        what += " around " + " ".join(f"{value:.2f}" for value in points.mean(0).tolist())
    if selection.frames is not None:
        what += f", only of frames {', '.join(map(str, selection.frames))}"
    return len(points), what
