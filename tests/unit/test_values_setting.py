# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""--set: the language, its positions and its errors. tests/cli holds it against Helm."""

from typing import Any

import pytest

from udp_security.values.problem import Position, ValuesError
from udp_security.values.setting import apply

TABLE: dict[str, Any] = {
    "a=1": {"a": 1},
    "a=1,b=x": {"a": 1, "b": "x"},
    "a.b.c=true": {"a": {"b": {"c": True}}},
    "a=TRUE,b=False,c=null": {"a": True, "b": False, "c": None},
    "a=": {"a": ""},
    "a=,b=1": {"a": "", "b": 1},
    "a=010,b=0,c=-5,d=+5,e=1.5": {"a": "010", "b": 0, "c": -5, "d": 5, "e": "1.5"},
    "a=99999999999999999999": {"a": "99999999999999999999"},
    "a={1,x,true}": {"a": [1, "x", True]},
    "a={}": {"a": [""]},
    "a={x},b=1": {"a": ["x"], "b": 1},
    "a={x}b=1": {"a": ["x"], "b": 1},
    "a[0]=x": {"a": ["x"]},
    "a[2]=x": {"a": [None, None, "x"]},
    "a[0].b=1,a[0].c=2,a[1].b=3": {"a": [{"b": 1, "c": 2}, {"b": 3}]},
    "a[0][1]=x": {"a": [[None, "x"]]},
    r"a\.b=1": {"a.b": 1},
    r"a=x\,y": {"a": "x,y"},
    r"a={x\,y,z}": {"a": ["x,y", "z"]},
    r"a\=b=c": {"a=b": "c"},
    r"a=\\": {"a": "\\"},
    "a=b=c": {"a": "b=c"},
    "rules[0].ports={514,5000-5100}": {"rules": [{"ports": [514, "5000-5100"]}]},
    "a[0].b=": {"a": []},
    "a[0]=1,a[0].b=": {"a": [{"b": ""}]},
    "a.b=": {"a": {"b": ""}},
    "": {},
}


@pytest.mark.parametrize(("expression", "values"), TABLE.items())
def test_table(expression: str, values: dict[str, Any]) -> None:
    found: dict[str, Any] = {}
    apply(expression, found, 1)
    assert found == values


def test_existing_values_are_changed_in_place() -> None:
    values: dict[str, Any] = {"r": [{"a": 1}, {"a": 2}], "m": {"x": 1}}
    apply("r[1].a=3,m.y=2", values, 1)
    assert values == {"r": [{"a": 1}, {"a": 3}], "m": {"x": 1, "y": 2}}


def test_positions_count_options_and_columns() -> None:
    done = apply("mode=audit,r[0].a=1", {}, 3)
    assert [(item.path, item.position) for item in done] == [
        (("mode",), Position("--set", 3, 1)),
        (("r", 0, "a"), Position("--set", 3, 12)),
    ]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("a", '"a" has no value'),
        ("a,b=1", '"a" has no value'),
        ("a.b", '"b" has no value'),
        ("a=1,", ""),
        ("=1", "a key is missing"),
        ("a.=1", "a key is missing"),
        ("a[x]=1", '"x" is not an index'),
        ("a[-1]=1", '"-1" is not an index'),
        ("a[65537]=1", "is not an index"),
        ("a[0", '"0" is not an index'),
        ("a[0]b=1", "after an index must come"),
        ("a[0]", "after an index must come"),
        ("a={x", "the list does not end"),
        ("s.x=1", "s is not a map"),
        ("s[0]=1", "s is not a list"),
        ("n[0]=1", "n is not a list"),
        ("l[0][0]=1", "this item is not a list"),
        (".".join("a" * 40) + "=1", "nested more than 30 levels"),
    ],
)
def test_errors(expression: str, message: str) -> None:
    values: dict[str, Any] = {"s": "text", "n": None, "l": ["x"]}
    if not message:
        apply(expression, values, 1)
        return
    with pytest.raises(ValuesError) as caught:
        apply(expression, values, 2)
    (problem,) = caught.value.problems
    assert message in problem.message
    assert problem.position.file == "--set"
    assert problem.position.line == 2
