"""The pack's nodes for ComfyUI, V3: a schema and a call each. Only ``host.py`` knows the host."""


def build_extension():
    """The extension that ComfyUI asks for its nodes."""
    from .camera_sockets import PathFromLoad3D, PathFromText, PathToLoad3D, PathToText, PathToWanCamera
    from .chunk import DenoiseChunk, RetrieveReferences, WarpMemory
    from .edit import EditMemory
    from .geometry import EstimateGeometry, SegmentDynamics
    from .history import MergeMemory, RevertMemory
    from .host import ComfyExtension, offer_examples, running_server, serve
    from .loop import ChunkLoopEnd, ChunkLoopStart
    from .memory import InitMemory, UpdateMemory
    from .memory_info import MemoryInfo
    from .model import LoadWorldModel
    from .native import ApplySpatialControl
    from .path import CameraPath, ExportCameraPath, ImportCameraPath
    from .preflight import Preflight
    from .preview import PreviewMemory
    from .report import ClosedLoopReport
    from .rollout import Rollout
    from .start import EncodeStartFrame
    from .text import ChunkPrompt
    from .tune import TuneWorldModel
    from .video import DecodeVideo
    from .world_file import LoadWorld, SaveWorld

    nodes = [
        LoadWorldModel,
        EncodeStartFrame,
        EstimateGeometry,
        SegmentDynamics,
        InitMemory,
        CameraPath,
        ImportCameraPath,
        ExportCameraPath,
        ChunkLoopStart,
        RetrieveReferences,
        WarpMemory,
        DenoiseChunk,
        UpdateMemory,
        ChunkLoopEnd,
        Rollout,
        DecodeVideo,
        ClosedLoopReport,
        SaveWorld,
        LoadWorld,
        EditMemory,
        RevertMemory,
        MergeMemory,
        MemoryInfo,
        PreviewMemory,
        PathFromLoad3D,
        PathToLoad3D,
        PathToWanCamera,
        PathToText,
        PathFromText,
        ChunkPrompt,
        ApplySpatialControl,
        Preflight,
        TuneWorldModel,
    ]

    class SpatialMemoryExtension(ComfyExtension):
        async def get_node_list(self):
            offer_examples()
            if running_server() is not None:
                from .editor_server import Room, routes

                serve(routes(Room()))
            return nodes

    return SpatialMemoryExtension()
