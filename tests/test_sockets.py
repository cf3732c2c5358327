"""What nodes convert at their sockets, which files they find, and where a film's cameras begin."""

from pathlib import Path

import pytest
import torch
from spatial_memory.headless import host as headless
from spatial_memory.headless.standin.folders import Folders

NODES = headless.nodes()  # registers the stand-ins, so it comes before anything of spatial_memory.nodes

import tiny_rollout  # noqa: E402
from spatial_memory.memory.presets import PRESETS  # noqa: E402
from spatial_memory.models.codec import MiniCodec  # noqa: E402
from spatial_memory.nodes import chunk as chunk_nodes  # noqa: E402
from spatial_memory.nodes import convert, host, start, video  # noqa: E402

PREFIX = "SpatialMemory_"
OURS = {name: node for name, node in NODES.items() if name.startswith(PREFIX)}


def test_images_turn_axes_and_lose_alpha():
    images = torch.rand(2, 3, 4, 4)  # (T, H, W, RGBA)
    inside = convert.images_from_socket(images)
    assert inside.shape == (2, 3, 3, 4)
    assert torch.equal(convert.images_to_socket(inside), images[..., :3])
    with pytest.raises(ValueError, match=r"photo has shape \(3, 4, 3\), expected an IMAGE"):
        convert.images_from_socket(images[0, ..., :3], "photo")


def test_a_hole_is_selected_outside_and_zero_inside():
    known = torch.tensor([[[1.0, 0.25], [0.0, 1.0]]])
    hole = convert.hole_to_socket(known)
    assert hole.tolist() == [[[0.0, 0.75], [1.0, 0.0]]]
    assert torch.equal(convert.known_from_socket(hole), known)


def test_the_control_carries_its_offsets_and_a_control_from_elsewhere_lies_on_the_grid():
    state = tiny_rollout.aimed(tiny_rollout.begin())
    control, hole, *_ = chunk_nodes.WarpMemory.execute(tiny_rollout.WORLD, state).result
    assert control["offset"].shape == (2, *hole.shape) and control["offset"].abs().max() > 0.1
    assert chunk_nodes.DenoiseChunk.execute(tiny_rollout.WORLD, state, control, hole).result[0].seen is control["seen"]
    bare = {"samples": control["samples"]}
    made = [
        chunk_nodes.DenoiseChunk.execute(tiny_rollout.WORLD, state, told, hole).result[0].fresh
        for told in (control, {**control, "offset": torch.zeros_like(control["offset"])}, bare)
    ]
    assert torch.equal(made[1], made[2]) and not torch.equal(made[0], made[1])
    with pytest.raises(ValueError, match="offset"):
        wrong = {**control, "offset": control["offset"][:, 1:]}
        chunk_nodes.DenoiseChunk.execute(tiny_rollout.WORLD, state, wrong, hole)


def test_the_film_is_decoded_whole_and_its_progress_told(monkeypatch):
    state, done = tiny_rollout.one_chunk(tiny_rollout.begin()), []

    class Told:
        def __init__(self, total):
            done.append((0, total))

        def tick(self, count):
            done.append((count, 9))

    monkeypatch.setattr(video, "Progress", Told)
    images, latents = video.DecodeVideo.execute(tiny_rollout.WORLD, state).result
    colours = (tiny_rollout.WORLD.codec.decode(state.latents) + 1) / 2
    assert torch.equal(images, colours.movedim(1, -1)) and len(images) == 33
    assert torch.equal(latents["samples"][0], state.latents) and done == [(i, 9) for i in range(10)]


def test_latents_leave_raw_and_come_back_in_model_space():
    class Scaled(MiniCodec):
        """A codec whose raw latents are 2 z + 1."""

        def to_raw(self, latents):
            return 2 * latents + 1

        def from_raw(self, raw):
            return (raw - 1) / 2

    codec = Scaled(tiny_rollout.WORLD.codec.network, tiny_rollout.WORLD.codec.grid)
    latents = torch.randn(codec.grid.channels, 3, 2, 2)
    socket = convert.latents_to_socket(codec, latents, seconds=0.5)
    assert torch.equal(socket["samples"][0], 2 * latents + 1) and socket["seconds"] == 0.5
    torch.testing.assert_close(convert.latents_from_socket(codec, socket, "control"), latents)
    with pytest.raises(ValueError, match="control has shape .* expected"):
        convert.latents_from_socket(codec, {"samples": torch.zeros(1, 5, 3, 2, 2)}, "control")


