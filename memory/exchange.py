"""Clouds in and out: point files and meshes that other programs write and read.

What comes in is checked here and is plain points with colours; where it stands in the world is for the caller to say.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .cloud import FARTHEST, SpatialMemory
from .libraries import import_open3d
from .meshes import read_surfaces, sample_surfaces
from .normals import decode_normals
from .ply import read_ply, read_ply_header
from .points import TEXT_COLUMNS, read_pcd, read_text
from .shapes import sizes
from .store import replacing
from .tables import MAX_POINTS, NORMAL, POSITION, Columns, shades, stacked

__all__ = ["Cloud", "Factors", "import_open3d", "memory_cloud", "read_cloud", "rgb_from_latents", "write_ply"]

SAMPLES = 200_000  # points that a mesh becomes
BLOCK = 1 << 20  # points that are written or coloured at once
MESHES = (".obj", ".glb", ".stl", ".off")  # and .ply where it has faces
READERS: dict[str, Callable[[Path], Columns]] = {
    ".ply": read_ply,
    ".pcd": read_pcd,
    ".pts": read_text,
    **dict.fromkeys(TEXT_COLUMNS, read_text),
}

Factors = tuple[Tensor, Tensor]  # weight (C, 3) and bias (3,): latents to RGB in [0, 1]


@dataclass(frozen=True, eq=False)
class Cloud:
    """N coloured points."""

    points: Tensor  # (N, 3) float32 world
    colours: Tensor  # (N, 3) uint8, 255 = full
    normals: Tensor  # (N, 3) float32 unit vectors, zero where not known

    def __post_init__(self) -> None:
        sizes("N 3 | N 3 | N 3", points=self.points, colours=self.colours, normals=self.normals)

    def __len__(self) -> int:
        return self.points.shape[0]


def memory_cloud(memory: SpatialMemory, factors: Factors | None = None) -> Cloud:
    """The drawn points of a memory, in their order; latents are coloured by a codec's linear RGB factors.

    Raises:
        ValueError: a latent memory without factors.
    """
    if memory.kind == "latent" and factors is None:
        raise ValueError(f"a memory of {memory.codec!r} latents has no colours: give the codec's linear RGB factors")
    colours = [torch.empty(0, 3, dtype=torch.uint8)]
    normals = [torch.empty(0, 3)]
    for o in memory.drawn:
        for first in range(0, len(o), BLOCK):
            some = o.features[first : first + BLOCK].cpu()
            rgb = some if factors is None or memory.kind == "rgb" else _bytes(rgb_from_latents(some, factors))
            colours.append(rgb)
        normals.append(decode_normals(o.normals.cpu()))
    return Cloud(memory.points.cpu(), torch.cat(colours), torch.cat(normals))


def rgb_from_latents(latents: Tensor, factors: Factors) -> Tensor:
    """Latents (..., C) in model space as RGB (..., 3) in [0, 1]: a quick look, blurred to one colour a cell."""
    weight, bias = factors
    sizes("... C | C 3 | 3", latents=latents, weight=weight, bias=bias)
    return (latents.float() @ weight.to(latents.device) + bias.to(latents.device)).clamp(0, 1)


def write_ply(path: str | os.PathLike, points: Tensor, colours: Tensor) -> None:
    """Write points (N, 3) and colours (N, 3) uint8 as binary PLY; what stood at ``path`` is replaced when all is well.

    Raises:
        ValueError: wrong shapes or types, or points that are not finite.
        OSError: the folder is missing, full or read-only; what stood at ``path`` is untouched.
    """
    (n,) = sizes("N 3 | N 3", points=points, colours=colours)
    if colours.dtype != torch.uint8:
        raise ValueError(f"colours are {colours.dtype}, expected torch.uint8 with 255 = full")
    places = _placed(points)
    row = np.dtype([(name, "<f4") for name in "xyz"] + [(name, "u1") for name in ("red", "green", "blue")])
    fields = [f"property {'float' if row[name] == '<f4' else 'uchar'} {name}" for name in row.names or ()]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {n}", *fields, "end_header", ""]
    with replacing(Path(path)) as file:
        file.write("\n".join(header).encode())
        for first in range(0, n, BLOCK):
            block = np.empty(min(BLOCK, n - first), row)
            for axis, (place, shade) in enumerate(zip("xyz", ("red", "green", "blue"))):
                block[place] = places[first : first + BLOCK, axis].cpu().numpy()
                block[shade] = colours[first : first + BLOCK, axis].cpu().numpy()
            file.write(block.tobytes())


def read_cloud(path: str | os.PathLike, samples: int = SAMPLES) -> Cloud:
    """Read points, or put ``samples`` points evenly on a mesh. The kind is told by the suffix, PLY's by its faces.

    Points: PLY, PCD, XYZ, XYZN, XYZRGB, PTS. Meshes: PLY with faces, OBJ, GLB, STL, OFF. Colours are those of the
    points, vertices, texture or material, grey where there are none. Coordinates are taken as they stand.

    Raises:
        ValueError: a suffix that is not known, an empty, damaged or too large file, a mesh without faces, points that
            are not finite; names the file and what to do.
        OSError: it cannot be opened.
        ImportError: it takes open3d, which cannot be imported.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in READERS and suffix not in MESHES:
        raise ValueError(
            f"{path.name} ends in {path.suffix!r}, expected one of {', '.join((*READERS, *MESHES))}: convert it"
        )
    if not 1 <= samples <= MAX_POINTS:
        raise ValueError(f"samples is {samples}, expected 1 to {MAX_POINTS} points for a mesh")
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty: export it again")
    try:
        if suffix in MESHES or (suffix == ".ply" and read_ply_header(path).count("face")):
            return _sampled(path, samples)
        return _tabled(path)
    except ValueError as error:
        raise ValueError(f"{path} cannot be used: {error}") from error


def _tabled(path: Path) -> Cloud:
    columns = READERS[path.suffix.lower()](path)
    points = stacked(columns, POSITION)
    if not len(points):
        raise ValueError("it holds no points: export it again")
    normals = stacked(columns, NORMAL) if set(NORMAL) <= set(columns) else np.zeros(points.shape)
    with np.errstate(invalid="ignore"):  # NaN of another kind
        places, facing = (torch.from_numpy(values.astype(np.float64)) for values in (points, normals))
    return Cloud(_placed(places), torch.from_numpy(shades(columns)), _unit(facing))


def _sampled(path: Path, samples: int) -> Cloud:
    surfaces = read_surfaces(path)
    for surface in surfaces:
        _placed(surface.corners.view(-1, 3))
    points, colours, normals = sample_surfaces(surfaces, samples)
    return Cloud(_placed(points), colours, _unit(normals))


def _placed(points: Tensor) -> Tensor:  # (N, 3)
    """Points as float32, all of them somewhere."""
    astray = ~(points.abs() < FARTHEST).all(-1)
    if bool(astray.any()):
        raise ValueError(
            f"{int(astray.sum())} of {len(points)} points are NaN, infinite or beyond {FARTHEST:g} units, the first is "
            f"number {int(astray.nonzero()[0])}: remove them"
        )
    return points.float()


def _unit(normals: Tensor) -> Tensor:  # (N, 3) of any length -> float32 unit vectors, zero where not known
    length = normals.square().sum(-1, keepdim=True).sqrt()
    known = (length > 0) & (length < torch.inf)
    return torch.where(known, normals / torch.where(known, length, 1.0), 0.0).float()


def _bytes(rgb: Tensor) -> Tensor:  # [0, 1] -> uint8
    return (rgb * 255).round().to(torch.uint8)
