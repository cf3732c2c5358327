"""Modules that changed are read anew, from a server that says as little about keeping them as the host does."""

import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "web"
LONG_AGO = 1_500_000_000  # a browser may keep for long what has not changed for long


class Quiet(SimpleHTTPRequestHandler):
    """Files with Last-Modified and nothing else; ``asked`` holds (path, status)."""

    extensions_map = {".mjs": "text/javascript", ".js": "text/javascript", ".html": "text/html"}
    asked = []

    def log_request(self, code="-", size="-"):
        self.asked.append((self.path, int(code)))


@pytest.fixture
def folder(tmp_path):
    """A folder that is served: an outer module that takes its word from an inner one, and fresh.js."""
    shutil.copy(WEB / "fresh.js", tmp_path)
    written(tmp_path / "index.html", "<!doctype html>")
    written(tmp_path / "inner.mjs", 'export const word = "old";')
    written(tmp_path / "outer.mjs", 'export { word } from "./inner.mjs";\nimport "./beside.mjs";')
    written(tmp_path / "beside.mjs", "")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield tmp_path, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def written(file, text, at=LONG_AGO):
    file.write_text(text)
    os.utime(file, (at, at))


def word(context, url, importing):
    """What the outer module says on a new page."""
    page = context.new_page()
    page.goto(url + "/index.html")
    said = page.evaluate(f"async () => (await ({importing})(new URL('./outer.mjs', location.href))).word")
    page.close()
    return said


PLAIN = "(address) => import(address)"
FRESH = "async (address) => (await import('./fresh.js')).importFresh(address)"


@pytest.mark.story
def test_a_changed_module_is_read_anew(browser, folder):
    files, url = folder
    context = browser.new_context()
    assert word(context, url, PLAIN) == "old"
    written(files / "inner.mjs", 'export const word = "new";', LONG_AGO + 1000)
    assert word(context, url, PLAIN) == "old", "the browser keeps it, or this test shows nothing"
    Quiet.asked.clear()
    assert word(context, url, FRESH) == "new"
    asked = {path: status for path, status in Quiet.asked if path.endswith(".mjs")}
    assert asked == {"/outer.mjs": 304, "/inner.mjs": 200, "/beside.mjs": 304}, "what is unchanged is not sent again"
    assert word(context, url, PLAIN) == "new"
    context.close()
