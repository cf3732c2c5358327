"""A memory inside a world file: its columns, its edits, and what is no tensor, as JSON.

All observations share one column a field, so that a file of ten thousand frames has no more tensors than one of ten. A
value that stands for all points of an observation stands in the JSON.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .camera import Cameras, check_cameras
from .cloud import FEATURES, SpatialMemory
from .edit_file import edit_from_tensors, edit_to_tensors
from .observation import NEVER, PER_POINT, Observation
from .records import number
from .store import Rows
from .store_checks import check_record, expect

MOST_CELLS = 1 << 28  # of a source grid
MOST_CHANNELS = 1 << 16
ALWAYS = ("points", "features", "cells")  # a column holds them for every point
STAMPS = {  # stored a point only where points differ: (dtype, shape behind N)
    "confidence": (torch.uint8, ()),
    "normals": (torch.uint8, (2,)),
    "doubted": (torch.int16, ()),
    "retired": (torch.int16, ()),
}
assert (*ALWAYS, *STAMPS) == PER_POINT

Parts = dict[str, Tensor | Rows]


def memory_to_tensors(memory: SpatialMemory, prefix: str) -> tuple[Parts, dict]:
    """A memory as named tensors, each name starting with ``prefix``, and what of it is no tensor, as JSON."""
    tensors, rows = observations_to_tensors(memory.observations, prefix)
    edits = []
    for i, edit in enumerate(memory.edits):
        parts, record = edit_to_tensors(edit, f"{prefix}edits.{i:05d}.", observations_to_tensors)
        tensors |= parts
        edits.append(record)
    return tensors, {
        "kind": memory.kind,
        "codec": memory.codec,
        "channels": memory.channels,
        "scene_unit": memory.scene_unit,
        "metric": memory.metric,
        "observations": rows,
        "edits": edits,
        "ledger": list(memory.ledger),
    }


def memory_from_tensors(tensors: Mapping[str, Tensor], record: dict, prefix: str) -> SpatialMemory:
    """The inverse of ``memory_to_tensors``, its observations in their order.

    Raises:
        ValueError: a part is missing, of another shape or dtype, holds points that are not finite, or an edit of a
            newer pack.
    """
    kinds = {"kind": str, "codec": str, "channels": int, "scene_unit": float, "metric": bool, "observations": list}
    check_record(record, kinds, prefix)
    kind, channels = record["kind"], record["channels"]
    unit = number(record["scene_unit"], f"{prefix}scene_unit")
    if unit <= 0 or not 1 <= channels <= MOST_CHANNELS:
        raise ValueError(f"{prefix}scene_unit is {unit} with {channels} channels; the world file is damaged")
    if kind not in FEATURES:
        raise ValueError(f"{prefix}kind is {kind!r}, expected one of {sorted(FEATURES)}; the world file is damaged")

    def observations(rows: list, start: str) -> tuple[Observation, ...]:
        return observations_from_tensors(tensors, rows, start, kind, channels)

    rows = record["observations"]
    if rows and all(isinstance(row, dict) and "count" not in row for row in rows):
        stored = tuple(_version_1(tensors, row, i, record, prefix) for i, row in enumerate(record["observations"]))
    else:
        stored = observations(record["observations"], prefix)
    edits = record.get("edits", [])
    ledger = record.get("ledger", [])
    if not isinstance(edits, list) or not isinstance(ledger, list):
        raise ValueError(f"{prefix}edits or ledger is no list; the world file is damaged")
    for row in ledger:
        check_record(row, {"chunk": int}, f"{prefix}ledger.")
    return SpatialMemory(
        kind=kind,
        codec=record["codec"],
        channels=channels,
        scene_unit=unit,
        metric=record["metric"],
        observations=stored,
        edits=tuple(
            edit_from_tensors(tensors, e, f"{prefix}edits.{i:05d}.", observations, (FEATURES[kind], channels))
            for i, e in enumerate(edits)
        ),
        ledger=tuple(ledger),
    )


def observations_to_tensors(observations: Sequence[Observation], prefix: str) -> tuple[Parts, list[dict]]:
    """Observations as columns, and a row of JSON for each."""
    rows = [
        {
            "count": len(o),
            "frame": o.frame,
            "chunk": o.chunk,
            "voxel": o.voxel,
            "height": o.camera.height,
            "width": o.camera.width,
            "same": {name: getattr(o, name)[0].tolist() for name in STAMPS if _same(getattr(o, name))},
        }
        for o in observations
    ]
    if not observations:
        return {}, rows
    tensors: Parts = {prefix + name: Rows(tuple(getattr(o, name) for o in observations)) for name in ALWAYS}
    for name in STAMPS:
        differing = tuple(getattr(o, name) for o in observations if not _same(getattr(o, name)))
        if differing:
            tensors[prefix + name] = Rows(differing)
    tensors[prefix + "c2w"] = torch.stack([o.camera.c2w for o in observations])
    tensors[prefix + "K"] = torch.stack([o.camera.K for o in observations])
    return tensors, rows


def observations_from_tensors(
    tensors: Mapping[str, Tensor], rows: list, prefix: str, kind: str, channels: int
) -> tuple[Observation, ...]:
    """The inverse of ``observations_to_tensors``; the observations share the storage of their column.

    Raises:
        ValueError: a part is missing or does not fit.
    """
    kinds = {"count": int, "frame": int, "chunk": int, "voxel": float, "height": int, "width": int, "same": dict}
    for i, row in enumerate(rows):
        check_record(row, kinds, f"{prefix}{i}.")
        _check_row(row, f"{prefix}{i}")
        if row["count"] < 0:
            raise ValueError(f"{prefix}{i} has a count of {row['count']}; the world file is damaged")
    if not rows:
        return ()
    total = sum(row["count"] for row in rows)
    columns = {
        "points": expect(tensors, prefix + "points", torch.float32, (total, 3)),
        "features": expect(tensors, prefix + "features", FEATURES[kind], (total, channels)),
        "cells": expect(tensors, prefix + "cells", torch.int32, (total,)),
    }
    if not columns["points"].isfinite().all():
        raise ValueError(f"{prefix}points holds values that are not finite; use another copy")
    c2w = expect(tensors, prefix + "c2w", torch.float32, (len(rows), 4, 4))
    K = expect(tensors, prefix + "K", torch.float32, (len(rows), 3, 3))
    check_cameras(Cameras(c2w, K, 1, 1), prefix + "camera")
    for name, (dtype, shape) in STAMPS.items():
        count = sum(row["count"] for row in rows if name not in row["same"])
        if count:
            columns[name] = expect(tensors, prefix + name, dtype, (count, *shape))
    made, taken = [], dict.fromkeys(PER_POINT, 0)
    for i, row in enumerate(rows):
        fields = {}
        for name in PER_POINT:
            if name in row["same"]:
                fields[name] = _one(row["same"][name], name, prefix)
                continue
            begin = taken[name]
            taken[name] += row["count"]
            fields[name] = columns[name][begin : taken[name]] if row["count"] else _none(name, kind, channels)
        cells, grid = fields["cells"], row["height"] * row["width"]
        if len(cells) and not 0 <= int(cells.min()) <= int(cells.max()) < grid:
            raise ValueError(f"{prefix}cells of frame {row['frame']} lie outside its grid; use another copy")
        camera = Cameras(c2w[i], K[i], row["height"], row["width"])
        made.append(
            Observation(**fields, camera=camera, frame=row["frame"], chunk=row["chunk"], voxel=float(row["voxel"]))
        )
    return tuple(made)


def _check_row(row: dict, where: str) -> None:
    """Numbers of an observation beyond what there can be: a grid that nothing could be allocated for, among others."""
    grid, voxel = row["height"] * row["width"], number(row["voxel"], f"{where}.voxel")
    if not 1 <= grid <= MOST_CELLS or row["height"] < 1 or voxel < 0 or not -1 <= row["chunk"] < NEVER:
        raise ValueError(
            f"{where} has a grid, voxel or chunk beyond what there can be: {row['height']} x {row['width']}, {voxel}, "
            f"{row['chunk']}; the world file is damaged"
        )


def _same(values: Tensor) -> bool:
    """Whether one value stands for all points."""
    return bool(values.shape[0]) and values.stride(0) == 0


def _none(name: str, kind: str, channels: int) -> Tensor:
    shapes = {"points": (torch.float32, (3,)), "features": (FEATURES[kind], (channels,)), "cells": (torch.int32, ())}
    dtype, shape = {**shapes, **STAMPS}[name]
    return torch.empty(0, *shape, dtype=dtype)


def _one(value: object, name: str, prefix: str) -> Tensor:
    dtype, shape = STAMPS.get(name, (None, None))
    numbers = value if isinstance(value, list) else [value]
    low, high = (0, 256) if dtype == torch.uint8 else (-1, 1 << 15)
    fits = dtype is not None and len(numbers) == (shape[0] if shape else 1) and isinstance(value, list) == bool(shape)
    if not fits or not all(type(n) is int and low <= n < high for n in numbers):
        raise ValueError(f"{prefix}{name} is {value!r:.80}; the world file is damaged")
    return torch.tensor(value, dtype=dtype)


def _version_1(tensors: Mapping[str, Tensor], row: object, i: int, record: dict, prefix: str) -> Observation:
    """An observation as version 1 wrote it: tensors of its own, colours as halves in [0, 1]."""
    where = f"{prefix}{i:05d}."
    check_record(row, {"frame": int, "chunk": int, "voxel": float, "height": int, "width": int}, where)
    assert isinstance(row, dict)
    _check_row(row, where.removesuffix("."))
    points = expect(tensors, where + "points", torch.float32, (None, 3))
    n = len(points)
    features = expect(tensors, where + "features", torch.float16, (n, record["channels"]))
    if record["kind"] == "rgb":
        features = (features.float().clamp(0, 1) * 255).round().to(torch.uint8)
    camera = Cameras(
        expect(tensors, where + "c2w", torch.float32, (4, 4)),
        expect(tensors, where + "K", torch.float32, (3, 3)),
        row["height"],
        row["width"],
    )
    check_cameras(camera, where + "camera")
    cells = expect(tensors, where + "cells", torch.int32, (n,))
    outside = n and not 0 <= int(cells.min()) <= int(cells.max()) < row["height"] * row["width"]
    if not points.isfinite().all() or outside:
        raise ValueError(f"{where}points or cells hold values outside the world or the grid; use another copy")
    return Observation(points, features, cells, camera, row["frame"], row["chunk"], float(row["voxel"]))
