"""The stand-in for ComfyUI: its folders, films and pictures, and that it lists every node as the server does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from spatial_memory.headless import host
from spatial_memory.headless.standin import io, ui
from spatial_memory.headless.standin.folders import Folders
from spatial_memory.headless.standin.video import VideoComponents, VideoFromComponents, VideoFromFile
from spatial_memory.headless.validate import inputs_of


def test_files_stay_inside_their_folders(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.png").write_bytes(b"x")
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "secret.png")
    folders = Folders([tmp_path / "in"], tmp_path / "out", tmp_path / "models")
    for name in ("../secret.png", "link.png", str(tmp_path / "secret.png")):
        with pytest.raises(ValueError, match="leads out of"):
            folders.find(name)
    with pytest.raises(ValueError, match="leads out of"):
        folders.get_save_image_path("../elsewhere/x", folders.get_output_directory())
    folder, name, number, subfolder, _ = folders.get_save_image_path("a/b", folders.get_output_directory())
    (Path(folder) / "b_00041_.png").touch()
    assert (name, number, subfolder) == ("b", 1, "a")
    assert folders.get_save_image_path("a/b", folders.get_output_directory())[2] == 42


def test_a_video_is_written_whole_or_not_at_all(tmp_path):
    ramp = torch.linspace(0, 1, 6)[:, None, None, None].expand(6, 32, 48, 3)  # (T, H, W, 3)
    VideoFromComponents(VideoComponents(ramp, 8)).save_to(str(tmp_path / "v.mp4"), metadata={"note": 1})
    back = VideoFromFile(str(tmp_path / "v.mp4")).get_components()
    assert back.images.shape == ramp.shape and back.frame_rate == 8
    assert (back.images - ramp).abs().mean() < 0.03  # H.264 is lossy
    with pytest.raises(ValueError, match="even size"):
        VideoFromComponents(VideoComponents(ramp[:, :31], 8)).save_to(str(tmp_path / "odd.mp4"))
    assert [path.name for path in tmp_path.iterdir()] == ["v.mp4"]


def test_the_same_frames_make_the_same_file_whatever_memory_held_before(tmp_path):
    """Where the C library fills new memory with a byte of one's choice, what was never written shows."""
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import conftest, torch
from spatial_memory.headless.standin.video import VideoComponents, VideoFromComponents
coarse = torch.rand(1, 3, 8, 12, generator=torch.Generator().manual_seed(0))
wide = torch.nn.functional.interpolate(coarse, (64, 320), mode="bicubic")[0].clamp(0, 1).permute(1, 2, 0)
frames = torch.stack([wide[:, 3 * i : 3 * i + 96] for i in range(72)])
VideoFromComponents(VideoComponents(frames, 16)).save_to(sys.argv[1])
"""
    script = tmp_path / "write.py"
    script.write_text(code)
    files = [tmp_path / f"{fill}.mp4" for fill in (0, 85, 170)]
    for file, fill in zip(files, (0, 85, 170)):
        environment = {**os.environ, "MALLOC_PERTURB_": str(fill)}
        subprocess.run([sys.executable, str(script), str(file)], check=True, env=environment, timeout=120)
    assert len({file.read_bytes() for file in files}) == 1


def test_saved_images_are_what_was_shown(tmp_path):
    host.install()
    host.use_folders(Folders([tmp_path], tmp_path / "out", tmp_path))
    images = torch.rand(2, 8, 12, 3, generator=torch.Generator().manual_seed(0))
    results = ui.save_images(images, "shot", io.FolderType.output)
    core = {
        kind.GET_SCHEMA().node_id: kind
        for kind in __import__("spatial_memory.headless.core_nodes", fromlist=["x"]).CORE_NODES
    }
    name = f"{results[1].filename} [output]"
    loaded, mask = core["LoadImage"].execute(name).result
    assert torch.equal((loaded[0] * 255).round(), (images[1] * 255).floor()) and not mask.any()
    assert "there is no image" in core["LoadImage"].validate_inputs("absent.png")
    assert "leads out" in core["LoadImage"].validate_inputs("../../x.png")


def test_the_stand_in_refuses_to_hide_the_real_host(tmp_path, monkeypatch):
    (tmp_path / "folder_paths.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] in host.HOST_MODULES]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(host.HostPresent, match=r"\['folder_paths'\].*--server"):
        host.install()
    assert "comfy_api" not in sys.modules


def plain(declared):
    """One input of a listing without what says nothing of the value: tooltips, and the files that lie about."""
    options = {key: value for key, value in (declared[1] if len(declared) > 1 else {}).items() if key != "tooltip"}
    if isinstance(declared[0], list):
        declared, options = ["COMBO"], options | {"options": declared[0], "multiselect": False}
    if options.get("image_upload") or options.get("video_upload"):
        options.pop("options", None)
    return declared[0], {key: value for key, value in options.items() if value is not False}


@pytest.mark.parametrize(
    "listed", sorted(Path(__file__).parent.glob("host/object_info_*.json")), ids=lambda file: file.stem
)
def test_the_stand_in_lists_every_node_as_the_server_did(listed):
    server, here = json.loads(listed.read_text()), json.loads(json.dumps(host.object_info(host.nodes())))
    own = {name for name in server if name.startswith("SpatialMemory_")}
    assert own == {name for name in here if name.startswith("SpatialMemory_")}
    for name in set(server) & set(here):
        there, declared = inputs_of(server[name]), inputs_of(here[name])
        assert list(there) == list(declared), name
        for key in there:
            assert plain(there[key]) == plain(declared[key]), f"{name}.{key}"
        for key in ("output", "output_is_list", "output_name", "output_node", "display_name", "category"):
            assert server[name][key] == here[name][key], f"{name}: {key}"
        if name in own:
            assert server[name]["input"] == here[name]["input"], name
