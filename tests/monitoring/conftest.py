# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What the chart gives the Prometheus Operator, for the tests that hand it to Prometheus."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from tests.chart.support import Helm
from tests.k2s.artifact_places import tool


@pytest.fixture(scope="session")
def objects() -> dict[str, dict[str, Any]]:
    """The objects of a chart with metrics, by kind; of the ConfigMaps the dashboard's."""
    text = Helm(tool("helm")).template({"metrics": {"enabled": True}})
    documents = [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]
    return {
        document["kind"]: document
        for document in documents
        if document["metadata"]["labels"]["app.kubernetes.io/component"] == "metrics"
    }
