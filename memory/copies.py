"""Memories and observations that were brought to another device, so that nothing is brought twice.

How long they live: the copy of an observation as long as a copied memory holds it; of the copied memories the cache
holds one a device, the one that was asked for last, until another is asked for or its original is gone. So a memory
that grows brings only what is new to it, and of ten memories of one film no more than one fills a GPU.
"""

import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

import torch

Kept = TypeVar("Kept")  # weakly referenced and told apart by identity


class Shared(Generic[Kept]):
    """Copies by original and device, both weak: a copy goes with its last user, and never keeps its original alive."""

    def __init__(self) -> None:
        self._copies: weakref.WeakKeyDictionary[Kept, weakref.WeakValueDictionary[torch.device, Kept]] = (
            weakref.WeakKeyDictionary()
        )

    def copy(self, original: Kept, device: torch.device, bring: Callable[[], Kept]) -> Kept:
        """The copy that is there already, or the one that ``bring`` makes. Two threads may at worst both bring it."""
        mine = self._copies.setdefault(original, weakref.WeakValueDictionary())
        found = mine.get(device)
        return mine.setdefault(device, bring()) if found is None else found


class Last(Generic[Kept]):
    """For each device the copy that was asked for last, with a weak hold on its original."""

    def __init__(self) -> None:
        self._held: dict[torch.device, tuple[weakref.ref[Kept], Kept]] = {}

    def copy(self, original: Kept, device: torch.device, bring: Callable[[], Kept]) -> Kept:
        """The copy that is held, or the one that ``bring`` makes, which is held from now on."""
        source, found = self._held.get(device, (None, None))
        if source is not None and found is not None and source() is original:
            return found
        made = bring()  # while the one before still holds the observations that both have
        self._held[device] = (weakref.ref(original, lambda gone: self._drop(device, gone)), made)
        return made

    def forget(self) -> None:
        """Free every device. It costs time and changes nothing."""
        self._held.clear()

    def _drop(self, device: torch.device, gone: "weakref.ref[Kept]") -> None:
        held = self._held.get(device)
        if held is not None and held[0] is gone:
            self._held.pop(device, None)


def located(device: "torch.device | str") -> torch.device:
    """A device as its tensors name it: ``cuda`` is the current one of several, by number."""
    return torch.empty(0, device=device).device
