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


def places(problems: list[str]) -> list[str]:
    return [" ".join(problem.split(": ")[:2]) for problem in problems]


def test_errors_of_form_and_meaning_come_in_reading_order(tmp_path: Path) -> None:
    problems = told(tmp_path, f"rules:\n- {HOST_BITS}\n- {BAD_FORM}\n- {GOOD}\n- {GOOD}\n")
    assert places(problems) == [
        "v.yaml:2:55 rules[0].from[0]",
        "v.yaml:3:44 rules[1].ports[0]",
        "v.yaml:5:10 rules[3].name",
    ]


def test_everything_about_a_rule_is_told_at_once(tmp_path: Path) -> None:
    text = f"""\
rules:
- {GOOD}
- name: good
  direction: egress
  ports: [0, "9-7"]
  to: [172.21.0.10, 10.0.0.1/8, host.example]
"""
    assert places(told(tmp_path, text)) == [
        "v.yaml:3:9 rules[1].name",
        "v.yaml:5:11 rules[1].ports[0]",
        "v.yaml:5:14 rules[1].ports[1]",
        "v.yaml:6:8 rules[1].to[0]",
        "v.yaml:6:21 rules[1].to[1]",
        "v.yaml:6:33 rules[1].to[2]",
    ]


@pytest.mark.parametrize(
    ("rule", "paths"),
    [
        # Keys without which a rule is none, or that have no list: the others are still checked.
        ("ports: [], to: [10.0.0.1/8]", ["rules[0].ports", "rules[0].to[0]"]),
        ("ports: 5, to: [10.0.0.1/8]", ["rules[0].ports", "rules[0].to[0]"]),
        ("ports: [0], to: [10.0.0.1/8]", ["rules[0].ports[0]", "rules[0].to[0]"]),
        ("to: [10.0.0.1/8]", ["rules[0]", "rules[0].to[0]"]),
        ('ports: ["9-7"], form: [x]', ["rules[0].ports[0]", "rules[0].form"]),
        ('ports: ["9-7"], description: 5', ["rules[0].ports[0]", "rules[0].description"]),
        ('ports: ["9-7"], from: x', ["rules[0].ports[0]", "rules[0].from"]),
        # Whether there is a common family is not known.
        ("ports: [1], from: [10.0.0.0/8, x], to: [fd00::1]", ["rules[0].from[1]"]),
        ("ports: [1], from: [10.0.0.0/8], to: [fd00::1, x]", ["rules[0].to[1]"]),
        ("ports: [1], from: [10.0.0.0/8], to: [x]", ["rules[0].to[0]"]),
        # Nor for which systems the rule is.
        ("ports: [1], to: [172.21.0.1], os: [lin]", ["rules[0].os[0]"]),
        ("ports: [1], to: [172.21.0.1], os: lin", ["rules[0].os"]),
        (
            "ports: [1], to: [172.21.0.1], os: [win, linux]",
            ["rules[0].to[0]", "rules[0].os[0]"],
        ),
        (
            "ports: [1], to: [172.21.0.1], os: [linux, linux]",
            ["rules[0].to[0]", "rules[0].os"],
        ),
    ],
)
def test_what_is_still_told_of_a_rule_of_the_wrong_form(
    tmp_path: Path, rule: str, paths: list[str]
) -> None:
    problems = told(tmp_path, f"rules:\n- {{name: a, direction: forward, {rule}}}\n")
    assert [problem.split(": ")[1] for problem in problems] == paths


@pytest.mark.parametrize("bad", ["7", "null", "{}", "{name: 5}", "{name: X, ports: [1]}", "[]"])
def test_a_rule_that_is_none_does_not_hide_the_others(tmp_path: Path, bad: str) -> None:
    problems = told(tmp_path, f"rules:\n- {bad}\n- {HOST_BITS}\n")
    assert [problem for problem in problems if problem.startswith("v.yaml:3:")] == problems[-1:]
    assert "has host bits" in problems[-1]


def test_a_name_is_taken_twice_also_by_a_rule_of_the_wrong_form(tmp_path: Path) -> None:
    form = "{name: good, direction: inward, ports: [0]}"
    problems = told(tmp_path, f"rules:\n- {GOOD}\n- {form}\n- {GOOD}\n")
    names = [problem for problem in problems if "have this name" in problem]
    assert places(names) == ["v.yaml:3:10 rules[1].name", "v.yaml:4:10 rules[2].name"]
    assert "3 rules have this name" in names[0]
    # One that cannot be read is nobody's double.
    assert len(told(tmp_path, "rules: [{name: 5}, {name: 5}]")) == 6


