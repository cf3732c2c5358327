"""The nodes that edit, revert, merge, tell about and show a memory: what their widgets mean, and what they refuse."""

import json
import math

import pytest
import torch
from spatial_memory.headless import host as headless
from spatial_memory.headless.standin.folders import Folders

NODES = headless.nodes()  # registers the stand-ins, so it comes before anything of spatial_memory.nodes

import tiny_rollout  # noqa: E402
from spatial_memory.memory.camera import project_planar  # noqa: E402
from spatial_memory.memory.exchange import read_cloud, write_ply  # noqa: E402
from spatial_memory.memory.geometry import Geometry  # noqa: E402
from spatial_memory.memory.store import load_tensors  # noqa: E402
from spatial_memory.nodes import edit as edit_nodes  # noqa: E402
from spatial_memory.nodes import host, selection, world_space  # noqa: E402

HEIGHT, WIDTH, WORLD = tiny_rollout.HEIGHT, tiny_rollout.WIDTH, tiny_rollout.WORLD
BALL = headless.EXAMPLES / "spatial_memory_ball.ply"


def call(name, *inputs, **named):
    """A node's outputs."""
    return NODES["SpatialMemory_" + name].execute(*inputs, **named).result


def edit(state, action="delete", select="box", **named):
    return call("EditMemory", WORLD, state, action, select, **named)


@pytest.fixture(params=["latent", "rgb"])
def state(request, tmp_path):
    """A film before its first chunk; the wall z + 0.2 x = 2 fills the view."""
    headless.use_folders(Folders([tmp_path / "in"], tmp_path / "out", tmp_path))
    return tiny_rollout.begin(request.param)


