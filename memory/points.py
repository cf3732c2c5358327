"""Point files in, besides PLY: PCD, XYZ, XYZN, XYZRGB and PTS.

PCD: "The PCD (Point Cloud Data) file format" in the documentation of the Point Cloud Library; its packed form is left
to open3d. XYZ and its kin: as open3d defines them ("File IO" in its documentation).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .libraries import import_open3d
from .tables import COLOUR, MAX_HEADER, NORMAL, POSITION, Columns, binary_rows, check_count, text_rows

TEXT_COLUMNS = {".xyz": POSITION, ".xyzn": POSITION + NORMAL, ".xyzrgb": POSITION + COLOUR}
PTS_COLUMNS = {
    3: POSITION,
    4: (*POSITION, "intensity"),
    6: POSITION + COLOUR,
    7: (*POSITION, "intensity", *COLOUR),
}
PCD_NAMES = {"normal_x": "nx", "normal_y": "ny", "normal_z": "nz"}
PCD_KINDS = {f"<{kind}{width}" for kind in "iuf" for width in (1, 2, 4, 8)} - {"<f1", "<f2"}


def read_pcd(path: Path) -> Columns:
    """The points of a PCD file, packed ones by open3d."""
    fields: dict[str, list[str]] = {}
    with open(path, "rb") as file:
        head = file.read(MAX_HEADER)
        start = 0
        for line in head.splitlines(keepends=True):
            start += len(line)
            words = line.decode("latin-1").partition("#")[0].split()
            if words:
                fields[words[0]] = words[1:]
            if "DATA" in fields:
                break
        row, count = _pcd_rows(fields)
        file.seek(start)
        match fields["DATA"]:
            case ["ascii"]:
                columns = text_rows(file, path, row, count)
            case ["binary"]:
                columns = binary_rows(file, path, row, count)
            case ["binary_compressed"]:
                check_count(count)
                return _unpacked_pcd(path, count)
            case words:
                raise ValueError(f"its data are {' '.join(words)!r}, expected ascii, binary or binary_compressed")
    columns = {PCD_NAMES.get(name, name): column for name, column in columns.items()}
    packed = next((columns[name] for name in ("rgb", "rgba") if name in columns), None)
    if packed is None:
        return columns
    bits = packed.astype(packed.dtype.newbyteorder("=")).view(np.uint32)  # 0x00RRGGBB, often called a float
    shades = {name: (bits >> shift & 255).astype(np.uint8) for name, shift in zip(COLOUR, (16, 8, 0))}
    return {**columns, **shades}


def read_text(path: Path) -> Columns:
    """The points of an XYZ, XYZN, XYZRGB or PTS file."""
    with open(path, "rb") as file:
        first = next((line for line in file if line.partition(b"#")[0].strip()), None)
        if first is None:
            raise ValueError("it holds no points")
        words = first.partition(b"#")[0].split()
        if path.suffix.lower() == ".pts":
            if len(words) != 1 or not words[0].isdigit() or len(words[0]) > 15:
                raise ValueError(
                    f"it begins with {first.strip()[:40]!r}, expected the number of points on a line alone"
                )
            count, place = int(words[0]), file.tell()
            width = len(file.readline().split())
            if count and width not in PTS_COLUMNS:
                raise ValueError(f"its rows have {width} numbers, expected {', '.join(map(str, PTS_COLUMNS))}")
            file.seek(place)
            return text_rows(file, path, _floats(PTS_COLUMNS.get(width, POSITION)), count)
        names = TEXT_COLUMNS[path.suffix.lower()]
        if len(words) != len(names):
            hint = "; with normals it is .xyzn, with colours .xyzrgb" if len(words) == 6 else ""
            raise ValueError(f"its rows have {len(words)} columns, expected {' '.join(names)}{hint}")
        file.seek(0)
        return text_rows(file, path, _floats(names), None)


def _pcd_rows(fields: dict[str, list[str]]) -> tuple[np.dtype, int]:
    names, kinds, widths, points = (fields.get(key, []) for key in ("FIELDS", "TYPE", "SIZE", "POINTS"))
    counts = fields.get("COUNT", ["1"] * len(names))
    types = [f"<{kind.lower()}{width}" for kind, width in zip(kinds, widths)]
    sound = PCD_KINDS.issuperset(types)
    whole = all(number.isdecimal() and len(number) < 16 for number in (*counts, *points))
    if "DATA" not in fields or not names or not len(names) == len(types) == len(counts) or not (sound and whole):
        raise ValueError("its header is no PCD header: expected FIELDS, SIZE, TYPE, COUNT, POINTS and DATA")
    if len(points) != 1 or not all(1 <= int(count) <= 4096 for count in counts):
        raise ValueError("its header says not how many points there are, or how many numbers one has")
    row = []
    for place, (name, kind, count) in enumerate(zip(names, types, counts)):
        for part in range(int(count)):  # fields of several numbers, and fillers that share the name _
            row.append((name if int(count) == 1 and name != "_" else f"{name} {place} {part}", kind))
    return np.dtype(row), int(points[0])


def _unpacked_pcd(path: Path, count: int) -> Columns:
    open3d = import_open3d()
    with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
        cloud = open3d.io.read_point_cloud(str(path), format="pcd")
    if len(cloud.points) != count:
        raise ValueError(f"it says {count} points, {len(cloud.points)} could be read: it is damaged")
    found = [(POSITION, cloud.points), (NORMAL, cloud.normals), (COLOUR, cloud.colors)]
    return {name: column for names, rows in found for name, column in zip(names, np.asarray(rows).T) if len(rows)}


def _floats(names: Sequence[str]) -> np.dtype:
    return np.dtype([(name, "f8") for name in names])
