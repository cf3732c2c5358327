"""A backbone whose attention is computed by a library of the user's choice, as diffusers dispatches it."""

from diffusers.models.attention_dispatch import attention_backend
from torch import Tensor

from .backbone import Backbone, Wrap

KERNELS = ("native", "flash", "_flash_3", "sage", "xformers", "flex")  # those that download nothing


def check_kernel(kernel: str) -> None:
    """Refuse what is not installed here.

    Raises:
        ValueError: an unknown name, or a library that is missing or too old.
    """
    if kernel not in KERNELS:
        raise ValueError(f"attention is {kernel!r}, expected one of {', '.join(KERNELS)}")
    try:
        with attention_backend(kernel):
            pass
    except (RuntimeError, ValueError) as found:
        raise ValueError(f"attention {kernel!r} cannot be used here: {found} Or choose 'native'.") from found


class Attending(Wrap):
    """A backbone within which attention is computed by one kernel; outside of its calls nothing has changed."""

    def __init__(self, network: Backbone, kernel: str) -> None:
        check_kernel(kernel)
        super().__init__(network)
        self.kernel = kernel

    def __call__(self, *given, **named) -> Tensor:
        """See ``models.backbone.Backbone``."""
        with attention_backend(self.kernel):
            return self.network(*given, **named)
