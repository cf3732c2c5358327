"""The same workflow on a running ComfyUI: upload the inputs, queue the prompt, wait, list the outputs."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from pathlib import Path
from typing import Any

from .standin.folders import Folders
from .validate import Prompt, inputs_of

POLL_SECONDS = 0.5
TIMEOUT_SECONDS = 60.0


class ServerError(RuntimeError):
    """The server could not be reached, refused the prompt, or the run failed there."""


class Server:
    """A running ComfyUI, spoken to over HTTP."""

    def __init__(self, url: str):
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise ServerError(f"--server {url!r}: expected an address such as http://127.0.0.1:8188")
        self.url = url.rstrip("/")
        self._info: dict[str, Any] | None = None

    def object_info(self) -> dict[str, Any]:
        """What the server says of its nodes."""
        if self._info is None:
            self._info = self._request("/object_info")
        return self._info

    def upload(self, file: Path) -> str:
        """Send a file to the server's input folder; returns the name that it got there."""
        boundary = uuid.uuid4().hex
        name = file.name.replace('"', "_")
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
        head += "Content-Type: application/octet-stream\r\n\r\n"
        body = head.encode() + file.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        stored = self._request("/upload/image", body, f"multipart/form-data; boundary={boundary}")
        return f"{stored['subfolder']}/{stored['name']}".lstrip("/")

    def run(self, prompt: Prompt, extra_pnginfo: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Queue a prompt, wait for its end and return what its nodes show, by node id.

        Raises:
            ServerError: The server refused it, a node failed, or it was interrupted.
        """
        order = {"prompt": prompt, "client_id": uuid.uuid4().hex, "extra_data": {"extra_pnginfo": extra_pnginfo}}
        queued = self._request("/prompt", json.dumps(order).encode(), "application/json")
        prompt_id = queued["prompt_id"]
        if queued.get("node_errors"):  # the server would run the other branches and call that a success
            self._request("/queue", json.dumps({"delete": [prompt_id]}).encode(), "application/json")
            raise ServerError("the server refused a part of the workflow:\n" + _node_errors(queued["node_errors"]))
        while True:
            entry = self._request(f"/history/{prompt_id}").get(prompt_id)
            if entry is not None:
                break
            time.sleep(POLL_SECONDS)
        if entry["status"]["status_str"] != "success":
            raise ServerError("the run failed on the server:\n" + _reasons(entry["status"]["messages"]))
        return entry["outputs"]

    def view_url(self, result: dict[str, str]) -> str:
        """The address at which the server shows an output file."""
        return f"{self.url}/view?{urllib.parse.urlencode(result)}"

    def _request(self, path: str, body: bytes | None = None, content_type: str = "") -> Any:
        headers = {"Content-Type": content_type} if body is not None else {}
        request = urllib.request.Request(self.url + path, data=body, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
                return json.loads(answer.read() or "null")
        except urllib.error.HTTPError as problem:
            raise ServerError(f"{self.url} refused {path}: {_refusal(problem.read())}") from problem
        except (urllib.error.URLError, OSError, ValueError) as problem:
            raise ServerError(f"{self.url}{path}: {problem}. Is ComfyUI running there?") from problem


def with_uploads(server: Server, prompt: Prompt, folders: Folders) -> Prompt:
    """Upload the local files that the prompt names and put the names that they got there into it."""
    info = server.object_info()
    changed = {}
    for node_id, node in prompt.items():
        declared = inputs_of(info[node["class_type"]]) if node["class_type"] in info else {}
        uploads = [
            name
            for name, spec in declared.items()
            if len(spec) > 1 and any(spec[1].get(key) for key in ("image_upload", "video_upload"))
        ]
        inputs = dict(node["inputs"])
        for name in uploads:
            local = folders.find(inputs[name]) if isinstance(inputs.get(name), str) else None
            if local is not None:
                inputs[name] = server.upload(local)
        changed[node_id] = {**node, "inputs": inputs}
    return changed


def _refusal(body: bytes) -> str:
    """What the server found wrong with a prompt, one line per node and input."""
    try:
        answer = json.loads(body)
    except ValueError:
        return body.decode(errors="replace")[:500]
    head = str(answer.get("error", {}).get("message", answer)) if isinstance(answer, dict) else str(answer)
    return f"{head}\n{_node_errors(answer.get('node_errors') or {})}" if isinstance(answer, dict) else head


def _node_errors(nodes: dict[str, Any]) -> str:
    return "\n".join(
        f"node {node_id} ({node['class_type']}): {error['message']}: {error['details']}"
        for node_id, node in nodes.items()
        for error in node["errors"]
    )


def _reasons(messages: list) -> str:
    said = [content for kind, content in messages if kind in ("execution_error", "execution_interrupted")]
    return "\n".join(
        f"node {one.get('node_id')} ({one.get('node_type')}): {one.get('exception_message', 'interrupted')}"
        for one in said
    )
