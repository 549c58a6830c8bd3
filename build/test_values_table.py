# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The table of values: what becomes a line, and how prose and defaults look in it."""

import pytest

import values_table


def test_nested_keys_are_dotted_and_parents_have_no_default() -> None:
    text = "# Linux nodes.\nlinux:\n  # On or off.\n  enabled: true\n"
    assert values_table.rows(text) == [
        ("linux", "", "Linux nodes."),
        ("linux.enabled", "true", "On or off."),
    ]


def test_a_mapping_without_prose_inside_is_one_value() -> None:
    text = "# Limits.\nresources:\n  requests: {cpu: 5m}\n"
    assert values_table.rows(text) == [("resources", '{"requests": {"cpu": "5m"}}', "Limits.")]


def test_a_key_without_prose_is_an_error_that_names_its_line() -> None:
    with pytest.raises(ValueError, match=r"values\.yaml:5: no prose above 'a\.c'"):
        values_table.rows("# A.\na:\n  # B.\n  b: 1\n  c: 2\n")


def test_what_is_no_yaml_is_an_error_without_a_traceback() -> None:
    with pytest.raises(ValueError, match=r"values\.yaml: "):
        values_table.rows("a: [1\n")


def test_a_header_that_is_apart_from_the_key_is_not_its_prose() -> None:
    assert values_table.rows("# Copyright.\n\n# Yes.\na: 1\n") == [("a", "1", "Yes.")]


def test_prose_is_joined_and_indented_lines_are_a_list() -> None:
    text = (
        "# Allowed flows, each\n# with\n#   name         a label\n#   from, to     addresses;\n"
        "#                any\n# A reply needs none.\n#\n# More.\nrules: []\n"
    )
    ((_, default, prose),) = values_table.rows(text)
    assert default == "[]"
    assert prose == (
        "Allowed flows, each with<br>`name`: a label<br>`from, to`: addresses; any"
        "<br>A reply needs none.<br>More."
    )


def test_cells_escape_the_column_separator() -> None:
    assert "a \\| b" in values_table.render("# a | b\na: x\n")
