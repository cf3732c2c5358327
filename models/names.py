"""Names of released weights, mapped to diffusers': Wan's transformer with its branch under any prefix, the Wan2.2 VAE.

Every rule works on one name by itself and leaves diffusers' names as they are, so that a base model in one spelling and
a branch in the other can be read together.
"""

import re

_PREFIXES = (
    "model.diffusion_model.", "diffusion_model.", "module.", "model.", "generator.", "pipe.", "transformer.", "dit.",
    "vace.", "state_dict.",
)  # fmt: skip
_ROOTS = (
    "blocks.", "vace_blocks.", "patch_embedding.", "vace_patch_embedding.", "text_embedding.", "time_embedding.",
    "time_projection.", "head.", "condition_embedder.", "proj_out.", "scale_shift_table",
)  # fmt: skip
_WAN_NAMES = (  # in this order
    (r"^head\.modulation$", "scale_shift_table"),
    (r"^head\.head\.", "proj_out."),
    (r"\.modulation$", ".scale_shift_table"),
    (r"^time_embedding\.0\.", "condition_embedder.time_embedder.linear_1."),
    (r"^time_embedding\.2\.", "condition_embedder.time_embedder.linear_2."),
    (r"^text_embedding\.0\.", "condition_embedder.text_embedder.linear_1."),
    (r"^text_embedding\.2\.", "condition_embedder.text_embedder.linear_2."),
    (r"^time_projection\.1\.", "condition_embedder.time_proj."),
    (r"\.norm3\.", ".norm2."),  # the one norm with weights; diffusers' own norm3 has none
    (r"\.self_attn\.", ".attn1."),
    (r"\.cross_attn\.", ".attn2."),
    (r"\.(attn[12])\.([qkv])\.", r".\1.to_\2."),
    (r"\.(attn[12])\.o\.", r".\1.to_out.0."),
    (r"\.ffn\.0\.", ".ffn.net.0.proj."),
    (r"\.ffn\.2\.", ".ffn.net.2."),
    (r"\.before_proj\.", ".proj_in."),
    (r"\.after_proj\.", ".proj_out."),
)
_VAE_NAMES = (
    (r"^conv1\.", "quant_conv."),
    (r"^conv2\.", "post_quant_conv."),
    (r"^(encoder|decoder)\.conv1\.", r"\1.conv_in."),
    (r"^(encoder|decoder)\.head\.0\.", r"\1.norm_out."),
    (r"^(encoder|decoder)\.head\.2\.", r"\1.conv_out."),
    (r"\.middle\.0\.", ".mid_block.resnets.0."),
    (r"\.middle\.1\.", ".mid_block.attentions.0."),
    (r"\.middle\.2\.", ".mid_block.resnets.1."),
    (r"\.downsamples\.(\d+)\.downsamples\.\d+\.(resample|time_conv)\.", r".down_blocks.\1.downsampler.\2."),
    (r"\.downsamples\.(\d+)\.downsamples\.(\d+)\.", r".down_blocks.\1.resnets.\2."),
    (r"\.upsamples\.(\d+)\.upsamples\.\d+\.(resample|time_conv)\.", r".up_blocks.\1.upsampler.\2."),
    (r"\.upsamples\.(\d+)\.upsamples\.(\d+)\.", r".up_blocks.\1.resnets.\2."),
    (r"\.residual\.0\.", ".norm1."),
    (r"\.residual\.2\.", ".conv1."),
    (r"\.residual\.3\.", ".norm2."),
    (r"\.residual\.6\.", ".conv2."),
    (r"\.shortcut\.", ".conv_shortcut."),
)


def strip_prefixes(name: str) -> str:
    """Take nested prefixes off: ``generator.vace.vace_blocks.0.x`` is ``vace_blocks.0.x`` to the network itself.

    A name that is no transformer's under any prefix comes back as it is, and a strict load reports it.
    """
    bare = name
    while not bare.startswith(_ROOTS):
        prefix = next((prefix for prefix in _PREFIXES if bare.startswith(prefix)), None)
        if prefix is None:
            return name
        bare = bare[len(prefix) :]
    return bare


def transformer_name(name: str) -> str:
    """Map a transformer's or a branch's tensor name, in any known spelling, to diffusers'."""
    return _replace(strip_prefixes(name), _WAN_NAMES)


def vae_name(name: str) -> str:
    """Map a Wan2.2 VAE's tensor name to diffusers'."""
    return _replace(name.removeprefix("vae."), _VAE_NAMES)


def _replace(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
