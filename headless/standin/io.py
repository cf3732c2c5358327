"""The part of ComfyUI's V3 ``io`` module that the nodes use: types, inputs, outputs.

Only shapes of values are reproduced: what ``/object_info`` lists for a schema is the same here and on the server, which
``tests/test_headless.py`` checks against the committed listing of a real one.
"""

from enum import Enum, StrEnum
from typing import Any

from .schema import ComfyNode, Hidden, HiddenHolder, NodeOutput, Schema

__all__ = ["ComfyNode", "Hidden", "HiddenHolder", "NodeOutput", "Schema"]


class FolderType(StrEnum):
    """One of the host's three folders for files of a workflow."""

    input = "input"
    output = "output"
    temp = "temp"


class UploadType(StrEnum):
    """The key that gives a file choice its upload button."""

    image = "image_upload"
    audio = "audio_upload"
    video = "video_upload"
    model = "file_upload"


class NumberDisplay(StrEnum):
    """How a number widget is drawn."""

    number = "number"
    slider = "slider"


def stated(**options: Any) -> dict[str, Any]:
    """Keep the options that say something: those that are not None."""
    return {key: value for key, value in options.items() if value is not None}


class Input:
    """A socket of a node, or a widget that can become one."""

    Parent: Any = None

    def __init__(
        self, id, display_name=None, optional=False, tooltip=None, lazy=None, extra_dict=None, raw_link=None
    ):  # the host's own signature
        self.id = id
        self.display_name = display_name
        self.optional = optional
        self.tooltip = tooltip
        self.lazy = lazy
        self.extra_dict = extra_dict or {}
        self.raw_link = raw_link

    @property
    def io_type(self) -> str:
        return self.Parent.io_type

    def get_io_type(self) -> str:
        return self.io_type

    def own_options(self) -> dict[str, Any]:
        """The options that this kind of input adds."""
        return {}

    def as_dict(self) -> dict[str, Any]:
        common = stated(display_name=self.display_name, tooltip=self.tooltip, lazy=self.lazy, rawLink=self.raw_link)
        return {"optional": self.optional, **common, **stated(**self.extra_dict), **self.own_options()}


class WidgetInput(Input):
    """An input that is edited on the node itself."""

    def __init__(
        self, id, display_name=None, optional=False, tooltip=None, lazy=None, default=None, socketless=None,
        widget_type=None, force_input=None, extra_dict=None, raw_link=None,
    ):  # fmt: skip
        super().__init__(id, display_name, optional, tooltip, lazy, extra_dict, raw_link)
        self.default = default
        self.socketless = socketless
        self.widget_type = widget_type
        self.force_input = force_input

    def get_io_type(self) -> str:
        return self.io_type if self.widget_type is None else self.widget_type

    def as_dict(self) -> dict[str, Any]:
        widget = stated(
            default=self.default, socketless=self.socketless, widgetType=self.widget_type, forceInput=self.force_input
        )
        return {**super().as_dict(), **widget}


class Output:
    """A result of a node."""

    Parent: Any = None

    def __init__(self, id=None, display_name=None, tooltip=None, is_output_list=False):
        self.id = id
        self.display_name = display_name
        self.tooltip = tooltip
        self.is_output_list = is_output_list

    @property
    def io_type(self) -> str:
        return self.Parent.io_type


class ComfyTypeIO:
    """What every type of socket offers: an ``Input`` and an ``Output`` that know its name."""

    Type: Any = Any
    io_type: str = ""
    Input = Input
    Output = Output


ComfyTypeI = ComfyTypeIO


def comfytype(io_type: str):
    """Decorate a class with nested ``Input`` and ``Output`` so that they carry ``io_type``."""

    def decorate(cls):
        bases = (cls,) if issubclass(cls, ComfyTypeIO) else (cls, ComfyTypeIO)
        made = type(cls.__name__, bases, {"io_type": io_type, "__doc__": cls.__doc__, "__module__": cls.__module__})
        for name in ("Input", "Output"):
            setattr(made, name, type(name, (getattr(made, name),), {"Parent": made}))
        return made

    return decorate


def Custom(io_type: str):
    """Make the type of a socket that only this pack knows."""
    return comfytype(io_type)(type("CustomType", (ComfyTypeIO,), {}))


@comfytype("BOOLEAN")
class Boolean(ComfyTypeIO):
    Type = bool

    class Input(WidgetInput):
        def __init__(
            self, id, display_name=None, optional=False, tooltip=None, lazy=None, default=None, label_on=None,
            label_off=None, socketless=None, force_input=None, extra_dict=None, raw_link=None,
        ):  # fmt: skip
            super().__init__(
                id, display_name, optional, tooltip, lazy, default, socketless, None, force_input, extra_dict, raw_link
            )
            self.label_on, self.label_off = label_on, label_off

        def own_options(self):
            return stated(label_on=self.label_on, label_off=self.label_off)


