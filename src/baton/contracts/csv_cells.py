"""Text in CSV files that people open in a spreadsheet, and that programs read back.

A cell that begins with `=`, `+`, `-`, `@`, a tab or a line break is a formula to a spreadsheet, and may send
the other cells away (`=HYPERLINK(…)`) or run a program. An apostrophe before it makes it text. A plain number
stays as it is.
"""

import re

# The wide forms are formulas too, in spreadsheets for Chinese, Japanese and Korean.
FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
NUMBER = re.compile(r"[+-]?(\d[\d,]*(\.\d+)?|\.\d+)(e[+-]?\d+)?%?", re.IGNORECASE | re.ASCII)


def safe(text: str) -> str:
    """Return the cell for a text: the text itself, or with an apostrophe before it."""
    return f"'{text}" if FORMULA.match(text) and not NUMBER.fullmatch(text) else text


def original(cell: str) -> str:
    """Return the text for a cell that `safe` made."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell
