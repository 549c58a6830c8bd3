# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What stands behind the fakes of K2s's modules: it answers their calls and writes them down."""

from __future__ import annotations

import json
import re
import socketserver
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import RLock, Thread
from typing import Any, Final

from tests.k2s.cluster import Cluster
from tests.k2s.helm import Helm
from tests.k2s.kubectl import Kubectl
from tests.k2s.native import (
    Line,
    Result,
    ToolError,
    UnknownCallError,
    failure,
    output,
    received,
)

from udp_security.cluster.removal import COMMANDS

#: Standard error of programs that succeed all the same: scripts must not take it for output.
WARNING: Final = "Warning: this version will not be supported much longer"

_REMOVE: Final = f"{{ {COMMANDS['linux']}; }} 2>&1"
_LOOK: Final = re.compile(r"for t in 'nft list chains' .*; echo looked")


@dataclass
class Call:
    """A call of one of K2s's functions, by its name; `text` is what it was about."""

    name: str
    text: str
    given: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.name} {self.text}".rstrip()


@dataclass
class Fault:
    """Makes calls that begin with some words fail; `done`: after they have done their work."""

    words: str
    says: str
    done: bool = False
    times: int = 1


@dataclass
class Host:
    """A K2s host: its cluster, how it is, and what was called so far."""

    cluster: Cluster = field(default_factory=Cluster)
    running: bool = True
    version: str = "v2.0.0"
    #: the control plane answers over SSH
    reachable: bool = True
    #: runs commands on it, where a test has a real one
    shell: Callable[[str], Result] | None = None
    calls: list[Call] = field(default_factory=list)
    #: what the fakes did not know: a test's fault
    unknown: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    #: called before each call
    watch: Callable[[Call], None] = lambda call: None

    def __post_init__(self) -> None:
        self.kubectl = Kubectl(self.cluster)
        self.helm = Helm(self.cluster)

    def fail(self, words: str, says: str, *, done: bool = False, times: int = 1) -> None:
        """Let the next calls that begin so fail, as `helm upgrade` does or a function of K2s's."""
        self.faults.append(Fault(words, says, done, times))

    def said(self, *names: str) -> list[str]:
        """The calls as texts; only those of some functions."""
        return [str(call) for call in self.calls if not names or call.name in names]

    def logged(self, *, console: bool | None = None) -> list[str]:
        """What was logged; only that which goes to the console or does not."""
        logs = [call for call in self.calls if call.name == "Write-Log"]
        return [call.text for call in logs if console in (None, call.given["Console"])]

    def answer(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """The answer to one call, for the fakes' FakeHost.psm1."""
        call = Call(name, _text(name, given), given)
        self.calls.append(call)
        self.watch(call)
        fault = next((f for f in self.faults if f.times and str(call).startswith(f.words)), None)
        if fault:
            fault.times -= 1
        if name not in ("kubectl", "helm", "ssh"):
            return {"throw": fault.says if fault else None, "value": self._value(call)}
        result = Result() if fault and not fault.done else self._run(call)
        if fault:
            result = Result(1, [*result.lines, Line(fault.says, True)])
        lines = [{"text": line.text, "error": line.error} for line in result.lines]
        return {"throw": None, "value": {"code": result.code, "lines": lines}}

    def _run(self, call: Call) -> Result:
        try:
            if call.name == "ssh":
                return self._ssh(call.given["Command"])
            tool = self.helm if call.name == "helm" else self.kubectl
            return output(tool.run(received(call.given["Params"])), WARNING)
        except ToolError as error:
            return failure(error)
        except UnknownCallError as error:
            self.unknown.append(str(error))
            return failure(ToolError(f"the fake does not know {error}"))

    def _value(self, call: Call) -> object:
        if call.name == "Test-SystemAvailability":
            return self.running
        if call.name == "Get-ConfigProductVersion":
            return self.version
        if call.name == "Start-Sleep":
            self.cluster.pass_time(max(call.given["Seconds"], 0.1))
        return None

    def _ssh(self, command: str) -> Result:
        if not self.reachable:
            raise ToolError("ssh: connect to host 172.19.1.100 port 22: Connection timed out")
        if received([command]) != [command]:
            raise UnknownCallError(f"what Windows PowerShell would not pass on: {command}")
        if self.shell:
            return self.shell(command)
        control_plane = next(node for node in self.cluster.nodes if node.os == "linux")
        if command == _REMOVE:
            control_plane.put_in_force(None)
            return Result()
        if _LOOK.fullmatch(command):
            return output("found: nft list chains\nlooked" if control_plane.rules else "looked")
        raise UnknownCallError(f"on the control plane: {command}")


@contextmanager
def serving(host: Host) -> Iterator[int]:
    """The port of this machine at which a host answers, as long as the context lasts."""
    lock = RLock()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            # A script that is killed while it asks gets no answer.
            with suppress(ConnectionError):
                for line in self.rfile:
                    self.wfile.write(json.dumps(self.answer(line)).encode() + b"\n")

        def answer(self, line: bytes) -> dict[str, Any]:
            request = json.loads(line)
            with lock:
                try:
                    return host.answer(request["call"], request["with"])
                except Exception as error:
                    host.unknown.append(repr(error))
                    return {"throw": f"the fake broke: {error!r}", "value": None}

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


def _text(name: str, given: dict[str, Any]) -> str:
    if "Params" in given:
        return " ".join(given["Params"])
    return str(given.get("Message", next(iter(given.values()), "")))