@comfytype("INT")
class Int(ComfyTypeIO):
    Type = int

    class Input(WidgetInput):
        def __init__(
            self, id, display_name=None, optional=False, tooltip=None, lazy=None, default=None, min=None, max=None,
            step=None, control_after_generate=None, display_mode=None, socketless=None, force_input=None,
            extra_dict=None, raw_link=None,
        ):  # fmt: skip
            super().__init__(
                id, display_name, optional, tooltip, lazy, default, socketless, None, force_input, extra_dict, raw_link
            )
            self.min, self.max, self.step = min, max, step
            self.control_after_generate, self.display_mode = control_after_generate, display_mode

        def own_options(self):
            display = self.display_mode.value if self.display_mode else None
            control = self.control_after_generate
            return stated(min=self.min, max=self.max, step=self.step, control_after_generate=control, display=display)


@comfytype("FLOAT")
class Float(ComfyTypeIO):
    Type = float

    class Input(WidgetInput):
        def __init__(
            self, id, display_name=None, optional=False, tooltip=None, lazy=None, default=None, min=None, max=None,
            step=None, round=None, display_mode=None, socketless=None, force_input=None, extra_dict=None,
            raw_link=None,
        ):  # fmt: skip
            super().__init__(
                id, display_name, optional, tooltip, lazy, default, socketless, None, force_input, extra_dict, raw_link
            )
            self.min, self.max, self.step, self.round = min, max, step, round
            self.display_mode = display_mode

        def own_options(self):
            display = self.display_mode.value if self.display_mode else None
            return stated(min=self.min, max=self.max, step=self.step, round=self.round, display=display)


@comfytype("STRING")
class String(ComfyTypeIO):
    Type = str

    class Input(WidgetInput):
        def __init__(
            self, id, display_name=None, optional=False, tooltip=None, lazy=None, multiline=False, placeholder=None,
            default=None, dynamic_prompts=None, socketless=None, force_input=None, extra_dict=None, raw_link=None,
        ):  # fmt: skip
            super().__init__(
                id, display_name, optional, tooltip, lazy, default, socketless, None, force_input, extra_dict, raw_link
            )
            self.multiline, self.placeholder, self.dynamic_prompts = multiline, placeholder, dynamic_prompts

        def own_options(self):
            return stated(multiline=self.multiline, placeholder=self.placeholder, dynamicPrompts=self.dynamic_prompts)


@comfytype("COMBO")
class Combo(ComfyTypeIO):
    Type = str

    class Input(WidgetInput):
        def __init__(
            self, id, options=None, display_name=None, optional=False, tooltip=None, lazy=None, default=None,
            control_after_generate=None, upload=None, image_folder=None, remote=None, socketless=None,
            extra_dict=None, raw_link=None,
        ):  # fmt: skip
            if isinstance(options, type) and issubclass(options, Enum):
                options = [member.value for member in options]
            if isinstance(default, Enum):
                default = default.value
            super().__init__(
                id, display_name, optional, tooltip, lazy, default, socketless, None, None, extra_dict, raw_link
            )
            self.options, self.control_after_generate = options, control_after_generate
            self.upload, self.image_folder, self.remote = upload, image_folder, remote

        def own_options(self):
            choices = stated(options=self.options, control_after_generate=self.control_after_generate)
            folder = stated(image_folder=self.image_folder.value if self.image_folder else None)
            return {"multiselect": False, **choices, **folder, **({self.upload.value: True} if self.upload else {})}


class MultiType:
    """An input that takes any of several types."""

    class Input(Input):
        def __init__(
            self, id, types, display_name=None, optional=False, tooltip=None, lazy=None, extra_dict=None, raw_link=None
        ):  # the host's own signature
            super().__init__(id, display_name, optional, tooltip, lazy, extra_dict, raw_link)
            self.io_types = types

        @property
        def io_type(self) -> str:
            return ",".join(kind.io_type for kind in self.io_types)


Image, Mask, Latent, Conditioning = Custom("IMAGE"), Custom("MASK"), Custom("LATENT"), Custom("CONDITIONING")
Model, Vae, Clip, Video, Audio = Custom("MODEL"), Custom("VAE"), Custom("CLIP"), Custom("VIDEO"), Custom("AUDIO")
Sigmas, Sampler, Noise, Guider = Custom("SIGMAS"), Custom("SAMPLER"), Custom("NOISE"), Custom("GUIDER")
WanCameraEmbedding, Load3DCamera = Custom("WAN_CAMERA_EMBEDDING"), Custom("LOAD3D_CAMERA")
AnyType = Custom("*")
