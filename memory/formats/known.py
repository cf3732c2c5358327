"""Every format by its name: how it is read and written, what it ends in, and what of a camera it keeps."""

from collections.abc import Callable
from dataclasses import dataclass

from ..camera import Cameras
from .chan import read_chan, write_chan
from .colmap import read_colmap
from .colmap_binary import write_colmap_binary
from .colmap_text import write_colmap
from .gltf import read_gltf, write_glb, write_gltf
from .imported import Imported
from .inria import read_inria, write_inria
from .lyra import read_lyra, write_lyra
from .matrices import read_matrices, write_matrices
from .nerfstudio import read_nerfstudio, write_nerfstudio
from .ngp import read_ngp, write_ngp
from .ours import read_json, write_json, write_path
from .realestate10k import read_realestate10k, write_realestate10k
from .recammaster import read_recammaster, write_recammaster
from .source import Source
from .spatia import read_spatia, write_spatia
from .trajectories import read_kitti, read_tum, write_kitti, write_tum
from .transforms import read_transforms, write_transforms
from .wan_rows import read_wan, read_wanvideo, write_wan, write_wanvideo

Reader = Callable[[Source], Imported]
Writer = Callable[[Cameras, str, float], dict[str, bytes]]  # cameras, name of the file, fps: files by their names


@dataclass(frozen=True)
class Format:
    """One kind of camera file."""

    read: Reader
    write: Writer
    ending: str  # what a file, or a folder, of it is called behind a name of one's own
    keeps: frozenset[str]  # of "size", "focal", "zoom", "centre", "aspect"


def _keeps(names: str) -> frozenset[str]:
    return frozenset(names.split())


EVERYTHING = "size focal zoom centre aspect"
FORMATS: dict[str, Format] = {
    "json": Format(read_json, write_json, ".json", _keeps(EVERYTHING)),
    "spatia": Format(read_spatia, write_spatia, "_w2c.txt", _keeps("focal zoom centre aspect")),  # refuses a zoom
    "realestate10k": Format(read_realestate10k, write_realestate10k, ".txt", _keeps("focal zoom centre aspect")),
    "colmap": Format(read_colmap, write_colmap, "_colmap", _keeps(EVERYTHING)),
    "colmap_binary": Format(read_colmap, write_colmap_binary, "_colmap_binary", _keeps(EVERYTHING)),
    "transforms": Format(read_transforms, write_transforms, "_transforms.json", _keeps(EVERYTHING)),
    "nerfstudio": Format(read_nerfstudio, write_nerfstudio, "_camera_path.json", _keeps("size focal zoom")),
    "ngp": Format(read_ngp, write_ngp, "_base_cam.json", _keeps("focal zoom")),
    "inria": Format(read_inria, write_inria, "_cameras.json", _keeps("size focal zoom aspect")),
    "tum": Format(read_tum, write_tum, "_tum.txt", _keeps("")),
    "kitti": Format(read_kitti, write_kitti, "_kitti.txt", _keeps("")),
    "lyra": Format(read_lyra, write_lyra, ".npz", _keeps(EVERYTHING)),
    "gltf": Format(read_gltf, write_gltf, ".gltf", _keeps("focal")),
    "glb": Format(read_gltf, write_glb, ".glb", _keeps("focal")),
    "chan": Format(read_chan, write_chan, ".chan", _keeps("focal zoom")),
    "wanvideo": Format(read_wanvideo, write_wanvideo, "_wanvideo.json", _keeps("focal zoom centre aspect")),
    "wan": Format(read_wan, write_wan, "_wan.json", _keeps("focal zoom centre aspect")),
    "recammaster": Format(read_recammaster, write_recammaster, "_extrinsics.json", _keeps("")),
    "matrices": Format(read_matrices, write_matrices, "_matrices.json", _keeps("")),
}
READERS: dict[str, Reader] = {name: one.read for name, one in FORMATS.items()}
WRITERS: dict[str, Writer] = {**{name: one.write for name, one in FORMATS.items()}, "path": write_path}
