"""The row checks: each returns the rows it found and why; `params.preprocess.checks` sets the policies.

The checks run in the order of `ORDER`, each on the rows left by the previous ones; those that read labels are
in `label_checks`. "The same text" means the same after normalizing white space, case and Unicode form
(`key`); an exact duplicate matches in every character and has the same label. The text of a pair is both its
texts, in their order (`Row.whole`). The text of an image is the
digest of its pixels; faults of single images are found when they are decoded (`image_rows`).
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from baton.tables import labels
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


def key(text: str) -> str:
    """Return the text in the form that is compared for leakage, conflicts and cutting."""
    folded = " ".join(text.split()).casefold()
    return folded if folded.isascii() else unicodedata.normalize("NFC", folded)


def apply(check: str, policy: str, found: dict[str, str], rows: list[Row]) -> tuple[list[Row], Finding]:
    """Return the rows that stay, and the finding.

    `fail` drops rows just as `drop` does: the stage stops anyway, after the remaining checks.
    """
    finding = Finding(check, policy, found)
    if policy not in ("drop", "fail") or check in STAYING:
        return rows, finding
    kept = []
    for row in rows:
        if row.id in found and (row.part != "test" or check in UNUSABLE):
            finding.dropped.append(row.id)
        else:
            kept.append(row)
    return kept, finding


def malformed(tables: Iterable[RawTable]) -> dict[str, str]:
    """Return rows that could not be read at all."""
    return {id_: reason for table in tables for id_, reason in table.malformed.items()}


def invalid_utf8(rows: list[Row]) -> dict[str, str]:
    """Return rows whose text or label is not valid UTF-8."""
    return {row.id: reason for row in rows if (reason := _undecodable(row))}


def empty(rows: list[Row]) -> dict[str, str]:
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


def mojibake(rows: list[Row]) -> dict[str, str]:
    """Return rows whose text ftfy judges to have been decoded with the wrong encoding (`schÃ¶n`)."""
    from ftfy.badness import BADNESS_RE

    found: dict[str, str] = {}
    for row in rows:
        for side, text in row.sides.items():
            if not text.isascii() and (match := BADNESS_RE.search(text)):
                found.setdefault(row.id, f"{_of(side)}{match[0]!r} at character {match.start() + 1}")
    return found


def duplicate(rows: list[Row]) -> dict[str, str]:
    """Return rows that repeat the text, any caption and the label of an earlier row of the same file."""
    groups = grouped(rows, lambda row: f"{row.part}\0{row.label}\0{row.whole}\0{row.caption}")
    repeats = {row.id: f"the same as {group[0].id}" for group in groups.values() for row in group[1:]}
    return {row.id: repeats[row.id] for row in rows if row.id in repeats}


def leakage(rows: list[Row], noun: str = "text") -> dict[str, str]:
    """Return train rows whose text is also in val or test, and val rows whose text is also in test.

    `noun` is the word for the text in the reasons.
    """
    return {
        id_: f"the same {noun} as {twin}" for id_, twin in _shared(rows, lambda row: key(row.whole)).items()
    }


def group_leakage(rows: list[Row]) -> dict[str, str]:
    """Return train rows whose group is also in val or test, and val rows whose group is also in test."""
    groups = {row.id: row.extras.group for row in rows}
    twins = _shared([row for row in rows if row.extras.group], lambda row: row.extras.group)
    return {id_: f"of the same group {groups[id_]!r} as {twin}" for id_, twin in twins.items()}


def time_leakage(rows: list[Row]) -> dict[str, str]:
    """Return train rows not earlier than all of val and test, and val rows not earlier than all of test."""
    times = [(row, row.extras.time) for row in rows if row.extras.time is not None]
    starts = {
        split: min(((time, row.id) for row, time in times if row.part == split), default=None)
        for split in ("val", "test")
    }
    found = {}
    for row, time in times:
        if start := next(
            (start for split in LATER[row.part] if (start := starts[split]) and time >= start[0]), None
        ):
            found[row.id] = f"not earlier than {start[1]}"
    return found


def _shared(rows: list[Row], name: Callable[[Row], str]) -> dict[str, str]:
    """Map each row to the first row of a later split that has the same `name`."""
    first = {
        split: {name(row): row.id for row in reversed(rows) if row.part == split} for split in ("val", "test")
    }
    twins = {
        row.id: next((twin for split in LATER[row.part] if (twin := first[split].get(name(row)))), None)
        for row in rows
    }
    return {id_: twin for id_, twin in twins.items() if twin}


Check = Callable[[list[Row]], dict[str, str]]

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


def of_captions(check: Check, rows: list[Row]) -> dict[str, str]:
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


def grouped(rows: list[Row], name: Callable[[Row], str]) -> dict[str, list[Row]]:
    """Return the rows by name."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[name(row)].append(row)
    return groups


def _undecodable(row: Row) -> str:
    for where, value in (row.sides | {"label": row.label}).items():
        for match in SURROGATE.finditer(value):
            code = ord(match[0])
            what = (
                f"byte 0x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"lone surrogate U+{code:04X}"
            )
            return f"{what} at character {match.start() + 1} of the {where}"
    return ""
