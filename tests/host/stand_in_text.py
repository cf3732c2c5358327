"""A custom node for tests alone: a text encoder without weights, of as many channels as the tiny networks read."""

import hashlib

import torch

TEXT = 32  # channels, those of tests/tiny_wan.py
TOKENS = 8


class Words:
    """What CLIPTextEncode asks of a CLIP; each text is a random prompt of its own."""

    def tokenize(self, text):
        return text

    def encode_from_tokens_scheduled(self, text):
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
        return [[torch.randn(1, TOKENS, TEXT, generator=torch.Generator().manual_seed(seed)), {"pooled_output": None}]]


class StandInWords:
    RETURN_TYPES, FUNCTION, CATEGORY = ("CLIP",), "make", "tests"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    def make(self):
        return (Words(),)


NODE_CLASS_MAPPINGS = {"StandInWords": StandInWords}
