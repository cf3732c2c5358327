"""Going back: a film as it was after one of its chunks."""

from dataclasses import replace

from ..models.world import WorldModel
from .edit import stale_frames, with_memory
from .state import RolloutState


def revert(state: RolloutState, chunk: int, world: WorldModel | None = None) -> RolloutState:
    """The state as it was after ``chunk`` (-1 = before the first): film, memory, edits, references and records.

    What the budget of the memory evicted since is not brought back. Prompts, seed and path stay.

    Args:
        world: who made the film. Needed before the first chunk where the start frame shows an edit that was undone
            since: it is rendered and encoded anew then.

    Raises:
        ValueError: the film has not made that chunk, or the start frame must be made anew and no world model is given,
            or another.
    """
    if not -1 <= chunk < state.chunk:
        raise ValueError(f"chunk is {chunk}, the film has made {state.chunk}: expected -1 to {state.chunk - 1}")
    if chunk < 0 and state.outdated and world is None:
        raise ValueError(
            "the start frame shows an edit that was undone after the film had begun; give the world model, so that it "
            "can be made anew"
        )
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
        seen=None,
        records=state.records[: chunk + 1],
        stale=tuple(frame for frame in state.stale if frame in frames),
    )
    if chunk < 0 and state.outdated and world is not None and reverted.memory is not None:
        return with_memory(world, reverted, reverted.memory).state
    if state.memory is None or reverted.memory is None or len(reverted.memory.edits) == len(state.memory.edits):
        return reverted
    still = stale_frames(reverted.memory, reverted)
    return replace(reverted, stale=tuple(frame for frame in reverted.stale if frame in still))
