"""What the editor was last shown: memories that previews are read from, and the scenes of nodes.

Module state, bounded and keyed by content, as the host allows it. A memory that its bound pushed out is still found
while the host's own cache holds it, since then no node would run and bring it back.
"""

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

from torch import Tensor

from ..memory.cloud import SpatialMemory
from ..rollout.scene import scene_of
from ..rollout.scene_file import Scene, save_scene
from ..rollout.scene_film import Film, film_of
from ..rollout.scene_points import MOST
from ..rollout.state import RolloutState
from .host import executing_node, kept_folder, running_server

logger = logging.getLogger(__name__)

MAX_MEMORIES = 8
MAX_BYTES = 2_000_000_000
MAX_NODES = 256


@dataclass(frozen=True, eq=False)
class Live:
    """A memory that previews can be read from."""

    memory: SpatialMemory
    film: Film


class Shelf:
    """The last memories and the scenes of the last nodes; safe to use from several threads."""

    def __init__(self, max_memories: int = MAX_MEMORIES, max_bytes: int = MAX_BYTES) -> None:
        self.max_memories, self.max_bytes = max_memories, max_bytes
        self.lock = threading.Lock()
        self.held: OrderedDict[str, Live] = OrderedDict()
        self.alive: WeakValueDictionary[str, SpatialMemory] = WeakValueDictionary()
        self.films: OrderedDict[str, Film] = OrderedDict()
        self.nodes: OrderedDict[str, dict] = OrderedDict()

    def put(self, key: str, live: Live) -> None:
        """Hold a memory; the ones that were asked for longest ago go, never this one."""
        with self.lock:
            self.held[key] = live
            self.held.move_to_end(key)
            self.alive[key] = live.memory
            _remember(self.films, key, live.film)
            while len(self.held) > 1 and self._too_much():
                self.held.popitem(last=False)

    def get(self, key: str) -> Live | None:
        """The memory of that key, if it still lives."""
        with self.lock:
            if key in self.held:
                self.held.move_to_end(key)
                return self.held[key]
            memory, film = self.alive.get(key), self.films.get(key)
            return None if memory is None or film is None else Live(memory, film)

    def show(self, node: str, scene: dict) -> None:
        """Note the scene of a node's execution."""
        with self.lock:
            _remember(self.nodes, node, scene)

    def shown(self, node: str) -> dict | None:
        """The scene of a node's last execution."""
        with self.lock:
            return self.nodes.get(node)

    def _too_much(self) -> bool:
        used = sum(live.memory.get_ram_usage() for live in self.held.values())
        return len(self.held) > self.max_memories or used > self.max_bytes


SHELF = Shelf()


def publish(
    shelf: Shelf,
    folder: Path,
    memory: SpatialMemory,
    state: RolloutState | None = None,
    image: Tensor | None = None,  # (3, H, W) in [0, 1]
    most: int = MOST,
) -> dict:
    """Write the scene's file, hold the memory, and return what the editor needs to find both.

    Raises:
        ValueError: the memory holds no points.
        OSError: the folder cannot be written.
    """
    scene: Scene = scene_of(memory, state, image, most)
    key, header, film = save_scene(folder, scene), scene.header, film_of(memory, state)
    shelf.put(header["memory"], Live(memory, film))
    return {
        "scene": key,
        "memory": header["memory"],
        "kind": memory.kind,
        "points": header["points"],
        "bytes": sum(array.nbytes for array in scene.arrays.values()),
        "height": film.height,
        "width": film.width,
        "scene_unit": memory.scene_unit,
        "metric": memory.metric,
        "chunks": len(header["chunks"]),
    }


def shown_scene(memory: SpatialMemory | None, state: RolloutState | None = None, image: Tensor | None = None) -> dict:
    """What a node adds to its ``ui`` so that the editor shows its memory; nothing where there is no page to show it."""
    if running_server() is None or memory is None or not memory.observations:
        return {}
    try:
        scene = publish(SHELF, kept_folder("scenes"), memory, state, image)
    except OSError as error:  # a full disk is no reason to lose the run
        logger.warning("The camera path editor does not show this memory: %s", error)
        return {}
    node = executing_node()
    if node is not None:
        SHELF.show(node, scene)
    return {"spatial_scene": [scene]}


def _remember(table: OrderedDict, key: str, value: object) -> None:
    table[key] = value
    table.move_to_end(key)
    while len(table) > MAX_NODES:
        table.popitem(last=False)
