"""A memory as a picture: how large it is, where its points lie and how old they are, and what was done to them."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..memory.cloud import SpatialMemory
from ..memory.figures import inserted_frames, memory_figures
from .ground import ground, lowest_first, on_ground, track_of
from .pen import FAINT, GRID, PANEL, START, TEXT, Box, Colour, Pen

WIDTH, MARGIN, GAP = 1600, 28, 14
BLUE, ORANGE, VIOLET, RED, YELLOW = (72, 187, 255), (255, 166, 77), (167, 139, 250), (255, 104, 104), (252, 204, 70)
AGES = ((64, 124, 255), (48, 190, 220), (120, 220, 120), (252, 204, 70), (255, 116, 66))  # eldest to newest chunk
GIVEN, BROUGHT = (222, 227, 237), (236, 110, 173)
WRITES = (("added", START), ("merged", BLUE), ("overlooked", ORANGE), ("refused", RED))
MAX_BARS, MAX_ROWS = 14, 7

Stack = tuple[str, list[tuple[Colour, float]]]  # a label below, and (colour, value) from the bottom up


def draw_memory(memory: SpatialMemory, colours: Tensor) -> Tensor:
    """Draw a memory: (height, 1600, 3) uint8.

    Args:
        colours: (M, 3) uint8 of the drawn points, in the order of ``memory.points``.
    """
    figures = memory_figures(memory)
    rows = min(MAX_ROWS, max(1, len(figures["edits"]), len(figures["ledger"])))
    heights = [84, 92, 500, 250, 92 + 25 * rows]
    pen = Pen.blank(WIDTH, sum(heights) + GAP * (len(heights) - 1) + 2 * MARGIN)
    tops = [MARGIN + sum(heights[:i]) + GAP * i for i in range(len(heights))]
    _heading(pen, figures, tops[0])
    _cards(pen, figures, tops[1], heights[1])
    left, right = _columns(2, tops[2], heights[2])
    ages, legend = _ages(memory)
    _panel(pen, left, "the memory from above", "each point in its own colour")
    _panel(pen, right, "who taught it", "each point in the colour of its chunk")
    for box, tints in ((left, colours.numpy()), (right, _lit(ages, memory))):
        _map(pen, _inside(box, 30), memory, tints)
    _legend(pen, right, legend)
    _bars(pen, figures, tops[3], heights[3])
    _lists(pen, figures, tops[4], heights[4])
    return pen.picture()


def _heading(pen: Pen, figures: dict, top: int) -> None:
    unit = "m" if figures["metric"] else "world units"
    codec = f" of the codec {figures['codec']}, {figures['channels']} channels" if figures["codec"] else ""
    made = sum(row["chunk"] >= 0 for row in figures["chunks"])
    pen.text((MARGIN, top - 4), "Memory", 34, TEXT)
    views = f"{figures['views']} view{'s' * (figures['views'] != 1)}, {made} chunk{'s' * (made != 1)}"
    facts = f"{figures['kind']}{codec}  ·  {views}  ·  scene unit "
    pen.text((MARGIN, top + 44), facts + f"{figures['scene_unit']:.3g} {unit}", 17, FAINT)


def _cards(pen: Pen, figures: dict, top: int, height: int) -> None:
    stored = figures["stored_points"]
    each = figures["bytes"] / stored if stored else 0.0
    cards = [
        ("points drawn", f"{figures['drawn_points']:,}", BLUE, f"{stored:,} stored"),
        ("bytes", _size(figures["bytes"]), VIOLET, f"{each:.0f} a point"),
        ("indices, can be dropped", _size(figures["index_bytes"]), VIOLET, ""),
        ("contradicted", f"{figures['contradicted_points']:,}", YELLOW, f"{figures['retired_points']:,} retired"),
        ("edits", str(len(figures["edits"])), BROUGHT, ""),
    ]
    for box, (title, value, colour, note) in zip(_columns(len(cards), top, height), cards):
        pen.box(box, PANEL, 10)
        pen.text((box[0] + 18, top + 13), title, 15, FAINT)
        pen.text((box[0] + 18, top + 40), value, 32, colour)
        pen.text((box[2] - 18, top + 52), note, 15, FAINT, "ra")


def _map(pen: Pen, box: Box, memory: SpatialMemory, tints: np.ndarray) -> None:
    """The points in colours (M, 3), and the cameras that saw them."""
    points = memory.points
    if not len(points):
        pen.text(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), "no points", 15, FAINT, "mm")
        return
    order = lowest_first(points)
    own = [o.camera for o in memory.observations if o.frame >= 0 or o.chunk < 0]
    places = on_ground(points[order])
    place = ground(pen, box, places, track_of(own))
    place.lines()
    wide = float(memory.spacing.median()) * place.scale
    pen.dots(box, place.at(places), tints[order.numpy()], int(min(max(0.75 * wide, 1), 9)))
    if own:
        place.way(own, place.units(0.05), START)
    place.bar(0.12, memory.metric)


def _ages(memory: SpatialMemory) -> tuple[np.ndarray, list[tuple[str, Colour]]]:
    """The colour (M, 3) uint8 of each drawn point by the chunk that taught it, and the legend."""
    brought, made = inserted_frames(memory), sorted({o.chunk for o in memory.observations if o.chunk >= 0})
    shades = {chunk: _shade(i / max(1, len(made) - 1)) for i, chunk in enumerate(made)}
    parts = [np.zeros((0, 3), np.uint8)]
    for o in memory.drawn:
        colour = BROUGHT if o.frame in brought else GIVEN if o.chunk < 0 else shades[o.chunk]
        parts.append(np.tile(np.array(colour, np.uint8), (len(o), 1)))
    named = made if len(made) <= 8 else [made[round(x)] for x in np.linspace(0, len(made) - 1, 8)]
    legend = [("given", GIVEN), *((f"chunk {chunk}", shades[chunk]) for chunk in named)]
    return np.concatenate(parts), legend + ([("inserted", BROUGHT)] if brought else [])


def _lit(tints: np.ndarray, memory: SpatialMemory) -> np.ndarray:
    """Colours (M, 3) darker for what lies lower, so that shapes can be told apart."""
    place = torch.empty(len(tints))
    place[memory.points[:, 1].argsort(descending=True, stable=True)] = torch.linspace(0.55, 1.0, len(tints))
    return (tints * place[:, None].numpy()).astype(np.uint8)


def _shade(part: float) -> Colour:
    place = min(max(part, 0.0), 1.0) * (len(AGES) - 1)
    low = min(int(place), len(AGES) - 2)
    red, green, blue = (round(a + (b - a) * (place - low)) for a, b in zip(AGES[low], AGES[low + 1]))
    return red, green, blue


def _bars(pen: Pen, figures: dict, top: int, height: int) -> None:
    rows = [(_name(row["chunk"]), row) for row in figures["chunks"]]
    boxes = _columns(3, top, height)
    _panel(pen, boxes[0], "points", "stored, by chunk")
    parts = (("sound", BLUE), ("contradicted", YELLOW), ("retired", RED))
    points: list[Stack] = []
    for name, row in rows:
        sound = row["points"] - row["contradicted"] - row["retired"]
        points.append((name, [(BLUE, sound), (YELLOW, row["contradicted"]), (RED, row["retired"])]))
    _stacks(pen, _inside(boxes[0], 46), points, _count)
    _legend(pen, boxes[0], parts)
    _panel(pen, boxes[1], "bytes", "stored, by chunk")
    _stacks(pen, _inside(boxes[1], 26), [(name, [(VIOLET, row["bytes"])]) for name, row in rows], _size)
    _panel(pen, boxes[2], "writes", "what became of the cells that were lifted")
    written: list[Stack] = []
    for row in figures["ledger"]:
        written.append((_name(row["chunk"]), [(colour, row.get(key, 0)) for key, colour in WRITES]))
    _stacks(pen, _inside(boxes[2], 46), written, _count)
    _legend(pen, boxes[2], WRITES)


def _stacks(pen: Pen, box: Box, stacks: list[Stack], form) -> None:
    """Stacks side by side, the sum above and the label below each; many are drawn as sums of neighbours."""
    size = max(1, math.ceil(len(stacks) / MAX_BARS))
    groups = [stacks[i : i + size] for i in range(0, len(stacks), size)]
    left, top, right, bottom = box
    sums = [sum(value for _, parts in group for _, value in parts) for group in groups]
    pitch, most = (right - left) / max(1, len(groups)), max([*sums, 1e-9])
    width = min(46.0, 0.62 * pitch)
    pen.line([(left, bottom), (right, bottom)], GRID, 1)
    for i, (group, total) in enumerate(zip(groups, sums)):
        centre, y = left + (i + 0.5) * pitch, bottom
        for layer, (colour, _) in enumerate(group[0][1]):
            height = (bottom - top) * sum(parts[layer][1] for _, parts in group) / most
            pen.box((centre - width / 2, y - height, centre + width / 2, y), colour)
            y -= height
        label = group[0][0] if len(group) == 1 else f"{group[0][0]}-{group[-1][0]}"
        pen.text((centre, y - 5), form(total), 13, TEXT, "mb")
        pen.text((centre, bottom + 7), label, 13, FAINT, "ma")


def _lists(pen: Pen, figures: dict, top: int, height: int) -> None:
    left, right = _columns(2, top, height)
    _panel(pen, left, "edits", "oldest first; the last one is undone first")
    columns = (("", 0), ("edit", 26), ("points", 190), ("where", 210), ("after chunk", 700))
    rows = [
        [str(i + 1), row["edit"], f"{row['points']:,}", row["what"], _name(row["after_chunk"])]
        for i, row in enumerate(figures["edits"])
    ]
    _table(pen, left, columns, ("points", "after chunk"), rows[-MAX_ROWS:], "nothing was edited")
    _panel(pen, right, "ledger", "the last writes")
    names = ("lifted", "added", "merged", "replaced", "doubted", "retired", "evicted", "points")
    titles = [{"doubted": "contradicted"}.get(name, name) for name in names]
    places = (("chunk", 0), *((title, 100 + 90 * i) for i, title in enumerate(titles)))
    rows = [
        [_name(row["chunk"]), *(f"{row[name]:,}" if name in row else "" for name in names)] for row in figures["ledger"]
    ]
    _table(pen, right, places, titles, rows[-MAX_ROWS:], "nothing was written yet")


def _table(
    pen: Pen, box: Box, columns: Sequence[tuple[str, int]], right: Sequence[str], rows: list[list[str]], none: str
) -> None:
    """Rows of text below faint headings; the columns named in ``right`` end at their place."""
    x, y = box[0] + 18, box[1] + 50
    if not rows:
        pen.text((x, y), none, 15, FAINT)
        return
    for i, (name, place) in enumerate(columns):
        anchor = "ra" if name in right else "la"
        pen.text((x + place, y), name, 13, FAINT, anchor)
        for j, row in enumerate(rows):
            pen.text((x + place, y + 24 + 25 * j), row[i], 15, TEXT, anchor)


def _legend(pen: Pen, box: Box, entries: Sequence[tuple[str, Colour]]) -> None:
    x, y = box[0] + 16, box[3] - 21
    for name, colour in entries:
        pen.box((x, y, x + 9, y + 9), colour, 2)
        pen.text((x + 14, y + 4), name, 12, FAINT, "lm")
        x += 28 + pen.width_of(name, 12)


def _panel(pen: Pen, box: Box, title: str, note: str) -> None:
    pen.box(box, PANEL, 10)
    pen.text((box[0] + 16, box[1] + 12), title, 17, TEXT)
    pen.text((box[2] - 16, box[1] + 14), note, 14, FAINT, "ra")
    pen.line([(box[0] + 16, box[1] + 40), (box[2] - 16, box[1] + 40)], GRID, 1)


def _columns(count: int, top: int, height: int) -> list[Box]:
    width = (WIDTH - 2 * MARGIN - (count - 1) * GAP) / count
    lefts = [MARGIN + i * (width + GAP) for i in range(count)]
    return [(left, top, left + width, top + height) for left in lefts]


def _inside(box: Box, below: float = 0) -> Box:
    return box[0] + 16, box[1] + (66 if below in (26, 46) else 52), box[2] - 16, box[3] - 14 - below


def _name(chunk: int) -> str:
    return "given" if chunk < 0 else str(chunk)


def _count(value: float) -> str:
    return f"{value:,.0f}" if value < 1e5 else f"{value / 1e3:,.0f}k" if value < 1e7 else f"{value / 1e6:,.1f}M"


def _size(count: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} B"
