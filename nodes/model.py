"""The node that brings a world model: the one that ships, or the user's own Wan files."""

import torch

from ..models.layout import WAN_LAYOUTS
from ..models.wan_load import WanFiles, load_wan
from ..models.world import WorldModel, load_mini_world
from .host import (
    World,
    diffusers_folder,
    diffusers_folders,
    free_ram,
    io,
    model_file,
    model_files,
    result,
    schema,
    socket,
)
from .managed import managed

NONE = "none"
MODELS = {"mini": load_mini_world}  # those that ship with the pack, complete
BASES, VAES, BRANCHES, LORAS = ("diffusion_models",), ("vae",), ("model_patches", "diffusion_models"), ("loras",)
DTYPES = {"as in the file": None, "bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def layout_input():
    """The choice of a branch's layout, the same on every node that takes a branch."""
    return socket(
        io.Combo,
        "layout",
        "How the branch was trained to be driven. 'auto' tells it by the branch's shape; a branch of Spatia's shape "
        "can also be driven as Mirage's code does.",
        options=["auto", *WAN_LAYOUTS],
        default="auto",
        optional=True,
    )


class LoadWorldModel(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "LoadWorldModel",
            "Load World Model",
            "Loads the network that draws the film, together with its codec and the layout it was trained with.",
            inputs=[
                socket(
                    io.Combo,
                    "model",
                    "Which world model. 'mini' ships with the pack: small, needs no download and no GPU, reads no "
                    "prompt. Else Wan2.2-TI2V-5B: a file in models/diffusion_models or a folder in models/diffusers.",
                    options=[*MODELS, *diffusers_folders(), *model_files(*BASES)],
                    default="mini",
                ),
                socket(
                    io.Combo,
                    "vae",
                    "wan2.2_vae.safetensors. 'none': the diffusers folder has its own, or the model is 'mini'.",
                    options=[NONE, *model_files(*VAES)],
                    default=NONE,
                    optional=True,
                ),
                socket(
                    io.Combo,
                    "branch",
                    "The control branch, in models/model_patches or models/diffusion_models: Spatia's "
                    "step-8500.safetensors, or one in Mirage's format.",
                    options=[NONE, *model_files(*BRANCHES)],
                    default=NONE,
                    optional=True,
                ),
                socket(
                    io.Combo,
                    "lora",
                    "A LoRA that is on from the second chunk on, as Spatia's is. It is added while the network "
                    "computes: the weights stay as they are.",
                    options=[NONE, *model_files(*LORAS)],
                    default=NONE,
                    optional=True,
                ),
                layout_input(),
                socket(
                    io.Combo,
                    "dtype",
                    "The weights' numbers. What must stay exact is float32 in any case.",
                    options=list(DTYPES),
                    default="bf16",
                    optional=True,
                ),
            ],
            outputs=[result(World, "world", "Backbone, control branch, codec and sampler defaults in one value.")],
            search_aliases=["spatia", "mirage", "video world model", "load model", "wan"],
        )

    @classmethod
    def execute(cls, model, vae=NONE, branch=NONE, lora=NONE, layout="auto", dtype="bf16"):
        if model in MODELS:
            chosen = {"vae": vae, "branch": branch, "lora": lora}
            given = [name for name, value in chosen.items() if value != NONE]
            if given:
                raise ValueError(f"{model!r} brings all it needs; set {', '.join(given)} to 'none'")
            return io.NodeOutput(MODELS[model]())
        return io.NodeOutput(wan_of(model, vae, branch, lora, layout, dtype))


def wan_of(model: str, vae: str, branch: str, lora: str, layout: str, dtype: str) -> WorldModel:
    """A Wan world from the names of the user's files.

    Raises:
        FileNotFoundError: names what is missing, its folder and its page.
        CheckpointError: a file is not what it should be.
    """
    folder = diffusers_folder(model)
    if folder is None and vae == NONE:
        raise FileNotFoundError(
            "no VAE is chosen: put wan2.2_vae.safetensors into models/vae (Hugging Face: "
            "Comfy-Org/Wan_2.2_ComfyUI_Repackaged) and choose it"
        )
    base = folder / "transformer" if folder else model_file(model, *BASES)
    files = WanFiles(
        base,
        folder / "vae" if folder and vae == NONE else model_file(vae, *VAES),
        None if branch == NONE else model_file(branch, *BRANCHES),
        None if lora == NONE else model_file(lora, *LORAS),
    )
    return load_wan(files, layout, DTYPES[dtype], free_ram(), owned=managed)
