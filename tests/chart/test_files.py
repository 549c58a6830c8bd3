# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The files that the agents' ConfigMaps hold: what Windows' policy says, and their form."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests import strategies
from tests.windows.policies import policy_json

from udp_security.chart import chart_dir

from .conftest import Render
from .support import SYSTEMS, Helm, Rendered, merged, printing_chart, rule

TEMPLATE = """\
policies:
{{- range .Values.policies }}
{{- $p := dict "root" (dict "Values" . "Files" $.Files "Chart" $.Chart) }}
{{- include "udp-security.policy" $p }}
- {{ include "udp-security.windows.policy" $p | nindent 2 }}
{{- end }}
"""
VERSION = yaml.safe_load((chart_dir() / "Chart.yaml").read_text(encoding="utf-8"))["version"]


@pytest.fixture(scope="session")
def printer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart that prints what its `policies` are for Windows."""
    return printing_chart(tmp_path_factory.mktemp("printer"), TEMPLATE)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(strategies.values(), min_size=4, max_size=8))
def test_the_policy_is_what_the_package_says(
    helm: Helm, printer: Path, overrides: list[dict[str, Any]]
) -> None:
    policies = [merged(values) for values in overrides]
    # JSON is YAML as well.
    printed = yaml.load(helm.template({"policies": policies}, chart=printer), yaml.CSafeLoader)
    expected = [policy_json(values, VERSION) for values in policies]
    assert printed["policies"] == json.loads(json.dumps(expected))


def test_only_what_can_happen_on_a_windows_host_is_in_its_policy(render: Render) -> None:
    rules = [
        rule("both", ports=[5, "7-9"], from_=["10.0.0.1/32", "FD00:0::/64"]),
        rule("windows", direction="egress", to=["172.21.0.10"], os=["windows"]),
        rule("linux", os=["linux"]),
        rule("through", direction="forward"),
    ]
    presets = dict.fromkeys(("dns", "dhcp", "ntp", "flannelVxlan"), False)
    cut = ["dns", "dhcp", "flannelVxlan"]
    given = {"rules": rules, "presets": presets, "dangerouslyCutOff": cut, "mode": "audit"}
    assert render({**given, "denyAction": "reject"}, os="windows").policy == {
        "version": VERSION,
        "mode": "audit",
        "denyAction": "reject",
        "scope": "cluster",
        "clusterCIDRs": ["172.20.0.0/16", "172.21.0.0/16", "172.19.1.0/24"],
        "nodeCIDRs": ["172.19.1.0/24"],
        "rules": [
            {
                "name": "both",
                "direction": "ingress",
                "ports": ["5-5", "7-9"],
                "from": ["10.0.0.1", "fd00::/64"],
                "to": None,
            },
            {
                "name": "windows",
                "direction": "egress",
                "ports": ["1000-1000"],
                "from": None,
                "to": ["172.21.0.10"],
            },
        ],
    }


def test_a_policy_without_rules(render: Render) -> None:
    presets = dict.fromkeys(("dns", "dhcp", "ntp", "flannelVxlan"), False)
    cut = ["dns", "dhcp", "flannelVxlan"]
    bare = render({"presets": presets, "dangerouslyCutOff": cut}, os="windows")
    assert bare.policy["rules"] == []


@pytest.mark.parametrize("os", SYSTEMS)
@pytest.mark.parametrize("end", ["", "\n", "\n\n\n"], ids=repr)
def test_files_of_any_line_end_have_the_hash_that_the_pod_computes(
    helm: Helm, tmp_path: Path, os: str, end: str
) -> None:
    """A checkout on Windows may have its line ends, and Helm's YAML keeps neither those nor more
    than one empty line at the end.
    """
    chart = tmp_path / "chart"
    shutil.copytree(chart_dir(), chart)
    for file in [*chart.rglob("*.tpl"), *(chart / "files").rglob("*.*")]:
        text = file.read_text(encoding="utf-8").rstrip("\n") + end
        file.write_text(text, encoding="utf-8", newline="\r\n")
    rendered = Rendered(helm.template(chart=chart), os)
    seen = "".join(text for _, text in sorted(rendered.files.items()))
    wanted = hashlib.sha256(seen.encode()).hexdigest()
    assert rendered.environment["UDP_SECURITY_POLICY_SHA256"] == wanted
    assert "\r" not in seen
    assert all(text.endswith("\n") for text in rendered.files.values())
