# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The fleet's table on a terminal of any size."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from rich.cells import cell_len

from udp_security.cli import fleet, tables
from udp_security.cluster.status import NodeStatus
from udp_security.cluster.told import Told
from udp_security.policy.facts import Mode

NOW = datetime(2026, 1, 31, tzinfo=timezone.utc)
GONE = "the rules are gone from the kernel, and this is quite a long reason for it"


def node(
    name: str, reason: str = "", mode: Mode = "enforce", *, governed: bool = True
) -> NodeStatus:
    said = Told(
        raw={},
        backend="nftables",
        version="1.0.0",
        generation="0123456789ab",
        owner=None,
        mode=mode,
        healthy=not reason,
        reason=reason or None,
        applied=NOW,
        heals=0,
        not_governed=(),
        trusted=None,
        rules={},
        denied={},
        flows=None,
    )
    return NodeStatus(name, "linux", True, governed, reason, said if governed else None)


FLEET = [
    *(node(f"good-{n}") for n in range(40)),
    node("windows", "not governed", governed=False),
    node("audit", mode="audit"),
    node("bad-a", GONE),
    node("bad-b", GONE),
]


def screen(width: int, height: int, *, wide: bool = False) -> list[str]:
    lines = fleet.screen(FLEET, wide=wide, now=NOW, width=width, height=height)
    assert len(lines) <= height
    assert all(cell_len(line.plain) <= width for line in lines)
    return [line.plain for line in lines]


def test_what_is_wrong_comes_first_and_the_rest_is_counted() -> None:
    lines = screen(120, 10)
    assert lines[0].startswith("40 of 43 nodes enforce; bad-a, bad-b: the rules are gone")
    assert lines[1].startswith("In mode audit")
    assert [line.split()[0] for line in lines[2:-1]] == [
        *("NODE", "bad-a", "bad-b", "audit", "windows", "good-0"),
        "good-1",
    ]
    assert lines[-1] == "and 38 more, all in force"
    assert screen(120, 6)[-1] == "and 42 more: 1 not counted, 41 in force"
    assert screen(120, 5)[-1] == "and 42 more: 1 not counted, 41 in force"
    assert screen(120, 4)[-1] == "and 43 more: 1 not in force, 1 not counted, 41 in force"


def test_all_that_fits_is_shown() -> None:
    lines = screen(120, len(FLEET) + 3)
    assert len(lines) == len(FLEET) + 3
    assert lines[-1].startswith("good-39")


@pytest.mark.parametrize("wide", [False, True], ids=["text", "wide"])
@pytest.mark.parametrize("width", [200, 120, 100, 80, 60, 40, 24])
def test_a_narrow_terminal_shows_whether_it_is_in_force(width: int, wide: bool) -> None:
    lines = screen(width, 20, wide=wide)
    head = next(line for line in lines if line.startswith("NODE"))
    assert "IN FORCE" in head
    (bad,) = (line for line in lines if line.startswith("bad-b"))
    assert "  no" in bad
    assert ("AGE" in head) is (width >= (80 if wide else 120))


def test_long_names_leave_room() -> None:
    names = [node("n" * 63), node("m" * 63, GONE)]
    lines = fleet.screen(names, wide=False, now=NOW, width=40, height=20)
    assert "...  no: the r..." in lines[-2].plain


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (10, 3)])
def test_no_terminal_is_too_small(size: tuple[int, int]) -> None:
    fleet.screen(FLEET, wide=True, now=NOW, width=size[0], height=size[1])


def test_columns_of_wide_characters() -> None:
    first, second = tables.table([("病棟", "x"), ("ward", "y")])
    assert (first, second) == ("病棟  x", "ward  y")
    assert tables.cut("病棟病棟", 7) == "病棟..."
    assert tables.cut("病棟", 4) == "病棟"
