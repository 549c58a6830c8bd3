# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The Windows agent's pod on a fake Windows: its volumes, its environment, its commands."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import jsonschema_rs
from tests.windows.windows import FakeWindows

from udp_security.chart import chart_dir
from udp_security.windows import pwsh

NODE_IP: Final = "172.19.1.1"
FILES: Final = chart_dir() / "files" / "windows"
_STATUS_SCHEMA: Final = jsonschema_rs.validator_for(
    json.loads((chart_dir() / "files" / "status.schema.json").read_text(encoding="utf-8"))
)
_LOG_LINE: Final = re.compile(
    r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ level=(info|warn|error) event=(?P<event>[a-z-]+)"
    r' node="[^"]*" policy=[0-9a-f]{0,12} msg="(?P<msg>[^"]+)"'
)


class Pod:
    """One pod; as a context manager its agent is killed in the end, which is no error.

    ``policy`` is as in policy.json. ``uid`` is the pod's own, and the name of its folder.
    """

    def __init__(
        self,
        windows: FakeWindows,
        directory: Path,
        policy: Mapping[str, Any],
        *,
        uid: str = "pod-1",
        release: str = "udp-security/udp-security",
        on_stop: str = "remove",
        poll_seconds: float = 60,
        node_ip: str = NODE_IP,
        metrics_port: int | None = None,
    ) -> None:
        self.windows = windows
        self.uid = uid
        self.root = directory / uid
        self.state = self.root / "state"
        self.config = self.root / "config"
        self.state.mkdir(parents=True)
        self.files = {path.name: path.read_bytes() for path in FILES.iterdir()}
        self.mount({"policy.json": json.dumps(policy).encode()})
        self.environment = {
            "UDP_SECURITY_POLICY_SHA256": bundle_hash(self.config),
            "UDP_SECURITY_RELEASE": release,
            "UDP_SECURITY_ON_STOP": on_stop,
            "UDP_SECURITY_POLL_SECONDS": f"{poll_seconds:g}",
            "UDP_SECURITY_POD_UID": uid,
            "UDP_SECURITY_NODE_NAME": "winnode",
            "UDP_SECURITY_NODE_IP": node_ip,
            **({"UDP_SECURITY_METRICS_PORT": str(metrics_port)} if metrics_port else {}),
        }
        self._log = self.root / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Pod:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def log(self) -> str:
        """What all its containers have logged."""
        return self._log.read_text(encoding="utf-8") if self._log.exists() else ""

    def said(self, event: str) -> list[str]:
        """The messages of an event. There is nothing in the log but whole lines of the agent."""
        lines = [_LOG_LINE.fullmatch(line) for line in self.log.split("\n")[:-1]]
        assert None not in lines, self.log
        return [line["msg"] for line in lines if line and line["event"] == event]

    def wait_said(self, event: str, times: int = 1, seconds: float = 30) -> list[str]:
        """Waits for an event; its messages."""
        self.wait_for(lambda: len(self.said(event)) >= times, f"event {event}", seconds)
        return self.said(event)

    @property
    def running(self) -> bool:
        """Whether the agent's process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The agent's process, as it stands in the journal of the fake cmdlets' calls."""
        assert self._process is not None
        return self._process.pid

    def mount(self, files: Mapping[str, bytes]) -> None:
        """Changes files of the ConfigMap, and has them mounted as kubelet does: in one step."""
        self.files.update(files)
        data = self.config / "..data"
        folder = self.config / f"..{len(list(self.config.glob('..*')))}"
        folder.mkdir(parents=True)
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        new = self.config / "..new"
        new.symlink_to(folder.name)
        new.replace(data)
        for name in self.files:
            if not (self.config / name).is_symlink():
                (self.config / name).symlink_to(f"..data/{name}")

    def adopt(self) -> None:
        """Makes the pod's own copy of what is mounted, as Run does first of all."""
        adopted = self.state / "adopted"
        adopted.mkdir()
        for name, content in self.files.items():
            (adopted / name).write_bytes(content)

    def start(self) -> None:
        """Starts the container."""
        assert not self.running, "it runs already"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [pwsh.find(), "-NoProfile", "-NonInteractive", *self._words("Run")],
                env=pwsh.environment(self.windows.variables(self.environment)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self) -> None:
        """The container's process dies at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def wait_end(self, seconds: float = 30) -> int:
        """Waits for the agent to end by itself; its exit code."""
        assert self._process is not None
        return self._process.wait(seconds)

    def command(self, *words: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Runs one of the agent's other commands, as kubelet's exec does."""
        variables = self.windows.variables(self.environment)
        return pwsh.run(self._words(*words), variables=variables, timeout=timeout)

    def check(self) -> tuple[bool, str]:
        """Whether it is ready, and its one line."""
        done = self.command("Check")
        assert done.returncode in (0, 1), done.stdout + done.stderr
        assert len(done.stdout.splitlines()) == 1 and not done.stderr, done.stdout + done.stderr
        return done.returncode == 0, done.stdout.strip()

    def status(self) -> dict[str, Any]:
        """What Status prints, valid by its schema."""
        done = self.command("Status")
        assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr
        status: dict[str, Any] = json.loads(done.stdout)
        assert not [error.message for error in _STATUS_SCHEMA.iter_errors(status)], status
        return status

    def pre_stop(self) -> str:
        """The preStop hook; what it said."""
        done = self.command("Remove", "-Stopping")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def stop(self) -> str:
        """Ends the pod as kubelet does: the preStop hook, then the end of its process."""
        said = self.pre_stop()
        self.kill()
        return said

    def wait_for(self, condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
        """Waits until something is so; fails with the log when it isn't in time."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{what}: not after {seconds} s\n{self.log}"
            time.sleep(0.05)

    def wait_log(self, text: str, times: int = 1) -> None:
        """Waits until the log holds a text so many times."""
        self.wait_for(lambda: self.log.count(text) >= times, f"{text!r} in the log")

    def _words(self, *words: str) -> list[str]:
        return ["-File", str(self.config / "Agent.ps1"), "-Command", *words]


def bundle_hash(folder: Path) -> str:
    """The hash that the chart writes into the pod template."""
    digest = hashlib.sha256()
    files = (path for path in folder.iterdir() if path.is_file())
    for path in sorted(files, key=lambda path: path.name.encode()):
        digest.update(path.read_bytes())
    return digest.hexdigest()
