# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Rules added to the text of a values file: there, valid, and nothing else changed."""

from __future__ import annotations

import difflib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import examples, values

from udp_security.values.edit import Addition, EditError, add, fragment
from udp_security.values.load import ValuesFile
from udp_security.values.rewrite import Original, RewriteError

RULE: dict[str, Any] = {
    "name": "ingress-514-from-gateway",
    "description": 'learnt: "ü" # not a comment',
    "direction": "ingress",
    "ports": [514, "5000-5001"],
    "from": ["10.1.0.7", "fd00::7", "::1", "::/0"],
    "to": ["172.19.1.100"],
    "os": ["linux"],
}
ADDITION = Addition(
    rules=[(RULE, ["seen\n\x1b[31m often", "and " * 40]), ({**RULE, "name": "other"}, [])],
    presets=[("ntp", ["asked for"]), ("quic", [])],
)

FILES = {
    "empty": "",
    "comments": "# mine\n\n# and yours\n",
    "no rules": "mode: audit\n",
    "no final newline": "mode: audit",
    "a document start": "---\nmode: audit\n...\n",
    "an empty list": "rules: []  # none yet\n#  - name: example\nmode: audit\n",
    "an empty list at the end": "mode: audit\nrules: []",
    "an empty list on lines": "rules: [\n  # none yet\n]\npresets: {\n}\n",
    "a flow list": "rules: [{name: a, direction: egress, ports: [1]}]  # one\n",
    "a flow list on lines": (
        "rules: [\n  {name: a, direction: egress,\n   ports: [1],}, # why\n]\n"
        "presets: {dns: true,}\n"
    ),
    "JSON": '{"mode": "audit", "rules": [], "presets": {"ntp": false}}',
    "JSON without": '{"mode": "audit"}',
    "nothing in JSON": "{}\n",
    "indented": " mode: audit\n linux:\n   enabled: true\n",
    "dashes below the key": (
        "# top\nrules:\n- name: a   # spaces\n  direction: egress\n"
        "  ports:   [ 1,\n      2 ]\n\n# end\npresets: {ntp: false, dns: true}\n"
    ),
    "anchors": (
        "x: &ports [1, 2]\nrules: &mine\n  # first\n  - &first\n    name: a\n"
        "    direction: egress\n    ports: *ports\n  - <<: *first\n    name: 'b'\n"
        "    to: &to [10.0.0.1]\n    from: *to\nnext: *to\n"
    ),
    "a dash alone": "rules:\n  -\n    name: a\n    direction: egress\n    ports:\n    - 1\n",
    "a block scalar": (
        "rules:\n  - name: a\n    direction: egress\n    ports: [1]\n    description: |\n"
        "      one\n\n      two\n\nmode: audit\n"
    ),
    "a kept block scalar": (
        "rules:\n  - name: a\n    direction: egress\n    ports: [1]\n    description: |+\n"
        "      one\n\n\n"
    ),
    "an empty last value": "rules:\n  - name: a\n    from:\npresets:\n  dns:\n",
    "quotes": "'rules':\n    -   'name': \"a\"\n\"presets\":\n      'ntp':   'false' # no\n",
    "hex": "linux: {verdictCache: {mask: 0xff000000}}\npresets:\n  ntp: off\n",
    "null": "presets:\n    dns: ~\n\n\n# end\n",
    "an anchor and a tag at nothing": (
        "rules: &site !!seq []  # none yet\npresets: !!map &on\n  {ntp: &no false}\n"
    ),
    "an empty switch": "presets:\n  ntp: &no # not yet\n  quic:\n  dns: true\n",
}


