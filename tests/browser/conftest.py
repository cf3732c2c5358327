"""A real ComfyUI with a real Chromium on it: each checkout with its frontend, a new one in Nodes 2.0 as well.

A page takes half a minute, so without SPATIAL_MEMORY_BROWSER=all (``make browser``) only the tests marked ``story``
run, on the newest place.
"""

import json
import os
import shutil
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import comfyui
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import editor  # noqa: E402

FLAGS = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
SIZE = {"width": 1440, "height": 860}
WHOLE = os.environ.get("SPATIAL_MEMORY_BROWSER") == "all"


def pytest_collection_modifyitems(items):
    """Leave to ``make browser`` what is no story."""
    here = Path(__file__).parent
    for item in items:
        if not WHOLE and here in item.path.parents and item.get_closest_marker("story") is None:
            item.add_marker(pytest.mark.skip(reason="make browser asks it, of every ComfyUI"))


@dataclass(frozen=True)
class Place:
    """A ComfyUI and how its page shows nodes."""

    checkout: Path
    frontend: Path | None  # None: the one that is installed
    nodes2: bool

    def __str__(self) -> str:
        return f"{self.checkout.name}-{'nodes2' if self.nodes2 else 'classic'}"


def places() -> list[Place]:
    """Every checkout; where a folder of frontends is named, each with the one that it asks for.

    SPATIAL_MEMORY_FRONTENDS names a folder with unpacked wheels: <version>/comfyui_frontend_package/static.
    """
    found = []
    for checkout in comfyui.checkouts():
        wanted = next(
            line.strip().rsplit("==")[-1]
            for line in (checkout / "requirements.txt").read_text().splitlines()
            if line.startswith("comfyui-frontend-package")
        )
        old = tuple(map(int, wanted.split("."))) < (1, 30)
        folder = os.environ.get("SPATIAL_MEMORY_FRONTENDS")
        static = Path(folder, wanted, "comfyui_frontend_package", "static") if folder and old else None
        if static is not None and not static.is_dir():
            static = None
        found += [Place(checkout, static, nodes2) for nodes2 in ((False,) if old else (False, True))]
    return found


def chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")  # while it runs, this thread has an event loop, and other tests want their own
def browser():
    """Chromium, drawing in software."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'"
    )
    if chromium() is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield running
        running.close()


def start(place: Place, base: Path):
    """A server for the place, with settings that keep its page quiet; the caller ends it."""
    settings = base / "user" / "default" / "comfy.settings.json"
    settings.parent.mkdir(parents=True)
    shown = {"Comfy.TutorialCompleted": True, "Comfy.VueNodes.Enabled": place.nodes2, "Comfy.Minimap.Visible": False}
    shown["Comfy.Graph.CanvasInfo"] = False
    settings.write_text(json.dumps(shown), encoding="utf-8")
    frontend = ["--front-end-root", str(place.frontend)] if place.frontend else []
    return comfyui.start_server(place.checkout, base, *frontend)


@pytest.fixture(scope="session", params=(places() if WHOLE else places()[-1:]) or [None], ids=str)
def server(request, tmp_path_factory):
    """One running server per place."""
    if request.param is None:
        pytest.skip("no ComfyUI checkout: clone it to ~/ComfyUI, or set COMFYUI_PATH")
    running = start(request.param, tmp_path_factory.mktemp(str(request.param)))
    running.place = request.param
    yield running
    comfyui.end(running)


@contextmanager
def visited(server, browser):
    """A fresh page; what its console says is kept in ``page.said``, what it asks for in ``page.asked``."""
    context = browser.new_context(viewport=SIZE, locale="en-US")
    opened = context.new_page()
    opened.set_default_timeout(30_000)
    opened.said, opened.asked = [], []
    opened.on("request", lambda request: opened.asked.append(request.url))
    opened.on("console", lambda message: opened.said.append(f"{message.type}: {message.text}"))
    opened.on("pageerror", lambda error: opened.said.append(f"pageerror: {error}"))
    editor.visit(opened, server)
    yield opened
    context.close()


@pytest.fixture
def page(server, browser):
    """A page for one test."""
    with visited(server, browser) as opened:
        yield opened


@pytest.fixture(scope="module")
def desk(server, browser):
    """A page that the tests of a file share; each begins with ``editor.begin``."""
    with visited(server, browser) as opened:
        editor.load(opened)
        yield opened