def test_depth_is_grey_times_scale():
    grey = torch.full((1, 2, 2, 3), 0.5)
    assert torch.equal(convert.depth_from_socket(grey, 10.0), torch.full((1, 2, 2), 5.0))


def test_tint_colours_holes_only():
    images = torch.rand(1, 3, 4, 4)
    known = torch.tensor([[[1.0, 0.0]]])
    shown = convert.tinted(images, known)
    assert torch.equal(shown[..., :2], images[..., :2]) and not torch.equal(shown[..., 2:], images[..., 2:])


def test_files_stay_in_their_folders(tmp_path):
    for name in ("input", "output"):
        (tmp_path / name).mkdir()
    (tmp_path / "secret.txt").write_text("no")
    (tmp_path / "input" / "leak.txt").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "output" / "fine.txt").write_text("yes")
    headless.use_folders(Folders([tmp_path / "input"], tmp_path / "output", tmp_path))
    assert host.user_file("fine.txt").read_text() == "yes"
    assert host.output_file("a/b.txt").parent == (tmp_path / "output" / "a").resolve()
    for name in ("../secret.txt", str(tmp_path / "secret.txt"), "leak.txt", "", "."):
        with pytest.raises(ValueError, match="leads out of"):
            host.user_file(name)
        with pytest.raises(ValueError, match="leads out of"):
            host.output_file(name if name != "leak.txt" else "../x")
    with pytest.raises(FileNotFoundError, match="absent.txt"):
        host.user_file("absent.txt")


def test_examples_are_offered_once_and_never_over_a_file(tmp_path):
    headless.use_folders(Folders([tmp_path / "input"], tmp_path / "output", tmp_path))
    host.offer_examples()
    copied = tmp_path / "input" / "spatial_memory_kitchen.png"
    assert copied.read_bytes() == (host.EXAMPLES / copied.name).read_bytes()
    copied.write_bytes(b"mine")
    host.offer_examples()
    assert copied.read_bytes() == b"mine"
    assert not list((tmp_path / "input").glob("*.part"))


def test_the_start_camera_is_the_first_of_every_preset():
    camera = start.first_camera(36.2104, 64, 96)
    path = PRESETS["out_and_back"](57, vertical_fov=36.2104).bake(64, 96)
    assert torch.equal(camera.c2w[0], path.c2w[0]) and torch.equal(camera.K[0], path.K[0])


def test_posed_pictures_are_seen_from_the_start_frame():
    images, poses = torch.rand(5, 3, 64, 96), PRESETS["truck"](5, 1.0)
    cameras = start.posed(images, poses, 50.0, origin=4)
    assert torch.equal(cameras.c2w[4], torch.eye(4))
    torch.testing.assert_close(cameras.position[0], torch.tensor([-1.0, 0.0, 0.0]))
    with pytest.raises(ValueError, match="5 images came without poses"):
        start.posed(images, None, 50.0, origin=0)
    with pytest.raises(ValueError, match="poses has 5 poses for 4 images"):
        start.posed(images[:4], poses, 50.0, origin=0)


def test_a_video_is_continued_from_its_last_frame():
    images, poses = torch.rand(10, 3, 64, 96), PRESETS["truck"](10, 0.9)
    chosen, cameras = start.last_first(images, start.posed(images, poses, 50.0, origin=9), stride=4)
    assert torch.equal(chosen, images[[9, 5, 1]])
    assert torch.equal(cameras.c2w[0], torch.eye(4)) and cameras.position[1, 0] > cameras.position[2, 0]


@pytest.mark.parametrize("format_", ["json", "spatia", "realestate10k"])
def test_an_exported_path_comes_back(format_, tmp_path):
    headless.use_folders(Folders([tmp_path / "in"], tmp_path / "out", tmp_path))
    path = PRESETS["arc"](33, 20.0)
    written = OURS[PREFIX + "ExportCameraPath"].execute(path, "paths/arc", format_).args[1]
    name = str(Path(written).relative_to((tmp_path / "out").resolve()))
    back, assumed, fov, picture = OURS[PREFIX + "ImportCameraPath"].execute(name).args
    ours, theirs = path.bake(192, 320), back.bake(192, 320)
    torch.testing.assert_close(theirs.c2w, ours.c2w, atol=2e-3, rtol=0)
    assert fov == pytest.approx(50.0, abs=0.1) and picture.shape[-1] == 3
    assert torch.equal(theirs.c2w[0], torch.eye(4)) and isinstance(assumed, str)
