"""A real ComfyUI for tests/host and tests/browser: every checkout that COMFYUI_PATH names, else every ~/ComfyUI*."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACK = "ComfyUI-SpatialMemory"
BOOT_SECONDS = 300
RUN_SECONDS = 500


def checkouts() -> list[Path]:
    """Folders that hold a ComfyUI."""
    named = os.environ.get("COMFYUI_PATH")
    candidates = map(Path, named.split(os.pathsep)) if named else sorted(Path.home().glob("ComfyUI*"))
    return [path for path in candidates if (path / "main.py").is_file()]


@dataclass(frozen=True)
class Ran:
    """What a prompt did on the server."""

    executed: tuple[str, ...]  # node ids in order, those of expansions included
    ended: str  # "execution_success", "execution_error" or "execution_interrupted"
    message: dict  # the server's last message
    outputs: dict  # what each node shows
    seconds_to_stop: float = 0.0  # from the call of stop() to the end

    def count(self, kind: str) -> int:
        """How many executed nodes have an id whose last part is ``kind``."""
        return sum(name.rsplit("/", 1)[-1] == kind for name in self.executed)


class Server:
    """A running ComfyUI and its folders."""

    def __init__(self, checkout: Path, base: Path, port: int, process: subprocess.Popen, log: Path):
        self.checkout, self.base, self.process, self.log = checkout, base, process, log
        self.url = f"http://127.0.0.1:{port}"

    @property
    def version(self) -> str:
        return json.loads(self.get("/system_stats"))["system"]["comfyui_version"]

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=30) as reply:
            return reply.read()

    def post(self, path: str, content: dict) -> dict:
        request = urllib.request.Request(
            self.url + path, json.dumps(content).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                body = reply.read()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path} was refused: {error.read().decode()[:4000]}") from error
        return json.loads(body) if body else {}

    def object_info(self) -> dict:
        return json.loads(self.get("/object_info"))

    def run(self, prompt: dict, stop_when=None) -> Ran:
        """Queue a prompt and follow the websocket to its end.

        Args:
            stop_when: called with each message; the first true answer interrupts the run.
        """
        return asyncio.run(asyncio.wait_for(self._run(prompt, stop_when), RUN_SECONDS))

    async def _run(self, prompt: dict, stop_when) -> Ran:
        import aiohttp

        client, executed, stopped = "spatial-memory-tests", [], 0.0
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(f"{self.url}/ws?clientId={client}", max_msg_size=0) as messages:
                queued = await asyncio.to_thread(self.post, "/prompt", {"prompt": prompt, "client_id": client})
                async for message in messages:
                    if message.type != aiohttp.WSMsgType.TEXT:
                        continue
                    event = json.loads(message.data)
                    about = event["data"]
                    if about.get("prompt_id", queued["prompt_id"]) != queued["prompt_id"]:
                        continue
                    if event["type"] == "executing" and about.get("node"):
                        executed.append(about["node"])
                    if stop_when is not None and not stopped and stop_when(event):
                        stopped = time.monotonic()
                        await asyncio.to_thread(self.post, "/interrupt", {})
                    if event["type"] in ("execution_success", "execution_error", "execution_interrupted"):
                        took = time.monotonic() - stopped if stopped else 0.0
                        break
        history = json.loads(self.get(f"/history/{queued['prompt_id']}"))
        for _ in range(50):  # the history is filed just after the last message
            if queued["prompt_id"] in history:
                break
            time.sleep(0.1)
            history = json.loads(self.get(f"/history/{queued['prompt_id']}"))
        outputs = history.get(queued["prompt_id"], {}).get("outputs", {})
        return Ran(tuple(executed), event["type"], about, outputs, took)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_server(checkout: Path, base: Path, *options: str) -> Server:
    """Start a server on the CPU with the pack linked into its custom nodes; ``end`` ends it.

    Skips where the checkout lacks a dependency or files of its own; fails where it does not come up.
    """
    for name in ("custom_nodes", "input", "output", "models", "user", "temp"):
        (base / name).mkdir(parents=True, exist_ok=True)
    (base / "custom_nodes" / PACK).symlink_to(ROOT, target_is_directory=True)
    port, log = free_port(), base / "server.log"
    command = [sys.executable, "main.py", "--cpu", "--port", str(port), "--base-directory", str(base)]
    command += ["--disable-api-nodes", "--database-url", "sqlite:///:memory:", "--disable-auto-launch", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with log.open("wb") as sink:
        process = subprocess.Popen(command, cwd=checkout, stdout=sink, stderr=sink, env=environment)
    server = Server(checkout, base, port, process, log)
    deadline = time.monotonic() + BOOT_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            said = log.read_text(errors="replace")
            if "ModuleNotFoundError" in said.splitlines()[-1]:
                pytest.skip(
                    f"{checkout} does not start here ({said.splitlines()[-1]}); `make host` installs what it needs"
                )
            pytest.fail(f"{checkout} ended while starting:\n{said[-4000:]}")
        try:
            server.get("/system_stats")
            return server
        except OSError:
            time.sleep(0.25)
    process.kill()
    pytest.fail(f"{checkout} did not answer within {BOOT_SECONDS} s:\n{log.read_text(errors='replace')[-4000:]}")


def end(server: Server) -> None:
    """End the server's process."""
    server.process.terminate()
    try:
        server.process.wait(20)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait(20)
