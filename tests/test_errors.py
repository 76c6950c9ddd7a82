"""Test the texts of errors."""

import pytest

from baton.errors import first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "one"),
        (OSError("\n\nafter empty lines"), "after empty lines"),
        (ValueError(), "ValueError"),
        (ValueError("\n"), "ValueError"),
    ],
)
def test_the_first_line_of_another_error(error: Exception, line: str) -> None:
    """A library's message may be empty or begin with an empty line."""
    assert first_line(error) == line