def expected(before: dict[str, Any]) -> dict[str, Any]:
    return {
        **before,
        "rules": [*before.get("rules", ()), *(rule for rule, _ in ADDITION.rules)],
        "presets": {**before.get("presets", {}), "ntp": True, "quic": True},
    }


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("text", FILES.values(), ids=FILES.keys())
def test_all_is_there_and_nothing_else_changed(text: str, newline: str) -> None:
    text = text.replace("\n", newline)
    changed = add("f", text, ADDITION)
    assert ValuesFile("f", changed).values == expected(ValuesFile("f", text).values)
    # A reader with other rules than Helm's finds the same names.
    assert [rule["name"] for rule in yaml.safe_load(changed)["rules"]][-2:] == [
        RULE["name"],
        "other",
    ]
    assert changed.count("\n") == changed.count(newline if newline in text else "\n")
    assert text == "" or changed.endswith("\n") == text.endswith("\n")
    # Whatever goes makes room for the new: an empty list, a switch, the end of a line in brackets.
    gone = [
        line[2:].strip()
        for line in difflib.ndiff(text.splitlines(), changed.splitlines())
        if line.startswith("- ")
    ]
    assert all(
        any(mark in line for mark in ("[]", "ntp", "quic:", "{", "}", "]")) for line in gone
    ), gone


@pytest.mark.parametrize("text", ["rules: &site []\n", "rules: &site !!seq\n  []\n"])
def test_an_empty_list_keeps_its_anchor(text: str) -> None:
    changed = add("f", text, ADDITION)
    assert changed.startswith(text.partition("[]")[0].rstrip(" "))
    assert yaml.safe_load(f"{changed}copy: *site\n")["copy"][0]["name"] == RULE["name"]


@pytest.mark.parametrize("text", ["presets: {ntp: &no false}\n", "presets:\n  ntp: &no\n"])
def test_a_switch_keeps_its_anchor(text: str) -> None:
    assert "ntp: &no true" in add("f", text, ADDITION)


@pytest.mark.parametrize("text", [text for name, text in FILES.items() if "JSON" in name])
def test_json_stays_json(text: str) -> None:
    changed = add("f", text, ADDITION)
    assert json.loads(changed) == expected(json.loads(text))


def test_a_file_in_the_midst_of_a_block_scalar_gets_its_last_newline() -> None:
    text = "rules:\n  - name: a\n    description: |\n      no newline"
    changed = add("f", text, ADDITION)
    assert changed.startswith(f"{text}\n  # seen") and not changed.endswith("\n")
    assert ValuesFile("f", changed).values == expected(ValuesFile("f", f"{text}\n").values)


def test_a_block_scalar_that_stays_the_end_of_the_file_stays_as_it_is() -> None:
    text = "rules: []\npresets: {}\nother: |\n  no newline"
    changed = add("f", text, ADDITION)
    assert ValuesFile("f", changed).values == expected(ValuesFile("f", text).values)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("last", "following"),
    [
        ("  - name: a\n    # from: [10.1.0.0/16]\n", "mode: audit\n"),
        ("  - name: a # b\n\n    # c\n   # d\n \n      # e\n", "\n  # end\n    # of all\n"),
        ("  - name: a\n    # without a newline", ""),
        ("  - name: a\n", "  # - name: b\n  #   ports: [1]\nmode: audit\n"),
        ("  - name: a\n", "\n# The mode\nmode: audit\n"),
        # As some editors comment lines out.
        ("  - name: a\n#    from: [10.1.0.0/16]\n", "#  - name: b\n#    ports: [1]\n"),
        ("  - name: a\n", "\n#    Modes\nmode: audit\n"),
        ("- name: a\n#  from: [10.1.0.0/16]\n", "# The mode\nmode: audit\n"),
        ("- name: a\n  # from: [10.1.0.0/16]\n", "#- name: b\n"),
        ("  - name: a\n    description: |\n      b\n    # c\n", "mode: audit\n"),
        ("  - name: a\n    from:\n    # - 10.1.0.0/16\n", "mode: audit\n"),
        ("  - name: a\n    from: [\n    # c\n    ] # d\n     # e\n", "...\n    # f\n"),
    ],
)
def test_comments_of_the_last_rule_stay_with_it(last: str, following: str, newline: str) -> None:
    last, following = (part.replace("\n", newline) for part in (last, following))
    head = f"# mine{newline}rules:{newline}{last}"
    changed = add("f", head + following, Addition([(RULE, ["new"])]))
    assert changed.startswith(head) and changed.endswith(following)
    assert changed.removeprefix(head).split()[:4] == ["#", "new", "-", "name:"]


