# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""A real Prometheus with recorded samples, in a network of its own, to ask it something.

Run as a program with a folder's name, it is the child of `ask` that lives in that network.
"""

from __future__ import annotations

import http.server
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from udp_security.lab import sandbox
from udp_security.lab.errors import LabError

#: Where the page is that a scrape configuration can name.
TARGET: Final = "127.0.0.1:9797"
_PROMETHEUS: Final = "127.0.0.1:9090"
_PROGRAMS: Final = ("promtool", "prometheus", "setpriv")
# Of a busy machine; a quiet one needs a second.
_SECONDS: Final = 90


class RecordedError(Exception):
    """Prometheus cannot be run here, or refuses a question; the text says which and why."""


def ask(
    paths: Sequence[str],
    *,
    samples: str = "",
    config: Mapping[str, Any] | None = None,
    page: str = "",
    until: str = "",
) -> list[Any]:
    """What Prometheus answers to GETs of `paths` (/api/v1/...): the `data` of each.

    `samples` is OpenMetrics text with times, without its end. `config` is prometheus.yml; what it
    scrapes at TARGET is `page`. The questions are put once the expression `until` has a value.
    Raises RecordedError.
    """
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        raise RecordedError(f"not on PATH: {', '.join(missing)}")
    with tempfile.TemporaryDirectory(prefix="udp-security-") as name:
        folder = Path(name)
        (folder / "prometheus.yml").write_text(yaml.safe_dump(dict(config or {})))
        (folder / "samples").write_text(f"{samples}# EOF\n", encoding="utf-8")
        (folder / "page").write_text(page, encoding="utf-8")
        (folder / "questions.json").write_text(json.dumps({"paths": paths, "until": until}))
        if samples:
            _run(
                ["promtool", "tsdb", "create-blocks-from", "openmetrics", "samples", "data"], folder
            )
        answers: list[Any] = json.loads(_run([sys.executable, __file__, name], folder))
        return answers


def _run(command: Sequence[str], folder: Path) -> str:
    try:
        done = subprocess.run(
            command, check=False, cwd=folder, capture_output=True, text=True, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise RecordedError(f"{command[0]} took more than {_SECONDS} s") from None
    if done.returncode != 0:
        raise RecordedError(f"{Path(command[0]).name}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def _inside(folder: Path) -> list[Any]:
    """In the network of its own: start Prometheus, ask, stop it."""
    questions = json.loads((folder / "questions.json").read_text(encoding="utf-8"))
    page = (folder / "page").read_bytes()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    host, port = TARGET.split(":")
    server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = [
        "setpriv", "--pdeathsig", "KILL", "prometheus", f"--web.listen-address={_PROMETHEUS}",
        "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=error",
        # Recorded samples are as old as they are.
        "--storage.tsdb.retention.time=100y",
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=folder, stdout=sys.stderr) as prometheus:
        try:
            _wait(prometheus, lambda: _get("/-/ready") is not None)
            if questions["until"]:
                _wait(prometheus, lambda: bool(_data(_query(questions["until"]))["result"]))
            return [_data(path) for path in questions["paths"]]
        finally:
            prometheus.kill()
            server.shutdown()


def _query(expression: str) -> str:
    return f"/api/v1/query?{urllib.parse.urlencode({'query': expression})}"


def _wait(prometheus: subprocess.Popen[bytes], condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _SECONDS / 2
    while not condition():
        if prometheus.poll() is not None:
            raise RecordedError(f"prometheus ended with {prometheus.returncode}")
        if time.monotonic() > end:
            raise RecordedError("prometheus has no answer to what was waited for")
        time.sleep(0.05)


def _get(path: str) -> bytes | None:
    """None: nobody listens yet, or is not ready."""
    try:
        with urllib.request.urlopen(f"http://{_PROMETHEUS}{path}", timeout=30) as answer:
            body: bytes = answer.read()
            return body
    except urllib.error.HTTPError as error:
        if error.code == 503:
            return None
        raise RecordedError(f"{path}: {error.read().decode()}") from None
    except OSError:
        return None


def _data(path: str) -> Any:
    body = _get(path)
    if body is None:
        raise RecordedError(f"{path}: no answer")
    return json.loads(body)["data"]


if __name__ == "__main__":
    try:
        sandbox.enter()
        json.dump(_inside(Path(sys.argv[1])), sys.stdout)
    except (LabError, RecordedError) as error:
        sys.exit(str(error))
