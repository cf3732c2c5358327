"""The report as a picture: start and return, their difference, the film, the memory from above, and the curves."""

from torch import Tensor

from ..memory.path import CameraPath
from .pen import FAINT, GRID, PANEL, TEXT, Box, Pen
from .report_plots import bars, curves, from_above
from .state import RolloutState

WIDTH, MARGIN, GAP = 1600, 28, 14
MEMORY, BASELINE, VIOLET = (72, 187, 255), (255, 166, 77), (167, 139, 250)
GOOD, POOR = (94, 226, 142), (255, 104, 104)
STAGES = {
    "retrieve": (167, 139, 250),
    "warp": (94, 226, 142),
    "denoise": (72, 187, 255),
    "decode": (252, 204, 70),
    "geometry": (255, 116, 66),
    "update": (236, 110, 173),
}
AMPLIFIED = 4  # times the difference
FILM = 9  # frames in a strip


def draw_report(
    report: dict,
    state: RolloutState,
    frames: Tensor,  # (T, 3, H, W) in [0, 1]
    path: CameraPath,
    baseline: tuple[RolloutState, Tensor] | None = None,
) -> Tensor:
    """Draw what ``closed_loop_report`` found: (height, 1600, 3) uint8."""
    ratio = state.height / state.width
    tiles = _tiles(report, state, frames, baseline)
    tile = min(480, (WIDTH - 2 * MARGIN - (len(tiles) - 1) * GAP) // len(tiles))
    strip = (WIDTH - 2 * MARGIN - 70 - (FILM - 1) * 6) // FILM
    films = [("memory", frames, MEMORY)] + ([("baseline", baseline[1], BASELINE)] if baseline else [])
    heights = [84, 92, round(tile * ratio) + 40, len(films) * (round(strip * ratio) + 6) + 34, 420, 270]
    pen = Pen.blank(WIDTH, sum(heights) + GAP * (len(heights) - 1) + 2 * MARGIN)
    tops = [MARGIN + sum(heights[:i]) + GAP * i for i in range(len(heights))]

    _heading(pen, report, path, tops[0])
    _cards(pen, report, tops[1], heights[1])
    for i, (title, note, image) in enumerate(tiles):
        left = MARGIN + i * (tile + GAP)
        pen.text((left, tops[2]), title, 17, TEXT)
        pen.text((left + tile, tops[2] + 2), note, 14, FAINT, "ra")
        pen.image(image, (left, tops[2] + 28, left + tile, tops[2] + 28 + round(tile * ratio)))
    _strips(pen, films, tops[3], strip, round(strip * ratio))
    middle = MARGIN + 620
    box = (MARGIN, tops[4], middle - GAP, tops[4] + heights[4])
    _panel(pen, box, "the memory from above", f"{report['per_chunk'][-1]['points']:,} points")
    seen = {0: state.image, **{frame: frames[frame] for frame in state.code_frames if 0 < frame < len(frames)}}
    from_above(pen, _inside(box), state.memory, seen, state.cameras, report["return_frame"])
    box = (middle, tops[4], WIDTH - MARGIN, tops[4] + heights[4])
    _curves(pen, box, report)
    _bars(pen, report, tops[5], heights[5])
    return pen.picture()


def _heading(pen: Pen, report: dict, path: CameraPath, top: int) -> None:
    returns = report["return_frame"]
    verdict = "the path never returns" if returns is None else f"returns at frame {returns}"
    pen.text((MARGIN, top - 4), "Closed loop", 34, TEXT)
    pen.text(
        (MARGIN, top + 44),
        f"{report['frames']} frames in {report['chunks']} chunks  ·  {report['height']} x {report['width']}  ·  "
        f"path {path.name}, {verdict}  ·  {report['memory']} memory, {report['world']} world  ·  "
        f"{report['sampler']} {report['steps']} steps, guidance {report['guidance']:g}, seed {report['seed']}",
        17,
        FAINT,
    )
    for i, (name, colour) in enumerate((("baseline: the same without memory", BASELINE), ("with memory", MEMORY))):
        if name != "with memory" and "baseline_psnr_return" not in report:
            continue
        y = top + 8 + 22 * (1 - i)
        pen.dot((WIDTH - MARGIN - 8, y + 8), colour, 5)
        pen.text((WIDTH - MARGIN - 22, y), name, 15, TEXT, "ra")


def _cards(pen: Pen, report: dict, top: int, height: int) -> None:
    """The headline numbers, each with its baseline and the gain."""
    names = (
        ("psnr_return", "PSNR at return", "{:.2f} dB", "{:+.2f} dB"),
        ("ssim_return", "SSIM at return", "{:.3f}", "{:+.3f}"),
        ("psnr_revisit", f"PSNR revisited, {report['revisit_pairs']} pairs", "{:.2f} dB", "{:+.2f} dB"),
        ("ssim_revisit", "SSIM revisited", "{:.3f}", "{:+.3f}"),
    )
    width = (WIDTH - 2 * MARGIN - (len(names) - 1) * GAP) / len(names)
    for i, (name, title, form, gained) in enumerate(names):
        left = MARGIN + i * (width + GAP)
        pen.box((left, top, left + width, top + height), PANEL, 10)
        pen.text((left + 18, top + 13), title, 15, FAINT)
        value, twin, gain = report[name], report.get(f"baseline_{name}"), report.get(f"gain_{name}")
        pen.text((left + 18, top + 40), "none" if value is None else form.format(value), 32, MEMORY)
        if twin is not None:
            pen.text((left + width - 18, top + 38), form.format(twin), 19, BASELINE, "ra")
        if gain is not None:
            pen.text((left + width - 18, top + 62), gained.format(gain), 16, GOOD if gain > 0 else POOR, "ra")


def _tiles(
    report: dict, state: RolloutState, frames: Tensor, baseline: tuple[RolloutState, Tensor] | None
) -> list[tuple[str, str, Tensor]]:
    """Title, note and picture (3, H, W) of the row that compares start and return."""
    back = report["return_frame"]
    back, word = (len(frames) - 1, "last frame") if back is None else (back, "return")
    start, tiles = state.image, [("start frame", "as given", state.image)]
    films = [("", frames, "")] + ([("baseline ", baseline[1], "baseline_")] if baseline else [])
    for title, film, prefix in films:
        score = report["curves"][f"{prefix}psnr_start"][back]
        tiles.append((f"{title}{word}", f"frame {back}, {score:.2f} dB", film[back]))
        tiles.append((f"{title}difference", f"x {AMPLIFIED}", AMPLIFIED * (film[back] - start).abs()))
    return tiles


def _strips(pen: Pen, films: list, top: int, width: int, height: int) -> None:
    count = len(films[0][1])
    chosen = [round(i * (count - 1) / (FILM - 1)) for i in range(FILM)]
    for i, frame in enumerate(chosen):
        left = MARGIN + 70 + i * (width + 6)
        pen.text((left, top + 4), f"frame {frame}", 14, FAINT)
        for row, (_, frames, _) in enumerate(films):
            y = top + 28 + row * (height + 6)
            pen.image(frames[frame], (left, y, left + width, y + height))
    for row, (name, _, colour) in enumerate(films):
        y = top + 28 + row * (height + 6)
        pen.box((MARGIN, y, MARGIN + 4, y + height), colour)
        pen.text((MARGIN + 11, y + height / 2), name, 13, TEXT, "lm")


def _curves(pen: Pen, box: Box, report: dict) -> None:
    left, top, right, bottom = box
    half = (bottom - top - GAP) / 2
    marks = [row["frames"][0] for row in report["per_chunk"] if row["frames"]]
    for i, (name, title, note) in enumerate(
        (
            ("psnr_start", "each frame against the start frame", "low while the camera is away"),
            ("psnr_revisit", "each frame against the first one with its camera", "high: the place is the same again"),
        )
    ):
        y = top + i * (half + GAP)
        _panel(pen, (left, y, right, y + half), title, note)
        found = report["curves"]
        series = [("baseline", BASELINE, found[f"baseline_{name}"])] if f"baseline_{name}" in found else []
        series.append(("memory", MEMORY, found[name]))
        curves(pen, (left + 62, y + 62, right - 24, y + half - 32), series, "dB", marks)


def _bars(pen: Pen, report: dict, top: int, height: int) -> None:
    rows = report["per_chunk"]
    width = (WIDTH - 2 * MARGIN - 3 * GAP) / 4
    boxes = [(MARGIN + i * (width + GAP), top, MARGIN + i * (width + GAP) + width, top + height) for i in range(4)]
    _panel(pen, boxes[0], "coverage", "of each chunk by memory")
    shown = [[(MEMORY, row["coverage"] or 0.0)] for row in rows]
    bars(pen, _inside(boxes[0], 26), shown, "{:.2f}", 1.0)
    _panel(pen, boxes[1], "references", "chosen for each chunk")
    bars(pen, _inside(boxes[1], 26), [[(GOOD, float(len(row["references"])))] for row in rows], "{:.0f}")
    _panel(pen, boxes[2], "memory", "MB after each chunk")
    bars(pen, _inside(boxes[2], 26), [[(VIOLET, (row["memory_bytes"] or 0) / 1e6)] for row in rows], "{:.2f}")
    _panel(pen, boxes[3], "seconds", f"{report['seconds']:.1f} in all")
    stacks = [[(colour, row["seconds"].get(stage, 0.0)) for stage, colour in STAGES.items()] for row in rows]
    bars(pen, _inside(boxes[3], 46), stacks, "{:.1f}")
    x = boxes[3][0] + 16
    for stage, colour in STAGES.items():
        pen.box((x, boxes[3][3] - 21, x + 9, boxes[3][3] - 12), colour, 2)
        pen.text((x + 13, boxes[3][3] - 17), stage, 11, FAINT, "lm")
        x += 20 + pen.width_of(stage, 11)


def _panel(pen: Pen, box: Box, title: str, note: str) -> None:
    pen.box(box, PANEL, 10)
    pen.text((box[0] + 16, box[1] + 12), title, 17, TEXT)
    pen.text((box[2] - 16, box[1] + 14), note, 14, FAINT, "ra")
    pen.line([(box[0] + 16, box[1] + 40), (box[2] - 16, box[1] + 40)], GRID, 1)


def _inside(box: Box, below: float = 0) -> Box:
    return box[0] + 16, box[1] + (52 if not below else 66), box[2] - 16, box[3] - 14 - below
