"""open3d, on machines that lack a library of the system that it wants.

Its Linux wheels are linked against libusb 1.0 (for depth cameras, which nothing here uses) and do not bring it. Where
the system has none, the copy that the PyPI package libusb-package ships is loaded first: a library that is already
loaded under the wanted name is not looked for again.
"""

import ctypes
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType


def import_open3d() -> ModuleType:
    """Import open3d, which costs a second or two the first time.

    Raises:
        ImportError: open3d or a system library that it needs is missing; says what to install.
    """
    try:
        import open3d
    except ModuleNotFoundError as error:
        raise ImportError(f"open3d cannot be imported ({error}): `pip install open3d`", name="open3d") from error
    except ImportError as error:
        if "libusb" not in str(error):
            raise ImportError(f"open3d cannot be imported ({error}): install what it names", name="open3d") from error
        if not load_libusb():
            raise ImportError(
                f"open3d cannot be imported ({error}): install the system's libusb 1.0 (on Debian and Ubuntu the "
                "package libusb-1.0-0), or `pip install libusb-package`",
                name="open3d",
            ) from error
        import open3d
    return open3d


def load_libusb() -> bool:
    """Load the libusb 1.0 of the package libusb-package into this process; whether there is one."""
    package = find_spec("libusb_package")
    folders = (package.submodule_search_locations if package else None) or ()
    for library in (file for folder in folders for file in sorted(Path(folder).glob("libusb-1.0.so*"))):
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        return True
    return False
