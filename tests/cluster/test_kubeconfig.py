# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Kubeconfig files are read and put together as kubectl does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from udp_security.cluster.kubeconfig import impersonation, merged, user_of


def config(name: str, user: dict[str, Any], current: str | None = None) -> str:
    """A kubeconfig with one of everything, each of that name."""
    document: dict[str, Any] = {
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}"}}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }
    return yaml.safe_dump({**document, **({"current-context": current} if current else {})})


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Those of $KUBECONFIG; none is there yet."""
    paths = [tmp_path / part / "config" for part in ("one", "two", "three")]
    for path in paths:
        path.parent.mkdir()
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(map(str, paths)))
    return paths


def test_several_files(files: list[Path]) -> None:
    """The first one to say something wins, and an empty one says nothing."""
    files[0].write_text("# nothing\n")
    files[1].write_text(config("a", {"token": "first"}, current="a"))
    files[2].write_text(config("a", {"token": "second"}, current="b"))
    whole = merged(None)
    assert user_of(whole, None) == ("a", {"token": "first"})
    assert [len(whole[name]) for name in ("clusters", "contexts", "users")] == [1, 1, 1]
    files[1].unlink()
    with pytest.raises(ValueError, match="the kubeconfig has no context 'b'"):
        user_of(merged(None), None)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", " is not YAML: "),
        ("a: \x01", " is not YAML: "),
        ("[]", " is not a kubeconfig"),
        ("[" * 100_000, ": it is nested too deeply"),
        ("users: 5", ": users is not a list"),
        ("users: [5]", ": users has an item without a name"),
        ("users: [{name: 5}]", ": users has an item without a name"),
        ("users: [{name: u, user: [x]}]", ": users 'u' has no mapping 'user'"),
    ],
)
def test_the_bad_one_of_several_files(files: list[Path], text: str, why: str) -> None:
    files[0].write_text(config("a", {}, current="a"))
    files[2].write_text(text)
    with pytest.raises(ValueError, match=why) as raised:
        merged(None)
    assert str(files[2]) in str(raised.value)
    assert str(files[0]) not in str(raised.value)


def test_places_of_files(files: list[Path]) -> None:
    """They are relative to the kubeconfig that names them; a plugin's name alone is on PATH."""
    places = {"tokenFile": "t", "client-certificate": "../c", "client-key": "/k"}
    files[0].write_text(config("a", {**places, "exec": {"command": "bin/login"}}, current="a"))
    files[1].write_text(config("b", {"exec": {"command": "login"}}))
    folder = files[0].parent
    whole = merged(None)
    assert user_of(whole, None)[1] == {
        "tokenFile": f"{folder}/t",
        "client-certificate": f"{folder}/../c",
        "client-key": "/k",
        "exec": {"command": f"{folder}/bin/login"},
    }
    assert user_of(whole, "b")[1] == {"exec": {"command": "login"}}


def test_what_a_context_lacks(files: list[Path]) -> None:
    contexts = [
        {"name": "a", "context": {"cluster": "empty", "user": "u"}},
        {"name": "b", "context": {"cluster": "c"}},
    ]
    clusters = [{"name": "empty"}, {"name": "c", "cluster": {"server": "https://c"}}]
    files[0].write_text(yaml.safe_dump({"contexts": contexts, "clusters": clusters}))
    for context, why in (
        ("a", "no server of the cluster of context 'a'"),
        ("b", "no user of context 'b'"),
        ("c", "no context 'c'"),
        (None, "no context is set"),
    ):
        with pytest.raises(ValueError, match=why):
            user_of(merged(None), context)


def test_impersonation() -> None:
    extra = {"acme.com/project%": ["x", "y"], "ä": ["z"]}
    user = {"as": "bob", "as-uid": "7", "as-groups": ["g", "h"], "as-user-extra": extra}
    assert impersonation(user) == [
        ("Impersonate-User", "bob"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Group", "g"),
        ("Impersonate-Group", "h"),
        ("Impersonate-Extra-acme.com%2Fproject%25", "x"),
        ("Impersonate-Extra-acme.com%2Fproject%25", "y"),
        ("Impersonate-Extra-%C3%A4", "z"),
    ]
    assert impersonation({"token": "t"}) == []


@pytest.mark.parametrize(
    "user",
    [
        {"as-groups": ["system:masters"]},
        {"as-uid": "7"},
        {"as": 5},
        {"as": "a\nb"},
        {"as": "a", "as-groups": "g"},
        {"as": "a", "as-groups": ["g", "\x7f"]},
        {"as": "a", "as-user-extra": {"k": "v"}},
        {"as": "a", "as-user-extra": ["k"]},
        {"as": "a", "as-user-extra": {"k": [None]}},
    ],
)
def test_impersonation_that_cannot_be(user: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^(as-|what Impersonate-)"):
        impersonation(user)
