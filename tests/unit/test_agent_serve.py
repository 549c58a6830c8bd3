# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The listener of the agent's metrics by itself: what it answers, and how it starts nc."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest
from tests.unit.test_agent_script import DIRECTORY, applets, run

TEXT = "# HELP m ü\nm 1\n"
GET = b"GET /metrics HTTP/1.1\r\n\r\n"
# Neither a busy machine nor its processes change the answer.
AT_LEISURE = "ANSWER_PROCESSES=9999 ASK_SECONDS=60"


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    """The file to hand out."""
    file = tmp_path / "metrics.prom"
    file.write_text(TEXT, encoding="utf-8")
    return file


def start(
    file: Path,
    connection: int,
    settings: str = AT_LEISURE,
    output: int | None = None,
) -> subprocess.Popen[bytes]:
    """The handler that nc starts, with a connection, or with another file for its output."""
    code = f'. "$1" && {settings} && answer "$2" 60'
    return subprocess.Popen(
        [applets() / "sh", "-c", code, "sh", DIRECTORY / "serve.sh", file],
        stdin=connection,
        stdout=connection if output is None else output,
        env={"PATH": str(applets())},
    )


def ask(file: Path, request: bytes, *, end: bool = False, settings: str = AT_LEISURE) -> bytes:
    """What the handler answers, nothing where it leaves something unread, as over TCP; the client
    says that there is no more only where ``end``."""
    ours, theirs = socket.socketpair()
    with ours, start(file, theirs.fileno(), settings):
        theirs.close()
        try:
            ours.sendall(request)
            if end:
                ours.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: ours.recv(65536), b""))
        except (BrokenPipeError, ConnectionResetError):
            return b""


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
        # As long as a piece that is read at once, with its carriage return, without, and twice.
        *(
            b"GET /metrics HTTP/1.1\r\nX:".ljust(23 + 2 + n, b"a") + b"\r\nY: b\r\n\r\n"
            for n in (1021, 1022, 2046)
        ),
    ],
    ids=["plain", "newlines", "headers", "long header", "1023", "1024", "2048"],
)
def test_the_metrics(metrics: Path, request_: bytes) -> None:
    first, headers, body = parts(ask(metrics, request_))
    assert (first, body) == ("HTTP/1.1 200 OK", TEXT)
    assert headers["Content-Type"] == "text/plain; version=0.0.4"


@pytest.mark.parametrize("request_", [b"GET / HTTP/1.1\r\n\r\n", b"GET /metricsx HTTP/1.1\r\n\r\n"])
def test_nothing_else_is_there(metrics: Path, request_: bytes) -> None:
    assert parts(ask(metrics, request_))[0] == "HTTP/1.1 404 Not Found"


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /metrics HTTP/1.1\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\nContent-Length: 5000\r\n\r\n" + b"body\n" * 30 + b"a" * 4850,
        b"$(id)\r\n\r\n",
        b"\r\n",
    ],
    ids=["post", "body", "command", "none"],
)
def test_nothing_but_get(metrics: Path, request_: bytes) -> None:
    first, headers, _ = parts(ask(metrics, request_, end=True))
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
    assert ask(metrics, request_, settings=f"{AT_LEISURE} ASK_SECONDS=1") == b""
    assert ask(metrics, request_, end=True) == b""


def test_a_talkative_client_is_left(metrics: Path) -> None:
    assert ask(metrics, b"a" * 70_000 + b"\r\n\r\n") == b""
    assert ask(metrics, b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 64 + b"\r\n") == b""


def test_a_client_that_takes_nothing_is_left(metrics: Path) -> None:
    metrics.write_text("# x\n" * 2**18, encoding="ascii")
    reader, writer = os.pipe()
    settings = f"{AT_LEISURE} ANSWER_SECONDS=1"
    with start(metrics, subprocess.PIPE, settings, writer) as process:
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
    run(f"ANSWERING=TEXT; nc() {{ {said}; }}; listen; wait", environment=environment)
    words = (tmp_path / "said").read_text(encoding="utf-8")
    shell = '/bin/sh -c TEXT\nanswer "$@" sh /run/udp-security/metrics.prom 150'
    assert words == f"{options} -e {shell}\n"


def test_a_full_disk_is_said_once(tmp_path: Path) -> None:
    state = tmp_path / "state"
    said = run(f"""
        STATE={state} METRICS_PORT=1
        claimed() {{ :; }}
        metrics_text() {{ echo "m 1"; }}
        publish_metrics; publish_metrics
        mkdir "$STATE"; publish_metrics; stat -c %a "$STATE/metrics.prom"; rm -r "$STATE"
        publish_metrics
    """)
    failed = f'msg="cannot write to {state} (is its emptyDir full?)"'
    assert [line if line.isdigit() else line[-len(failed) :] for line in said.splitlines()] == [
        failed,
        "644",
        failed,
    ]
    assert said.count(" event=no-metrics ") == 2


@pytest.mark.parametrize(
    ("port", "poll", "looks"), [("9797", "3600", "30"), ("9797", "5", "5"), ("", "3600", "3600")]
)
def test_metrics_are_never_old(port: str, poll: str, looks: str) -> None:
    environment = {"UDP_SECURITY_METRICS_PORT": port, "UDP_SECURITY_POLL_SECONDS": poll}
    assert run('echo "$POLL"', environment=environment) == f"{looks}\n"
