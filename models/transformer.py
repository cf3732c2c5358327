"""The Wan transformer with its control branch, told one timestep per latent frame and given reference frames.

diffusers' ``WanVACETransformer3DModel`` supplies every module and every name. What both papers need and it lacks is
here: timesteps that differ between frames, reference frames with rotary positions of their own (time -R..-1, rows moved
one picture down), and a branch that neither sees the references nor gives them hints.
"""

from functools import lru_cache

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.models.transformers.transformer_wan import WanAttention, WanAttnProcessor, WanTransformerBlock
from diffusers.models.transformers.transformer_wan_vace import WanVACETransformer3DModel, WanVACETransformerBlock
from einops import rearrange
from torch import Tensor


@lru_cache(maxsize=16)
def rotary_table(
    head_dim: int,
    num_references: int,
    num_frames: int,
    rows: int,
    columns: int,
    theta: float = 10000.0,
) -> Tensor:
    """Every token's turns exp(i angle), (tokens, head_dim / 2) complex64, references first.

    The head splits in three: time, row, column (44, 42, 42 of 128). References stand at times -R..-1 and rows
    rows..2 rows - 1, so that they meet no target position; the other frames at times 0..F-1. Angles are float64 up to
    the last step. Built outside inference mode, so that a table made while sampling still serves training.
    """
    with torch.inference_mode(False), torch.no_grad():
        side = 2 * (head_dim // 6)
        time = torch.arange(-num_references, num_frames, dtype=torch.float64)
        row = torch.arange(rows, dtype=torch.float64).repeat(num_references + num_frames, 1)  # (frames, rows)
        row[:num_references] += rows
        column = torch.arange(columns, dtype=torch.float64)
        shape = (num_references + num_frames, rows, columns)
        positions = (time[:, None, None].expand(shape), row[:, :, None].expand(shape), column.expand(shape))
        angles = []
        for dim, position in zip((head_dim - 2 * side, side, side), positions):
            frequencies = theta ** -(torch.arange(0, dim, 2, dtype=torch.float64) / dim)
            angles.append(position.reshape(-1, 1) * frequencies)
        angle = torch.cat(angles, dim=-1)
        return torch.polar(torch.ones_like(angle), angle).to(torch.complex64)


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    """Turn the channel pairs of ``x`` (B, tokens, heads, head_dim) by (tokens, head_dim / 2) complex numbers."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turns[:, None]).flatten(-2).type_as(x)


class RotaryAttnProcessor(WanAttnProcessor):
    """Self-attention that turns pairs of channels as complex numbers: fast under autograd, on a CPU too."""

    def __call__(  # type: ignore[override]  # rotary_emb is one complex table
        self,
        attn: WanAttention,
        hidden_states: Tensor,  # (B, tokens, D)
        encoder_hidden_states: Tensor | None,
        attention_mask: Tensor | None,
        rotary_emb: Tensor,  # (tokens, head_dim / 2) complex
    ) -> Tensor:  # (B, tokens, D)
        if attn.fused_projections:
            query, key, value = attn.to_qkv(hidden_states).chunk(3, dim=-1)
        else:
            query, key, value = attn.to_q(hidden_states), attn.to_k(hidden_states), attn.to_v(hidden_states)
        query, key, value = (
            x.unflatten(2, (attn.heads, -1)) for x in (attn.norm_q(query), attn.norm_k(key), value)
        )  # (B, tokens, heads, head_dim)
        mixed = dispatch_attention_fn(
            rotate(query, rotary_emb),
            rotate(key, rotary_emb),
            value,
            attn_mask=attention_mask,
            backend=self._attention_backend,
            parallel_config=self._parallel_config,
        )
        return attn.to_out[1](attn.to_out[0](mixed.flatten(2, 3).type_as(hidden_states)))


def modulated_layers(
    block: WanTransformerBlock | WanVACETransformerBlock,
    x: Tensor,  # (B, F, cells, D)
    context: Tensor,  # (B, L, D)
    modulation: Tensor,  # (B, F, 6, D)
    rotary: Tensor,  # (F cells, head_dim / 2) complex
) -> Tensor:  # (B, F, cells, D)
    """Self-attention, cross-attention and feed-forward of one block; a frame's modulation is broadcast over its cells.

    With no context (L = 0) cross-attention adds nothing and is left out.
    """
    frames = x.shape[1]
    table = (block.scale_shift_table + modulation.float()).unsqueeze(3)  # (B, F, 6, 1, D)
    shift, scale, gate, shift_ff, scale_ff, gate_ff = table.unbind(2)

    normed = torch.addcmul(shift, block.norm1(x.float()), 1 + scale).type_as(x)
    attended = block.attn1(normed.flatten(1, 2), None, None, rotary).unflatten(1, (frames, -1))
    x = torch.addcmul(x.float(), attended.float(), gate).type_as(x)
    if context.shape[1]:
        normed = block.norm2(x.float()).type_as(x)
        x = x + block.attn2(normed.flatten(1, 2), context, None, None).unflatten(1, (frames, -1))
    normed = torch.addcmul(shift_ff, block.norm3(x.float()), 1 + scale_ff).type_as(x)
    return torch.addcmul(x.float(), block.ffn(normed).float(), gate_ff).type_as(x)


class SpatialBlock(WanTransformerBlock):
    """A main block on (B, F, cells, D) tokens with one modulation per frame."""

    def forward(self, x: Tensor, context: Tensor, modulation: Tensor, rotary: Tensor) -> Tensor:
        """Apply the block, see ``modulated_layers``."""
        return modulated_layers(self, x, context, modulation, rotary)


class SpatialBranchBlock(WanVACETransformerBlock):
    """A block of the control branch on (B, F, cells, D) tokens: the branch goes on, and a hint leaves it."""

    def forward(  # type: ignore[override]
        self, x: Tensor, control: Tensor, context: Tensor, modulation: Tensor, rotary: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the hint for the main stream and the branch's own tokens; the first block mixes in ``x``."""
        if self.proj_in is not None:
            control = self.proj_in(control) + x
        assert self.proj_out is not None  # every block of the branch has one
        control = modulated_layers(self, control, context, modulation, rotary)
        return self.proj_out(control), control


class SpatialTransformer(WanVACETransformer3DModel):
    """Wan with a VACE branch for spatial memory. Frames run [references | others in stream order].

    Same configuration, same weights and same names as ``WanVACETransformer3DModel``.
    """

    _no_split_modules = ["SpatialBlock", "SpatialBranchBlock"]
    _repeated_blocks = ["SpatialBlock", "SpatialBranchBlock"]

    @register_to_config
    def __init__(
        self,
        patch_size: tuple[int, ...] = (1, 2, 2),
        num_attention_heads: int = 24,
        attention_head_dim: int = 128,
        in_channels: int = 48,
        out_channels: int = 48,
        text_dim: int = 4096,
        freq_dim: int = 256,
        ffn_dim: int = 14336,
        num_layers: int = 30,
        cross_attn_norm: bool = True,
        qk_norm: str | None = "rms_norm_across_heads",
        eps: float = 1e-6,
        image_dim: int | None = None,
        added_kv_proj_dim: int | None = None,
        rope_max_seq_len: int = 1024,
        pos_embed_seq_len: int | None = None,
        vace_layers: list[int] = [0, 4, 8, 12, 16, 20, 24, 28],  # noqa: B006 (the configuration's own default)
        vace_in_channels: int = 96,
    ) -> None:
        """Build the network of Wan2.2-TI2V-5B with Spatia's branch, unless told otherwise.

        Raises:
            ValueError: the patch folds time, an image input is asked for, or the branch's layers are no rising list.
        """
        if patch_size[0] != 1:
            raise ValueError(f"patch_size is {tuple(patch_size)}, expected (1, p, p): each frame has its own timestep")
        if image_dim is not None or added_kv_proj_dim is not None:
            raise ValueError("image_dim and added_kv_proj_dim must be None: the start image enters as a clean latent")
        if list(vace_layers) != sorted(set(vace_layers)):
            raise ValueError(f"vace_layers is {vace_layers}, expected rising layer numbers, each once")
        super().__init__(
            patch_size=patch_size,
            num_attention_heads=num_attention_heads,
            attention_head_dim=attention_head_dim,
            in_channels=in_channels,
            out_channels=out_channels,
            text_dim=text_dim,
            freq_dim=freq_dim,
            ffn_dim=ffn_dim,
            num_layers=num_layers,
            cross_attn_norm=cross_attn_norm,
            qk_norm=qk_norm,
            eps=eps,
            image_dim=image_dim,
            added_kv_proj_dim=added_kv_proj_dim,
            rope_max_seq_len=rope_max_seq_len,
            pos_embed_seq_len=pos_embed_seq_len,
            vace_layers=vace_layers,
            vace_in_channels=vace_in_channels,
        )
        del self.rope  # its positions start at 0; ours are in rotary_table
        # The modules stay diffusers' own, only their forward differs: no second set of weights is ever made.
        for module in self.modules():
            if isinstance(module, (WanTransformerBlock, WanVACETransformerBlock)):
                module.__class__ = SpatialBlock if isinstance(module, WanTransformerBlock) else SpatialBranchBlock
                module.attn1.set_processor(RotaryAttnProcessor())  # type: ignore[arg-type]

    @property
    def device(self) -> torch.device:
        """Where its weights lie: asked for twice a step, so no search through all modules as diffusers makes."""
        return self.scale_shift_table.device

    def forward(
        self,
        hidden_states: Tensor,  # (B, C, R + F, h, w), R references first
        timestep: Tensor,  # (B, R + F) in [0, 1000], 0 = clean
        encoder_hidden_states: Tensor,  # (B, L, text_dim), L = 0 for a model without text
        control_hidden_states: Tensor | None,  # (B, Cc, F, h, w); None leaves the branch out
        num_references: int = 0,  # R
        return_dict: bool = False,
    ) -> Tensor | Transformer2DModelOutput:  # (B, C, R + F, h, w)
        """Predict the velocity (noise minus data) of every frame, in the dtype of the weights.

        Inputs of another dtype are cast; timesteps are read as float32 (bfloat16 would round 999 to 1000).

        Raises:
            ValueError: h or w is no multiple of the patch, or frames, timesteps and control do not belong together.
        """
        batch, _, frames, height, width = hidden_states.shape
        self._check(hidden_states, timestep, control_hidden_states, num_references)
        patch_h, patch_w = self.config["patch_size"][1:]
        rows, columns = height // patch_h, width // patch_w
        head_dim = self.config["attention_head_dim"]
        device, dtype = hidden_states.device, self.patch_embedding.weight.dtype

        text = encoder_hidden_states.to(dtype)
        embedded = self.condition_embedder(timestep.float().flatten(), text, None, timestep_seq_len=frames)
        embedding, modulation, context, _ = embedded
        modulation = modulation.unflatten(2, (6, -1))  # (B, R + F, 6, D): one row a frame, never one a token
        rotary = rotary_table(head_dim, num_references, frames - num_references, rows, columns).to(device)
        x = self._tokens(self.patch_embedding, hidden_states)

        hints = {}
        if control_hidden_states is not None:
            branch_rotary = rotary[num_references * rows * columns :]
            others, branch_modulation = x[:, num_references:], modulation[:, num_references:]
            control = self._tokens(self.vace_patch_embedding, control_hidden_states)
            for layer, block in zip(self.config["vace_layers"], self.vace_blocks):
                hints[layer], control = self._run(block, others, control, context, branch_modulation, branch_rotary)

        for layer, block in enumerate(self.blocks):
            x = self._run(block, x, context, modulation, rotary)
            if layer in hints:
                x = torch.cat((x[:, :num_references], x[:, num_references:] + hints.pop(layer)), dim=1)

        shift, scale = (self.scale_shift_table + embedding.unsqueeze(2)).unsqueeze(3).unbind(2)  # (B, R + F, 1, D)
        x = self.proj_out(torch.addcmul(shift, self.norm_out(x.float()), 1 + scale).type_as(x))
        velocity = rearrange(
            x, "b f (h w) (p q c) -> b c f (h p) (w q)", b=batch, h=rows, w=columns, p=patch_h, q=patch_w
        )
        return Transformer2DModelOutput(sample=velocity) if return_dict else velocity

    def _tokens(self, embedding: torch.nn.Conv3d, latents: Tensor) -> Tensor:
        """(B, C, F, h, w) -> (B, F, cells, D) in the weights' dtype: the residual stays exact.

        Never under autocast: torch 2.15's bfloat16 Conv3d on a CPU misreads weights of 24 input channels.
        """
        with torch.autocast(latents.device.type, enabled=False):
            tokens = embedding(latents.to(embedding.weight.dtype))
        return rearrange(tokens, "b d f h w -> b f (h w) d")

    def _run(self, block, *tensors):
        if torch.is_grad_enabled() and self.gradient_checkpointing:
            return self._gradient_checkpointing_func(block, *tensors)  # type: ignore[misc]
        return block(*tensors)

    def _check(self, latents: Tensor, timestep: Tensor, control: Tensor | None, num_references: int) -> None:
        batch, channels, frames, height, width = latents.shape
        if channels != self.config["in_channels"]:
            raise ValueError(f"hidden_states has {channels} channels, this network takes {self.config['in_channels']}")
        for name, size, patch in zip(("height", "width"), (height, width), self.config["patch_size"][1:]):
            if size % patch:
                raise ValueError(
                    f"latent {name} is {size}, expected a multiple of the patch {patch}; "
                    f"the nearest are {size // patch * patch} and {(size // patch + 1) * patch}"
                )
        if not 0 <= num_references < frames:
            raise ValueError(f"num_references is {num_references}, expected 0 to {frames - 1} for {frames} frames")
        if timestep.shape != (batch, frames):
            raise ValueError(
                f"timestep has shape {tuple(timestep.shape)}, expected {(batch, frames)}: one per frame, references too"
            )
        expected = (batch, self.config["vace_in_channels"], frames - num_references, height, width)
        if control is not None and control.shape != expected:
            raise ValueError(
                f"control_hidden_states has shape {tuple(control.shape)}, expected {expected}: "
                f"the {frames - num_references} frames that are no references"
            )
