"""An animated camera in glTF 2.0: metres, Y up, looking along -Z, the vertical field of view in radians."""

import base64
import json
import struct
from collections.abc import Sequence

import torch

from ..camera import Cameras
from ..quaternion import quaternions_from_matrices
from ..records import number
from .documents import record
from .gltf_file import Document, glb, open_gltf
from .gltf_motion import chain_of, curves_of, poses_at
from .imported import Imported, collect, evenly, from_y_up, pinholes_from_fov, rigid, vertical_fov
from .source import Source

MAX_SECONDS = 1e6


def read_gltf(source: Source) -> Imported:
    """Read the first perspective camera of the scene, sampled at the source's frame rate.

    Raises:
        ValueError: no perspective camera, or a damaged file; names the node or the accessor.
    """
    document = open_gltf(source)
    node, fov, others = _camera(document)
    chain = chain_of(document, node)
    curves = curves_of(document, chain)
    begin = min((curve.times[0] for curve in curves.values()), default=0.0)
    end = max((curve.times[-1] for curve in curves.values()), default=0.0)
    if not -MAX_SECONDS < begin <= end < MAX_SECONDS:
        raise ValueError(f"the animation runs from {begin:g} to {end:g} s, expected less than {MAX_SECONDS:g} s")
    kept, notice = evenly(int((end - begin) * source.fps + 1e-4) + 1, "frames")
    times = [begin + i / source.fps for i in kept]
    where = [f"nodes[{node}] at {time:g} s" for time in times]
    c2w, mended = rigid(poses_at(document, chain, curves, times), where)
    K = pinholes_from_fov(
        torch.full((len(times),), fov, dtype=torch.float64).rad2deg(), source.height, source.width, where
    )
    assumed = (
        "poses are camera-to-world, the camera looks along -Z, units metres",
        "Y points up in a glTF world: (x, y, z) became (x, -y, -z)",
        f"the field of view is vertical, put on {source.height} x {source.width} square pixels",
        f"the animation was sampled at {source.fps:g} frames a second" if curves else "the camera does not move",
        *((f"{others} other cameras were not read",) if others else ()),
    )
    more = (*assumed, *notice, *mended)
    return collect(from_y_up(c2w), K, source.height, source.width, more, times, "seconds")


def write_gltf(cameras: Cameras, name: str, fps: float) -> dict[str, bytes]:
    """JSON with the buffer inside."""
    tree, buffer = _built(cameras, fps)
    tree["buffers"] = [{"byteLength": len(buffer), "uri": _data_uri(buffer)}]
    return {name: json.dumps(tree).encode()}


def write_glb(cameras: Cameras, name: str, fps: float) -> dict[str, bytes]:
    """The binary form."""
    tree, buffer = _built(cameras, fps)
    tree["buffers"] = [{"byteLength": len(buffer)}]
    return {name: glb(json.dumps(tree).encode(), buffer)}


def _camera(document: Document) -> tuple[int, float, int]:
    """The node of the first perspective camera, its yfov in radians, and how many others there are."""
    found = []
    for i, node in enumerate(document.entries("nodes")):
        if "camera" not in node:
            continue
        camera = document.entry("cameras", node["camera"], f"nodes[{i}]")
        if camera.get("type") == "perspective":
            lens = record(camera.get("perspective"), f"camera of nodes[{i}]")
            found.append((i, number(lens.get("yfov"), f"yfov of the camera of nodes[{i}]")))
    if not found:
        raise ValueError("it has no perspective camera; tick 'Cameras' where the file is exported")
    return (*found[0], len(found) - 1)


def _built(cameras: Cameras, fps: float) -> tuple[dict, bytes]:
    """The tree without its buffer, and the buffer: times, positions, quaternions x y z w."""
    c2w = from_y_up(cameras.c2w)
    count = len(c2w)
    times = [i / fps for i in range(count)]
    parts = [
        _floats(times),
        _floats(c2w[:, :3, 3].flatten().tolist()),
        _floats(quaternions_from_matrices(c2w[:, :3, :3])[:, [1, 2, 3, 0]].flatten().tolist()),
    ]
    starts = [sum(map(len, parts[:i])) for i in range(3)]
    shapes = ["SCALAR", "VEC3", "VEC4"]
    accessors = [
        {"bufferView": i, "componentType": 5126, "count": count, "type": shape} for i, shape in enumerate(shapes)
    ]
    accessors[0] |= {"min": [_float32(times[0])], "max": [_float32(times[-1])]}
    lens = {"yfov": vertical_fov(cameras)[0].deg2rad().item(), "aspectRatio": cameras.width / cameras.height}
    tree = {
        "asset": {"version": "2.0", "generator": "spatial-memory"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": "Camera", "camera": 0}],
        "cameras": [{"type": "perspective", "perspective": {**lens, "znear": 0.01}}],
        "animations": [
            {
                "name": "Camera",
                "samplers": [{"input": 0, "output": i, "interpolation": "LINEAR"} for i in (1, 2)],
                "channels": [
                    {"sampler": i, "target": {"node": 0, "path": path}}
                    for i, path in enumerate(("translation", "rotation"))
                ],
            }
        ],
        "accessors": accessors,
        "bufferViews": [
            {"buffer": 0, "byteOffset": start, "byteLength": len(part)} for start, part in zip(starts, parts)
        ],
    }
    return tree, b"".join(parts)


def _floats(values: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def _float32(value: float) -> float:
    return struct.unpack("<f", struct.pack("<f", value))[0]


def _data_uri(buffer: bytes) -> str:
    return "data:application/octet-stream;base64," + base64.b64encode(buffer).decode()
