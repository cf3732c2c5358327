"""Cameras between Blender and ComfyUI-SpatialMemory, in this pack's JSON. For Blender 3.6 and later.

In Blender: Scripting tab, open this file, press Run. It adds File > Import / Export > Spatial Memory camera (.json).
Without a window, for the active camera of a scene:

    blender scene.blend --background --python spatial_memory_camera.py -- export camera.json
    blender scene.blend --background --python spatial_memory_camera.py -- import camera.json

The file holds one camera a frame of the scene: camera-to-world, OpenCV axes (X right, Y down, Z forward), K in pixels.
Blender's world points Z up, its cameras look along -Z with Y up. Here the world's Y points down: (x, y, z) of Blender
is (x, -z, y) in the file, so what Blender calls forward, +Y, is the file's +Z. Positions keep their units.
"""

import json
import math
import sys

try:
    import bpy
except ImportError:  # the mathematics can be imported without Blender
    bpy = None

bl_info = {
    "name": "Spatial Memory camera",
    "author": "ComfyUI-SpatialMemory",
    "version": (1, 0, 0),
    "blender": (3, 6, 0),
    "location": "File > Import / Export",
    "description": "Camera paths in and out of ComfyUI-SpatialMemory",
    "category": "Import-Export",
}
FORMAT, VERSION = "spatial-memory-cameras", 1
MAX_FRAMES = 4096


# ---------------------------------------------------------------------------------------------------- mathematics


def to_file(matrix):
    """Blender's camera-to-world (4 rows of 4) in the file's axes, of the world and of the camera."""
    (a, b, c) = (list(row) for row in matrix[:3])
    rows = [a, [-x for x in c], b]  # (x, y, z) becomes (x, -z, y)
    return [[row[0], -row[1], -row[2], row[3]] for row in rows] + [[0.0, 0.0, 0.0, 1.0]]


def from_file(matrix):
    """The inverse of ``to_file``."""
    a, b, c = ([row[0], -row[1], -row[2], row[3]] for row in matrix[:3])
    return [a, c, [-x for x in b], [0.0, 0.0, 0.0, 1.0]]


