"""What is asked of every part of a file before it is believed."""

from collections.abc import Mapping

import torch
from torch import Tensor


def check_record(record: object, kinds: Mapping[str, type], where: str) -> None:
    """Refuse a JSON object that lacks a key, or holds another kind of value there; an int passes for a float.

    Raises:
        ValueError: names the key, what it holds and what was expected.
    """
    for key, kind in kinds.items():
        value = record.get(key) if isinstance(record, dict) else None
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise ValueError(f"{where}{key} is {value!r:.80}, expected {kind.__name__}; the world file is damaged")


def expect(tensors: Mapping[str, Tensor], name: str, dtype: torch.dtype, shape: tuple[int | None, ...]) -> Tensor:
    """The tensor of that name, if it is of this dtype and shape (None = any size).

    Raises:
        ValueError: it is missing or does not fit.
    """
    tensor = tensors.get(name)
    if tensor is None:
        raise ValueError(f"{name} is missing; the world file is damaged")
    fits = len(tensor.shape) == len(shape) and all(want in (None, got) for want, got in zip(shape, tensor.shape))
    if tensor.dtype != dtype or not fits:
        raise ValueError(f"{name} is {tensor.dtype} {tuple(tensor.shape)}, expected {dtype} {shape}")
    return tensor
