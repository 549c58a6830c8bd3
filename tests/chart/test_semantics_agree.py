# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The templates and the package refuse the same random policies in the same words.

A chart made of ours, with one template that prints instead of failing, checks many policies in one
run of Helm.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from udp_security import policy

from . import strategies
from .support import Helm, merged, printing_chart

TEMPLATE = """\
refusals:
{{- range .Values.policies }}
{{- $p := dict "root" (dict "Values" . "Files" $.Files) }}
{{- include "udp-security.policy" $p }}
- {{ $p.errors.all | toJson }}
{{- end }}
"""


@pytest.fixture(scope="session")
def checker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart that prints what it would refuse its `policies` for."""
    return printing_chart(tmp_path_factory.mktemp("checker"), TEMPLATE)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(strategies.values(), min_size=4, max_size=8))
def test_both_say_the_same(helm: Helm, checker: Path, overrides: list[dict[str, Any]]) -> None:
    policies = [merged(given) for given in overrides]
    printed = yaml.load(helm.template({"policies": policies}, chart=checker), yaml.CSafeLoader)
    expected = [[str(problem) for problem in policy.check(given)] for given in policies]
    assert printed["refusals"] == expected