def unscaled(matrix):
    """The same pose without the scale that a parent may give a camera; a mirrored one is refused."""
    columns = [[row[i] for row in matrix[:3]] for i in range(3)]
    lengths = [math.sqrt(sum(x * x for x in column)) for column in columns]
    if min(lengths) < 1e-9 or max(lengths) - min(lengths) > 1e-3 * max(lengths):
        raise ValueError(f"the camera is scaled unevenly, by {lengths}: apply its parents' scale")
    a, b, c = ([x / length for x in column] for column, length in zip(columns, lengths))
    turn = [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    if sum(x * y for x, y in zip(turn, c)) < 0:
        raise ValueError("the camera is mirrored: apply its parents' scale")
    rows = [[x, y, z, row[3]] for x, y, z, row in zip(a, b, c, matrix[:3])]
    return rows + [[0.0, 0.0, 0.0, 1.0]]


def intrinsics(lens, sensor_width, sensor_height, fit, shift_x, shift_y, width, height, aspect_y):
    """K (9 numbers, row by row) of a perspective camera; ``aspect_y`` is a pixel's height over its width."""
    wide = width >= height * aspect_y
    horizontal = fit == "HORIZONTAL" or (fit == "AUTO" and wide)
    sensor = sensor_height if fit == "VERTICAL" else sensor_width
    side = width if horizontal else height * aspect_y  # in units of a pixel's width
    focal = lens / sensor * side
    cx = width / 2 - shift_x * side
    cy = height / 2 + shift_y * side / aspect_y
    return [focal, 0.0, cx, 0.0, focal / aspect_y, cy, 0.0, 0.0, 1.0]


def lens_of(K, width, height):
    """Lens in millimetres for a sensor 36 mm wide, and the shifts, of K; the sensor fits the width."""
    return 36.0 * K[0] / width, (width / 2 - K[2]) / width, (K[5] - height / 2) / width * K[0] / K[4]


def written(poses, lenses, width, height):
    """The text of a file, from Blender's matrices and K."""
    if not 0 < len(poses) <= MAX_FRAMES:
        raise ValueError(f"the scene has {len(poses)} frames, expected 1 to {MAX_FRAMES}")
    frames = []
    for pose, K in zip(poses, lenses):
        frames.append({"c2w": [x for row in to_file(unscaled(pose)) for x in row], "K": K})
    head = {"format": FORMAT, "version": VERSION, "height": height, "width": width}
    return json.dumps({**head, "frames": frames})


def read(text):
    """Blender's matrices, K of every frame, width and height, of a file's text."""
    found = json.loads(text)
    if not isinstance(found, dict) or found.get("format") != FORMAT or found.get("version") != VERSION:
        raise ValueError(f"this is no {FORMAT} file of version {VERSION}; convert it: spatial-memory camera convert")
    frames = found["frames"]
    if not 0 < len(frames) <= MAX_FRAMES:
        raise ValueError(f"the file has {len(frames)} frames, expected 1 to {MAX_FRAMES}")
    poses = [from_file([frame["c2w"][i : i + 4] for i in (0, 4, 8, 12)]) for frame in frames]
    return poses, [frame["K"] for frame in frames], found["width"], found["height"]


# -------------------------------------------------------------------------------------------------------- Blender


def export_camera(path):
    """Write the active camera, one pose for every frame of the scene."""
    scene = bpy.context.scene
    camera, render = scene.camera, scene.render
    if camera is None or camera.data.type != "PERSP":
        raise ValueError("the scene has no active perspective camera")
    width, height = (
        round(side * render.resolution_percentage / 100) for side in (render.resolution_x, render.resolution_y)
    )
    aspect_y = render.pixel_aspect_y / render.pixel_aspect_x
    before, poses, lenses = scene.frame_current, [], []
    for frame in range(scene.frame_start, scene.frame_end + 1):
        scene.frame_set(frame)
        poses.append([list(row) for row in camera.matrix_world])
        lens = camera.data
        sensor = lens.lens, lens.sensor_width, lens.sensor_height, lens.sensor_fit
        lenses.append(intrinsics(*sensor, lens.shift_x, lens.shift_y, width, height, aspect_y))
    scene.frame_set(before)
    with open(path, "w", encoding="utf-8") as file:
        file.write(written(poses, lenses, width, height))


def import_camera(path):
    """Make a camera with one key a frame, and the scene's active camera."""
    import mathutils

    with open(path, encoding="utf-8") as file:
        poses, lenses, width, height = read(file.read())
    scene = bpy.context.scene
    data = bpy.data.cameras.new("Spatial Memory")
    camera = bpy.data.objects.new("Spatial Memory", data)
    scene.collection.objects.link(camera)
    data.sensor_fit, data.sensor_width = "HORIZONTAL", 36.0
    camera.rotation_mode = "QUATERNION"
    zooms = any(K != lenses[0] for K in lenses)
    previous = None
    for i, (pose, K) in enumerate(zip(poses, lenses)):
        frame = scene.frame_start + i
        matrix = mathutils.Matrix(pose)
        turn = matrix.to_quaternion()
        if previous is not None:
            turn.make_compatible(previous)
        previous = turn
        camera.location, camera.rotation_quaternion = matrix.to_translation(), turn
        camera.keyframe_insert("location", frame=frame)
        camera.keyframe_insert("rotation_quaternion", frame=frame)
        data.lens, data.shift_x, data.shift_y = lens_of(K, width, height)
        if zooms:
            for name in ("lens", "shift_x", "shift_y"):
                data.keyframe_insert(name, frame=frame)
    render = scene.render
    render.resolution_x, render.resolution_y, render.resolution_percentage = width, height, 100
    render.pixel_aspect_x, render.pixel_aspect_y = (
        max(1.0, lenses[0][4] / lenses[0][0]),
        max(1.0, lenses[0][0] / lenses[0][4]),
    )
    scene.frame_end = max(scene.frame_end, scene.frame_start + len(poses) - 1)
    scene.camera = camera
    return camera


def register():
    """Add the two entries to the File menu."""
    for name, verb, act in (("export", "Export", export_camera), ("import", "Import", import_camera)):
        operator = _operator(name, verb, act)
        bpy.utils.register_class(operator)
        menu = bpy.types.TOPBAR_MT_file_export if name == "export" else bpy.types.TOPBAR_MT_file_import
        menu.append(_entry(operator))


def _operator(name, verb, act):
    def invoke(self, context, event):
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context):
        try:
            act(self.filepath)
        except (ValueError, KeyError, OSError) as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        return {"FINISHED"}

    fields = {
        "bl_idname": f"{name}_scene.spatial_memory_camera",
        "bl_label": f"{verb} Spatial Memory camera",
        "__annotations__": {"filepath": bpy.props.StringProperty(subtype="FILE_PATH", default="camera.json")},
        "invoke": invoke,
        "execute": execute,
    }
    return type(f"{name.upper()}_SCENE_OT_spatial_memory_camera", (bpy.types.Operator,), fields)


def _entry(operator):
    def draw(self, context):
        self.layout.operator(operator.bl_idname, text="Spatial Memory camera (.json)")

    return draw


def main(words):
    """``export FILE`` or ``import FILE`` behind Blender's own ``--``; without them the menu is extended."""
    if not words:
        register()
    elif len(words) == 2 and words[0] in ("export", "import"):
        (export_camera if words[0] == "export" else import_camera)(words[1])
        if words[0] == "import":
            bpy.ops.wm.save_mainfile()
    else:
        raise SystemExit("expected: -- export FILE, or -- import FILE")


if __name__ == "__main__" and bpy is not None:
    main(sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else [])
