"""Files of points and meshes, whole and broken, for the tests that read them."""

import pytest
import torch
from spatial_memory.memory.exchange import read_cloud

PLY = "ply\nformat ascii 1.0\nelement vertex {}\nproperty float x\nproperty float y\nproperty float z\n{}end_header\n{}"
PCD = (
    "VERSION .7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH {0}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\n"
    "POINTS {0}\nDATA {1}\n{2}"
)
FACES = "element face {}\nproperty list uchar int vertex_indices\n"
TRIANGLE = "0 0 0\n1 0 0\n1 1 0\n"


def cloud_of(n=50, seed=0):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(n, 3, generator=generator) * 3
    return points, torch.randint(0, 256, (n, 3), generator=generator, dtype=torch.uint8)


def refused(path, content, message):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message) as caught:
        read_cloud(path)
    assert path.name in str(caught.value)
