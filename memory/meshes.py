"""Meshes as surfaces to put points on. open3d reads the files; what it would not survive is refused before.

Colours come from the vertices, else from the texture, else they are the material's.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .libraries import import_open3d
from .ply import read_ply, read_ply_triangles
from .shapes import sizes
from .tables import GREY, MAX_POINTS, POSITION, shades, stacked

MAX_BYTES = 2 * 1024**3  # of a mesh file
# Steps of the two-dimensional sequence R2, which fills a square evenly however many points it has: M. Roberts, "The
# unreasonable effectiveness of quasirandom sequences" (2018). 1 / p and 1 / p^2, with p^3 = p + 1.
R2 = (0.7548776662466927, 0.5698402909980532)


@dataclass(frozen=True, eq=False)
class Surface:
    """F triangles and how they are coloured: at their corners, times a picture where there is one."""

    corners: Tensor  # (F, 3, 3) float64 world
    colours: Tensor  # (F, 3, 3) float64 in [0, 1]
    uv: Tensor | None = None  # (F, 3, 2) float64, the origin at the lower left of the picture
    picture: Tensor | None = None  # (h, w, 3) uint8

    def __post_init__(self) -> None:
        sizes("F 3 3 | F 3 3", corners=self.corners, colours=self.colours)


def sample_surfaces(surfaces: tuple[Surface, ...], samples: int) -> tuple[Tensor, Tensor, Tensor]:
    """Put ``samples`` points on triangles, as many on each as its area asks for, to within one.

    There is no chance in it: the same surfaces give the same points.

    Returns:
        points (N, 3) float64, colours (N, 3) uint8, normals (N, 3) float64: on the side from which the corners run
        counter-clockwise.

    Raises:
        ValueError: the triangles have no area.
    """
    corners = torch.cat([s.corners for s in surfaces])  # (F, 3, 3)
    a, b, c = corners.unbind(1)
    cross = torch.linalg.cross(b - a, c - a)
    twice = cross.square().sum(-1).sqrt()  # (F,) twice the area
    reach = twice.cumsum(0)
    total = float(reach[-1]) if len(reach) else 0.0
    if not 0 < total < torch.inf:
        raise ValueError(f"its {len(corners)} triangles have an area of {total / 2:g}: there is nowhere to put a point")
    index = torch.arange(samples, dtype=torch.float64)
    face = torch.searchsorted(reach, (index + 0.5) * (total / samples), right=True).clamp(max=len(reach) - 1)
    u, v = ((0.5 + index * step) % 1 for step in R2)
    weights = torch.stack([1 - u.sqrt(), u.sqrt() * (1 - v), u.sqrt() * v], -1)[..., None]  # (N, 3, 1) even in area
    colours = torch.empty(samples, 3, dtype=torch.uint8)
    first = 0
    for surface in surfaces:
        own = (face >= first) & (face < first + len(surface.corners))
        colours[own] = _coloured(surface, face[own] - first, weights[own])
        first += len(surface.corners)
    return (corners[face] * weights).sum(1), colours, cross[face] / twice[face][:, None]


def _coloured(surface: Surface, face: Tensor, weights: Tensor) -> Tensor:  # (N,), (N, 3, 1) -> (N, 3) uint8
    colour = (surface.colours[face] * weights).sum(1)
    if surface.uv is not None and surface.picture is not None:
        height, width, _ = surface.picture.shape
        u, v = (surface.uv[face] * weights).sum(1).unbind(-1)
        column = (u % 1 * width).long().clamp(max=width - 1)
        row = ((1 - v) % 1 * height).long().clamp(max=height - 1)
        colour = colour * surface.picture[row, column] / 255
    return (colour * 255).round().clamp(0, 255).to(torch.uint8)


def read_surfaces(path: Path) -> tuple[Surface, ...]:
    """The surfaces of an OBJ, GLB, STL, OFF or PLY file.

    Raises:
        ValueError: it has no faces, is damaged, or is too large; says what to do.
        ImportError: open3d cannot be imported.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"it has {size} bytes, at most {MAX_BYTES} are read: make the mesh coarser")
    match path.suffix.lower():
        case ".ply":
            return (_ply_surface(path),)
        case ".off":
            promised = _check_off(path, size)
        case ".glb":
            _check_glb(path, size)
            promised = (0, 0)
        case _:
            promised = (0, 0)
    open3d = import_open3d()
    with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
        if path.suffix.lower() in (".obj", ".glb"):
            model = open3d.io.read_triangle_model(str(path))
            parts = [(part.mesh, model.materials[part.material_idx]) for part in model.meshes]
        else:
            parts = [(open3d.io.read_triangle_mesh(str(path)), None)]
    vertices, faces = (sum(len(getattr(mesh, name)) for mesh, _ in parts) for name in ("vertices", "triangles"))
    if not faces and not promised[1]:
        raise ValueError(
            "open3d finds no faces in it, and points are put on faces only: it holds bare points, or is damaged. "
            "Export it with faces, or save bare points as .ply, .pcd or .xyz"
        )
    if vertices < promised[0] or faces < promised[1]:
        raise ValueError(f"it says {promised} vertices and faces, {(vertices, faces)} could be read: it is damaged")
    _check_sizes(vertices, faces)
    return tuple(_surface(mesh, material) for mesh, material in parts if len(mesh.triangles))


