"""Did the loop close? The start frame against the frame at which the path returns, and frames that share a camera."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..memory.camera import Cameras
from ..memory.path import CameraPath
from ..memory.shapes import sizes
from .metrics import psnr, ssim
from .report_picture import draw_report
from .state import RolloutState

__all__ = ["closed_loop_report", "draw_report", "return_frame", "revisits"]

APART = 8  # frames: nearer pairs are neighbours in time and share more than a place

Film = tuple[RolloutState, Tensor]  # a finished state and its frames (T, 3, H, W) in [0, 1]


def closed_loop_report(
    state: RolloutState,
    frames: Tensor,  # (T, 3, H, W) in [0, 1], the film
    path: CameraPath,
    baseline: Film | None = None,
) -> dict:
    """The numbers of one film, and of its twin without memory, as JSON values.

    ``psnr_return`` and ``ssim_return`` compare the start frame as it was given with the last frame whose camera is the
    first one's; they are None where the path never returns. ``psnr_revisit`` is the mean over pairs of generated frames
    whose cameras are the same to the bit, more than 8 frames apart, each frame with the first one that stood there.

    Raises:
        ValueError: another number of frames than the state has cameras, a baseline of another film, or an empty film.
    """
    scores, curves = _scores(state, frames, "the film")
    report = {
        "frames": len(frames),
        "chunks": state.chunk,
        "height": state.height,
        "width": state.width,
        "fps": path.fps,
        "path": path.name,
        "world": state.world,
        "memory": state.memory.kind if state.memory else None,
        "seed": state.seed,
        **_sampling(state),
        "return_frame": return_frame(state.cameras),
        "revisit_pairs": len(revisits(state.cameras)),
        **scores,
        "seconds": _total(state),
        "per_chunk": [_chunk_row(record) for record in state.records[: state.chunk]],
        "curves": curves,
    }
    if baseline is None:
        return report
    twin, twin_frames = baseline
    if not (torch.equal(twin.cameras.c2w, state.cameras.c2w) and torch.equal(twin.image, state.image)):
        raise ValueError("the baseline was made along another path or from another start frame; compare twins only")
    scores, curves = _scores(twin, twin_frames, "the baseline")
    gains = {
        f"gain_{name}": round(report[name] - value, 4)
        for name, value in scores.items()
        if value is not None and report[name] is not None
    }
    return {
        **report,
        **{f"baseline_{name}": value for name, value in scores.items()},
        **gains,
        "baseline_seconds": _total(twin),
        "curves": {**report["curves"], **{f"baseline_{name}": values for name, values in curves.items()}},
    }


def return_frame(cameras: Cameras) -> int | None:
    """The last frame, more than 8 after the first, whose camera is the first one's to the bit; None: there is none."""
    same = [j for j in range(APART + 1, len(cameras)) if _same(cameras, 0, j)]
    return same[-1] if same else None


def revisits(cameras: Cameras) -> list[tuple[int, int]]:
    """Pairs (i, j) of generated frames with one camera: each j with the first i > 0 that stood there, if j - i > 8."""
    table = torch.cat([cameras.c2w.flatten(1), cameras.K.flatten(1)], dim=1).tolist()
    first: dict[tuple[float, ...], int] = {}
    pairs = []
    for j, row in enumerate(table):
        if j == 0:
            continue
        i = first.setdefault(tuple(row), j)
        if j - i > APART:
            pairs.append((i, j))
    return pairs


def _same(cameras: Cameras, i: int, j: int) -> bool:
    return torch.equal(cameras.c2w[i], cameras.c2w[j]) and torch.equal(cameras.K[i], cameras.K[j])


def _scores(state: RolloutState, frames: Tensor, name: str) -> tuple[dict, dict]:
    count, height, width = sizes("T 3 H W", frames=frames)
    if count != len(state.cameras) or (height, width) != (state.height, state.width) or not state.chunk:
        raise ValueError(
            f"{name} has {count} frames of {height} x {width}, its state {len(state.cameras)} of {state.height} x "
            f"{state.width} after {state.chunk} chunk(s); give the frames that DecodeVideo makes of this very state"
        )
    back, pairs = return_frame(state.cameras), revisits(state.cameras)
    again = {j: psnr(frames[i], frames[j]) for i, j in pairs}
    scores = {
        "psnr_return": None if back is None else round(psnr(state.image, frames[back]), 4),
        "ssim_return": None if back is None else round(ssim(state.image, frames[back]), 4),
        "psnr_revisit": _mean(list(again.values())),
        "ssim_revisit": _mean([ssim(frames[i], frames[j]) for i, j in pairs]),
    }
    curves = {
        "psnr_start": [round(psnr(state.image, frame), 3) for frame in frames],
        "psnr_revisit": [round(again[j], 3) if j in again else None for j in range(count)],
    }
    return scores, curves


def _chunk_row(record: dict) -> dict:
    """One chunk's record as the report shows it: alignment as its mean inlier share, seconds rounded and summed."""
    views = record.get("alignment", [])
    shares = [view["inlier_share"] for view in views if view.get("how") in ("kept", "aligned")]
    seconds = {stage: round(value, 4) for stage, value in record.get("seconds", {}).items()}
    return {
        "chunk": record["chunk"],
        "frames": record.get("frames"),
        "coverage": _rounded(record.get("coverage")),
        "hole_rate": _rounded(record.get("hole_rate")),
        "references": [{"frame": r["frame"], "score": _rounded(r["score"])} for r in record.get("references", [])],
        "points": record.get("points"),
        "memory_bytes": record.get("memory_bytes"),
        "alignment": {"views": len(views), "aligned": len(shares), "inlier_share": _mean(shares)},
        "seconds": {**seconds, "total": round(sum(record.get("seconds", {}).values()), 4)},
    }


def _sampling(state: RolloutState) -> dict:
    """Sampler, steps and guidance of the film's last chunk."""
    sampling = state.records[-1].get("sampling", {}) if state.records else {}
    return {
        "sampler": sampling.get("sampler"),
        "steps": sampling.get("steps"),
        "guidance": sampling.get("guidance_scale"),
        "shift": sampling.get("shift"),
    }


def _total(state: RolloutState) -> float:
    return round(sum(sum(record.get("seconds", {}).values()) for record in state.records), 3)


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