def left_half():
    """A mask of the left half of the picture."""
    mask = torch.zeros(1, HEIGHT, WIDTH)
    mask[..., : WIDTH // 2] = 1
    return mask


# -------------------------------------------------------------------------------------------------------- selecting


def test_a_mask_selects_what_its_frame_sees_inside_it(state):
    done, memory, picture, told = edit(state, select="mask", selection=left_half())
    camera, voxel = state.cameras[0], state.memory.scene_unit / 40
    u, _, _ = project_planar(memory.points.T, camera)
    reach = 2 * voxel / 1.5 * camera.K[0, 0] * math.sqrt(3)  # a voxel to each side, at the nearest depth of the wall
    assert (u >= WIDTH / 2).all() and (u < WIDTH / 2 + reach + 8).any()
    u, _, _ = project_planar(state.memory.points.T, camera)
    gone = len(state.memory.points) - len(memory.points)
    assert (u < WIDTH / 2).sum() <= gone <= (u < WIDTH / 2 + reach).sum()
    assert told.startswith(f"deleted {gone} of {len(u)} points\nthe start frame was changed to agree")
    assert done.memory is memory and state.memory.edits == () and len(memory.edits) == 1
    assert picture.shape[0] == 1 and picture.shape[-1] == 3
    with_edges = done.image[:, :, WIDTH // 2 + 24 :]
    assert torch.equal(with_edges, state.image[:, :, WIDTH // 2 + 24 :]) and not torch.equal(done.image, state.image)


@pytest.mark.parametrize(
    ("turn", "inside"),
    [
        ({}, lambda p: p[:, 2] >= 2.0),
        ({"yaw": 90.0}, lambda p: p[:, 0] >= 0.0),
        ({"yaw": -90.0}, lambda p: p[:, 0] <= 0.0),
        ({"pitch": 90.0}, lambda p: p[:, 1] <= 0.0),  # y points down: up is where it is negative
    ],
)
def test_half_space_lies_where_yaw_and_pitch_point(state, turn, inside):
    unit = state.memory.scene_unit
    *_, told = edit(state, "lock", "half-space", z=2.0 / unit if not turn else 0.0, **turn)
    points = state.memory.points
    assert told.startswith(f"locked {int(inside(points).sum())} of {len(points)} points")


def test_box_is_turned_and_measured_in_scene_units(state):
    unit, points = state.memory.scene_unit, state.memory.points
    *_, told = edit(state, "hide", z=2.0 / unit, size_x=0.2, size_y=9.0, size_z=9.0, yaw=30.0)
    right = torch.tensor([math.cos(math.radians(30)), 0.0, -math.sin(math.radians(30))])
    across = ((points - torch.tensor([0.0, 0.0, 2.0])) * right).sum(1)
    assert told.startswith(f"hid {int((across.abs() <= 0.1 * unit).sum())} of")


def test_sphere_component_and_frames(state):
    unit, points = state.memory.scene_unit, state.memory.points
    *_, told = edit(state, select="sphere", z=2.0 / unit, radius=0.2)
    near = (points - torch.tensor([0.0, 0.0, 2.0])).norm(dim=1) <= 0.2 * unit
    assert told.startswith(f"deleted {int(near.sum())} of")
    *_, told = edit(state, select="frames", frames="0")
    assert told.startswith(f"deleted {len(points)} of {len(points)}")
    *_, told = edit(state, select="sphere", z=2.0 / unit, radius=0.2, frames="0, 3-5")
    assert told.startswith(f"deleted {int(near.sum())} of")
    with pytest.raises(ValueError, match="nothing is selected: none of the"):
        edit(state, select="sphere", z=2.0 / unit, radius=0.2, frames="4-7")
    if state.memory.kind == "rgb":  # a latent's cells lie farther apart than the voxels of a component
        *_, told = edit(state, select="component", z=2.0 / unit, size_x=0.4, size_y=0.4, size_z=9.0)
        count = int(told.split()[1])
        assert 20 < count < len(points)


def test_lists_of_frames_and_colours():
    assert selection.frame_list("0, 12-14 , -1 -3,") == (-3, -1, 0, 12, 13, 14)
    assert edit_nodes.hex_colour(" #ff8000 ") == (1.0, 128 / 255, 0.0)
    for text in ("a", "1.5", "3--4", "1-2-3"):
        with pytest.raises(ValueError, match="frames holds"):
            selection.frame_list(text)
    with pytest.raises(ValueError, match="colour is 'red'"):
        edit_nodes.hex_colour("red")


def test_turning_is_to_the_right_up_and_clockwise():
    turned = {
        name: world_space.motion((0.0, 0.0, 0.0), world_space.turned(*angles))[:3, :3]
        for name, angles in {"yaw": (90, 0, 0), "pitch": (0, 90, 0), "roll": (0, 0, 90)}.items()
    }
    ahead, right, up = torch.tensor([0.0, 0, 1]), torch.tensor([1.0, 0, 0]), torch.tensor([0.0, -1, 0])
    close = {"atol": 1e-6, "rtol": 0}
    torch.testing.assert_close(turned["yaw"] @ ahead, right, **close)
    torch.testing.assert_close(turned["pitch"] @ ahead, up, **close)
    torch.testing.assert_close(turned["roll"] @ up, right, **close)


# ---------------------------------------------------------------------------------------------------------- actions


def test_move_turns_about_the_middle_and_goes_in_scene_units(state):
    unit, points = state.memory.scene_unit, state.memory.points
    _, memory, *_ = edit(state, "move", "frames", frames="0", to_x=0.1, to_z=-0.3, turn_roll=90.0)
    middle = points.mean(0)
    offset = points - middle
    expected = torch.stack([-offset[:, 1], offset[:, 0], offset[:, 2]], 1) + middle
    expected += unit * torch.tensor([0.1, 0.0, -0.3])
    torch.testing.assert_close(memory.points, expected, atol=1e-4, rtol=0)


def test_recolour_gives_the_colour_and_nothing_else(state):
    _, memory, *_ = edit(state, "recolour", "half-space", yaw=90.0, colour="#2060e0")
    before, after = state.memory.features.float(), memory.features.float()
    changed = (before != after).any(1)
    right = state.memory.points[:, 0] >= 0
    assert not changed[~right].any() and changed[right].float().mean() > 0.9
    if memory.kind == "rgb":
        red, green, blue = after[right].mean(0)
        assert blue > 1.8 * green > 3 * red


def test_insert_puts_the_files_origin_there_in_its_scale(state, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/ball.ply").write_bytes(BALL.read_bytes())
    unit = state.memory.scene_unit
    where = {"to_x": -0.1 / unit, "to_y": 0.05 / unit, "to_z": 1.2 / unit}
    done, memory, _, told = edit(state, "insert", file="ball.ply", scale=0.3, **where)
    new = torch.cat([o.points for o in memory.edits[-1].observations])
    away = (new - torch.tensor([-0.1, 0.05, 1.2])).norm(dim=1)
    assert told.startswith(f"inserted {len(new)} points") and len(new) > 10
    if memory.kind == "rgb":
        assert 0.295 < away.min() and away.max() < 0.3001  # flat facets lie a little inside the sphere
    else:  # cells lie on what the cameras see of it
        assert (away < 0.36).all() and away.median() > 0.2
    back, same, _, told = edit(done, "undo")
    assert torch.equal(back.image, state.image) and same.edits == () and told.startswith("took back edit 1")


def test_insert_other_pictures(state):
    image = tiny_rollout.photograph(5)
    near = torch.full((1, HEIGHT, WIDTH), 0.8)
    geometry = Geometry(near, torch.ones_like(near), near > 0, state.cameras[:1], False, 1.0)
    _, memory, _, told = edit(state, "insert", images=image.permute(0, 2, 3, 1), geometry=geometry)
    z = torch.cat([o.points[:, 2] for o in memory.edits[-1].observations])
    torch.testing.assert_close(z, torch.full_like(z, 0.8), atol=1e-3, rtol=0)
    assert told.startswith(f"inserted {len(z)} points")


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"select": "mask"}, "selection is not connected; connect a MASK drawn on the picture of frame 0"),
        ({"select": "mask", "selection": torch.ones(1, 64, 64)}, r"of 64 x 64, expected one of 64 x 96"),
        ({"select": "mask", "selection": torch.ones(2, HEIGHT, WIDTH)}, "is 2 mask"),
        ({"select": "mask", "selection": torch.zeros(1, HEIGHT, WIDTH)}, "nothing is selected"),
        ({"select": "sphere", "z": -5.0}, "nothing is selected: none of the"),
        ({"select": "component", "x": 50.0}, "nothing is selected"),
        ({"select": "frames"}, "frames is empty"),
        ({"action": "undo"}, "no edit to undo"),
        ({"action": "insert"}, "exactly one"),
        ({"action": "insert", "file": "no such.ply"}, "no such.ply"),
        ({"action": "insert", "file": "../escape.ply"}, "leads out of"),
        ({"action": "insert", "images": torch.zeros(1, HEIGHT, WIDTH, 3)}, "connect images and geometry both"),
        ({"action": "recolour", "z": 1.0, "size_z": 9.0, "colour": "red"}, "colour is 'red'"),
        ({"frame": 7}, "frame is 7, expected 0 to 0"),
    ],
)
def test_bad_edits_are_refused_and_the_state_stays(state, named, message):
    before = tiny_rollout.tensors(state)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        edit(state, **{"action": "delete", **named})
    assert all(torch.equal(a, b) for a, b in zip(before, tiny_rollout.tensors(state)))


def test_another_world_or_no_memory_is_refused(state):
    other = type(WORLD)(**{**vars(WORLD), "name": "another"})
    with pytest.raises(ValueError, match="'another'"):
        call("EditMemory", other, state, "delete", "box")
    path = tiny_rollout.PATH.bake(HEIGHT, WIDTH)[:1]
    bare = tiny_rollout.chunk.start(WORLD, tiny_rollout.photograph(), path)
    for refused in (lambda: edit(bare), lambda: call("MergeMemory", WORLD, bare, state.memory)):
        with pytest.raises(ValueError, match="InitMemory comes first"):
            refused()


# ---------------------------------------------------------------------------------------------- revert, merge, update


def test_revert_goes_back_and_says_what_it_dropped(state):
    later = tiny_rollout.one_chunk(state)
    earlier, memory, told = call("RevertMemory", later, -1)
    assert tiny_rollout.same_bits(earlier, state) and earlier.chunk == 0 and memory is earlier.memory
    assert told.startswith("0 of 1 chunks kept, 32 frames dropped")
    with pytest.raises(ValueError, match="the film has made 1"):
        call("RevertMemory", later, 1)


def test_merge_brings_a_moved_world_in(state):
    unit, points = state.memory.scene_unit, state.memory.points
    # behind the wall, where neither the start frame looks past it nor the memory shows it
    _, merged, told = call("MergeMemory", WORLD, state, state.memory, z=2.0, x=0.5, roll=180.0)
    new = torch.cat([o.points for o in merged.observations[len(state.memory.observations) :]])
    expected = points * torch.tensor([-1.0, -1.0, 1.0]) + unit * torch.tensor([0.5, 0.0, 2.0])
    torch.testing.assert_close(new, expected, atol=1e-4, rtol=0)
    assert f"{len(points)} lifted, {len(points)} added" in told
    other = tiny_rollout.begin("rgb" if state.memory.kind == "latent" else "latent")
    with pytest.raises(ValueError, match="does not merge into"):
        call("MergeMemory", WORLD, state, other.memory)


def test_update_keeps_to_its_bound_and_says_so(state):
    aimed = tiny_rollout.aimed(state)
    chunk = tiny_rollout.chunk
    denoised, images = chunk.denoise_chunk(WORLD, aimed, chunk.warp(WORLD, aimed), None, WORLD.defaults)
    geometry = chunk.chunk_geometry(tiny_rollout.WallGeometry(), denoised, images)
    given, shown = state.memory.num_points, images.permute(0, 2, 3, 1)
    node = NODES["SpatialMemory_UpdateMemory"]
    free = node.execute(WORLD, denoised, shown, geometry)
    bound = node.execute(WORLD, denoised, shown, geometry, "keep_newest", False, given + 5)
    assert free.result[1].num_points > given + 5 == bound.result[1].num_points
    assert free.result[1].ledger[-1]["policy"] == "keep_first" and "doubted" in free.result[1].ledger[-1]
    assert bound.result[1].ledger[-1]["policy"] == "keep_newest" and "doubted" not in bound.result[1].ledger[-1]
    (face,) = bound.ui["text"]
    row = bound.result[1].ledger[-1]
    assert f"{row['lifted']} lifted, {row['added']} added" in face and f"{row['evicted']} evicted" in face


# ------------------------------------------------------------------------------------------------------ looking at it


def test_memory_info_counts(state):
    done = edit(state, select="sphere", z=2.0 / state.memory.scene_unit, radius=0.2)[0]
    picture, table, text = call("MemoryInfo", done.memory)
    told = json.loads(text)
    assert told["stored_points"] == state.memory.num_points and told["drawn_points"] == len(done.memory.points)
    assert told["edits"][0]["points"] == told["stored_points"] - told["drawn_points"] > 0
    assert f"{told['drawn_points']:,} points drawn" in table and "delete: a sphere around" in table
    assert picture.shape[2:] == (1600, 3) and picture.std() > 0.05


def test_preview_shows_the_start_view_first_and_writes_the_points(state, tmp_path):
    images, file = call("PreviewMemory", WORLD, state.memory, count=3, degrees=10.0, filename="a/cloud")
    assert images.shape == (3, HEIGHT, WIDTH, 3) and file == str((tmp_path / "out/a/cloud.ply").resolve())
    assert torch.equal(read_cloud(file).points, state.memory.points)
    along = call("PreviewMemory", WORLD, state.memory, tiny_rollout.PATH, 2, filename="a/cloud")[0]
    assert len(along) == 2 and torch.equal(along[0], images[0]) and not torch.equal(images[1], images[0])
    if state.memory.kind == "rgb":
        assert (images[0] - state.image.permute(1, 2, 0)).abs().mean() < 0.05
    linear = call("PreviewMemory", WORLD, state.memory, count=1, look="linear colours", filename="a/cloud")[0]
    assert linear.shape == (1, HEIGHT, WIDTH, 3)
    empty = type(state.memory)(state.memory.kind, state.memory.codec, state.memory.channels, 1.0, False)
    with pytest.raises(ValueError, match="holds no points"):
        call("PreviewMemory", WORLD, empty)


def test_a_host_with_point_clouds_gets_the_file_itself(monkeypatch, tmp_path):
    assert host.point_file_outputs("x.") == [] == host.point_file(tmp_path)
    monkeypatch.setattr(host.io, "File3DPointCloudAny", host.io.Custom("FILE_3D_POINT_CLOUD_ANY"), raising=False)
    monkeypatch.setattr(host.Types, "File3D", lambda path, kind: (path, kind), raising=False)
    (output,) = host.point_file_outputs("The file.")
    assert output.display_name == "points" and host.point_file(tmp_path) == [(str(tmp_path), "ply")]


def test_a_saved_world_holds_a_decimated_preview(state, tmp_path):
    call("SaveWorld", state, "world")
    tensors, _ = load_tensors(tmp_path / "out/world.safetensors")
    points, colours = tensors["preview.points"], tensors["preview.colours"]
    step = -(-len(state.memory.points) // 20_000)
    assert torch.equal(points, state.memory.points[::step]) and colours.dtype == torch.uint8
    assert colours.shape == points.shape and (
        state.memory.kind == "latent" or torch.equal(colours, state.memory.features)
    )
    again, memory = call("LoadWorld", WORLD, "world.safetensors")
    assert tiny_rollout.same_bits(again, state) and memory is again.memory


def test_the_ball_that_ships_is_a_ball():
    cloud = read_cloud(BALL, 2000)
    assert ((cloud.points.norm(dim=1) - 1).abs() < 0.03).all() and len(cloud.colours.unique(dim=0)) > 50


def test_a_written_cloud_is_inserted_as_it_stands(state, tmp_path):
    (tmp_path / "in").mkdir()
    at = torch.cartesian_prod(*[torch.linspace(-0.2, 0.2, 60)] * 2)
    points = torch.cat([at, torch.full((len(at), 1), 1.0)], 1)
    write_ply(tmp_path / "in/plate.ply", points, torch.full((len(at), 3), 200, dtype=torch.uint8))
    _, memory, *_ = edit(state, "insert", file="plate.ply")
    new = torch.cat([o.points for o in memory.edits[-1].observations])
    torch.testing.assert_close(new[:, 2], torch.ones(len(new)), atol=2e-3, rtol=0)
    assert new[:, :2].abs().max() < 0.24
