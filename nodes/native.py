"""The node that makes a world model of ComfyUI's own MODEL and VAE: any loader, any LoRA, any precision."""

from pathlib import Path
from typing import Any

from ..models.wan_files import check_branch, header_of
from ..models.wan_world import layout_of, wan_world
from ..models.world import WorldModel
from .host import MODEL_FOLDER, World, io, model_file, model_files, result, schema, socket
from .model import layout_input
from .native_backbone import NativeBackbone
from .native_branch import branch_shape, load_branch
from .native_check import check_later, check_model, check_vae, header_of_model
from .native_codec import HostCodec
from .native_host import offer_folder, part

BRANCHES = (MODEL_FOLDER, "model_patches", "diffusion_models")
Model, Vae = io.Custom("MODEL"), io.Custom("VAE")


class ApplySpatialControl(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        offer_folder()
        return schema(
            "ApplySpatialControl",
            "Apply Spatial Control",
            "Makes a world model of ComfyUI's own MODEL and VAE and a control branch: any precision, LoRA and "
            "attention that ComfyUI knows, loaded in parts where memory is short.",
            inputs=[
                socket(Model, "model", "Wan2.2-TI2V-5B from any loader: bf16, fp16, fp8 or GGUF."),
                socket(Vae, "vae", "The Wan2.2 VAE, from VAELoader."),
                socket(
                    io.Combo,
                    "branch",
                    "The control branch, in models/spatial_memory, models/model_patches or models/diffusion_models: "
                    "Spatia's step-8500.safetensors, or one in Mirage's format.",
                    options=model_files(*BRANCHES),
                ),
                layout_input(),
                socket(
                    Model,
                    "later_model",
                    "The same model with a LoRA on, for the chunks after the first, as Spatia's is. Nothing connected: "
                    "one model for all.",
                    optional=True,
                ),
            ],
            outputs=[result(World, "world", "Backbone, control branch, codec and sampler defaults in one value.")],
            search_aliases=["spatia", "mirage", "video world model", "wan", "controlnet", "vace", "gguf", "fp8"],
        )

    @classmethod
    def execute(cls, model, vae, branch, layout="auto", later_model=None):
        part("model_patcher")  # no ComfyUI, no MODEL: said before a file is looked for
        return io.NodeOutput(native_world(model, vae, model_file(branch, *BRANCHES), layout, later_model))


def native_world(model: Any, vae: Any, branch: Path, layout: str = "auto", later: Any = None) -> WorldModel:
    """A world around a MODEL, a VAE and a branch file.

    Raises:
        ValueError: one of them is not what it should be (``CheckpointError`` for the file), or they do not belong
            together; no weight was read then.
    """
    check_model(model)
    if later is not None:
        check_later(later, model)
    check_vae(vae)
    header = header_of(branch)
    check_branch(header, header_of_model(model))
    chosen = layout_of(header.blocks("vace_blocks"), header.shapes["vace_patch_embedding.weight"][1], layout)
    patcher = load_branch(branch, branch_shape(header, model), model)
    network = model.get_model_object("diffusion_model")
    return wan_world(
        NativeBackbone(model.clone(), patcher),
        HostCodec(vae, model.model.latent_format),
        chosen,
        network.text_dim,
        None if later is None else NativeBackbone(later.clone(), patcher),
    )
