"""ComfyUI's own MODEL where there is no ComfyUI: the node is listed, and says what it needs. With it: tests/host."""

import pytest
from spatial_memory.headless import host


def test_without_comfyui_the_node_is_there_and_says_what_it_needs():
    node = host.nodes()["SpatialMemory_ApplySpatialControl"]
    with pytest.raises(RuntimeError, match="drives ComfyUI's own MODEL.*run this workflow in ComfyUI, or bring"):
        node.execute(object(), object(), "step-8500.safetensors")
