"""The editor's files: small with the page, three.js as npm has it, a text in both languages for all that is said."""

import hashlib
import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
WEB = ROOT / "web"
LIB = WEB / "lib"
BUDGET = 60_000  # bytes of .js, which the host imports with the page
OURS = [file for file in WEB.rglob("*.*js") if LIB not in file.parents]
TEXTS = {
    lang: json.loads((ROOT / f"locales/{lang}/main.json").read_text("utf-8"))["spatialMemory"] for lang in ("en", "zh")
}


def test_what_comes_with_the_page_is_small_and_asks_for_nothing_big():
    scripts = [file for file in WEB.rglob("*.js")]
    assert sum(file.stat().st_size for file in scripts) <= BUDGET
    for file in scripts:
        for name in re.findall(r'^import .*?"([^"]+)";', file.read_text("utf-8"), re.M | re.S):
            assert name.endswith(".js"), (file.name, name)


def test_three_is_what_npm_has():
    record = (LIB / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| (three\.\w+\.mjs) \| build/three\.\w+\.js \| ([0-9a-f]{128}) \|$", record, re.M)
    assert {name for name, _ in rows} == {file.name for file in LIB.glob("*.mjs")}
    for name, hashed in rows:
        content = (LIB / name).read_bytes().replace(b"./three.core.mjs", b"./three.core.js")
        assert hashlib.sha512(content).hexdigest() == hashed, name
    assert "MIT License" in (LIB / "three.LICENSE").read_text("utf-8")


def test_every_text_exists_in_both_languages_with_the_same_values():
    assert TEXTS["en"].keys() == TEXTS["zh"].keys()
    for name, text in TEXTS["en"].items():
        assert set(re.findall(r"<\w+>", text)) == set(re.findall(r"<\w+>", TEXTS["zh"][name])), name
        assert not set(text + TEXTS["zh"][name]) & set("{}@|"), f"the host's translator reads these as commands: {name}"


def test_every_text_that_is_asked_for_exists():
    asked = set()
    for file in OURS:
        source = file.read_text("utf-8")
        asked |= set(re.findall(r'\bt\("([\w.]+)"', source))
        for stem in re.findall(r"\bt\(`([\w.]+)\.\$\{", source):
            assert [name for name in TEXTS["en"] if name.startswith(stem + ".")], (file.name, stem)
    assert asked - TEXTS["en"].keys() == set()
    presets = re.findall(r"^  (\w+): \{ make", (WEB / "core/presets.mjs").read_text("utf-8"), re.M)
    assert len(presets) > 10 and not [name for name in presets if f"preset.{name}" not in TEXTS["en"]]
    codes = re.findall(r'finding\("(\w+)"', (WEB / "core/diagnostics.mjs").read_text("utf-8")) + [
        "speed_spike",
        "turn_spike",
    ]
    assert not [code for code in codes if f"diagnostics.{code}" not in TEXTS["en"]]


def test_lines_are_short_and_nothing_leaves_the_server():
    for file in OURS:
        source = file.read_text("utf-8")
        assert max(map(len, source.splitlines())) <= 120, file.name
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", source), file.name
        assert not re.search(r"\beval\(|new Function", source), file.name


def test_only_the_adapter_knows_the_host():
    for file in OURS:
        assert ("scripts/app.js" in file.read_text("utf-8")) == (file.name == "editor.js"), file.name
