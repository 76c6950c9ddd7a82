"""The row checks: each returns the rows it found and why; `params.preprocess.checks` sets the policies.

The checks run in the order of `ROW_CHECKS`, each on the rows left by the previous ones. "The same text" means
the same after normalizing white space, case and Unicode form (`key`); an exact duplicate matches in every
character and has the same label. The text of an image is the digest of its pixels; faults of single images
are found when they are decoded (`image_rows`).
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
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
    "unseen_label",
    "small_class",
    "small_class_merged",
}
STAYING = {"similar_labels", "continuous_labels"}  # never drop: later checks would then report missing rows
LATER = {"train": ("test", "val"), "val": ("test",), "test": ()}  # the splits that must not leak into a split
# Label drift must be both significant and large to be reported. With thousands of rows, a test alone finds
# tiny differences significant; with few rows in many classes, chance alone makes the variation large, so the
# limit applies to the excess over chance.
DRIFT_P_VALUE = 0.01
DRIFT_TOTAL_VARIATION = 0.1


@dataclass
class Finding:
    """The result of one check: row id -> reason, in row order, and the rows dropped for it."""

    check: str
    policy: str
    rows: dict[str, str] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)


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


def missing_label(rows: list[Row]) -> dict[str, str]:
    """Return rows whose label is empty or white space."""
    return {row.id: "no label" for row in rows if not row.label.strip()}


def unknown_label(rows: list[Row], names: dict[str, str]) -> dict[str, str]:
    """Return rows whose raw label is not a key of `label_names`; none if `label_names` is empty."""
    if not names:
        return {}
    keys = {labels.alike(name): name for name in names}
    reasons = {}
    for label in {row.label for row in rows} - set(names):
        reasons[label] = f"label {label!r} is not in preprocess.label_names"
        if (name := keys.get(labels.alike(label))) is not None:
            reasons[label] += (
                f", whose key {name!r} is what YAML reads without quotes: write {label!r}: … in quotes"
            )
    return _of_labels(rows, reasons)


def empty(rows: list[Row]) -> dict[str, str]:
    """Return rows without visible text: empty, white space, or zero-width and other invisible characters."""
    return {row.id: _nothing(row.text) for row in rows if not labels.visible(row.text)}


def similar_labels(rows: list[Row]) -> dict[str, str]:
    """Return rows whose label reads like a more frequent one, or like a missing value."""
    return _of_labels(rows, labels.similar(row.label for row in rows))


def continuous_labels(rows: list[Row]) -> dict[str, str]:
    """Return rows whose label looks like a measured number, as in regression."""
    found = labels.continuous(row.label for row in rows)
    reason = (
        f"{len(found)} different decimal labels look like regression; "
        "a classifier needs classes: cut the numbers into ranges"
    )
    return _of_labels(rows, dict.fromkeys(found, reason))


def mojibake(rows: list[Row]) -> dict[str, str]:
    """Return rows whose text ftfy judges to have been decoded with the wrong encoding (`schÃ¶n`)."""
    from ftfy.badness import BADNESS_RE

    found = {}
    for row in rows:
        if not row.text.isascii() and (match := BADNESS_RE.search(row.text)):
            found[row.id] = f"{match[0]!r} at character {match.start() + 1}"
    return found


def conflict(rows: list[Row]) -> dict[str, str]:
    """Return rows whose text also occurs under another label, within a file or across files."""
    groups = _groups(rows, lambda row: key(row.text))
    several = {
        name: labels
        for name, group in groups.items()
        if len(labels := sorted({row.label for row in group})) > 1
    }
    found = {}
    for row in rows:
        if (name := key(row.text)) in several:
            others = [other.id for other in groups[name] if other.label != row.label]
            found[row.id] = f"{row.label!r}, but {several[name]} in all: see {_some(others)}"
    return found


def duplicate(rows: list[Row]) -> dict[str, str]:
    """Return rows that repeat the text and label of an earlier row of the same file."""
    groups = _groups(rows, lambda row: f"{row.part}\0{row.label}\0{row.text}")
    repeats = {row.id: f"the same as {group[0].id}" for group in groups.values() for row in group[1:]}
    return {row.id: repeats[row.id] for row in rows if row.id in repeats}


def leakage(rows: list[Row], noun: str = "text") -> dict[str, str]:
    """Return train rows whose text is also in val or test, and val rows whose text is also in test.

    `noun` is the word for the text in the reasons.
    """
    return {
        id_: f"the same {noun} as {twin}" for id_, twin in _shared(rows, lambda row: key(row.text)).items()
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


# In the order in which they run and are reported; all are functions of the rows alone.
ROW_CHECKS: dict[str, Callable[[list[Row]], dict[str, str]]] = {
    "invalid_utf8": invalid_utf8,
    "missing_label": missing_label,
    "similar_labels": similar_labels,
    "continuous_labels": continuous_labels,
    "empty": empty,
    "mojibake": mojibake,
    "conflict": conflict,
    "duplicate": duplicate,
    "leakage": leakage,
    "group_leakage": group_leakage,
    "time_leakage": time_leakage,
}
ROW_CHECKS_OF_IMAGES: dict[str, Callable[[list[Row]], dict[str, str]]] = {
    "missing_label": missing_label,
    "similar_labels": similar_labels,
    "continuous_labels": continuous_labels,
    "conflict": conflict,
    "duplicate": duplicate,
    "leakage": partial(leakage, noun="picture"),
}


def small_class(
    rows: list[Row], least: int, noun: str = "text", units: Mapping[str, int] | None = None
) -> dict[str, str]:
    """Return the rows, in all files, of classes with fewer than `least` (but some) distinct texts in train.

    `least` is one for each split to cut, plus one to stay. `units` (row id -> unit) numbers the rows that are
    never separated: of near-duplicates or texts of one group, only one counts.
    """
    texts: dict[str, set[str]] = defaultdict(set)
    apart: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        if row.part == "train":
            texts[row.label].add(key(row.text))
            if units:
                apart[row.label].add(units[row.id])
    reasons = {}
    for label, different in texts.items():
        count, parted = len(different), len(apart[label]) if units else len(different)
        if parted < least:
            together = f" ({parted} where near-duplicates and groups stay together)" if parted < count else ""
            reasons[label] = (
                f"class {label!r} has {count} different {noun}{'s' * (count > 1)} in train{together}, "
                f"cutting needs {least}"
            )
    return _of_labels(rows, reasons)


def unseen_label(rows: list[Row]) -> dict[str, str]:
    """Return val and test rows whose label is not in train."""
    known = {row.label for row in rows if row.part == "train"}
    return {row.id: f"label {row.label!r} is not in train" for row in rows if row.label not in known}


def drift(rows: list[Row]) -> dict[str, float | int | bool] | None:
    """Compare the labels of the train and the test file; return None if there is no test file.

    Returns:
        `chi_square` and `degrees_of_freedom` of Pearson's test of homogeneity, and its `p_value` from draws
        without replacement, which is exact even if many labels are rare; `total_variation`, half the sum of
        the absolute differences between the shares (0: equal, 1: disjoint), and `by_chance`, its mean if both
        files came from the same source; `found`, whether both thresholds above are crossed.
    """
    train = Counter(row.label for row in rows if row.part == "train")
    test = Counter(row.label for row in rows if row.part == "test")
    if not train or not test:
        return None
    from baton.tables import two_sample_tests

    labels = sorted(train | test)
    all_train, all_test = train.total(), test.total()
    chi_square = 0.0
    for label in labels:
        share = (train[label] + test[label]) / (all_train + all_test)
        chi_square += (train[label] - share * all_train) ** 2 / (share * all_train) + (
            test[label] - share * all_test
        ) ** 2 / (share * all_test)
    distance = two_sample_tests.labels(train, test)
    return {
        "chi_square": chi_square,
        "degrees_of_freedom": len(labels) - 1,
        "p_value": distance.p,
        "total_variation": distance.value,
        "by_chance": distance.chance,
        "found": distance.p < DRIFT_P_VALUE and distance.excess > DRIFT_TOTAL_VARIATION,
    }


def _of_labels(rows: list[Row], reasons: dict[str, str]) -> dict[str, str]:
    return {row.id: reasons[row.label] for row in rows if row.label in reasons} if reasons else {}


def _nothing(text: str) -> str:
    if not text:
        return "no text"
    return "white space" if not text.strip() else "invisible characters"


def _groups(rows: list[Row], name: Callable[[Row], str]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[name(row)].append(row)
    return groups


def _undecodable(row: Row) -> str:
    for where, value in (("text", row.text), ("label", row.label)):
        for match in SURROGATE.finditer(value):
            code = ord(match[0])
            what = (
                f"byte 0x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"lone surrogate U+{code:04X}"
            )
            return f"{what} at character {match.start() + 1} of the {where}"
    return ""


def _some(ids: list[str], count: int = 3) -> str:
    return ", ".join(ids[:count]) + (f" and {len(ids) - count} more" if len(ids) > count else "")