def test_a_rule_without_a_name_is_called_by_its_place(tmp_path: Path) -> None:
    problems = told(tmp_path, 'rules:\n- {direction: ingress, ports: ["9-7"]}\n')
    assert 'rules[0].ports[0]: rule "rules[0]": port range "9-7" ends' in problems[1]


def test_a_cluster_of_the_wrong_form_hides_no_rule(tmp_path: Path) -> None:
    text = f'rules:\n- {HOST_BITS}\n- {{name: r, direction: egress, ports: ["9-7"]}}\n'
    assert places(told(tmp_path, text, "cluster.podCIDRs=10.0.0.0/8")) == [
        "v.yaml:2:55 rules[0].from[0]",
        "v.yaml:3:40 rules[1].ports[0]",
        "--set:1:1 cluster.podCIDRs",
    ]


def test_good_items_of_a_bad_list_are_checked_and_count(tmp_path: Path) -> None:
    text = """\
cluster: {serviceCIDRs: [x, 10.96.0.0/12, 10.0.0.1/8], podCIDRs: []}
linux: {untrackedReplyAddresses: [x, "::ffff:a00:1"]}
rules:
- {name: a, direction: egress, ports: [1], to: [10.96.0.1]}
"""
    assert [problem.split(": ")[1] for problem in told(tmp_path, text)] == [
        "cluster.serviceCIDRs[0]",
        "cluster.serviceCIDRs[2]",
        "cluster.podCIDRs",
        "linux.untrackedReplyAddresses[0]",
        "linux.untrackedReplyAddresses[1]",
        "rules[0].to[0]",
        "rules[0].to[0]",
    ]


def test_no_rule_lies_in_a_default_that_has_been_replaced(tmp_path: Path) -> None:
    text = "rules: [{name: a, direction: egress, ports: [1], to: [172.21.0.1]}]"
    assert len(told(tmp_path, text)) == 1
    (problem,) = told(tmp_path, text, "cluster.serviceCIDRs=10.96.0.0/12")
    assert "cluster.serviceCIDRs" in problem


def test_a_lifeline_is_not_called_cut_off_while_a_rule_cannot_be_read(tmp_path: Path) -> None:
    # The rule may be the one that covers it.
    problems = told(tmp_path, f"presets: {{dns: false}}\nrules: [{BAD_FORM}]\n")
    assert len(problems) == 1
    (problem,) = told(tmp_path, f"presets: {{dns: false}}\nrules: [{GOOD}]\n")
    assert problem.startswith("v.yaml:1:16: presets.dns: lifeline dns is cut off")


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("rules: 5", False),
        ("cluster: 5", False),
        ("cluster: null", False),
        ("cluster: {podCIDRs: [x]}", False),
        ("cluster: {podCIDRs: null}", False),
        ("presets: {dnss: true}", False),
        ("presets: 5", False),
        ("dangerouslyCutOff: [x]", False),
        ("dangerouslyCutOff: null", False),
        ("linux: 5", False),
        ("linux: {enabled: x}", False),
        ("windows: 5", False),
        ("windows: null", False),
        ("windows: {enabled: null}", False),
        ("windows: {scope: x}", True),
        ("linux: {scope: x}", True),
        ("linux: {pollSeconds: 0}", True),
        ("linux: {untrackedReplyAddresses: [x]}", True),
        ("mode: x", True),
        ("unknown: x", True),
    ],
)
def test_when_the_policy_as_a_whole_is_checked(tmp_path: Path, text: str, whole: bool) -> None:
    sets = ["presets.ntp=false", "presets.dhcp=false"] if "presets" not in text else []
    problems = told(tmp_path, f"{text}\n", *sets)
    assert len(problems) == 1 + whole
    if not text.startswith("rules"):
        problems += told(tmp_path, f"{text}\nrules: [{HOST_BITS}]\n", *sets)
        assert len(problems) == 2 * (1 + whole) + 1


def test_a_set_is_blamed_for_the_items_that_it_makes(tmp_path: Path) -> None:
    problems = told(tmp_path, f"rules:\n- {GOOD}\n", "rules[3].name=a")
    assert places(problems) == [
        "--set:1:1 rules[1]",
        "--set:1:1 rules[2]",
        "--set:1:1 rules[3]",
        "--set:1:1 rules[3]",
    ]


def test_remedies_for_what_was_set_are_for_set(tmp_path: Path) -> None:
    (from_file,) = told(tmp_path, "linux: {priorityClassName: 5}\n")
    assert '(put it in quotes: "5")' in from_file
    (from_set,) = told(tmp_path, "", "linux.priorityClassName=5")
    assert '(put it into a values file, in quotes: "5")' in from_set


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
