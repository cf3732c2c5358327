"""A second device where there is none: tensors that say they lie on a GPU, and refuse to meet those that do not.

Numbers are computed on the CPU, so what is read here equals, to the bit, what is read there. What a GPU would refuse is
refused: two devices in one call, a tensor as numbers of numpy. And more: making a tensor without saying where.
"""

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

PLACE = torch.device("cuda", 7)  # no device of that number is used: what is cached for it serves no real one
MAKERS = {
    getattr(torch, name)
    for name in (
        *("arange", "as_tensor", "empty", "eye", "full", "linspace", "logspace", "ones", "rand", "randint", "randn"),
        *("randperm", "scalar_tensor", "tensor", "zeros"),
    )
}
TOGETHER = {torch.cat, torch.stack, torch.index_select, Tensor.index_select, Tensor.__getitem__, Tensor.__setitem__}
ABROAD = {Tensor.copy_}  # what may write across devices


class WrongDevice(AssertionError):
    """Two devices were mixed, or none was named."""


def is_far(value: object) -> bool:
    """Whether a tensor lies on the device that is not there."""
    return isinstance(value, Tensor) and getattr(value, "lies_far", False)


class Elsewhere(TorchFunctionMode):
    """Within it ``PLACE`` is a device: ``x.to(PLACE)`` lies there, and so does all that is made of it."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        tensors = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, Tensor)]
        far = any(map(is_far, tensors))
        if func == Tensor.device.__get__:
            return PLACE if far else func(*args)
        if func == Tensor.is_cuda.__get__:
            return far
        if func is Tensor.numpy and far:
            raise WrongDevice("numpy is asked for what lies on a GPU")
        if func in MAKERS or (kwargs.get("device") is not None and func.__name__.startswith("new_")):
            if func in MAKERS and kwargs.get("device") is None:
                raise WrongDevice(f"{func.__name__} is not told on which device")
            far = torch.device(kwargs.pop("device")).type == PLACE.type
        elif func in (Tensor.to, Tensor.cpu, Tensor.cuda):
            return self._moved(func, args, kwargs, is_far(args[0]))
        elif far and func not in ABROAD:
            alone = [t for t in tensors if not is_far(t) and (t.ndim or func in TOGETHER)]
            if alone:
                raise WrongDevice(f"{func.__name__} mixes two devices: {tuple(alone[0].shape)} lies on the CPU")
        return _marked(func(*args, **kwargs), far)

    def _moved(self, func, args, kwargs, far):
        """A tensor brought to a device, itself where it lies there, as torch does it."""
        target = PLACE.type if func is Tensor.cuda else "cpu" if func is Tensor.cpu else kwargs.pop("device", None)
        rest = []
        for value in args[1:]:
            if isinstance(value, Tensor):
                target, value = (PLACE.type if is_far(value) else "cpu"), value.dtype
            elif isinstance(value, (str, torch.device)):
                target, value = value, None
            rest += [value] if value is not None else []
        there = far if target is None else torch.device(target).type == PLACE.type
        made = args[0].to(*rest, **kwargs) if rest or kwargs else args[0]
        return _marked(made.clone() if made is args[0] and there != far else made, there)


def _marked(made, far):
    """What was made, marked for where it lies."""

    def mark(value):
        if isinstance(value, Tensor) and far:
            value.lies_far = True
        return value

    return tree_map(mark, made)
