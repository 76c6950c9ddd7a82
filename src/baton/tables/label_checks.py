"""The checks that read the names in rows' labels, for every kind of task that has names.

Each takes `names`, which returns the names in a label (`target_cells.TargetCells.names`), and returns the
rows it found and why.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from baton.tables import labels, row_sets, text_numbers
from baton.tables.row_sets import Numbers, Rows
from baton.tables.rows import Row
from baton.tables.text_key import key

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
Names = Callable[[str], tuple[str, ...]]


def missing_label(rows: Rows) -> dict[str, str]:
    """Return rows whose label is empty or white space."""
    return {row.id: "no label" for row in row_sets.brief(rows) if not row.label.strip()}


def unknown_label(rows: Rows, known: dict[str, str], names: Names) -> dict[str, str]:
    """Return rows with a name that is not a key of `label_names`, `known`; none if that is empty."""
    if not known:
        return {}
    keys = {labels.alike(name): name for name in known}
    reasons = {}
    for label in {*every(rows, names)} - set(known):
        reasons[label] = f"label {label!r} is not in preprocess.label_names"
        if (name := keys.get(labels.alike(label))) is not None:
            reasons[label] += (
                f", whose key {name!r} is what YAML reads without quotes: write {label!r}: … in quotes"
            )
    return found(rows, reasons, names)


def control_characters(rows: Rows, names: Names) -> dict[str, str]:
    """Return rows with a name that has a line break, another control character, or one that turns text.

    Such a name forges lines wherever it is shown.
    """
    faulty = {name for name in {*every(rows, names)} if CONTROL.search(name)}
    return found(
        rows,
        {
            name: f"label {name!r} has a control character: correct it, or map all names by "
            "preprocess.label_names"
            for name in faulty
        },
        names,
    )


def similar_labels(rows: Rows, names: Names) -> dict[str, str]:
    """Return rows with a name that reads like a more frequent one, or like a missing value."""
    return found(rows, labels.similar(every(rows, names)), names)


def continuous_labels(rows: Rows, names: Names, needed: str) -> dict[str, str]:
    """Return rows whose label looks like a measured number, as in regression; `needed` names the need."""
    decimals = labels.continuous(every(rows, names))
    reason = (
        f"{len(decimals)} different decimal labels look like regression; "
        f"{needed}: cut the numbers into ranges"
    )
    return found(rows, dict.fromkeys(decimals, reason), names)


def conflict(rows: Rows, shown: Callable[[str], str]) -> dict[str, str]:
    """Return rows whose text also occurs under another label, within a file or across files.

    `shown` returns a label as the reasons show it. Of images with captions, both must be the same.
    """
    numbers = _numbers(rows)
    marked = np.zeros(len(rows), np.bool_)  # first rows of texts with several labels
    own = row_sets.numbered((row.label for row in row_sets.brief(rows)), len(rows))
    marked[numbers[own != own[numbers]]] = True
    if not marked.any():
        return {}
    some = marked[numbers]
    groups: dict[int, list[Row]] = defaultdict(list)
    names = numbers[some].tolist()
    for row, name in zip(row_sets.brief(row_sets.where(rows, some)), names, strict=True):
        groups[name].append(row)
    reasons = {}
    for row, name in zip(row_sets.brief(row_sets.where(rows, some)), names, strict=True):
        others = [other.id for other in groups[name] if other.label != row.label]
        in_all = sorted(map(shown, {other.label for other in groups[name]}))
        reasons[row.id] = f"{shown(row.label)!r}, but {in_all} in all: see {_some(others)}"
    return reasons


def _numbers(rows: Rows) -> Numbers:
    """Return the index of the first row with the same text, and the same caption if there is one, (rows,)."""
    if any(row.caption for row in row_sets.brief(rows)):
        whole = (f"{key(row.whole)}\0{key(row.caption)}" if row.caption else key(row.whole) for row in rows)
        return row_sets.numbered(whole, len(rows))
    numbers, _, size = text_numbers.of(rows)
    return row_sets.earliest(numbers, size)[numbers]


def small_names(
    rows: Rows,
    least: int,
    names: Names,
    *,
    noun: str = "text",
    units: Numbers | None = None,
    what: str = "class",
) -> dict[str, str]:
    """Return the names with fewer than `least` (but some) distinct texts in train, and why.

    `least` is one for each split to cut, plus one to stay. `units`, (rows,), numbers the rows that are
    never separated: of near-duplicates or texts of one group, only one counts. `noun` and `what` are the
    words for a text and for a name in the reasons.
    """
    numbers, _, _ = text_numbers.of(rows)
    apart = _distinct(rows, numbers if units is None else units, names, least)
    if not (few := {name for name, own in apart.items() if len(own) < least}):
        return {}
    texts = _distinct(rows, numbers, lambda label: tuple(one for one in names(label) if one in few))
    reasons = {}
    for name in (name for name in apart if name in few):
        count, parted = len(texts[name]), len(apart[name])
        together = f" ({parted} where near-duplicates and groups stay together)" if parted < count else ""
        reasons[name] = (
            f"{what} {name!r} has {count} different {noun}{'s' * (count > 1)} in train{together}, "
            f"cutting needs {least}"
        )
    return reasons


def _distinct(rows: Rows, numbers: Numbers, names: Names, most: int | None = None) -> dict[str, set[int]]:
    """Return the different numbers of train's rows with each name, up to `most`."""
    found: dict[str, set[int]] = defaultdict(set)
    for row, number in zip(row_sets.brief(rows), numbers, strict=True):
        for name in names(row.label) if row.part == "train" else ():
            if most is None or len(found[name]) < most:
                found[name].add(int(number))
    return found


def unseen_names(rows: Rows, names: Names) -> dict[str, str]:
    """Return the names in val and test that are not in train, and why each is reported."""
    known = {name for row in row_sets.brief(rows) if row.part == "train" for name in names(row.label)}
    others = [name for name in dict.fromkeys(every(rows, names)) if name not in known]
    return {name: f"label {name!r} is not in train" for name in others}


def every(rows: Rows, names: Names) -> Iterable[str]:
    """Return the names of all rows, with repeats."""
    return (name for row in row_sets.brief(rows) for name in names(row.label))


def found(rows: Rows, reasons: Mapping[str, str], names: Names) -> dict[str, str]:
    """Return the rows with any of the names in `reasons`: id -> the reasons of its names."""
    if not reasons:
        return {}
    some = (
        (row.id, [reasons[name] for name in names(row.label) if name in reasons])
        for row in row_sets.brief(rows)
    )
    return {id_: "; ".join(parts) for id_, parts in some if parts}


def shares(rows: Rows, names: Names) -> tuple[Counter[str], Counter[str]]:
    """Return how often each name occurs in train and in test."""
    parts = {part: Counter[str]() for part in ("train", "val", "test")}
    for row in row_sets.brief(rows):
        parts[row.part].update(names(row.label))
    return parts["train"], parts["test"]


def _some(ids: list[str], count: int = 3) -> str:
    return ", ".join(ids[:count]) + (f" and {len(ids) - count} more" if len(ids) > count else "")