def _surface(mesh, material) -> Surface:
    triangles, vertices = torch.from_numpy(np.array(mesh.triangles)).long(), torch.from_numpy(np.array(mesh.vertices))
    _check_indices(triangles, len(vertices))
    if mesh.has_vertex_colors():
        return Surface(vertices[triangles], torch.from_numpy(np.array(mesh.vertex_colors)).clamp(0, 1)[triangles])
    shade = torch.full((3,), GREY / 255) if material is None else torch.from_numpy(material.base_color[:3].copy())
    colours = shade.double().clamp(0, 1).expand(*triangles.shape, 3)
    picture = None if material is None or material.albedo_img is None else np.asarray(material.albedo_img)
    if picture is None or not picture.size or not mesh.has_triangle_uvs():
        return Surface(vertices[triangles], colours)
    if picture.dtype != np.uint8:
        raise ValueError(f"its texture holds {picture.dtype}, expected 8 bits a channel: save the texture anew")
    deep = picture if picture.ndim == 3 else picture[..., None]
    rgb = deep[..., :3] if deep.shape[-1] >= 3 else deep[..., :1].repeat(3, axis=-1)
    uv = torch.from_numpy(np.array(mesh.triangle_uvs)).view(-1, 3, 2)
    return Surface(vertices[triangles], colours, uv, torch.from_numpy(rgb.copy()))


def _ply_surface(path: Path) -> Surface:
    columns = read_ply(path)
    triangles = torch.from_numpy(read_ply_triangles(path))
    vertices = torch.from_numpy(stacked(columns, POSITION).astype(np.float64))
    _check_sizes(len(vertices), len(triangles))
    _check_indices(triangles, len(vertices))
    colours = torch.from_numpy(shades(columns)).double() / 255
    return Surface(vertices[triangles], colours[triangles])


def _check_sizes(vertices: int, faces: int) -> None:
    if max(vertices, faces) > MAX_POINTS:
        raise ValueError(f"it has {vertices} vertices and {faces} faces, at most {MAX_POINTS} of each are read")


def _check_indices(triangles: Tensor, vertices: int) -> None:
    if triangles.numel() and not 0 <= int(triangles.min()) <= int(triangles.max()) < vertices:
        raise ValueError(f"its faces name vertices beyond the {vertices} that it has: it is damaged")


def _check_off(path: Path, size: int) -> tuple[int, int]:
    """Vertices and faces as the header of an OFF file says."""
    with open(path, "rb") as file:
        head = file.read(4096)
    words = [word for line in head.splitlines() for word in line.partition(b"#")[0].split()][:3]
    if len(words) < 3 or not words[0].endswith(b"OFF") or not all(w.isdigit() and len(w) < 16 for w in words[1:]):
        raise ValueError("its header is no OFF header: expected the word OFF and the numbers of vertices and faces")
    vertices, faces = int(words[1]), int(words[2])
    _check_sizes(vertices, faces)
    if 6 * vertices + 4 * faces > size:
        raise ValueError(f"it says {vertices} vertices and {faces} faces but has {size} bytes: it was cut short")
    return vertices, faces


def _check_glb(path: Path, size: int) -> None:
    """Refuse a glTF file whose few bytes unfold to more than can be held."""
    with open(path, "rb") as file:
        head = file.read(20)
        length = int.from_bytes(head[12:16], "little")
        if head[:4] != b"glTF" or head[16:] != b"JSON" or int.from_bytes(head[8:12], "little") > size or length > size:
            raise ValueError("it is no binary glTF file, or was cut short")
        text = file.read(length)
    try:
        scene = json.loads(text)
        accessors = scene.get("accessors", [])
        most = max([0, *(accessor["count"] for accessor in accessors)])
        drawn = [scene["meshes"][node["mesh"]] for node in scene.get("nodes", []) if "mesh" in node]
        used = [p["attributes"]["POSITION"] for mesh in drawn for p in mesh["primitives"]]
        corners = [p["indices"] for mesh in drawn for p in mesh["primitives"] if "indices" in p]
        unfolded = [sum(accessors[i]["count"] for i in indices) for indices in (used, corners)]
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError, *MISFITS) as error:
        raise ValueError(f"its description is no glTF ({type(error).__name__}: {error}): it is damaged") from error
    if most > size:
        raise ValueError(f"it says that {most} values follow but has {size} bytes: it is damaged")
    _check_sizes(unfolded[0], unfolded[1] // 3)


MISFITS = (AttributeError, KeyError, IndexError, TypeError)  # JSON of another build than glTF's
