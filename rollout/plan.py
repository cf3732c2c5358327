"""Which frames each chunk makes. Integers only; the path is covered exactly, every frame once.

Two schemes. ``plan_overlap`` (Spatia): a later window shows the last ``history_frames`` frames again; windows of 33
with 9 of history make 33 frames, then 24 a chunk; Spatia's 121 and 81 with 9 make 121, then 72. ``plan_repeat``
(Mirage): a later window repeats one frame: 33, then 32. The last chunk may be shorter, so that any path of 1 + 4 n
frames is covered.
"""

from dataclasses import dataclass

from ..memory.grid import LatentGrid
from ..models.layout import Layout


@dataclass(frozen=True)
class ChunkPlan:
    """One chunk: it makes the path's frames [start, stop) in a model window [window_start, stop).

    In chunk 0 frame 0 is the start frame itself, clean at the window's head; ``history`` is then 0.
    """

    index: int
    start: int
    stop: int
    window_start: int
    history: int  # frames of the window that exist already

    @property
    def window_frames(self) -> int:
        return self.stop - self.window_start


def plan_overlap(
    num_frames: int, first_frames: int, chunk_frames: int, history_frames: int, temporal: int = 4
) -> tuple[ChunkPlan, ...]:
    """A window of ``first_frames``, then of ``chunk_frames`` that show the last ``history_frames`` of the past first.

    Raises:
        ValueError: a count is not 1 + s n, or the history fills a window; names the nearest counts.
    """
    counts = dict(
        num_frames=num_frames, first_frames=first_frames, chunk_frames=chunk_frames, history_frames=history_frames
    )
    for name, count in counts.items():
        _check(temporal, name, count)
    if history_frames >= chunk_frames:
        raise ValueError(f"history_frames is {history_frames}, expected fewer than chunk_frames, {chunk_frames}")
    return _windows(num_frames, first_frames, chunk_frames, history_frames)


def plan_repeat(num_frames: int, chunk_frames: int, temporal: int = 4) -> tuple[ChunkPlan, ...]:
    """Windows of ``chunk_frames``, of which all but the first repeat the last frame of the past.

    Raises:
        ValueError: a count is not 1 + s n, or a window has no room for a new latent; names the nearest counts.
    """
    for name, count in (("num_frames", num_frames), ("chunk_frames", chunk_frames)):
        _check(temporal, name, count)
    if chunk_frames < 2:
        raise ValueError(f"chunk_frames is {chunk_frames}, expected at least {1 + temporal}")
    return _windows(num_frames, chunk_frames, chunk_frames, 1)


def plan(layout: Layout, num_frames: int, temporal: int = 4) -> tuple[ChunkPlan, ...]:
    """The chunks of a path, by the scheme that ``layout`` was trained with.

    Raises:
        ValueError: the path's length is not 1 + s n; names the nearest lengths that are.
    """
    if layout.history == "overlap":
        return plan_overlap(num_frames, layout.first_frames, layout.chunk_frames, layout.history_frames, temporal)
    return plan_repeat(num_frames, layout.chunk_frames, temporal)


def continued(layout: Layout, num_frames: int, index: int, done: int, temporal: int = 4) -> tuple[ChunkPlan, ...]:
    """The chunks that are left of a path when ``index`` chunks have made its first ``done`` frames.

    Raises:
        ValueError: the path's length or ``done`` is not 1 + s n, or more is done than the path has.
    """
    chunks = plan(layout, num_frames, temporal)
    if index == 0:
        return chunks
    _check(temporal, "done", done)
    if done > num_frames:
        raise ValueError(f"the film has {done} frames, the path {num_frames}; continue it with a path at least as long")
    shared = layout.history_frames if layout.history == "overlap" else 1
    return _windows(num_frames, layout.first_frames, layout.chunk_frames, shared, index, done)


def window(layout: Layout, index: int, start: int, stop: int, temporal: int = 4) -> ChunkPlan:
    """The model window of one chunk that makes the frames [start, stop), given that all before exist.

    Raises:
        ValueError: the chunk does not end on a latent, or does not fit the window that the layout was trained with.
    """
    shared = layout.history_frames if layout.history == "overlap" else 1
    history = min(shared, start)
    chunk = ChunkPlan(index, start, stop, start - history, history)
    _check(temporal, "the chunk's end", stop)
    most = layout.chunk_frames if start else layout.first_frames
    if not start < stop or chunk.window_frames > most:
        room = most - history
        raise ValueError(
            f"chunk {index} makes frames {start} to {stop}, expected 1 to {room} frames in a window of {layout.name}"
        )
    return chunk


def _windows(
    num_frames: int, first_frames: int, chunk_frames: int, shared: int, index: int = 0, done: int = 0
) -> tuple[ChunkPlan, ...]:
    chunks: list[ChunkPlan] = []
    start = done
    while start < num_frames:
        history = min(shared, start)
        stop = min(start - history + (chunk_frames if start else first_frames), num_frames)
        chunks.append(ChunkPlan(index + len(chunks), start, stop, start - history, history))
        start = stop
    return tuple(chunks)


def _check(temporal: int, name: str, count: int) -> None:
    try:
        LatentGrid(1, temporal).latent_frames(count)
    except ValueError as error:
        raise ValueError(str(error).replace("num_frames", name, 1)) from None
