"""The package as others see it: metadata, what is shipped, and ComfyUI's own checks from outside."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
REQUIREMENTS = (ROOT / "requirements.txt").read_text(encoding="utf-8").split()


def git_files() -> list[str]:
    """What a commit would hold; everything below the root where this is no git checkout."""
    shown = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    return shown.stdout.split("\n")[:-1] if shown.returncode == 0 else []


def test_every_package_is_listed():
    parts = [folder for folder in ROOT.iterdir() if folder.is_dir() and folder.name[0] != "."]
    folders = [path.parent.relative_to(ROOT) for part in parts for path in part.rglob("__init__.py")]
    listed = {"spatial_memory", *(f"spatial_memory.{'.'.join(folder.parts)}" for folder in folders)}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == listed


def test_the_registry_can_read_the_metadata():
    project, comfy = PROJECT["project"], PROJECT["tool"]["comfy"]
    three = re.compile(r"(>=)?\d+\.\d+\.\d+")
    assert three.fullmatch(project["version"]) and three.fullmatch(comfy["requires-comfyui"])
    assert f"## [{project['version']}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert project["license"] == "MIT" and (ROOT / "LICENSE").is_file()
    assert comfy["PublisherId"] and comfy["DisplayName"] and project["urls"]["Repository"].startswith("https://")


def test_requirements_have_lower_bounds_and_no_pins():
    assert REQUIREMENTS and all(re.fullmatch(r"[a-z0-9-]+>=[0-9.]+", line) for line in REQUIREMENTS)
    everything = REQUIREMENTS + sum(PROJECT["project"]["optional-dependencies"].values(), [])
    assert not [line for line in everything if line.startswith("torchaudio")]


def test_lint_is_the_same_everywhere():
    (pinned,) = [one for one in PROJECT["project"]["optional-dependencies"]["dev"] if one.startswith("ruff")]
    assert f"rev: v{pinned.removeprefix('ruff==')}" in (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")


def test_the_door_offers_an_entry_point_and_no_mappings():
    """With NODE_CLASS_MAPPINGS in the module, even an empty one, ComfyUI never calls the entry point."""
    names = {node.id for node in ast.walk(ast.parse((ROOT / "__init__.py").read_text())) if isinstance(node, ast.Name)}
    assert "WEB_DIRECTORY" in names and "NODE_CLASS_MAPPINGS" not in names
    assert "async def comfy_entrypoint" in (ROOT / "__init__.py").read_text()


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", *map(str, ROOT.glob("docs/**/*.md"))])
def test_links_and_pictures_of_a_page_exist(page):
    file = ROOT / page
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", file.read_text(encoding="utf-8"))
    assert not [one for one in targets if "://" not in one and not (file.parent / one).exists()]


def test_no_file_is_too_large_and_weights_are_safetensors():
    files = [ROOT / name for name in git_files() if (ROOT / name).is_file()]
    assert not [file.name for file in files if file.stat().st_size > 40_000_000]
    assert not [file.name for file in files if file.suffix in (".pt", ".pth", ".ckpt", ".pkl", ".npz", ".bin")]


def test_nothing_unsafe_reads_a_users_file():
    unsafe = re.compile(r"\bpickle\b|torch\.load\(|allow_pickle|os\.system|shell=True|trust_remote_code|\beval\(")
    pack = ("memory", "models", "rollout", "nodes", "headless")
    found = [
        f"{file.relative_to(ROOT)}:{number}"
        for part in pack
        for file in (ROOT / part).rglob("*.py")
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if unsafe.search(line) and ".eval()" not in line
    ]
    assert found == []


def comfy(*arguments: str, home: Path) -> subprocess.CompletedProcess:
    """Run comfy-cli with a home of its own, so that it neither reads nor writes the user's settings."""
    command = Path(sys.executable).with_name("comfy")
    if not command.exists():
        pytest.skip("comfy-cli is not installed: pip install -e '.[dev]'")
    settings = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home), "DO_NOT_TRACK": "1", "NO_COLOR": "1"}
    arguments = ("--skip-prompt", "--no-enable-telemetry", *arguments)
    return subprocess.run(
        [command, *arguments], cwd=home / "pack", env=settings, capture_output=True, text=True, timeout=300
    )


def copy_pack(home: Path) -> None:
    """The files of a commit, without .venv and what else lies about."""
    for name in git_files() or pytest.skip("this is no git checkout"):
        if Path(name).suffix in (".py", ".toml", ".txt", ".md", "") and (ROOT / name).is_file():
            target = home / "pack" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)


def findings(shown: subprocess.CompletedProcess) -> list[str]:
    said = (shown.stdout + shown.stderr).splitlines()
    return [line for line in said if re.search(r"warning|error|S102|S307|E702|invalid", line, re.IGNORECASE)]


def test_comfy_node_validate_has_no_finding(tmp_path):
    copy_pack(tmp_path)
    shown = comfy("node", "validate", home=tmp_path)
    assert "passed" in shown.stdout + shown.stderr, shown.stdout + shown.stderr
    assert shown.returncode == 0 and findings(shown) == []


def test_comfy_node_validate_would_find_something(tmp_path):
    copy_pack(tmp_path)
    bad = 'exec("1")\n'
    (tmp_path / "pack" / "memory" / "bad.py").write_text(bad)
    assert findings(comfy("node", "validate", home=tmp_path))
