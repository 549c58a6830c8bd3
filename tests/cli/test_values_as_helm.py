# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Values are read, merged and set exactly as Helm does it: held against Helm itself.

A chart of one template prints what it sees; Hypothesis makes files, nulls and --set options.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from udp_security.values.load import ValuesFile
from udp_security.values.merge import Values
from udp_security.values.problem import ValuesError

TEMPLATE = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: values}
data:
  values: {{ .Values | toJson | quote }}
"""
HELMS = ["helm", "UDP_SECURITY_HELM3"]


@pytest.fixture(scope="module", params=HELMS)
def helm_path(request: pytest.FixtureRequest) -> str:
    """The Helm on PATH, and the Helm 3 that the variable names, if it does."""
    if request.param == "helm":
        return str(request.getfixturevalue("helm"))
    if path := os.environ.get(request.param):
        return path
    pytest.skip(f"{request.param} does not name a Helm 3")


class Debug:
    """The chart that prints its values, in a folder of its own."""

    def __init__(self, folder: Path, helm: str) -> None:
        self.folder = folder
        self._helm = helm
        (folder / "chart" / "templates").mkdir(parents=True)
        chart = "apiVersion: v2\nname: debug\nversion: 0.1.0\n"
        (folder / "chart" / "Chart.yaml").write_text(chart, encoding="utf-8")
        (folder / "chart" / "templates" / "v.yaml").write_text(TEMPLATE, encoding="utf-8")

    def values(self, defaults: str, files: list[str], sets: list[str]) -> Any:
        """What Helm sees, None when it refuses."""
        (self.folder / "chart" / "values.yaml").write_text(defaults, encoding="utf-8")
        command = [self._helm, "template", str(self.folder / "chart")]
        for number, text in enumerate(files):
            path = self.folder / f"{number}.yaml"
            path.write_text(text, encoding="utf-8")
            command += ["-f", str(path)]
        for expression in sets:
            command += ["--set", expression]
        result = subprocess.run(command, check=False, capture_output=True, text=True)
        if result.returncode:
            return None
        return json.loads(yaml.safe_load(result.stdout)["data"]["values"])


@pytest.fixture(scope="module")
def debug(tmp_path_factory: pytest.TempPathFactory, helm_path: str) -> Iterator[Debug]:
    """One folder for all examples: writing is cheaper than starting Helm."""
    folder = tmp_path_factory.mktemp("debug")
    yield Debug(folder, helm_path)
    shutil.rmtree(folder)


def ours(defaults: str, files: list[str], sets: list[str]) -> Any:
    """What we see, None when we refuse."""
    try:
        loaded = [ValuesFile(str(number), text) for number, text in enumerate(files)]
        return Values(ValuesFile("defaults", defaults), loaded, sets).merged
    except ValuesError:
        return None


KEYS = st.sampled_from(["a", "b", "c", "d"])
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-9, 70000),
    st.sampled_from(["", "x", "5", "10.0.0.0/8", "null", "true", "fd00::/8", "5000-5100"]),
)
# Nulls that a default holds have rules of their own in each version of Helm; the chart has none.
SOLID = LEAVES.filter(lambda leaf: leaf is not None)


def trees(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    inner = st.recursive(
        leaves,
        lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=3),
        max_leaves=6,
    )
    return st.dictionaries(KEYS, inner, max_size=4)


PATHS = st.builds(
    lambda key, steps: key + "".join(steps),
    KEYS,
    st.lists(st.one_of(st.builds(".{}".format, KEYS), st.sampled_from(["[0]", "[1]", "[2]"]))),
)
TEXTS = st.sampled_from(
    ["1", "-1", "007", "0", "true", "NULL", "x", "", "{1,x}", "{}", r"a\,b", "x y", "1.5", "{a}"]
)
SETTINGS = st.lists(st.builds("{}={}".format, PATHS, TEXTS), min_size=1, max_size=3).map(",".join)
HOW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@HOW
@given(
    defaults=trees(SOLID),
    files=st.lists(trees(LEAVES), max_size=3),
    sets=st.lists(SETTINGS, max_size=2),
)
def test_merging_and_setting(
    debug: Debug, defaults: dict[str, Any], files: list[dict[str, Any]], sets: list[str]
) -> None:
    texts = [json.dumps(file) for file in files]
    expected = debug.values(json.dumps(defaults), texts, sets)
    assert ours(json.dumps(defaults), texts, sets) == expected


SCALARS = [
    *["", "~", "null", "Null", "nULL", "true", "TRUE", "tRUE", "yes", "on", "y", "Off", "N", "no"],
    *["0", "514", "-5", "+5", "1_000", "010", "0o17", "08", "0x1F", "-0x10", "0b101", "1.0", "1.5"],
    *["1e3", ".5", "5.", "+.5e1", "5000-5100", "12:30:45", "1:2:3:4:5:6:7:8", "fd00::7", "'::'"],
    *["10.0.0.1", "10.1", "2026-01-02", "2026-01-02T03:04:05Z", "0x", "1e", "=", "_1", "'5'"],
    *['"a\\tb"', "'yes'", "!!str 5", "x: y", "99999999999999999999", "-.5", "+", "1.2.3", "1_0.5"],
]


def test_scalars(debug: Debug) -> None:
    text = "".join(f"k{number}: {scalar}\n" for number, scalar in enumerate(SCALARS))
    text = text.replace("x: y", "'x: y'")
    assert ours("{}", [text], []) == debug.values("{}", [text], [])


@pytest.mark.parametrize(
    "text",
    [
        "a: &a {x: 1, y: 2}\nb: {x: 0, <<: *a, y: 3}\nc: {<<: [*a, {x: 9, z: 8}]}\nd: *a\n",
        "1: a\non: b\n1.5: c\n0x10: d\n",
        "a: |\n  x\n  y\nb: >-\n  x\n  y\nc: 'it''s'\nd: \"\\u00e9\"\n",
        "\ufeffa: 1\n",
        "a:\n- 1\n-\n- {}\n- []\nb:\n",
        "# nothing\n",
    ],
)
def test_notation(debug: Debug, text: str) -> None:
    assert ours("{}", [text], []) == debug.values("{}", [text], [])


@pytest.mark.parametrize(
    "expression",
    [
        *["a", "a,b=1", "a.b", "a[x]=1", "a[-1]=1", "a[65537]=1", "a[0]b=1", "a={x"],
        *["s.x=1", "s[0]=1", "l[0][0]=1", ".".join("a" * 40) + "=1"],
    ],
)
def test_what_set_refuses(debug: Debug, expression: str) -> None:
    file = '{"s": "text", "l": ["x"]}'
    assert debug.values("{}", [file], [expression]) is None
    assert ours("{}", [file], [expression]) is None
