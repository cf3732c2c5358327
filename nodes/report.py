"""The node that proves, or disproves, that the loop closed."""

import json

from ..memory.store import replacing
from ..rollout.report import closed_loop_report, draw_report
from .convert import images_from_socket
from .host import PathSocket, State, io, output_file, result, schema, socket, ui


class ClosedLoopReport(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "ClosedLoopReport",
            "Closed Loop Report",
            "Compares the frames at which the path comes back with those it started from, and writes the numbers and a "
            "picture to the output folder.",
            inputs=[
                socket(State, "state", "The film's state, from Chunk Loop End."),
                socket(io.Image, "images", "The film's frames, from Decode Video."),
                socket(PathSocket, "path", "The path it was made along."),
                socket(State, "baseline_state", "State of the same film without memory, from Rollout.", optional=True),
                socket(io.Image, "baseline_images", "Frames of the same film without memory.", optional=True),
                socket(
                    io.String,
                    "filename",
                    "Name of the report below the output folder: .json and .png are added, older ones replaced.",
                    default="report",
                    optional=True,
                ),
            ],
            outputs=[
                result(io.String, "report", "The report as JSON."),
                result(io.Image, "picture", "Start, return, difference, the memory from above, and the curves."),
            ],
            is_output_node=True,
            search_aliases=["psnr", "ssim", "evaluate", "consistency", "metrics"],
        )

    @classmethod
    def execute(cls, state, images, path, baseline_state=None, baseline_images=None, filename="report"):
        if (baseline_state is None) != (baseline_images is None):
            raise ValueError("ClosedLoopReport: connect baseline_state and baseline_images both, or neither")
        frames = images_from_socket(images)
        baseline = None
        if baseline_state is not None:
            baseline = (baseline_state, images_from_socket(baseline_images, "baseline_images"))
        report = closed_loop_report(state, frames, path, baseline)
        picture = draw_report(report, state, frames, path, baseline)
        text = json.dumps(report, indent=1, allow_nan=False)
        with replacing(output_file(filename + ".json")) as stream:
            stream.write(text.encode())
        with replacing(output_file(filename + ".png")) as stream:
            save_png(picture, stream)
        shown = picture.float()[None] / 255
        return io.NodeOutput(text, shown, ui={**ui.PreviewImage(shown).as_dict(), "text": (summary(report),)})


def summary(report: dict) -> str:
    """The scores alone, one a line, for the node's face."""
    scores = {key: value for key, value in report.items() if "psnr" in key or "ssim" in key}
    return "\n".join(f"{key}: {value}" for key, value in scores.items() if not isinstance(value, (list, dict)))


def save_png(picture, stream) -> None:
    """Write a (H, W, 3) uint8 picture as PNG."""
    from PIL import Image

    Image.fromarray(picture.numpy()).save(stream, format="PNG")
