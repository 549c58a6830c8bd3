# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Commands in agents' pods, over the API server's WebSocket (v4.channel.k8s.io)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import aiohttp

from udp_security.cluster.client import Client, NoAccessError
from udp_security.cluster.words import one_line
from udp_security.k2s.manifests import NAMESPACE

# The protocol's channels: a frame's first byte.
_STDOUT, _STDERR, _ERROR = 1, 2, 3
_CONTAINER = "agent"
# Bytes of one answer. The lists of denials, all full, take a few.
_MOST = 16 * 2**20


@dataclass(frozen=True)
class Answer:
    """What a command came to: whether it ended with 0, what it printed, and what else was said.

    `refused`: the API server does not let this user run commands. Whoever owns a node can make its
    agent print anything: `text` is as it came.
    """

    good: bool
    text: str
    said: str
    refused: bool = False

    @property
    def words(self) -> str:
        """What the command printed for itself, on one line that no terminal would obey; what was
        said of it where it printed nothing."""
        return one_line(self.text or self.said)


async def execute(client: Client, pod: str, command: Sequence[str], timeout: float) -> Answer:
    """Runs a command in a pod's agent. Raises nothing: what doesn't work is an answer, too.

    `timeout` is in seconds from when it is this command's turn.
    """
    async with client.turn() as connected:
        try:
            return await asyncio.wait_for(_execute(client, pod, command, connected), timeout)
        except (asyncio.TimeoutError, TimeoutError):
            return Answer(False, "", f"no answer within {timeout:g} s")
        except aiohttp.WSServerHandshakeError as error:
            refused = error.status in (401, 403)
            why = " (pods/exec is needed)" if refused else ""
            return Answer(False, "", f"the API server answers HTTP {error.status}{why}", refused)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(False, "", str(error) or type(error).__name__)


async def assert_reached(client: Client, answers: Sequence[Answer]) -> None:
    """Raises NoAccessError where nobody answered and it is not the nodes' fault.

    An API server that refuses commands, or is gone by now, keeps all answers back.
    """
    if not answers or any(answer.good or answer.text for answer in answers):
        return
    if all(answer.refused for answer in answers):
        raise NoAccessError(
            f"{client.server} refuses to run commands in pods (log in as one who may get and "
            f"create pods/exec in namespace {NAMESPACE})"
        )
    await client.get("/version")


async def _execute(
    client: Client, pod: str, command: Sequence[str], connected: Callable[[], None]
) -> Answer:
    query = [("container", _CONTAINER), ("stdout", "true"), ("stderr", "true")]
    query += [("command", word) for word in command]
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/exec"
    streams = {channel: bytearray() for channel in (_STDOUT, _STDERR, _ERROR)}
    async with client.socket(path, query) as socket:
        connected()
        async for message in socket:
            if message.type == aiohttp.WSMsgType.ERROR:
                raise ValueError(f"the connection broke: {message.data}")
            data = message.data
            frame: bytes = data.encode() if isinstance(data, str) else data
            if frame and frame[0] in streams:
                streams[frame[0]] += frame[1:]
            if sum(map(len, streams.values())) > _MOST:
                raise ValueError(f"the command printed more than {_MOST >> 20} MiB")
    text, errors = (streams[channel].decode(errors="replace").strip() for channel in (1, 2))
    if not streams[_ERROR]:
        raise ValueError("the connection ended before the command did")
    good, said = _outcome(streams[_ERROR])
    return Answer(good, text, errors if good else errors or said)


def _outcome(status: bytes | bytearray) -> tuple[bool, str]:
    """Whether the command succeeded, and what is said of it, from a Status object.

    The node writes it, and may be anybody's by now. Raises ValueError.
    """
    try:
        outcome = json.loads(status)
    # The second: brackets in brackets in brackets.
    except (ValueError, RecursionError):
        outcome = None
    if not isinstance(outcome, dict):
        raise ValueError("what the node says of the command is no status of Kubernetes")
    return outcome.get("status") == "Success", str(outcome.get("message", ""))
