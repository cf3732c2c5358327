"""What one chunk hands to the next, and all that it hands on. Saved, it is the world file."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..memory.camera import Cameras, check_cameras
from ..memory.cloud import SpatialMemory
from ..memory.memory_file import memory_from_tensors, memory_to_tensors
from ..memory.path import CameraPath
from ..memory.shapes import sizes
from ..memory.store import Rows, load_tensors, save_tensors
from .seen import Seen

KIND = "rollout"  # of the header; the file format and its version are the store's


@dataclass(frozen=True, eq=False)
class ChunkTarget:
    """The frames [start, stop) that the chunk at hand makes, and their cameras on the pixel grid."""

    start: int
    stop: int
    cameras: Cameras  # (stop - start,)


@dataclass(frozen=True, eq=False)
class RolloutState:
    """A film in the making. Chunk k + 1 depends on chunk k through this value alone.

    Frames are counted along the path; posed pictures that are no frame of the film carry the numbers -1, -2, ...
    ``latents`` is the stream in model space, latent i for frame s i; ``codes`` are what references are made of.
    """

    world: str  # name of the world model that makes it
    image: Tensor  # (3, H, W) the start frame in [0, 1]; after an edit of the memory, as the edit shows it
    memory: SpatialMemory | None
    latents: Tensor  # (C, t, h, w) the whole stream so far; the first is the start frame's
    codes: Tensor  # (C, V, h, w) candidates for references
    code_frames: tuple[int, ...]  # (V) global frame of each candidate
    code_cameras: Cameras  # (V,) on the latent grid
    cameras: Cameras  # (F,) of all frames so far, on the pixel grid
    prompts: tuple[str, ...]
    seed: int
    chunk: int = 0  # chunks done
    path: CameraPath | None = None
    target: ChunkTarget | None = None  # set by ``aim``, until ``update``
    fresh: Tensor | None = None  # (C, n, h, w) denoised, not yet in the stream
    records: tuple[dict, ...] = ()  # one per chunk begun: coverage, references, seconds by stage, ...
    given: Tensor | None = None  # (3, H, W) the start frame as it was given, where an edit changed it
    stale: tuple[int, ...] = ()  # candidates that show what was edited since: never references again
    seen: Seen | None = None  # where the chunk's new views see the memory, where that is known; it can be asked again
    outdated: bool = False  # the start frame shows an edit that was undone after the film had begun

    @property
    def height(self) -> int:
        return self.cameras.height

    @property
    def width(self) -> int:
        return self.cameras.width

    @property
    def prompt(self) -> str:
        """The prompt of the chunk at hand: one a chunk, the last one repeated, "" where there is none."""
        return self.prompts[min(self.chunk, len(self.prompts) - 1)] if self.prompts else ""

    def get_ram_usage(self) -> int:
        """Bytes that this value keeps alive (the host's cache asks)."""
        tensors = [self.image, self.latents, self.codes, self.cameras.c2w, self.cameras.K]
        tensors += [self.code_cameras.c2w, self.code_cameras.K] + [t for t in (self.fresh, self.given) if t is not None]
        own = sum(t.numel() * t.element_size() for t in tensors) + (self.seen.get_ram_usage() if self.seen else 0)
        return own + (self.memory.get_ram_usage() if self.memory else 0)


def check_world(world: str, state: RolloutState) -> None:
    """Refuse a state that another world model has begun.

    Raises:
        ValueError: the names differ.
    """
    if world != state.world:
        raise ValueError(
            f"the state was made with the world model {state.world!r}, got {world!r}; use one for the whole film"
        )


def check_target(world: str, state: RolloutState) -> ChunkTarget:
    """The frames that the chunk at hand makes.

    Raises:
        ValueError: the state has no target yet, or belongs to another world model.
    """
    check_world(world, state)
    if state.target is None:
        raise ValueError("the state has no target; aim it at a slice of the camera path first (ChunkLoopStart does)")
    return state.target


def recorded(state: RolloutState, seconds: dict[str, float] | None = None, **entries: object) -> RolloutState:
    """The state with ``entries`` in the record of the chunk at hand; ``seconds`` are added stage by stage."""
    done, current = state.records[: state.chunk], state.records[state.chunk :]
    record: dict = {**(current[0] if current else {"chunk": state.chunk}), **entries}
    if seconds:
        record["seconds"] = {**record.get("seconds", {}), **seconds}
    return replace(state, records=(*done, record))


def without_seconds(records: tuple[dict, ...]) -> tuple[dict, ...]:
    """The records without their timings: what two equal runs agree on to the bit."""
    return tuple({key: value for key, value in record.items() if key != "seconds"} for record in records)


def save_state(path: Path, state: RolloutState, preview: tuple[Tensor, Tensor] | None = None) -> None:
    """Write the world file, bit-exact, under a temporary name that is renamed when complete.

    Args:
        preview: points (N, 3) and colours (N, 3) uint8 of a decimated memory, for whoever only looks; it is not read
            back.
    """
    tensors: dict[str, torch.Tensor | Rows] = {
        "image": state.image,
        "latents": state.latents,
        "codes": state.codes,
        "code_cameras.c2w": state.code_cameras.c2w,
        "code_cameras.K": state.code_cameras.K,
        "cameras.c2w": state.cameras.c2w,
        "cameras.K": state.cameras.K,
    }
    header = {
        "kind": KIND,
        "world": state.world,
        "height": state.height,
        "width": state.width,
        "code_grid": [state.code_cameras.height, state.code_cameras.width],
        "code_frames": list(state.code_frames),
        "prompts": list(state.prompts),
        "seed": state.seed,
        "chunk": state.chunk,
        "path": None if state.path is None else state.path.to_json(),
        "target": None if state.target is None else [state.target.start, state.target.stop],
        "records": list(state.records),
        "stale": list(state.stale),
        "outdated": state.outdated,
        "memory": None,
    }
    if state.target is not None:
        tensors["target.c2w"], tensors["target.K"] = state.target.cameras.c2w, state.target.cameras.K
    if state.fresh is not None:
        tensors["fresh"] = state.fresh
    if state.given is not None:
        tensors["given"] = state.given
    if preview is not None:
        sizes("N 3 | N 3", points=preview[0], colours=preview[1])
        tensors["preview.points"], tensors["preview.colours"] = preview
    if state.memory is not None:
        memory_tensors, header["memory"] = memory_to_tensors(state.memory, "memory.")
        tensors.update(memory_tensors)
    save_tensors(path, tensors, header)


def load_state(path: Path, world: str | None = None) -> RolloutState:
    """Read a world file, to the bit what was saved.

    Args:
        world: name of the world model that is to go on with it; None to look only.

    Raises:
        ValueError: no world file, newer than this pack, truncated, damaged, or made with another world model; names it.
    """
    tensors, header = load_tensors(path)
    if header.get("kind") != KIND:
        raise ValueError(f"{path} is no world file (kind {header.get('kind')!r}); expected one that SaveWorld wrote")
    try:
        state = _check_loaded(_state(tensors, _check_header(header)))
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}); use another copy") from error
    if world is not None:
        check_world(world, state)
    return state


