# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""How the schema's and the semantic errors come together, with their places."""

from pathlib import Path

import pytest

from udp_security.chart import chart_dir
from udp_security.values import validation
from udp_security.values.problem import ValuesError


def told(tmp_path: Path, text: str, *sets: str) -> list[str]:
    file = tmp_path / "v.yaml"
    file.write_text(text, encoding="utf-8")
    values = validation.load(chart_dir(), [str(file)], sets)
    problems = validation.check(values, chart_dir())
    return [str(problem).removeprefix(f"{tmp_path}/") for problem in problems]


GOOD = "{name: good, direction: ingress, ports: [1]}"
HOST_BITS = "{name: bits, direction: ingress, ports: [1], from: [10.0.0.1/8]}"
BAD_FORM = "{name: form, direction: ingress, ports: [0]}"


def test_semantic_errors_have_places(tmp_path: Path) -> None:
    (problem,) = told(tmp_path, f"rules:\n- {GOOD}\n- {HOST_BITS}\n")
    assert problem.startswith('v.yaml:3:55: rules[1].from[0]: rule "bits": from "10.0.0.1/8" has')
    assert "10.0.0.0/8" in problem


def test_schema_errors_come_first_and_other_rules_are_still_checked(tmp_path: Path) -> None:
    problems = told(tmp_path, f"rules:\n- {HOST_BITS}\n- {BAD_FORM}\n- {GOOD}\n- {GOOD}\n")
    assert [problem.split(": ")[:2] for problem in problems] == [
        ["v.yaml:3:44", "rules[1].ports[0]"],
        ["v.yaml:2:55", "rules[0].from[0]"],
        ["v.yaml:5:10", "rules[3].name"],
    ]


def test_a_lifeline_is_not_called_cut_off_while_a_rule_cannot_be_read(tmp_path: Path) -> None:
    # The rule may be the one that covers it.
    problems = told(tmp_path, f"presets: {{dns: false}}\nrules: [{BAD_FORM}]\n")
    assert len(problems) == 1
    (problem,) = told(tmp_path, f"presets: {{dns: false}}\nrules: [{GOOD}]\n")
    assert problem.startswith("v.yaml:1:16: presets.dns: lifeline dns is cut off")


@pytest.mark.parametrize(
    ("text", "semantic"),
    [
        ("cluster: {podCIDRs: [x]}", False),
        ("presets: {dnss: true}", False),
        ("linux: {scope: x}", False),
        ("linux: 5", False),
        ("linux: {pollSeconds: 0}", True),
        ("mode: x", True),
        ("unknown: x", True),
    ],
)
def test_which_schema_errors_forbid_semantic_checks(
    tmp_path: Path, text: str, semantic: bool
) -> None:
    problems = told(tmp_path, f"{text}\nrules: [{HOST_BITS}]\n")
    assert len(problems) == 1 + semantic


def test_problems_of_all_unreadable_files_are_told(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("a: [", encoding="utf-8")
    with pytest.raises(ValuesError) as caught:
        validation.load(chart_dir(), [str(bad), str(tmp_path / "none.yaml")], [])
    assert [Path(problem.position.file).name for problem in caught.value.problems] == [
        "bad.yaml",
        "none.yaml",
    ]
    assert caught.value.unreadable


def test_order_is_file_by_file_then_set(tmp_path: Path) -> None:
    (tmp_path / "z.yaml").write_text("b: 1\n", encoding="utf-8")
    (tmp_path / "a.yaml").write_text("c: 1\nd: 1\n", encoding="utf-8")
    files = [str(tmp_path / "z.yaml"), str(tmp_path / "a.yaml")]
    values = validation.load(chart_dir(), files, ["a=1", "e=1"])
    paths = [problem.path for problem in validation.check(values, chart_dir())]
    assert paths == [("b",), ("c",), ("d",), ("a",), ("e",)]
