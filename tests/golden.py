# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What commands print, word for word, so that a change of it is seen and meant.

    UPDATE_GOLDEN=1 make test ARGS=tests/cluster

writes the files anew; then read the diff.
"""

from __future__ import annotations

import os
from pathlib import Path

_HEADER = """\
# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT

"""


def compare(file: Path, text: str) -> None:
    """Holds a text to a golden file, or writes that file when asked to."""
    # JSON has no comments.
    text = text if file.suffix == ".json" else _HEADER + text
    if os.environ.get("UPDATE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == text, f"{file.name}: see {__name__}"
