# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Reading one values file: values, positions, and everything that cannot be read."""

from pathlib import Path

import pytest

from udp_security.values.load import ValuesFile, read
from udp_security.values.problem import Position, ValuesError


def refused(text: str) -> list[str]:
    with pytest.raises(ValuesError) as caught:
        ValuesFile("v.yaml", text)
    return [str(problem) for problem in caught.value.problems]


def test_values_and_positions() -> None:
    file = ValuesFile(
        "v.yaml",
        "mode: audit\nrules:\n  - name: a\n    ports: [1, 22]\n# ü\n"
        "linux: {ü: 1, image: {tag: x}}\n",
    )
    assert file.values == {
        "mode": "audit",
        "rules": [{"name": "a", "ports": [1, 22]}],
        "linux": {"ü": 1, "image": {"tag": "x"}},
    }
    for path, line, column in [
        (("mode",), 1, 7),
        (("rules",), 2, 1),
        (("rules", 0), 3, 5),
        (("rules", 0, "name"), 3, 11),
        (("rules", 0, "ports", 1), 4, 16),
        (("linux", "image", "tag"), 6, 28),
    ]:
        position, length, _ = file.find(path)
        assert (position, length) == (Position("v.yaml", line, column), len(path))


def test_find_tells_how_far_it_came_and_whether_others_could_go_on() -> None:
    file = ValuesFile("v.yaml", "a: {b: 1}\nc: [x]\nd: 5\n")
    assert file.find(("a", "z"))[1:] == (1, False)
    assert file.find(("c", 4))[1:] == (1, True)
    assert file.find(("d", "z"))[1:] == (1, True)
    assert file.find(("z",)) == (Position("v.yaml", 1, 1), 0, False)


def test_key_positions() -> None:
    file = ValuesFile("v.yaml", "a:\n  b: 1\nr: [{k: 1}]\n")
    assert file.find_key(("a", "b")) == Position("v.yaml", 2, 3)
    assert file.find_key(("r", 0, "k")) == Position("v.yaml", 3, 6)
    assert file.find_key(("a", "c")) is None
    assert file.find_key(("r", 7, "k")) is None


def test_empty_files_are_empty_maps() -> None:
    for text in ("", "# nothing\n", "---\n", "null\n"):
        assert ValuesFile("v.yaml", text).values == {}


def test_keys_become_text() -> None:
    assert ValuesFile("v", "1: a\non: b\n1.5: c\n'2': d\n").values == {
        "1": "a",
        "true": "b",
        "1.5": "c",
        "2": "d",
    }


def test_anchors_and_merge_keys() -> None:
    text = "a: &a {x: 1, w: 2}\nb: {x: 0, <<: *a, w: 3}\nc: {<<: [*a, {x: 9, z: 8}]}\nd: *a\n"
    file = ValuesFile("v", text)
    assert file.values["b"] == {"x": 1, "w": 3}
    assert file.values["c"] == {"x": 1, "w": 2, "z": 8}
    assert file.values["d"] == {"x": 1, "w": 2}
    assert file.values["d"] is not file.values["a"]
    assert file.find(("c", "z"))[0] == Position("v", 3, 24)
    assert file.find(("c", "w"))[0] == Position("v", 1, 17)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [\n", "v.yaml:2:1: not YAML:"),
        ("a: 1\n\tb: 2\n", "v.yaml:2:1: not YAML:"),
        ("a: 'x\n", "not YAML: while scanning a quoted scalar"),
        ("a: *b\n", "v.yaml:1:4: not YAML: found undefined alias"),
        ("x: y\na: \x01\n", "v.yaml:2:4: not YAML: control characters are not allowed"),
        ("- a\n", "v.yaml:1:1: values must be a map"),
        ("5\n", "v.yaml:1:1: values must be a map"),
        ("a: 1\n---\nb: 2\n", "v.yaml:2:1: a second document begins here"),
        ("a: !foo 5\n", "v.yaml:1:4: a: unknown tag !foo"),
        ("a: .inf\n", "v.yaml:1:4: a: .inf is not a number"),
        ("a: {b: 1, c: 2, b: 3}\n", "v.yaml:1:17: a.b: this key is here twice, first in line 1"),
        ("? [a]\n: b\n", "a key must be text"),
        ("~: b\n", "v.yaml:1:1: a key must be text"),
        ("a: {<<: 5}\n", "v.yaml:1:5: << must be followed by a map"),
        ("a: &a [*a]\n", "an alias inside itself"),
        ("[" * 50_000, "nested more than 100 levels"),
    ],
)
def test_refused(text: str, message: str) -> None:
    (problem,) = refused(text)
    assert message in problem


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    (problem,) = refused("\n".join(lines))
    assert "more than 1000000 values" in problem


def test_all_duplicates_are_told_at_once() -> None:
    problems = refused("a: 1\nr:\n- {x: 1, x: 2}\na: 2\nb: !t x\n")
    assert [problem.split(": ")[0] for problem in problems] == [
        "v.yaml:4:1",
        "v.yaml:3:10",
        "v.yaml:5:4",
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_encodings_that_helm_reads(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "v.yaml"
    path.write_bytes("a: ü\n".encode(encoding))
    assert read(str(path)).values == {"a": "ü"}


def test_utf16_is_named(tmp_path: Path) -> None:
    path = tmp_path / "v.yaml"
    path.write_bytes("a: 1\n".encode("utf-16"))
    with pytest.raises(ValuesError, match=r"1:1: is UTF-16 text \(save the file as UTF-8\)"):
        read(str(path))


def test_other_bytes_are_placed(tmp_path: Path) -> None:
    path = tmp_path / "v.yaml"
    path.write_bytes(b"a: 1\nb: \xc3\xbc\xff\n")
    with pytest.raises(ValuesError) as caught:
        read(str(path))
    assert str(caught.value) == f"{path}:2:5: is not UTF-8 text (save the file as UTF-8)"
    assert not caught.value.unreadable


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.yaml", "no such file"), (tmp_path, "is a directory")):
        with pytest.raises(ValuesError, match=f"{path}:1:1: cannot be read: {reason}") as caught:
            read(str(path))
        assert caught.value.unreadable
