"""The movement of a node in a glTF scene: its own animation and that of the nodes above it, sampled at given times."""

import bisect
from dataclasses import dataclass

import torch
from torch import Tensor

from ..quaternion import matrices_from_quaternions, slerp
from ..records import numbers
from .documents import items, record
from .gltf_file import Document, accessor

DEFAULTS = {"translation": (0.0, 0.0, 0.0), "rotation": (0.0, 0.0, 0.0, 1.0), "scale": (1.0, 1.0, 1.0)}
MAX_DEPTH = 256


@dataclass(frozen=True)
class Curve:
    """One animated property."""

    times: list[float]  # seconds, increasing
    values: Tensor  # (keys, width) float64, or (3 keys, width) for CUBICSPLINE: in-tangent, value, out-tangent
    interpolation: str

    def at(self, time: float, rotation: bool) -> list[float]:
        """The value at a time, by the curve's own interpolation."""
        step = 3 if self.interpolation == "CUBICSPLINE" else 1
        keys = self.values[step // 2 :: step]
        i = bisect.bisect_right(self.times, time) - 1
        if i < 0 or i >= len(self.times) - 1:
            return keys[max(i, 0)].tolist()
        span = self.times[i + 1] - self.times[i]
        u = (time - self.times[i]) / span
        a, b = keys[i], keys[i + 1]
        if self.interpolation == "STEP":
            return a.tolist()
        if self.interpolation == "LINEAR":
            if rotation:
                return list(slerp(tuple(a.tolist()), tuple(b.tolist()), u, 1 - u))
            return (a + u * (b - a)).tolist()
        leaving, arriving = span * self.values[3 * i + 2], span * self.values[3 * i + 3]
        cubic = (2 * u**3 - 3 * u**2 + 1) * a + (u**3 - 2 * u**2 + u) * leaving
        return (cubic + (3 * u**2 - 2 * u**3) * b + (u**3 - u**2) * arriving).tolist()


def curves_of(document: Document, nodes: list[int]) -> dict[tuple[int, str], Curve]:
    """The curves that move these nodes, by node and property; the first animation that names one wins.

    Raises:
        ValueError: a curve is damaged; names the animation and the channel.
    """
    found: dict[tuple[int, str], Curve] = {}
    for a, animation in enumerate(document.entries("animations")):
        samplers = items(animation.get("samplers"), f"animations[{a}].samplers")
        for c, channel in enumerate(items(animation.get("channels"), f"animations[{a}].channels")):
            where = f"animations[{a}].channels[{c}]"
            target = record(record(channel, where).get("target"), f"{where}.target")
            node, path = target.get("node"), target.get("path")
            if node not in nodes or not isinstance(path, str) or path not in DEFAULTS or (node, path) in found:
                continue
            index = channel.get("sampler")
            if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(samplers):
                raise ValueError(f"{where}.sampler is {str(index)[:20]}, the animation has {len(samplers)}")
            found[node, path] = _curve(document, record(samplers[index], where), path, where)
    return found


def chain_of(document: Document, node: int) -> list[int]:
    """The nodes from the root of the scene down to ``node``.

    Raises:
        ValueError: a loop, or deeper than 256 nodes.
    """
    parents: dict[int, int] = {}
    for i, one in enumerate(document.entries("nodes")):
        for child in items(one.get("children", []), f"nodes[{i}].children"):
            if not isinstance(child, int) or child in parents:
                raise ValueError(
                    f"nodes[{i}].children holds {str(child)[:20]}, which is no node or has a parent already"
                )
            parents[child] = i
    chain = [node]
    while chain[0] in parents:
        if len(chain) > MAX_DEPTH:
            raise ValueError(f"nodes[{node}] lies in a loop, or more than {MAX_DEPTH} nodes deep")
        chain.insert(0, parents[chain[0]])
    return chain


def poses_at(document: Document, chain: list[int], curves: dict[tuple[int, str], Curve], times: list[float]) -> Tensor:
    """The world matrix (T, 4, 4) of the last node of a chain at each time, its rotation freed from uniform scale.

    Raises:
        ValueError: a field is damaged; names the node and the field.
    """
    world = torch.eye(4, dtype=torch.float64).expand(len(times), 4, 4)
    for node in chain:
        world = world @ _local(document, node, curves, times)
    length = world[:, :3, :3].norm(dim=1).mean(dim=1)  # of the axes; what is no uniform scale is refused as no rotation
    if not (length > 1e-12).all():
        raise ValueError(f"nodes[{chain[-1]}] is scaled to nothing")
    world = world.clone()
    world[:, :3, :3] /= length[:, None, None]
    return world


def _local(document: Document, node: int, curves: dict[tuple[int, str], Curve], times: list[float]) -> Tensor:
    found = document.entry("nodes", node, "the scene")
    moving = {path: curves[node, path] for path in DEFAULTS if (node, path) in curves}
    if "matrix" in found and not moving:
        columns = numbers(found["matrix"], 16, f"nodes[{node}].matrix")
        return torch.tensor(columns, dtype=torch.float64).reshape(4, 4).mT.expand(len(times), 4, 4)
    values = {}
    for path, default in DEFAULTS.items():
        still = numbers(found.get(path, list(default)), len(default), f"nodes[{node}].{path}")
        listed = (
            [moving[path].at(time, path == "rotation") for time in times] if path in moving else [still] * len(times)
        )
        values[path] = torch.tensor(listed, dtype=torch.float64)
    q = values["rotation"]
    for i in (~(q.norm(dim=1) > 1e-6)).nonzero()[:1, 0].tolist():
        raise ValueError(f"nodes[{node}].rotation is {q[i].tolist()} at {times[i]:g} s, expected a quaternion x y z w")
    local = torch.eye(4, dtype=torch.float64).repeat(len(times), 1, 1)
    local[:, :3, :3] = matrices_from_quaternions(q[:, [3, 0, 1, 2]]) * values["scale"][:, None, :]
    local[:, :3, 3] = values["translation"]
    return local


def _curve(document: Document, sampler: dict, path: str, where: str) -> Curve:
    way = sampler.get("interpolation", "LINEAR")
    if way not in ("LINEAR", "STEP", "CUBICSPLINE"):
        raise ValueError(f"{where} has interpolation {str(way)[:20]!r}, expected LINEAR, STEP or CUBICSPLINE")
    times = accessor(document, sampler.get("input"), "SCALAR", f"{where} input")[:, 0]
    values = accessor(document, sampler.get("output"), "VEC4" if path == "rotation" else "VEC3", f"{where} output")
    if len(values) != len(times) * (3 if way == "CUBICSPLINE" else 1):
        raise ValueError(f"{where} has {len(times)} times and {len(values)} values, which do not fit {way}")
    if not (times.isfinite().all() and values.isfinite().all()) or (times.diff() <= 0).any():
        raise ValueError(f"{where} holds NaN, or times that do not increase")
    return Curve(times.tolist(), values, way)
