# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The listener of the agent's metrics by itself: what it answers, and how it starts nc."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from tests.unit.test_agent_script import DIRECTORY, applets, run

TEXT = "# HELP m ü\nm 1\n"
GET = b"GET /metrics HTTP/1.1\r\n\r\n"


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    """The file to hand out."""
    file = tmp_path / "metrics.prom"
    file.write_text(TEXT, encoding="utf-8")
    return file


def start(
    file: Path, settings: str = "ANSWER_PROCESSES=9999", output: int = subprocess.PIPE
) -> subprocess.Popen[bytes]:
    """The handler that nc starts."""
    code = f'. "$1" && {settings} && answer "$2" 60'
    return subprocess.Popen(
        [applets() / "sh", "-c", code, "sh", DIRECTORY / "serve.sh", file],
        stdin=subprocess.PIPE,
        stdout=output,
        env={"PATH": str(applets())},
    )


def ask(
    file: Path, request: bytes, *, end: bool = False, settings: str = "ANSWER_PROCESSES=9999"
) -> bytes:
    """What the handler answers; the client says that there is no more only where ``end``."""
    with start(file, settings) as process:
        assert process.stdin and process.stdout
        try:
            process.stdin.write(request)
            process.stdin.flush()
        except BrokenPipeError:
            # What was not taken would be written again.
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        if end:
            process.stdin.close()
        answer = process.stdout.read()
        process.wait()
        return answer


def parts(answer: bytes) -> tuple[str, dict[str, str], str]:
    """Status line, headers and body, whose length is as announced."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert headers["Content-Length"] == str(len(body))
    assert headers["Connection"] == "close"
    return first, headers, body.decode("utf-8")


@pytest.mark.parametrize(
    "request_",
    [
        GET,
        b"GET /metrics HTTP/1.0\n\n",
        b"GET /metrics?x=y HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nX: " + b"a" * 5000 + b"\r\n\r\n",
    ],
    ids=["plain", "newlines", "headers", "long header"],
)
def test_the_metrics(metrics: Path, request_: bytes) -> None:
    first, headers, body = parts(ask(metrics, request_))
    assert (first, body) == ("HTTP/1.1 200 OK", TEXT)
    assert headers["Content-Type"] == "text/plain; version=0.0.4"


@pytest.mark.parametrize("request_", [b"GET / HTTP/1.1\r\n\r\n", b"GET /metricsx HTTP/1.1\r\n\r\n"])
def test_nothing_else_is_there(metrics: Path, request_: bytes) -> None:
    assert parts(ask(metrics, request_))[0] == "HTTP/1.1 404 Not Found"


@pytest.mark.parametrize("request_", [b"POST /metrics HTTP/1.1\r\n\r\n", b"$(id)\r\n\r\n", b"\r\n"])
def test_nothing_but_get(metrics: Path, request_: bytes) -> None:
    first, headers, _ = parts(ask(metrics, request_))
    assert (first, headers["Allow"]) == ("HTTP/1.1 405 Method Not Allowed", "GET")


@pytest.mark.parametrize("age", [61 + 5, -3600, None], ids=["old", "of the future", "gone"])
def test_a_dead_agent_does_not_look_alive(metrics: Path, age: int | None) -> None:
    if age is None:
        metrics.unlink()
    else:
        written = time.time() - age
        os.utime(metrics, (written, written))
    assert parts(ask(metrics, GET))[0] == "HTTP/1.1 503 Service Unavailable"


@pytest.mark.parametrize(
    "request_", [b"", b"GET /metrics HTTP/1.1\r\n", b"a" * 1000], ids=["none", "head", "line"]
)
def test_a_silent_client_is_left_in_time(metrics: Path, request_: bytes) -> None:
    assert ask(metrics, request_, settings="ANSWER_PROCESSES=9999 ANSWER_SECONDS=1") == b""
    assert ask(metrics, request_, end=True) == b""


def test_a_talkative_client_is_left(metrics: Path) -> None:
    assert ask(metrics, b"a" * 70_000 + b"\r\n\r\n") == b""
    assert ask(metrics, b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 64 + b"\r\n") == b""


def test_a_client_that_takes_nothing_is_left(metrics: Path) -> None:
    metrics.write_text("# x\n" * 2**18, encoding="ascii")
    reader, writer = os.pipe()
    with start(metrics, "ANSWER_PROCESSES=9999 ANSWER_SECONDS=1", writer) as process:
        os.close(writer)
        assert process.stdin
        process.stdin.write(GET)
        process.stdin.flush()
        assert process.wait(timeout=20) == 0
    with os.fdopen(reader, "rb") as answer:
        # Nothing has it open any more.
        assert len(answer.read()) < metrics.stat().st_size


def test_no_more_processes_than_fit(metrics: Path) -> None:
    assert ask(metrics, GET, settings="ANSWER_PROCESSES=1") == b""


@pytest.mark.parametrize(
    ("help_", "options"),
    [
        ("-s ADDR Local address", "-lk -p 9797 -s fd00::1"),
        ("(use -ll with -e for persistent server)", "-ll -p 9797 fd00::1"),
    ],
    ids=["nc 1.10", "small nc"],
)
def test_either_nc_gets_the_nodes_address(tmp_path: Path, help_: str, options: str) -> None:
    # Not on PATH: a busybox may run its applets before any program.
    said = f'echo "{help_}"; [ "$1" = --help ] || echo "$*" >"{tmp_path}/said"'
    environment = {"UDP_SECURITY_NODE_IP": "fd00::1", "UDP_SECURITY_METRICS_PORT": "9797"}
    run(f"nc() {{ {said}; }}; listen; wait", environment=environment)
    words = (tmp_path / "said").read_text(encoding="utf-8")
    found = re.fullmatch(r"(.*) -e /bin/sh -c (.*) sh \S+/serve\.sh \S+/metrics\.prom 150\n", words)
    assert found and found.groups() == (options, '. "$1" && answer "$2" "$3"')