def _check_header(header: dict) -> dict:
    """Refuse a header whose entries are missing or of another kind than ``save_state`` writes."""
    kinds: dict[str, type | tuple[type, ...]] = {
        "world": str,
        "height": int,
        "width": int,
        "seed": int,
        "chunk": int,
        "path": (str, type(None)),
        "memory": (dict, type(None)),
    }
    header.setdefault("stale", [])  # version 1 had no edits
    if not isinstance(header.setdefault("outdated", False), bool):  # nor had it this
        raise ValueError(f"outdated is {header['outdated']!r:.80}")
    lists = {"code_grid": int, "code_frames": int, "prompts": str, "records": dict, "target": int, "stale": int}
    for name, kind in kinds.items():
        if not isinstance(header.get(name), kind) or isinstance(header[name], bool):
            raise ValueError(f"{name} is {header.get(name)!r:.80}")
    for name, kind in lists.items():
        values = header.get(name, ...)
        if name == "target" and values is None:
            continue
        right = isinstance(values, list) and all(type(value) is kind for value in values)
        if not right or (name in ("code_grid", "target") and len(values) != 2):
            raise ValueError(f"{name} is {values!r:.80}")
    if min(header["height"], header["width"], *header["code_grid"]) < 1 or header["chunk"] < 0:
        raise ValueError(f"height, width, code_grid or chunk is below what there can be: {header['code_grid']}")
    return header


def _state(tensors: dict[str, Tensor], header: dict) -> RolloutState:
    def cameras(name: str, height: int, width: int) -> Cameras:
        c2w, K = tensors[f"{name}.c2w"], tensors[f"{name}.K"]
        sizes("V 4 4 | V 3 3", c2w=c2w, K=K)
        return check_cameras(Cameras(c2w, K, height, width), name)

    grid, target = (header["height"], header["width"]), None
    if header["target"] is not None:
        start, stop = header["target"]
        target = ChunkTarget(start, stop, cameras("target", *grid))
    return RolloutState(
        world=header["world"],
        image=tensors["image"],
        memory=None if header["memory"] is None else memory_from_tensors(tensors, header["memory"], "memory."),
        latents=tensors["latents"],
        codes=tensors["codes"],
        code_frames=tuple(header["code_frames"]),
        code_cameras=cameras("code_cameras", *header["code_grid"]),
        cameras=cameras("cameras", *grid),
        prompts=tuple(header["prompts"]),
        seed=header["seed"],
        chunk=header["chunk"],
        path=None if header["path"] is None else CameraPath.from_json(header["path"]),
        target=target,
        fresh=tensors.get("fresh"),
        given=tensors.get("given"),
        records=tuple(header["records"]),
        stale=tuple(header["stale"]),
        outdated=header["outdated"],
    )


def _check_loaded(state: RolloutState) -> RolloutState:
    """What must fit together, looked at once: a damaged file is refused here and not in the middle of a chunk."""
    c, _, h, w, _, height, width = sizes(
        "C t h w | C V h w | 3 H W", latents=state.latents, codes=state.codes, image=state.image
    )
    if (height, width) != (state.height, state.width) or (h, w) != (
        state.code_cameras.height,
        state.code_cameras.width,
    ):
        raise ValueError(f"the image is {height} x {width} with latents of {h} x {w}, the cameras have other grids")
    if not len(state.code_frames) == len(state.code_cameras) == state.codes.shape[1]:
        raise ValueError(f"there are {state.codes.shape[1]} codes, {len(state.code_frames)} frame numbers for them")
    if state.fresh is not None:
        sizes(f"{c} n {h} {w}", fresh=state.fresh)
    if state.given is not None:
        sizes(f"3 {height} {width}", given=state.given)
    target = state.target
    if (target is None and state.fresh is not None) or (
        target is not None and target.stop - target.start != len(target.cameras)
    ):
        raise ValueError("the chunk at hand has no target, or one with another number of cameras")
    for name in ("image", "latents", "codes"):
        if getattr(state, name).dtype != torch.float32:
            raise ValueError(f"{name} is {getattr(state, name).dtype}, expected float32")
    return state