def test_comments_of_the_last_preset_and_of_no_rules_stay_above() -> None:
    text = "presets:\n  dns: true\n    # why\n  # ntp: true\nrules: []\n   # none yet\n# end\n"
    changed = add("f", text, Addition(ADDITION.rules[1:], ADDITION.presets[1:]))
    assert "    # why\n  quic: true\n  # ntp: true\n" in changed
    assert "rules:\n   # none yet\n  - name: other\n" in changed
    assert changed.endswith("\n# end\n")


def test_comments_stay_where_they_are() -> None:
    changed = add("f", FILES["dashes below the key"], ADDITION)
    before, rules = FILES["dashes below the key"].split("\n\n# end\n")
    assert changed.startswith(f"{before}\n# seen [31m often\n# and and")
    assert changed.endswith("\n\n# end\npresets: {ntp: true, dns: true, quic: true}\n")
    assert rules


@pytest.mark.parametrize(
    "text",
    [
        "x: &r []\nrules: *r\n",
        "x: &r {rules: [{name: a}]}\n<<: *r\n",
        "rules: ~\n",
        "x: &r [1]\nrules: &s []\nother: *s\n",
        "presets: &p {ntp: &n false}\nother: *n\n",
        "mode:\taudit\n",
    ],
)
def test_what_cannot_be_added_to_is_refused(text: str) -> None:
    with pytest.raises(EditError, match=r"^f: .*\("):
        add("f", text, ADDITION)


def test_a_tab_is_told_with_its_place() -> None:
    with pytest.raises(EditError, match=r"f: has a tab in line 2, column 6 \(use spaces"):
        add("f", "# no\nmode:\taudit\n", ADDITION)


@pytest.mark.parametrize("text", ["~", "null\n", "# c\n~ # d\n", "--- ~\n", "--- &x ~\n"])
def test_a_null_alone_makes_room(text: str) -> None:
    changed = add("f", text, ADDITION)
    assert ValuesFile("f", changed).values == expected({})
    assert changed.count("#") >= text.count("#")
    assert changed.count("&x") == text.count("&x")


@examples(20)
@given(values(), values(), st.sampled_from([None, True, False]), st.booleans())
def test_any_rules_to_any_values(
    old: dict[str, Any], new: dict[str, Any], flow: bool | None, sort: bool
) -> None:
    rules = [(rule, [rule.get("description", "")]) for rule in new["rules"]]
    for text in (
        yaml.safe_dump(old, default_flow_style=flow, sort_keys=sort, allow_unicode=True),
        fragment(Addition([(rule, ()) for rule in old["rules"]])),
    ):
        before = ValuesFile("f", text).values
        after = ValuesFile("f", add("f", text, Addition(rules))).values
        if rules:
            before["rules"] = [*before.get("rules", ()), *new["rules"]]
        assert after == before


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "values.yaml"
    path.write_bytes(b"\xef\xbb\xbfmode: audit\r\n")
    path.chmod(0o640)
    return path


def test_a_file_is_replaced_as_it_was(file: Path) -> None:
    link = file.with_name("link.yaml")
    link.symlink_to(file.name)
    original = Original(str(link))
    assert original.text == "mode: audit\r\n"
    original.replace("mode: enforce\r\n")
    assert file.read_bytes() == b"\xef\xbb\xbfmode: enforce\r\n"
    assert link.is_symlink() and file.stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(file.parent)) == ["link.yaml", "values.yaml"]


def test_a_read_only_file_stays(file: Path) -> None:
    file.chmod(0o444)
    with pytest.raises(RewriteError, match="read-only"):
        Original(str(file))


def test_a_file_that_somebody_changed_stays(file: Path) -> None:
    original = Original(str(file))
    file.write_text("mode: enforce\n")
    with pytest.raises(RewriteError, match="changed by somebody else"):
        original.replace("mode: audit\n")
    assert file.read_text() == "mode: enforce\n"
    assert os.listdir(file.parent) == ["values.yaml"]
