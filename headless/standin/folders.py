"""The stand-in for ComfyUI's ``folder_paths``: where inputs, outputs, previews and models live."""

import mimetypes
import os
import time
from pathlib import Path

MODEL_SUFFIXES = {".safetensors", ".json"}


class Folders:
    """The folders of one run. Its public methods are registered as the module ``folder_paths``."""

    def __init__(self, inputs: list[Path], output: Path, models: Path):
        self.inputs = [folder.resolve() for folder in inputs]
        self.output = output.resolve()
        self.models = models.resolve()
        self.model_folders: dict[str, list[str]] = {}

    def get_input_directory(self) -> str:
        return str(self.inputs[0])

    def get_output_directory(self) -> str:
        return str(self.output)

    def get_temp_directory(self) -> str:
        return str(self.output / "temp")

    def get_directory_by_type(self, type_name: str) -> str | None:
        known = {
            "input": self.get_input_directory,
            "output": self.get_output_directory,
            "temp": self.get_temp_directory,
        }
        return known[type_name]() if type_name in known else None

    def find(self, name: str) -> Path | None:
        """The file that ``name`` means: ``name``, or ``name [output]`` as the host annotates it; None if absent.

        Raises:
            ValueError: The name leads out of its folder.
        """
        roots = self.inputs
        for kind, root in (("input", None), ("output", self.output), ("temp", self.output / "temp")):
            if name.endswith(f"[{kind}]"):
                name, roots = name[: -len(kind) - 2].strip(), [root] if root else self.inputs
        for root in roots:
            path = (root / name).resolve()
            if not path.is_relative_to(root):
                raise ValueError(f"{name!r} leads out of {root}: give a name inside that folder")
            if path.is_file():
                return path
        return None

    def get_annotated_filepath(self, name: str, default_dir: str | None = None) -> str:
        found = self.find(name)
        return str(found if found is not None else Path(default_dir or self.inputs[0]) / name)

    def exists_annotated_filepath(self, name: str) -> bool:
        return self.find(name) is not None

    def filter_files_content_types(self, files: list[str], content_types: list[str]) -> list[str]:
        kinds = tuple(f"{kind}/" for kind in content_types)
        return [file for file in files if (mimetypes.guess_type(file)[0] or "").startswith(kinds)]

    def input_files(self, content_type: str) -> list[str]:
        """Every file of one kind in the input folders, by the names that a workflow may use."""
        files = {path.name for root in self.inputs if root.is_dir() for path in root.iterdir() if path.is_file()}
        return sorted(self.filter_files_content_types(list(files), [content_type]))

    def add_model_folder_path(self, folder_name: str, full_folder_path: str, is_default: bool = False) -> None:
        paths = self.model_folders.setdefault(folder_name, [])
        if full_folder_path not in paths:
            paths.insert(0 if is_default else len(paths), full_folder_path)

    def get_folder_paths(self, folder_name: str) -> list[str]:
        return list(self.model_folders.get(folder_name, [str(self.models / folder_name)]))

    def get_filename_list(self, folder_name: str) -> list[str]:
        found = set()
        for folder in map(Path, self.get_folder_paths(folder_name)):
            found |= {str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix in MODEL_SUFFIXES}
        return sorted(found)

    def get_full_path(self, folder_name: str, filename: str) -> str | None:
        for folder in (Path(one).resolve() for one in self.get_folder_paths(folder_name)):
            path = (folder / filename).resolve()
            if path.is_relative_to(folder) and path.is_file():
                return str(path)
        return None

    def get_full_path_or_raise(self, folder_name: str, filename: str) -> str:
        """As ``get_full_path``.

        Raises:
            FileNotFoundError: No folder of that name holds the file.
        """
        path = self.get_full_path(folder_name, filename)
        if path is None:
            folders = self.get_folder_paths(folder_name)
            raise FileNotFoundError(f"{filename!r} is in none of {folders}: put it there, or choose another file")
        return path

    def get_save_image_path(
        self, filename_prefix: str, output_dir: str, image_width: int = 0, image_height: int = 0
    ) -> tuple[str, str, int, str, str]:
        """Make the folder that a prefix names and find the next free number in it.

        Returns:
            (folder, file name without number, number, subfolder, prefix)

        Raises:
            ValueError: The prefix leads out of ``output_dir``.
        """
        now = time.localtime()
        parts = {"width": image_width, "height": image_height, "year": now.tm_year}
        two_digits = {"month": now.tm_mon, "day": now.tm_mday, "hour": now.tm_hour, "minute": now.tm_min}
        parts |= {key: f"{value:02}" for key, value in {**two_digits, "second": now.tm_sec}.items()}
        for key, value in parts.items():
            filename_prefix = filename_prefix.replace(f"%{key}%", str(value))
        subfolder, filename = os.path.split(os.path.normpath(filename_prefix))
        root = Path(output_dir).resolve()
        folder = (root / subfolder).resolve()
        if not folder.is_relative_to(root):
            raise ValueError(f"filename_prefix {filename_prefix!r} leads out of {root}: use a folder inside it")
        folder.mkdir(parents=True, exist_ok=True)
        numbers = [path.name[len(filename) + 1 :].split("_")[0] for path in folder.glob(f"{filename}_*")]
        counter = 1 + max((int(number) for number in numbers if number.isdigit()), default=0)
        return str(folder), filename, counter, subfolder, filename_prefix
