"""The row checks: each returns the rows it found and why; `params.preprocess.checks` sets the policies.

The checks run in the order of `ORDER`, each on the rows left by the previous ones; those that read labels are
in `label_checks`. "The same text" means the same after normalizing white space, case and Unicode form
(`text_key.key`); an exact duplicate matches in every character and has the same label. The text of a pair is
both its texts, in their order (`Row.whole`). The text of an image is the digest of its pixels; faults of
single images are found when they are decoded (`image_rows`).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from baton.tables import labels, row_sets, text_numbers
from baton.tables.row_sets import Rows
from baton.tables.rows import RawTable, Row

SURROGATE = re.compile("[\ud800-\udfff]")
# These make a row useless for scoring, so `drop` also removes it from the test file. The other checks drop
# from train and val only.
UNREADABLE = {"malformed", "invalid_utf8", "unreadable", "enormous", "empty"}
UNUSABLE = UNREADABLE | {
    "missing_label",
    "unknown_label",
    "control_label",
    "unseen_label",
    "small_class",
    "small_class_merged",
    "novel_leakage",  # by class, whichever file a row is from
}
STAYING = {"similar_labels", "continuous_labels"}  # never drop: later checks would then report missing rows
LATER = {"train": ("test", "val"), "val": ("test",), "test": ()}  # the splits that must not leak into a split


@dataclass
class Finding:
    """The result of one check: row id -> reason, in row order, and the rows dropped for it.

    If it takes names out of rows that stay: how many from each row, and the rows that lost their last name.
    """

    check: str
    policy: str
    rows: dict[str, str] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    taken: dict[str, int] = field(default_factory=dict)
    emptied: list[str] = field(default_factory=list)


def apply(check: str, policy: str, found: dict[str, str], rows: Rows) -> tuple[Rows, Finding]:
    """Return the rows that stay, and the finding.

    `fail` drops rows just as `drop` does: the stage stops anyway, after the remaining checks.
    """
    finding = Finding(check, policy, found)
    if policy not in ("drop", "fail") or check in STAYING or not found:
        return rows, finding
    drops = np.zeros(len(rows), np.bool_)
    for place, row in enumerate(row_sets.brief(rows)):
        if row.id in found and (row.part != "test" or check in UNUSABLE):
            finding.dropped.append(row.id)
            drops[place] = True
    return row_sets.where(rows, ~drops), finding


def malformed(tables: Iterable[RawTable]) -> dict[str, str]:
    """Return rows that could not be read at all."""
    return {id_: reason for table in tables for id_, reason in table.malformed.items()}


def invalid_utf8(rows: Rows) -> dict[str, str]:
    """Return rows whose text or label is not valid UTF-8."""
    return {row.id: reason for row in rows if (reason := _undecodable(row))}


def empty(rows: Rows) -> dict[str, str]:
    """Return rows without visible text: empty, white space, or zero-width and other invisible characters.

    A pair needs both its texts.
    """
    found: dict[str, str] = {}
    for row in rows:
        faults = [
            f"{_of(side)}{_nothing(text)}" for side, text in row.sides.items() if not labels.visible(text)
        ]
        if faults:
            found[row.id] = ", ".join(faults)
    return found


def mojibake(rows: Rows) -> dict[str, str]:
    """Return rows whose text ftfy judges to have been decoded with the wrong encoding (`schÃ¶n`)."""
    from ftfy.badness import BADNESS_RE

    found: dict[str, str] = {}
    for row in rows:
        for side, text in row.sides.items():
            if not text.isascii() and (match := BADNESS_RE.search(text)):
                found.setdefault(row.id, f"{_of(side)}{match[0]!r} at character {match.start() + 1}")
    return found


def duplicate(rows: Rows) -> dict[str, str]:
    """Return rows that repeat the text, any caption and the label of an earlier row of the same file."""
    names = (f"{row.part}\0{row.label}\0{row.whole}\0{row.caption}" for row in rows)
    return _named(rows, row_sets.numbered(names, len(rows)), "the same as {}")


def leakage(rows: Rows, noun: str = "text") -> dict[str, str]:
    """Return train rows whose text is also in val or test, and val rows whose text is also in test.

    `noun` is the word for the text in the reasons.
    """
    numbers, _, size = text_numbers.of(rows)
    return _named(rows, shared(rows, numbers, size), f"the same {noun} as {{}}")


def group_leakage(rows: Rows) -> dict[str, str]:
    """Return train rows whose group is also in val or test, and val rows whose group is also in test."""
    grouped = row_sets.having(rows, lambda row: bool(row.extras.group))
    groups = row_sets.numbered((row.extras.group for row in row_sets.brief(grouped)), len(grouped))
    twins = shared(grouped, groups, len(grouped))
    reasons = _named(grouped, twins, " as {}")
    own = (
        {row.id: row.extras.group for row in row_sets.brief(grouped) if row.id in reasons} if reasons else {}
    )
    return {id_: f"of the same group {own[id_]!r}{twin}" for id_, twin in reasons.items()}


def time_leakage(rows: Rows) -> dict[str, str]:
    """Return train rows not earlier than all of val and test, and val rows not earlier than all of test."""
    starts: dict[str, tuple[float, str]] = {}
    for row in row_sets.brief(rows):
        if row.extras.time is not None and row.part != "train":
            own = (row.extras.time, row.id)
            starts[row.part] = min(starts.get(row.part, own), own)
    found: dict[str, str] = {}
    for row in row_sets.brief(rows) if starts else ():
        if (time := row.extras.time) is None:
            continue
        if start := next(
            (start for split in LATER[row.part] if (start := starts.get(split)) and time >= start[0]), None
        ):
            found[row.id] = f"not earlier than {start[1]}"
    return found


def shared(rows: Rows, numbers: row_sets.Numbers, size: int) -> row_sets.Numbers:
    """Return for each row the index of the first row of a later split with the same number, (rows,).

    Args:
        rows: The rows of all splits.
        numbers: Equal for rows that are the same, (rows,); below `size`.
        size: The bound of the numbers.

    Returns:
        The row's own index where there is none.
    """
    parts, names = row_sets.coded((row.part for row in row_sets.brief(rows)), len(rows))
    first = {
        split: row_sets.earliest(numbers, size, parts == names.index(split))
        for split in ("val", "test")
        if split in names
    }
    twins = np.arange(len(rows), dtype=numbers.dtype)
    for split, later in LATER.items():
        if split in names:
            own = np.flatnonzero(parts == names.index(split))
            for other in reversed([one for one in later if one in first]):
                found = first[other][numbers[own]]
                twins[own[found >= 0]] = found[found >= 0]
    return twins


def _named(rows: Rows, others: row_sets.Numbers, reason: str) -> dict[str, str]:
    """Return the rows with another index than their own in `others`: id -> `reason` with the other's id."""
    places = np.flatnonzero(others != np.arange(len(rows)))
    named = np.unique(others[places])
    known = dict(zip(named.tolist(), row_sets.ids(row_sets.at(rows, named)), strict=True))
    found = zip(row_sets.ids(row_sets.at(rows, places)), others[places].tolist(), strict=True)
    return {id_: reason.format(known[other]) for id_, other in found}


