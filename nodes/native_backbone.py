"""ComfyUI's own MODEL as a backbone: its network with its wrappers and patches, and our branch's hints chained on.

What the papers need goes through two of ComfyUI's hooks. A wrapper around the network gives every token its place,
references included; replaced blocks add the branch's hints. Nothing of the MODEL is written to.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..models.world import TIMESTEPS
from .host import check_interrupted
from .native_branch import Hints, weights
from .native_host import compute_dtype, part

KEY = "spatial_memory"  # of our wrapper among those of other packs
KEPT = 4  # the branch's tokens, its hint and two that it makes on the way, in streams of the model's width


class NativeBackbone:
    """A MODEL and a branch, both patchers; the host loads them before every call, in parts where it must.

    The host's sampler does not run, so what other packs hang on it (sampler wrappers, CFG functions) does not act;
    what hangs on the model (LoRA, attention, block and diffusion model patches, compilation) does.
    """

    def __init__(self, model: Any, branch: Any) -> None:
        self.model, self.branch = model, branch

    @property
    def device(self) -> torch.device:
        """Where it computes once it is loaded."""
        return self.model.load_device

    def parameters(self) -> Iterator[nn.Parameter]:
        """The branch's weights: the MODEL's belong to whoever loaded it."""
        return weights(self.branch)

    @torch.no_grad()
    def __call__(
        self,
        hidden_states: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        control_hidden_states: Tensor | None,
        num_references: int = 0,
    ) -> Tensor:
        """See ``models.backbone.Backbone``.

        Raises:
            ValueError: no text, or sizes that are no multiple of the patch or do not belong together.
        """
        check_interrupted()
        wan = self.model.get_model_object("diffusion_model")
        check(
            wan,
            self.branch.model,
            hidden_states,
            timestep,
            encoder_hidden_states,
            control_hidden_states,
            num_references,
        )
        self._load(wan, hidden_states)
        device, dtype = self.device, compute_dtype(self.model)
        x, context = hidden_states.to(device, dtype), encoder_hidden_states.to(device, dtype)
        times = timestep.to(device, torch.float32)
        sigma = times.amax(dim=1) / TIMESTEPS
        options = options_of(self.model)
        options.update(sigmas=sigma, cond_or_uncond=[0] * len(x))
        wrapping = part("patcher_extension")
        around = options["wrappers"].setdefault(wrapping.WrappersMP.DIFFUSION_MODEL, {})
        around[KEY] = [*around.get(KEY, []), placed(num_references)]  # the innermost: it replaces the last step
        if control_hidden_states is not None:
            hints = self.branch.model.hints(control_hidden_states.to(device, dtype))
            cells = (x.shape[3] // wan.patch_size[1]) * (x.shape[4] // wan.patch_size[2])
            replaced = options["patches_replace"].setdefault("dit", {})
            replaced.update(hinted(hints, self.branch.model.layers, num_references, cells, replaced))

        def apply(x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **others):
            return self.model.model.diffusion_model(
                x, times, context=c_crossattn, transformer_options=transformer_options, **others
            )

        executor = wrapping.WrapperExecutor.new_class_executor(
            apply, self.model.model, wrapping.get_all_wrappers(wrapping.WrappersMP.APPLY_MODEL, options)
        )
        try:
            self.model.pre_run()
            return executor.execute(x, sigma, c_crossattn=context, transformer_options=options)
        finally:
            self.model.cleanup()

    def _load(self, wan: Any, hidden_states: Tensor) -> None:
        batch, _, frames, h, w = hidden_states.shape
        tokens = batch * frames * (h // wan.patch_size[1]) * (w // wan.patch_size[2])
        needed = self.model.memory_required(list(hidden_states.shape))
        needed += KEPT * tokens * wan.dim * compute_dtype(self.model).itemsize
        models = [self.model, self.branch, *self.model.get_nested_additional_models()]
        part("model_management").load_models_gpu(models, memory_required=needed)


def options_of(model: Any) -> dict:
    """A MODEL's transformer options for one call, its wrappers among them: a copy down to the lists."""
    options = part("model_patcher").create_model_options_clone(model.model_options)["transformer_options"]
    merge = part("patcher_extension").merge_nested_dicts
    options["wrappers"] = merge(options.get("wrappers", {}), model.wrappers)
    options["callbacks"] = merge(options.get("callbacks", {}), model.callbacks)
    replaced = options.get("patches_replace", {})
    options["patches_replace"] = {name: dict(entries) for name, entries in replaced.items()}
    return options


