"""One running ComfyUI per checkout."""

import pytest
from comfyui import checkouts, end, start_server


@pytest.fixture(scope="session", params=checkouts() or [None], ids=lambda path: path.name if path else "none")
def server(request, tmp_path_factory):
    """One running server per checkout."""
    if request.param is None:
        pytest.skip("no ComfyUI checkout: clone it to ~/ComfyUI, or set COMFYUI_PATH")
    running = start_server(request.param, tmp_path_factory.mktemp(request.param.name))
    yield running
    end(running)
