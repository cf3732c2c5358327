"""The name of a memory by what it holds: what was made the same way has the same name, in any process."""

import hashlib
from weakref import WeakKeyDictionary

from torch import Tensor

from ..memory.cloud import SpatialMemory
from ..memory.observation import PER_POINT, Observation

_KNOWN: "WeakKeyDictionary[Observation, bytes]" = WeakKeyDictionary()  # observations never change and are shared


def memory_key(memory: SpatialMemory) -> str:
    """32 hex digits that stand for all that a memory stores and draws. Costs what no other memory was asked for."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((memory.kind, memory.codec, memory.channels, memory.scene_unit, memory.metric)).encode())
    for part in (memory.observations, memory.drawn):
        digest.update(f"{len(part)} ".encode() + b"".join(observation_digest(o) for o in part))
    return digest.hexdigest()


def observation_digest(observation: Observation) -> bytes:
    """16 bytes that stand for an observation; kept as long as it lives."""
    known = _KNOWN.get(observation)
    if known is not None:
        return known
    camera = observation.camera
    digest = hashlib.blake2b(digest_size=16)
    shape = (observation.frame, observation.chunk, observation.voxel, len(observation), camera.height, camera.width)
    digest.update(repr(shape).encode())
    held = [getattr(observation, name) for name in PER_POINT if name != "points"]
    for values in (camera.c2w, camera.K, observation.planar, *held):
        digest.update(f"{tuple(values.shape)} {values.dtype} ".encode() + raw(values))
    _KNOWN[observation] = digest.digest()
    return _KNOWN[observation]


def raw(values: Tensor) -> bytes:
    """The bytes of a tensor, row by row; one value that stands for all counts once."""
    some = values[:1] if values.ndim and values.shape[0] and values.stride(0) == 0 else values
    return some.detach().cpu().numpy().tobytes()
