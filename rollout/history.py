"""Going back: a film as it was after one of its chunks."""

from dataclasses import replace

from .edit import stale_frames
from .state import RolloutState


def revert(state: RolloutState, chunk: int) -> RolloutState:
    """The state as it was after ``chunk`` (-1 = before the first): film, memory, edits, references and records.

    What the budget of the memory evicted since is not brought back. Prompts, seed and path stay.

    Raises:
        ValueError: the film has not made that chunk.
    """
    if not -1 <= chunk < state.chunk:
        raise ValueError(f"chunk is {chunk}, the film has made {state.chunk}: expected -1 to {state.chunk - 1}")
    stop = 1 if chunk < 0 else int(state.records[chunk]["frames"][1])
    made = state.latents.shape[1] - 1
    stride = (len(state.cameras) - 1) // made if made else 1
    kept = [i for i, frame in enumerate(state.code_frames) if frame < stop]
    frames = tuple(state.code_frames[i] for i in kept)
    reverted = replace(
        state,
        memory=None if state.memory is None else state.memory.revert(chunk),
        latents=state.latents[:, : 1 + (stop - 1) // stride],
        codes=state.codes[:, kept],
        code_frames=frames,
        code_cameras=state.code_cameras[kept],
        cameras=state.cameras[:stop],
        chunk=chunk + 1,
        target=None,
        fresh=None,
        records=state.records[: chunk + 1],
        stale=tuple(frame for frame in state.stale if frame in frames),
    )
    if state.memory is None or reverted.memory is None or len(reverted.memory.edits) == len(state.memory.edits):
        return reverted
    still = stale_frames(reverted.memory, reverted)
    return replace(reverted, stale=tuple(frame for frame in reverted.stale if frame in still))
