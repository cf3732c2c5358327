"""Loads this clone as ``spatial_memory``, installed or not and whatever its folder is called; shared fixtures."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROOT = TESTS.parent


def load_pack() -> None:
    """Put this very root into ``sys.modules`` under the pack's name, before any test imports it."""
    loaded = sys.modules.get("spatial_memory")
    if loaded is not None and Path(loaded.__file__).resolve().parent == ROOT.resolve():
        return
    spec = importlib.util.spec_from_file_location(
        "spatial_memory", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    package = importlib.util.module_from_spec(spec)
    sys.modules["spatial_memory"] = package
    spec.loader.exec_module(package)


load_pack()
sys.path.append(str(TESTS))  # for `import oracle`


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """The folder of golden tensors: GOLDEN_DIR where it is set, else the ones beside the tests."""
    return Path(os.environ.get("GOLDEN_DIR", TESTS / "golden"))


@pytest.fixture(scope="session")
def livingroom() -> Path:
    """Four frames of real posed RGB-D."""
    return TESTS / "data" / "livingroom"


@pytest.fixture
def open3d():
    """open3d, where it can be imported."""
    from spatial_memory.memory.exchange import import_open3d

    try:
        return import_open3d()
    except ImportError as error:
        pytest.skip(f"open3d cannot be imported: {error}")
