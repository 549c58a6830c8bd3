# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The Grafana dashboard: a real Prometheus answers every query, and the docs' picture is of it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from tests.chart.support import CHART
from tests.k2s.artifact_places import lacking, tool

import dashboard
import recorded

PANELS = dashboard.panels()
JSON: dict[str, Any] = json.loads(dashboard.DASHBOARD.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    """What Prometheus answers for each panel, by the panel's title."""
    for program in ("promtool", "prometheus", "setpriv"):
        tool(program)
    try:
        results = dashboard.answers()
    except recorded.RecordedError as error:
        if "namespaces" not in str(error):
            raise
        lacking(str(error))
    return {panel["title"]: result for panel, result in zip(PANELS, results, strict=True)}


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_query_has_an_answer(answers: dict[str, Any], panel: dict[str, Any]) -> None:
    result = answers[panel["title"]]
    assert result
    # What a legend or a table's column names is there.
    for name in re.findall(r"{{(\w+)}}", panel["targets"][0]["legendFormat"]):
        assert all(series["metric"][name] for series in result)
    for transformation in panel.get("transformations", ()):
        shown = set(transformation["options"]["indexByName"])
        assert all(series["metric"].keys() == shown for series in result)


def test_the_answers_tell_the_day(answers: dict[str, Any]) -> None:
    assert [answers[title][0]["value"][1] for title in ("Policy in force", "Not in force")] == [
        "4",
        "0",
    ]
    in_force = {
        series["metric"]["node"]: [value for _, value in series["values"]]
        for series in answers["Policy in force, by node"]
    }
    assert {node for node, values in in_force.items() if "0" in values} == {"ward-pc"}
    # Off for the first half hour.
    assert len(in_force["ward-pc"]) == 151
    flood = max(
        (float(value), series["metric"]["node"])
        for series in answers["Denied packets, by node"]
        for _, value in series["values"]
    )
    assert flood[1] == "node-a" and flood[0] > 50


def test_each_panel_has_its_place() -> None:
    cells = [
        (x, y)
        for panel in PANELS
        for grid in [panel["gridPos"]]
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)


def test_data_source_and_nodes_are_the_users_choice() -> None:
    assert [variable["name"] for variable in JSON["templating"]["list"]] == ["datasource", "node"]
    for panel in PANELS:
        (target,) = panel["targets"]
        assert (
            target["datasource"]
            == panel["datasource"]
            == {"type": "prometheus", "uid": "${datasource}"}
        )
        assert 'node=~"$node"' in target["expr"]


def test_the_agent_has_all_metrics_that_are_asked_for() -> None:
    """By name, in the agent's source; that it serves them is for the tests of the agent."""
    source = (CHART / "files" / "linux" / "metrics.sh").read_text(encoding="utf-8")
    asked = json.dumps(JSON) + (CHART / "files" / "monitoring" / "alerts.yaml").read_text("utf-8")
    names = set(re.findall(r"\budp_security_(\w+)[{\[)]", asked)) | {"enforced"}
    assert len(names) > 5
    assert [name for name in names if not re.search(rf'\("{name}"', source)] == []


def test_the_picture_is_of_this_dashboard() -> None:
    text = dashboard.PICTURE.read_text(encoding="utf-8")
    remedy = "draw it anew: build/env python build/dashboard.py"
    assert f"<!-- made of {dashboard.made_of()} -->" in text, remedy