Check = Callable[[Rows], dict[str, str]]

# Those that need nothing but the rows.
ROW_CHECKS: dict[str, Check] = {
    "invalid_utf8": invalid_utf8,
    "empty": empty,
    "mojibake": mojibake,
    "duplicate": duplicate,
    "leakage": leakage,
    "group_leakage": group_leakage,
    "time_leakage": time_leakage,
}
ROW_CHECKS_OF_IMAGES: dict[str, Check] = {
    "duplicate": duplicate,
    "leakage": partial(leakage, noun="picture"),
}
ROW_CHECKS_OF_AUDIO: dict[str, Check] = {
    "duplicate": duplicate,
    "leakage": partial(leakage, noun="clip"),
}


def of_captions(check: Check, rows: Rows) -> dict[str, str]:
    """Apply a check of texts to the captions of images."""
    return check([replace(row, text=row.caption) for row in rows])


ROW_CHECKS_OF_IMAGES_WITH_TEXTS: dict[str, Check] = ROW_CHECKS_OF_IMAGES | {
    name: partial(of_captions, ROW_CHECKS[name]) for name in ("invalid_utf8", "empty", "mojibake")
}
# In which the checks of rows and of labels run and are reported.
ORDER = (
    "invalid_utf8",
    "missing_label",
    "similar_labels",
    "continuous_labels",
    "empty",
    "mojibake",
    "conflict",
    "duplicate",
    "leakage",
    "group_leakage",
    "time_leakage",
)


def ordered(*some: Mapping[str, Check]) -> dict[str, Check]:
    """Return checks in the order in which they run."""
    every = {name: one for checks in some for name, one in checks.items()}
    return {name: every[name] for name in ORDER if name in every}


def _of(side: str) -> str:
    return "" if side == "text" else f"{side}: "


def _nothing(text: str) -> str:
    if not text:
        return "no text"
    return "white space" if not text.strip() else "invisible characters"


def _undecodable(row: Row) -> str:
    for where, value in (row.sides | {"label": row.label}).items():
        for match in SURROGATE.finditer(value):
            code = ord(match[0])
            what = (
                f"byte 0x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"lone surrogate U+{code:04X}"
            )
            return f"{what} at character {match.start() + 1} of the {where}"
    return ""
