"""The editor's routes on a server of their own, for tests/editor_server."""

import asyncio
import json

import numpy as np
from spatial_memory.headless import host as headless
from spatial_memory.headless.standin.folders import Folders

NODES = headless.nodes()  # registers the stand-ins, so it comes before anything of spatial_memory.nodes

import tiny_rollout  # noqa: E402
from aiohttp import ClientSession, web  # noqa: E402
from spatial_memory.nodes import editor_server  # noqa: E402
from spatial_memory.nodes.editor_live import Shelf, publish  # noqa: E402

PATH = tiny_rollout.PATH
RECIPE = {key: value for key, value in json.loads(PATH.to_json()).items() if key != "bake"}


class Asked:
    """What a request got."""

    def __init__(self, status, headers, content):
        self.status, self.headers, self.content = status, headers, content

    @property
    def json(self):
        return json.loads(self.content)


class Editor:
    """The routes on a real server; each call is one request."""

    def __init__(self, tmp_path):
        self.inputs, self.folder = tmp_path / "input", tmp_path / "scenes"
        self.inputs.mkdir()
        headless.use_folders(Folders([self.inputs], tmp_path / "out", tmp_path))
        self.shelf = Shelf()
        self.room = editor_server.Room(self.shelf, lambda: self.folder)

    def publish(self, kind="latent", state=None):
        state = state or tiny_rollout.begin(kind)
        return state, publish(self.shelf, self.folder, state.memory, state)

    def all(self, *requests):
        return asyncio.run(self._all(requests))

    def get(self, path, **options):
        return self.all(("GET", path, options))[0]

    def post(self, path, body, **options):
        content = {"data": body} if isinstance(body, bytes) else {"json": body}
        return self.all(("POST", "/spatial_memory/" + path, {**content, **options}))[0]

    async def _all(self, requests):
        app = web.Application(client_max_size=2**30)
        for method, path, handler in editor_server.routes(self.room):
            app.router.add_route(method, path, handler)
        runner = web.AppRunner(app, lingering_time=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        base = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        async with ClientSession() as session:

            async def one(method, path, options):
                async with session.request(method, base + path, **options) as answer:
                    return Asked(answer.status, answer.headers, await answer.read())

            try:
                return await asyncio.gather(*(one(*request) for request in requests))
            finally:
                await runner.cleanup()


def view(content):
    """The head, rgb (h, w, 3) and known (h, w) of a raw preview."""
    assert content[:8] == b"SMVIEW01"
    length = int.from_bytes(content[8:12], "little")
    head = json.loads(content[16 : 16 + length])
    size = head["height"] * head["width"]
    rest = np.frombuffer(content[16 + length :], np.uint8)
    assert len(rest) == 4 * size
    shape = (head["height"], head["width"])
    return head, rest[: 3 * size].reshape(*shape, 3), rest[3 * size :].reshape(shape)
