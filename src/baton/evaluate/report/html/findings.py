"""What was found in the data: rows, checks, names by split, what of the texts is not read.

Inputs: report.json of data/clean and of data/arrays -> tables.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from baton.evaluate.report.csv_files import excerpt
from baton.evaluate.report.wording import percent

EXAMPLES = 5  # of a check
MOST_NAMES = 30  # in the table of names by split: the rarest and the most frequent
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Check:
    """A check that found something."""

    name: str
    policy: str
    found: str
    dropped: str
    examples: Sequence[tuple[str, str]]  # row, reason


@dataclass(frozen=True)
class Findings:
    """The data as `preprocess` and `tokenize` saw it."""

    rows: Sequence[tuple[str, Sequence[str]]]  # what, and a number for train, val and test
    checks: Sequence[Check]
    clean: Sequence[str]  # checks that found nothing
    notes: Sequence[str]
    names: Sequence[tuple[str, Sequence[int]]]
    names_left_out: int


def read(clean: Mapping[str, Any], arrays: Mapping[str, Any]) -> Findings:
    """Return what both reports say; parts that an earlier version did not write are left out."""
    checks = {name: own for name, own in clean.get("checks", {}).items() if isinstance(own, Mapping)}
    found = [_check(name, own) for name, own in checks.items() if _counted(own)]
    names, left_out = _names(clean.get("classes", {}))
    notes = [excerpt(str(note)) for note in clean.get("notes", [])] + _drift(checks.get("drift", {}))
    silent = [name.replace("_", " ") for name, own in checks.items() if not _counted(own) and name != "drift"]
    return Findings(_rows(clean, arrays), found, silent, notes, names, left_out)


def _rows(clean: Mapping[str, Any], arrays: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    lines: list[tuple[str, list[str]]] = []
    for key, shown in (("raw", "rows in the source"), ("clean", "rows used")):
        if counts := clean.get("rows", {}).get(key):
            lines.append((shown, [_number(counts.get(split)) for split in SPLITS]))
    for key, shown in (
        ("truncated_share", "texts of which a part is not read"),
        ("left_out_share", "tokens that are not read"),
        ("cut_share", "clips of which a part is not read"),
    ):
        shares = [_share(arrays.get(split), key) for split in SPLITS]
        if any(share != "–" for share in shares):
            lines.append((shown, shares))
    return lines


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "–"


def _share(own: Any, key: str) -> str:
    return percent(own[key]) if isinstance(own, Mapping) and key in own else "–"


def _counted(own: Mapping[str, Any]) -> bool:
    found = own.get("found")
    return isinstance(found, Mapping) and any(found.values())


def _check(name: str, own: Mapping[str, Any]) -> Check:
    reasons = own.get("reasons", {})
    examples = [(str(row), excerpt(str(reason))) for row, reason in list(reasons.items())[:EXAMPLES]]
    found, dropped = (_by_split(own.get(key, {})) for key in ("found", "dropped"))
    return Check(name.replace("_", " "), str(own.get("policy", "")), found, dropped, examples)


def _by_split(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{split} {count:,}" for split, count in counts.items() if count) or "none"


def _drift(own: Mapping[str, Any]) -> list[str]:
    """Say whether train and test differ in their labels."""
    if "total_variation" not in own:
        return []
    differ = "differ" if own.get("found") else "do not differ more than the check allows"
    told = f"Labels of train and test {differ}: total variation {own['total_variation']:.3f}"
    return [f"{told}, of which {own.get('by_chance', 0):.3f} by chance."]


def _names(counts: Any) -> tuple[list[tuple[str, list[int]]], int]:
    """Return the rows of each name by split, the rarest in train first."""
    if not isinstance(counts, Mapping):
        return [], 0
    every = [
        (str(name), [int(own.get(split, 0)) for split in SPLITS])
        for name, own in counts.items()
        if isinstance(own, Mapping)
    ]
    every.sort(key=lambda item: (item[1][0], item[0]))
    if len(every) <= MOST_NAMES:
        return every, 0
    half = MOST_NAMES // 2
    return every[:half] + every[-half:], len(every) - 2 * half