def placed(num_references: int) -> Callable:
    """A wrapper that runs the network with our positions: references first, then the frames as the host places them."""

    def wrapper(
        executor, x, timestep, context, clip_fea=None, time_dim_concat=None, transformer_options=None, **others
    ):
        wan = executor.class_obj
        freqs = positions(wan, tuple(x.shape[2:]), num_references, x.device, transformer_options)
        return wan.forward_orig(
            x, timestep, context, clip_fea=clip_fea, freqs=freqs, transformer_options=transformer_options, **others
        )

    return wrapper


def positions(wan: Any, size: tuple[int, ...], references: int, device: torch.device, options: dict) -> Tensor:
    """The rotary table of R + F frames of h x w latents: (1, tokens, 1, head_dim / 2, 2, 2).

    References stand at times -R..-1 and rows rows..2 rows - 1; the others where the host itself puts a film.
    """
    frames, h, w = size
    takes = inspect.signature(wan.rope_encode).parameters
    known = {"transformer_options": options} if "transformer_options" in takes else {}
    table = wan.rope_encode(frames - references, h, w, device=device, dtype=torch.float32, **known)
    if not references:
        return table
    rows, columns = h // wan.patch_size[1], w // wan.patch_size[2]
    axes = (torch.arange(-references, 0), torch.arange(rows, 2 * rows), torch.arange(columns))
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(1, -1, 3).to(device, torch.float32)
    return torch.cat([wan.rope_embedder(grid).movedim(1, 2), table], dim=1)


def hinted(hints: Hints, layers: tuple[int, ...], references: int, cells: int, replaced: dict) -> dict:
    """Replacements for the blocks that get a hint, each around the one that stands in ``replaced`` already."""
    skip = references * cells

    def around(number: int, before: Callable | None) -> Callable:
        def block(args: dict, extra: dict) -> dict:
            hint = hints.next(
                number,
                args["img"][:, skip:],
                e=args["vec"][:, references:],
                freqs=args["pe"][:, skip:],
                context=args["txt"],
                transformer_options=args["transformer_options"],
            )
            out = extra["original_block"](args) if before is None else before(args, extra)
            img = out["img"]
            return {**out, "img": torch.cat([img[:, :skip], img[:, skip:] + hint], dim=1)}

        return block

    keys = [("double_block", layer) for layer in layers]
    return {key: around(number, replaced.get(key)) for number, key in enumerate(keys)}


def check(
    wan: Any, branch: Any, latents: Tensor, timestep: Tensor, text: Tensor, control: Tensor | None, references: int
) -> None:
    """Refuse what does not fit the network.

    Raises:
        ValueError: names what was got and what is expected.
    """
    batch, channels, frames, height, width = latents.shape
    if channels != wan.in_dim:
        raise ValueError(f"hidden_states has {channels} channels, this network takes {wan.in_dim}")
    for name, size, patch in zip(("height", "width"), (height, width), wan.patch_size[1:]):
        if size % patch:
            raise ValueError(f"latent {name} is {size}, expected a multiple of the patch {patch}")
    if not 0 <= references < frames:
        raise ValueError(f"num_references is {references}, expected 0 to {frames - 1} for {frames} frames")
    if timestep.shape != (batch, frames):
        raise ValueError(f"timestep has shape {tuple(timestep.shape)}, expected {(batch, frames)}: one per frame")
    if not text.shape[1]:
        raise ValueError(
            "ComfyUI's own Wan needs a prompt: connect CLIP Text Encode (CLIPLoader of type 'wan') to positive, and to "
            "negative where guidance_scale is not 1; its text may be empty"
        )
    wanted = (batch, branch.vace_patch_embedding.weight.shape[1], frames - references, height, width)
    if control is not None and control.shape != wanted:
        raise ValueError(f"control_hidden_states has shape {tuple(control.shape)}, expected {wanted}")
