# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The chart, rendered with its defaults (K2s's addresses): what K2s on a Linux host applies.

K2s runs `kubectl apply -f manifests --recursive`, which goes by the files' names: the namespace
must come first, and each file must be something kubectl can apply.
"""

import re
from pathlib import Path

from udp_security import helm

NAMESPACE = "udp-security"
RELEASE = "udp-security"

_HEADER = """\
# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT

# Written by 'make generate': change the chart instead.
"""
_NAMESPACE_FILE = "00-namespace.yaml"
#: The namespace, YAML. The agents need the node's network, which the other levels of pod security
#: forbid.
NAMESPACE_MANIFEST = f"""\
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels:
    app.kubernetes.io/name: udp-security
    app.kubernetes.io/part-of: udp-security
    pod-security.kubernetes.io/enforce: privileged
    pod-security.kubernetes.io/audit: privileged
    pod-security.kubernetes.io/warn: privileged
"""
_SOURCE = re.compile(r"^---\n# Source: [^/\n]+/templates/(\S+)\n", flags=re.MULTILINE)


def render(chart: Path) -> dict[str, str]:
    """The files, {name: text}: the namespace, and one for each of the chart's objects.

    Raises HelmMissingError, HelmRefusedError, and ValueError when the files could not be applied
    in the order of their names.
    """
    head, *found = _SOURCE.split(helm.template(chart, {}, RELEASE, NAMESPACE))
    if head.strip():
        raise ValueError(f"helm template begins with what no template made: {head[:80]!r}")
    files = {_NAMESPACE_FILE: f"{_HEADER}{NAMESPACE_MANIFEST}"}
    for name, text in zip(found[::2], found[1::2], strict=True):
        if name in files:
            raise ValueError(f"templates/{name} makes several objects (write one template each)")
        if name < _NAMESPACE_FILE:
            raise ValueError(f"templates/{name} sorts before {_NAMESPACE_FILE} (rename it)")
        files[name] = f"{_HEADER}{text.rstrip()}\n"
    return files
