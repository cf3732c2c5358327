"""How the tools that own each camera format would project a point: plain arithmetic, none of the pack's code.

A point is given in the pack's world. Each function reads a file as its owner documents it, moves the point into the
file's own world, and says on which pixel it lands in every frame of a 48 x 64 image.
"""

import base64
import json
import math
import re
import struct
from pathlib import Path

import numpy as np

HEIGHT, WIDTH = 48, 64
POINT = (0.5, -0.25, 4.0)
PIXELS = [
    (37.0, 21.5),
    (2.0, 24.0),
    (22.0, 29.0),
    (32 - 240 / 13, 24 + 320 / 13),
]  # of POINT in the golden cameras, by hand
FOV = 2 * math.degrees(math.atan(0.6))  # focal length 40
DEFAULT = 24 / math.tan(math.radians(25))  # the focal length of 50 degrees, where a format holds none


def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


def product(A, B):
    return [[dot(row, column) for column in zip(*B)] for row in A]


def seen_by_c2w(R, t, p):
    """R^T (p - t)."""
    d = [x - y for x, y in zip(p, t)]
    return [dot(column, d) for column in zip(*R)]


def seen_by_w2c(M, p):
    """M p, M of three or four rows."""
    return [dot(row, (*p, 1.0)) for row in M[:3]]


def opencv(x, fx, fy, cx, cy):
    return (fx * x[0] / x[2] + cx, fy * x[1] / x[2] + cy)


def opengl(x, fx, fy, cx, cy):
    return (cx + fx * x[0] / -x[2], cy - fy * x[1] / -x[2])


def rotation_of(w, x, y, z):
    """COLMAP's qvec2rotmat."""
    return [
        [1 - 2 * y * y - 2 * z * z, 2 * x * y - 2 * w * z, 2 * z * x + 2 * w * y],
        [2 * x * y + 2 * w * z, 1 - 2 * x * x - 2 * z * z, 2 * y * z - 2 * w * x],
        [2 * z * x - 2 * w * y, 2 * y * z + 2 * w * x, 1 - 2 * x * x - 2 * y * y],
    ]


def focal(fov_degrees):
    return 0.5 * HEIGHT / math.tan(math.radians(fov_degrees) / 2)


