"""One-line shape checks that read like the docstring they enforce."""

from torch import Tensor


def sizes(spec: str, **tensors: Tensor) -> tuple[int, ...]:
    """Check shapes and bind axis names: ``n, c = sizes("N 3 | N C", points=p, latents=z)``.

    ``spec`` lists one shape a tensor, in the order of the keyword arguments, separated by ``|``. A number must match
    exactly, a name binds on first sight and must match afterwards, a leading ``...`` stands for any batch axes.

    Returns:
        The sizes of the names, in order of first appearance.

    Raises:
        ValueError: a shape does not fit; the message names the tensor, its shape and what was expected.
    """
    bound: dict[str, int] = {}
    shapes = [part.split() for part in spec.split("|")]
    assert len(shapes) == len(tensors), f"{len(shapes)} shapes for {len(tensors)} tensors"
    for axes, (name, tensor) in zip(shapes, tensors.items()):
        given = dict(bound)
        trailing = axes[1:] if axes[0] == "..." else axes
        shape = tuple(tensor.shape)
        fits = len(shape) >= len(trailing) if axes[0] == "..." else len(shape) == len(trailing)
        actual = shape[len(shape) - len(trailing) :] if fits else ()
        for axis, size in zip(trailing, actual):
            fits &= size == (int(axis) if axis.isdigit() else bound.setdefault(axis, size))
        if not fits:
            raise ValueError(
                f"{name} has shape {shape}, expected ({' '.join(axes)})" + (f" given {given}" if given else "")
            )
    return tuple(bound.values())
