# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Progress is shown when there is nothing else to see."""

import inspect
import time

import click
import pytest

from udp_security.cli import cluster, patience


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_AFTER", 0.05)


def test_work_that_takes_long_is_told_of(capfd: pytest.CaptureFixture[str]) -> None:
    last = time.monotonic() + 30
    text = ""
    with patience.patience("counting"):
        # No await, no sleep: work that computes.
        while not text and time.monotonic() < last:
            text = capfd.readouterr().err
    assert text == "... counting\n"
    assert not patience._waiting


def test_what_is_seen_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(patience, "_say", said.append)
    with patience.patience("quick"):
        pass
    with patience.patience("seen"):
        patience.say("something else")
        time.sleep(0.2)
    assert said == []


def test_a_result_that_is_there_ends_it() -> None:
    """Also when the work raises."""
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), patience.patience("failing"):
            raise error
    assert not patience._waiting


def test_ctrl_c_before_the_work_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    async def work() -> None:
        raise AssertionError

    monkeypatch.setattr("asyncio.run", interrupted)
    coroutine = work()
    with pytest.raises(click.Abort):
        cluster.in_cluster(coroutine)
    # Else Python says later that it was never awaited.
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