def rows(path):
    lines = [line.split() for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    return [[float(x) for x in line] for line in lines]


def rows_of_4(flat):
    return [flat[i : i + 4] for i in range(0, len(flat), 4)]


def json_(path, p):
    found = json.loads(path.read_text())
    out = []
    for frame in found["frames"]:
        M, K = rows_of_4(frame["c2w"]), frame["K"]
        x = seen_by_c2w([row[:3] for row in M[:3]], [row[3] for row in M[:3]], p)
        out.append(opencv(x, K[0], K[4], K[2], K[5]))
    return out


def realestate10k(path, p):
    table = [[float(x) for x in line.split()] for line in path.read_text().splitlines()[1:]]
    return [
        opencv(seen_by_w2c(rows_of_4(r[7:]), p), r[1] * WIDTH, r[2] * HEIGHT, r[3] * WIDTH, r[4] * HEIGHT)
        for r in table
    ]


def spatia(path, p):
    fx, fy, cx, cy = map(float, path.with_name("intrinsics.txt").read_text().strip("[] \n").split())
    poses = [json.loads(line) for line in path.read_text().splitlines()]
    return [opencv(seen_by_w2c(M, p), fx * WIDTH, fy * HEIGHT, cx * WIDTH, cy * HEIGHT) for M in poses]


def wan_focal(row):
    """process_pose_params of both nodes: a 1280 x 720 image is scaled to cover the frame."""
    fx, fy, cx, cy = row[1:5]
    if 1280 / 720 > WIDTH / HEIGHT:
        fx = HEIGHT * 1280 / 720 * fx / WIDTH
    else:
        fy = WIDTH / (1280 / 720) * fy / HEIGHT
    return fx * WIDTH, fy * HEIGHT, cx * WIDTH, cy * HEIGHT


def wanvideo(path, p):
    return [opencv(seen_by_w2c(rows_of_4(row[7:]), p), *wan_focal(row)) for row in json.loads(path.read_text())]


def wan(path, p):
    out = []
    for row in json.loads(path.read_text()):
        M = rows_of_4(row[7:])
        out.append(opencv(seen_by_c2w([r[:3] for r in M[:3]], [r[3] for r in M[:3]], p), *wan_focal(row)))
    return out


def colmap(folder, p):
    lenses, out = {}, []
    for line in (folder / "cameras.txt").read_text().splitlines():
        if not line.startswith("#"):
            number, model, *values = line.split()
            assert model == "PINHOLE" and values[:2] == [str(WIDTH), str(HEIGHT)]
            lenses[number] = [float(x) for x in values[2:]]
    lines = [line for line in (folder / "images.txt").read_text().splitlines() if not line.startswith("#")]
    for line in sorted(lines[::2], key=lambda line: line.split()[9]):
        _, *numbers, camera, _name = line.split()
        qw, qx, qy, qz, *t = map(float, numbers)
        x = [dot(row, p) + shift for row, shift in zip(rotation_of(qw, qx, qy, qz), t)]
        out.append(opencv(x, *lenses[camera]))
    return out


def colmap_binary(folder, p):
    data, at, lenses, out = (folder / "cameras.bin").read_bytes(), 8, {}, []
    for _ in range(struct.unpack("<Q", data[:8])[0]):
        number, model, width, height, *params = struct.unpack_from("<iiQQ4d", data, at)
        assert (model, width, height) == (1, WIDTH, HEIGHT)
        lenses[number], at = params, at + 56
    data, at = (folder / "images.bin").read_bytes(), 8
    for _ in range(struct.unpack("<Q", data[:8])[0]):
        _, qw, qx, qy, qz, *t, camera = struct.unpack_from("<i7di", data, at)
        end = data.index(b"\0", at + 64)
        (points,) = struct.unpack_from("<Q", data, end + 1)
        x = [dot(row, p) + shift for row, shift in zip(rotation_of(qw, qx, qy, qz), t)]
        out.append((data[at + 64 : end], opencv(x, *lenses[camera])))
        at = end + 9 + 24 * points
    assert at == len(data)
    return [pixel for _, pixel in sorted(out)]


def transforms(path, p):
    found = json.loads(path.read_text())
    assert (found["w"], found["h"]) == (WIDTH, HEIGHT)
    out = []
    for frame in found["frames"]:
        lens, M = {**found, **frame}, frame["transform_matrix"]
        x = seen_by_c2w([row[:3] for row in M[:3]], [row[3] for row in M[:3]], p)
        out.append(opengl(x, lens["fl_x"], lens["fl_y"], lens["cx"], lens["cy"]))
    return out


def nerfstudio(path, p):
    found = json.loads(path.read_text())
    assert (found["render_width"], found["render_height"]) == (WIDTH, HEIGHT)
    out = []
    for one in found["camera_path"]:
        M = rows_of_4(one["camera_to_world"])
        f = focal(one["fov"])
        x = seen_by_c2w([row[:3] for row in M[:3]], [row[3] for row in M[:3]], p)
        out.append(opengl(x, f, f, WIDTH / 2, HEIGHT / 2))
    return out


def ngp(path, p):
    inside = [0.33 * p[i] + 0.5 for i in (1, 2, 0)]
    out = []
    for key in json.loads(path.read_text())["path"]:
        x, y, z, w = key["R"]
        f = focal(key["fov"])
        out.append(opencv(seen_by_c2w(rotation_of(w, x, y, z), key["T"], inside), f, f, WIDTH / 2, HEIGHT / 2))
    return out


def inria(path, p):
    out = []
    for one in json.loads(path.read_text()):
        assert (one["width"], one["height"]) == (WIDTH, HEIGHT)
        x = seen_by_c2w(one["rotation"], one["position"], p)
        out.append(opencv(x, one["fx"], one["fy"], WIDTH / 2, HEIGHT / 2))
    return out


def tum(path, p):
    out = []
    for _, tx, ty, tz, qx, qy, qz, qw in rows(path):
        out.append(opencv(seen_by_c2w(rotation_of(qw, qx, qy, qz), (tx, ty, tz), p), *no_lens()))
    return out


def kitti(path, p):
    poses = [rows_of_4(row) for row in rows(path)]
    return [opencv(seen_by_c2w([r[:3] for r in M], [r[3] for r in M], p), *no_lens()) for M in poses]


def no_lens():
    return DEFAULT, DEFAULT, WIDTH / 2, HEIGHT / 2


def lyra(path, p):
    found = np.load(path, allow_pickle=False)
    assert (int(found["image_width"]), int(found["image_height"])) == (WIDTH, HEIGHT)
    return [
        opencv(seen_by_w2c(M.tolist(), p), K[0, 0], K[1, 1], K[0, 2], K[1, 2])
        for M, K in zip(found["w2c"], found["intrinsics"])
    ]


def gltf(path, p):
    data, chunk = path.read_bytes(), b""
    if data[:4] == b"glTF":
        (size,) = struct.unpack_from("<I", data, 12)
        text, chunk = data[20 : 20 + size], data[28 + size :]
    else:
        text = data
    tree = json.loads(text)
    if "uri" in tree["buffers"][0]:
        chunk = base64.b64decode(tree["buffers"][0]["uri"].partition(",")[2])

    def numbers(index):
        found = tree["accessors"][index]
        view = tree["bufferViews"][found["bufferView"]]
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[found["type"]]
        start = view.get("byteOffset", 0) + found.get("byteOffset", 0)
        flat = struct.unpack_from(f"<{width * found['count']}f", chunk, start)
        return [flat[i : i + width] for i in range(0, len(flat), width)]

    animation = tree["animations"][0]
    values = {
        c["target"]["path"]: numbers(animation["samplers"][c["sampler"]]["output"]) for c in animation["channels"]
    }
    f = 0.5 * HEIGHT / math.tan(tree["cameras"][0]["perspective"]["yfov"] / 2)
    out = []
    for t, (x, y, z, w) in zip(values["translation"], values["rotation"]):
        seen = seen_by_c2w(rotation_of(w, x, y, z), t, (p[0], -p[1], -p[2]))
        out.append(opengl(seen, f, f, WIDTH / 2, HEIGHT / 2))
    return out


def chan(path, p):
    out = []
    for _, tx, ty, tz, rx, ry, rz, fov in rows(path):
        (sx, cx), (sy, cy), (sz, cz) = ((math.sin(math.radians(a)), math.cos(math.radians(a))) for a in (rx, ry, rz))
        X = [[1, 0, 0], [0, cx, -sx], [0, sx, cx]]
        Y = [[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]
        Z = [[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]]
        seen = seen_by_c2w(product(Y, product(X, Z)), (tx, ty, tz), (p[0], -p[1], -p[2]))
        out.append(opengl(seen, focal(fov), focal(fov), WIDTH / 2, HEIGHT / 2))
    return out


def recammaster(path, p):
    """Unreal: the rows of the text are forward, right, up and the position in centimetres."""
    unreal = [100 * p[2], 100 * p[0], -100 * p[1]]
    found = json.loads(path.read_text())
    out = []
    for i in sorted(int(name[5:]) for name in found):
        texts = re.findall(r"\[(.*?)\]", found[f"frame{i}"]["cam01"])
        forward, right, up, t = ([float(x) for x in text.split()][:3] for text in texts)
        d = [x - y for x, y in zip(unreal, t)]
        out.append(opencv((dot(right, d), -dot(up, d), dot(forward, d)), *no_lens()))
    return out


def matrices(path, p):
    return [opencv(seen_by_w2c(M, p), *no_lens()) for M in json.loads(path.read_text())]


NATIVE = {
    "json": json_,
    "realestate10k": realestate10k,
    "spatia": spatia,
    "wanvideo": wanvideo,
    "wan": wan,
    "colmap": colmap,
    "colmap_binary": colmap_binary,
    "transforms": transforms,
    "nerfstudio": nerfstudio,
    "ngp": ngp,
    "inria": inria,
    "tum": tum,
    "kitti": kitti,
    "lyra": lyra,
    "gltf": gltf,
    "glb": gltf,
    "chan": chan,
    "recammaster": recammaster,
    "matrices": matrices,
}
NAMES = {
    "json": "cameras.json",
    "realestate10k": "realestate10k.txt",
    "spatia": "spatia/w2c.txt",
    "wanvideo": "wanvideo.json",
    "wan": "wan.json",
    "colmap": "colmap",
    "colmap_binary": "colmap_binary",
    "transforms": "transforms.json",
    "nerfstudio": "camera_path.json",
    "ngp": "base_cam.json",
    "inria": "inria_cameras.json",
    "tum": "tum.txt",
    "kitti": "kitti.txt",
    "lyra": "trajectory.npz",
    "gltf": "camera.gltf",
    "glb": "camera.glb",
    "chan": "camera.chan",
    "recammaster": "camera_extrinsics.json",
    "matrices": "matrices.json",
}
NO_LENS = ("tum", "kitti", "recammaster", "matrices")  # formats without intrinsics


def expected(kind):
    """Where POINT lands: the golden pixels, at the assumed focal length where the format has none."""
    if kind not in NO_LENS:
        return PIXELS
    ratio = DEFAULT / 40
    return [((u - 32) * ratio + 32, (v - 24) * ratio + 24) for u, v in PIXELS]


def fixture(kind, folder: Path, scratch: Path) -> Path:
    """The golden file; the two binary formats that no commit may hold are made here from the text ones."""
    if kind == "colmap_binary":
        made = scratch / "golden_colmap"
        made.mkdir(exist_ok=True)
        lines = (folder / "colmap" / "images.txt").read_text().splitlines()
        lines = [line.split() for line in lines if not line.startswith("#")][::2]
        cameras = struct.pack("<Q", 1) + struct.pack("<iiQQ4d", 1, 1, WIDTH, HEIGHT, 40, 40, 32, 24)
        images = struct.pack("<Q", len(lines))
        for i, line in enumerate(lines):
            numbers = [float(x) for x in line[1:8]]
            points = struct.pack("<Q2dq", 1, 1.5, 2.5, -1) if i == 1 else struct.pack("<Q", 0)
            images += struct.pack("<i7di", int(line[0]), *numbers, 1) + line[9].encode() + b"\0" + points
        (made / "cameras.bin").write_bytes(cameras)
        (made / "images.bin").write_bytes(images)
        return made
    if kind == "lyra":
        poses = np.array(json.loads((folder / "matrices.json").read_text()), dtype=np.float32)
        K = np.tile(np.array([[40, 0, 32], [0, 40, 24], [0, 0, 1]], dtype=np.float32), (len(poses), 1, 1))
        np.savez(scratch / "golden.npz", w2c=poses, intrinsics=K, image_height=HEIGHT, image_width=WIDTH)
        return scratch / "golden.npz"
    return folder / NAMES[kind]
