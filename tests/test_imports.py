"""Imports go one way (docs/architecture.md), and importing a part loads nothing heavy that it does not need."""

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = {  # package -> the packages of this project that it may import
    "memory": set(),
    "models": {"memory"},
    "rollout": {"memory", "models"},
    "nodes": {"memory", "models", "rollout"},
    "training": {"memory", "models", "rollout"},
    "headless": {"memory", "models", "rollout", "nodes", "training"},
}
ALSO = {"headless": {""}}  # the runner asks the root for its entry point, as ComfyUI does
HOST = ("comfy", "comfy_api", "comfy_execution", "comfy_extras", "folder_paths", "server", "nodes")
LATE = {"open3d", "cv2", "av", "diffusers", "transformers", "skimage", "scipy", "PIL"}  # inside functions only
LATE_IN_MEMORY = {"diffusers", "transformers"}  # not even there


def imports(source: str, package: str):
    """Yield (module, at module level) of every import; relative ones as ``.part`` of this project or ``..outside``."""
    tree = ast.parse(source)
    top = set()
    pending = list(tree.body)
    while pending:
        statement = pending.pop()
        if isinstance(statement, ast.Import | ast.ImportFrom):
            top.add(statement)
        elif isinstance(statement, ast.If | ast.Try):
            pending += ast.iter_child_nodes(statement)
        elif isinstance(statement, ast.ExceptHandler):
            pending += statement.body
    for statement in ast.walk(tree):
        if isinstance(statement, ast.Import):
            yield from ((alias.name, statement in top) for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.level == 0:
            yield statement.module, statement in top
        elif isinstance(statement, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - statement.level + 1] if package else []
            if statement.level > len(package.split(".")) + 1:
                yield "..outside", statement in top
            elif statement.module:
                yield "." + ".".join([*above, statement.module]), statement in top
            else:
                yield from (("." + ".".join([*above, alias.name]), statement in top) for alias in statement.names)


def violations(source: str, file: str) -> list[str]:
    """What one file imports that it may not; ``file`` is its path below the root."""
    parts = Path(file).parent.parts
    part, package = parts[0], ".".join(parts)
    found = []
    for name, at_top in imports(source, package):
        root = name.lstrip(".").split(".")[0]
        if name == "..outside":
            found.append(f"{file} reaches out of the project")
        elif name.startswith("."):
            own = root if root in ALLOWED else ""
            if own != part and own not in ALLOWED[part] | ALSO.get(part, set()):
                found.append(
                    f"{file} imports {name}: {part} may import {sorted(ALLOWED[part]) or 'nothing of this project'}"
                )
        elif root == "spatial_memory":
            found.append(f"{file} imports {name} by its full name: only relative imports work inside ComfyUI")
        elif root in HOST and file != "nodes/host.py" and not _stand_in(file, at_top):
            found.append(f"{file} imports {name}: only nodes/host.py speaks to ComfyUI")
        elif part == "memory" and root in LATE_IN_MEMORY:
            found.append(f"{file} imports {name}: memory needs no networks")
        elif at_top and root in LATE and part == "memory":
            found.append(f"{file} imports {name} at module level: import it in the function that uses it")
    return found


def _stand_in(file: str, at_top: bool) -> bool:
    """The stand-ins answer to the host's names, so inside their functions they may ask for one another by them."""
    return file.startswith("headless/") and not at_top


def project_files():
    return [path.relative_to(ROOT).as_posix() for part in ALLOWED for path in sorted((ROOT / part).rglob("*.py"))]


@pytest.mark.parametrize("file", project_files())
def test_imports_follow_the_arrows(file):
    assert violations((ROOT / file).read_text(encoding="utf-8"), file) == []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("memory/x.py", "from ..models import codec"),
        ("memory/x.py", "from .. import rollout"),
        ("memory/x.py", "def f():\n    import diffusers"),
        ("memory/x.py", "try:\n    import open3d\nexcept ImportError:\n    open3d = None"),
        ("models/x.py", "from ..rollout.plan import plan"),
        ("models/mini/x.py", "from ...nodes import host"),
        ("rollout/x.py", "def f():\n    from ..nodes import host"),
        ("rollout/x.py", "import comfy.utils"),
        ("nodes/x.py", "from ..headless import host"),
        ("nodes/x.py", "from comfy_api.latest import io"),
        ("nodes/x.py", "import spatial_memory.memory"),
        ("training/x.py", "from ..nodes import host"),
        ("memory/x.py", "from ... import anything"),
    ],
)
def test_the_check_above_can_fail(file, source):
    assert len(violations(source, file)) == 1


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("memory/x.py", "def f():\n    import open3d"),
        ("memory/x.py", "from .camera import Cameras\nfrom . import grid"),
        ("nodes/host.py", "import folder_paths\nfrom ..models.codec import Codec"),
        ("headless/host.py", "def f():\n    from .. import comfy_entrypoint"),
        ("headless/standin/ui.py", "def f():\n    import folder_paths\n    from .io import FolderType"),
    ],
)
def test_the_check_above_can_pass(file, source):
    assert violations(source, file) == []


def loaded(statement: str, forbidden: list[str]) -> list[str]:
    """Which of the modules are in memory after a fresh interpreter ran the statement."""
    script = textwrap.dedent(f"""
        import sys
        {statement}
        print([name for name in {forbidden!r} if name in sys.modules])
    """)
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert shown.returncode == 0, shown.stderr
    return ast.literal_eval(shown.stdout.splitlines()[-1])


def test_memory_alone_loads_nothing_heavy():
    modules = sorted(f"spatial_memory.memory.{path.stem}" for path in (ROOT / "memory").glob("[!_]*.py"))
    above = [f"spatial_memory.{part}" for part in ALLOWED if part != "memory"]
    heavy = ["diffusers", "transformers", "open3d", "cv2", "av", "comfy"]
    assert loaded("import " + ", ".join(modules), [*above, *heavy]) == []


def test_models_and_rollout_load_no_host():
    modules = [
        f"spatial_memory.{part}.{path.stem}"
        for part in ("models", "rollout")
        for path in (ROOT / part).glob("[!_]*.py")
    ]
    assert (
        loaded("import " + ", ".join(sorted(modules)), ["spatial_memory.nodes", "comfy", "folder_paths", "open3d"])
        == []
    )


def test_the_root_loads_nothing():
    assert loaded("import spatial_memory", ["torch", "numpy", "spatial_memory.nodes"]) == []


def test_the_subprocess_check_can_fail():
    assert loaded("import spatial_memory, wave", ["wave", "diffusers"]) == ["wave"]
