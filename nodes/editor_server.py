"""The routes of the camera path editor (``docs/editor_api.md``): bodies have bounds, work runs in threads.

A handler reads the request and hands a plain function to a worker, so that the host's event loop never waits. What is
wrong with a request is told as JSON to a person.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from ..rollout.scene_file import KEY, first_points, load_scene, read_scene, scene_bytes
from ..rollout.scene_points import MOST
from .editor_answer import chunked_holes, dropped_image, previewed
from .editor_cameras import exported, path_text, read_camera_file
from .editor_live import SHELF, Shelf
from .editor_request import MAX_JSON, fields, key_of, text
from .host import input_file, kept_folder

logger = logging.getLogger(__name__)

MAX_CAMERA_FILE = 64_000_000  # bytes
WAITING = 8  # requests that may wait for a worker
FOR_EVER = "private, max-age=31536000, immutable"
GONE = "this memory has left the server (it was restarted, or other memories took its place): queue the workflow again"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refused(Exception):
    """An answer other than 200, and what it says."""

    def __init__(self, status: int, message: str, **more: object) -> None:
        super().__init__(message)
        self.status, self.more = status, more


class Worker:
    """One thread; whoever comes while too many wait is sent away."""

    def __init__(self, waiting: int) -> None:
        self.waiting, self.pending = waiting, 0
        self.threads = ThreadPoolExecutor(1, "spatial-memory-editor")

    async def do(self, work: Callable, *arguments: object) -> object:
        """Run ``work`` in the thread.

        Raises:
            Refused: too much waits already.
        """
        if self.pending > self.waiting:
            raise Refused(503, "the server is still busy with earlier requests of the editor; ask again")
        self.pending += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self.threads, work, *arguments)
        finally:
            self.pending -= 1


@dataclass(frozen=True, eq=False)
class Room:
    """What the routes work with."""

    shelf: Shelf = SHELF
    folder: Callable[[], Path] = lambda: kept_folder("scenes")
    image: Callable[[str], Path] = input_file
    quick: Worker = field(default_factory=lambda: Worker(WAITING))
    slow: Worker = field(default_factory=lambda: Worker(2))  # networks and files


def routes(room: Room) -> list[tuple[str, str, Handler]]:
    """(method, path, handler) of all routes."""

    async def scene(request: web.Request) -> web.StreamResponse:
        key, asked = request.match_info["scene"], request.query.get("points")
        if not KEY.fullmatch(key):
            raise Refused(400, f"{key[:80]!r} is no scene, expected 32 hex digits")
        if asked is not None and not (asked.isascii() and asked.isdecimal() and len(asked) < 9 and int(asked) >= 1):
            raise Refused(400, f"points is {asked[:80]!r}, expected 1 to {MOST}")
        tag = f'"{key}-{asked or "all"}"'
        headers = {"ETag": tag, "Cache-Control": FOR_EVER}
        content = await room.quick.do(_scene_content, room.folder(), key, asked and int(asked))
        if content is None:
            raise Refused(404, "this scene is not on the server any more: queue the workflow again")
        if tag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        return web.Response(body=content, content_type="application/octet-stream", headers=headers)

    async def node(request: web.Request) -> web.StreamResponse:
        found = room.shelf.shown(request.match_info["node"])
        if found is None:
            raise Refused(404, "this node has shown no memory since the server started: queue the workflow")
        return web.json_response({"spatial_scene": found})

    async def live(request: web.Request) -> web.StreamResponse:
        return web.json_response({"live": room.shelf.get(request.match_info["memory"]) is not None})

    async def preview(request: web.Request) -> web.StreamResponse:
        asked = fields(await body(request, MAX_JSON))
        answer = text(asked, "answer", "raw")
        if answer not in ("raw", "png"):
            raise Refused(400, f"answer is {answer!r}, expected 'raw' or 'png'")
        head, content = await room.quick.do(previewed, held(room, asked), asked, answer)
        if answer == "png":
            return web.Response(body=content, content_type="image/png", headers={"X-Spatial-Memory": json.dumps(head)})
        return web.Response(body=content, content_type="application/octet-stream")

    async def holes(request: web.Request) -> web.StreamResponse:
        asked = fields(await body(request, MAX_JSON))
        return web.json_response(await room.quick.do(chunked_holes, held(room, asked), asked))

    async def image(request: web.Request) -> web.StreamResponse:
        asked = fields(await body(request, MAX_JSON))
        made = await room.slow.do(dropped_image, room.shelf, room.folder(), room.image, asked)
        return web.json_response({"spatial_scene": made})

    async def cameras(request: web.Request) -> web.StreamResponse:
        content = await body(request, MAX_CAMERA_FILE)
        return web.json_response(await room.slow.do(read_camera_file, content, dict(request.query)))

    async def path(request: web.Request) -> web.StreamResponse:
        return web.json_response(await room.quick.do(path_text, fields(await body(request, MAX_JSON))))

    async def export(request: web.Request) -> web.StreamResponse:
        asked = fields(await body(request, MAX_JSON))
        name, content, lost = await room.slow.do(exported, asked)
        headers = {
            "Content-Disposition": f'attachment; filename="{name}"',
            "X-Spatial-Memory": json.dumps({"dropped": lost}),
        }
        return web.Response(body=content, content_type="application/octet-stream", headers=headers)

    table = [
        ("GET", "/spatial_memory/scene/{scene}", scene),
        ("GET", "/spatial_memory/node/{node:.{1,200}}", node),
        ("GET", "/spatial_memory/live/{memory}", live),
        ("POST", "/spatial_memory/preview", preview),
        ("POST", "/spatial_memory/holes", holes),
        ("POST", "/spatial_memory/image", image),
        ("POST", "/spatial_memory/cameras", cameras),
        ("POST", "/spatial_memory/path", path),
        ("POST", "/spatial_memory/export", export),
    ]
    return [(method, path, told(handler)) for method, path, handler in table]


def told(handler: Handler) -> Handler:
    """The handler, whose refusals are answers for a person."""

    async def answered(request: web.Request) -> web.StreamResponse:
        begun = time.perf_counter()
        try:
            return await handler(request)
        except Refused as error:
            return _error(error.status, str(error), **error.more)
        except FileNotFoundError as error:
            return _error(404, str(error))
        except ValueError as error:
            return _error(400, str(error))
        except OSError as error:
            logger.warning("%s failed after %.1f s: %s", request.path, time.perf_counter() - begun, error)
            return _error(500, f"the server could not read or write a file: {error}")

    return answered


async def body(request: web.Request, most: int) -> bytes:
    """The body of a request, no more of it than ``most`` bytes.

    Raises:
        Refused: it is longer.
    """
    if request.content_length is not None and request.content_length > most:
        raise Refused(413, f"the request has {request.content_length} bytes, at most {most} are read")
    content = bytearray()
    async for piece in request.content.iter_any():
        content += piece
        if len(content) > most:
            raise Refused(413, f"the request has more than {most} bytes, at most so many are read")
    return bytes(content)


def held(room: Room, asked: dict):
    """The memory that a request names.

    Raises:
        Refused: it lives no more.
        ValueError: it names none.
    """
    found = room.shelf.get(key_of(asked, "memory"))
    if found is None:
        raise Refused(410, GONE, gone=True)
    return found


def _scene_content(folder: Path, key: str, points: int | None) -> bytes | None:
    content = load_scene(folder, key)
    return content if content is None or points is None else scene_bytes(first_points(read_scene(content), points))


def _error(status: int, message: str, **more: object) -> web.Response:
    return web.json_response({"error": message, **more}, status=status)
