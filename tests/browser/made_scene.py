"""A scene of any size for the editor to show, without a run: a wall two units ahead of the start."""

from pathlib import Path

import numpy as np
from spatial_memory.rollout.scene_file import Scene, save_scene

DEPTH = 2.0  # world units, of which one is one of the path's
GREY = 90
CONTRADICTED, RETIRED, EDITED = 1, 2, 4


def wall(points: int, flags: int = 0) -> Scene:
    """A grey wall of so many points, (-1.5, -1) to (1.5, 1) at z = 2; ``flags`` mark those of its left half."""
    random = np.random.default_rng(0)
    place = np.zeros((points, 4), np.uint16)
    place[:, :2] = random.integers(0, 65536, (points, 2))
    look = np.full((points, 4), GREY, np.uint8)
    look[:, 3] = np.where(place[:, 0] < 32768, flags, 0)
    identity = np.eye(4).ravel().tolist()
    header = {
        "version": 1,
        "memory": "0" * 32,
        "kind": "rgb",
        "codec": "",
        "metric": False,
        "scene_unit": 1.0,
        "film": {"height": 320, "width": 512, "grid": None, "temporal": 4, "frames": 0},
        "points": points,
        "total": points,
        "far": 0,
        "spacing": 3.0 / points**0.5,
        "box": {"low": [-1.5, -1.0, DEPTH], "step": [3 / 65535, 2 / 65535, 0.0]},
        "up": [0, -1, 0],
        "home": {"c2w": identity, "vertical_fov": 50.0},
        "confidence": {"mean": 1.0, "unsure": 0.0, "near": DEPTH, "middle": DEPTH, "distant": DEPTH},
        "chunks": [],
        "frusta": [],
        "stale": [],
    }
    return Scene(header, {"place": place, "look": look, "pictures": np.zeros(0, np.uint8)})


def told(base: Path, scene: Scene) -> dict:
    """Put the scene where the server at ``base`` finds it: what a node tells of it. No live memory stands behind."""
    key = save_scene(base / "user/__spatial_memory/scenes", scene)
    header = scene.header
    facts = {name: header[name] for name in ("memory", "kind", "points", "scene_unit", "metric")}
    return {**facts, "scene": key, "bytes": 0, "height": 320, "width": 512, "chunks": 0}
