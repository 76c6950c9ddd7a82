"""Normalize labels as people write them, find those that read alike, and order them for display."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from functools import lru_cache

from baton.contracts.unseen import UNSEEN

_WITHIN = str.maketrans("", "", "".join(character for character in UNSEEN if not character.isspace()))
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
NULLS = {"nan", "none", "null", "nil", "nat", "n/a", "na", "#n/a", "<na>", "#null!", "\\n"}
LEAST_CONTINUOUS = 20  # distinct decimals; ratings from 0 to 5 in steps of one half are 11


def visible(text: str) -> str:
    """Return the text without white space and invisible characters at its ends; '' if nothing is visible."""
    return text.strip(UNSEEN)


@lru_cache(maxsize=65_536)
def normal(label: str) -> str:
    """Return a label in the form it is kept: `visible`, and in Unicode's composed form (NFC)."""
    return visible(unicodedata.normalize("NFC", label))


def number(label: str) -> Decimal | None:
    """Return the number that a label spells; None if it is not a number."""
    if not NUMBER.fullmatch(label):
        return None
    try:
        return Decimal(label).normalize() + 0  # no negative zero
    except InvalidOperation:
        return None


def order(label: str) -> tuple[bool, Decimal, str]:
    """Return a sort key: numbers by value, before all other labels, which sort by their characters."""
    value = number(label)
    return value is None, Decimal() if value is None else value, label


def similar(labels: Iterable[str]) -> dict[str, str]:
    """Find labels that a reader may mistake for another one, or for a missing value.

    Two labels read alike if they are equal apart from case, invisible characters and differences of width or
    ligature (Unicode's NFKC), or are the same number.

    Args:
        labels: The labels of all rows, with repeats.

    Returns:
        Label -> reason; of labels that read alike, all but the most frequent one.
    """
    counts = Counter(labels)
    groups: dict[str, list[str]] = defaultdict(list)
    for label in sorted(counts, key=lambda label: (-counts[label], order(label))):
        groups[alike(label)].append(label)
    found: dict[str, str] = {}
    for name, group in groups.items():
        if name in NULLS:
            found |= {
                label: f"label {label!r} ({counts[label]} rows) reads like a missing value" for label in group
            }
        else:
            first = f"{group[0]!r} ({counts[group[0]]} rows)"
            found |= {
                label: f"label {label!r} ({counts[label]} rows) reads like {first}" for label in group[1:]
            }
    return found


def continuous(labels: Iterable[str]) -> set[str]:
    """Return the decimal labels if there are enough distinct ones to look measured, as in regression."""
    different = set(labels)
    decimals = {
        label
        for label in different
        if (value := number(label)) is not None and value != value.to_integral_value()
    }
    return decimals if len(decimals) >= LEAST_CONTINUOUS and 2 * len(decimals) > len(different) else set()


def listed(labels: Iterable[str]) -> set[str]:
    """Return the labels that are a list in the notation of Python or JSON."""
    return {label for label in set(labels) if label.startswith("[") and label.endswith("]")}


def alike(label: str) -> str:
    """Return a key that is equal for labels that read alike."""
    value = number(label)
    if value is not None:
        return f"{value:f}" if abs(value.adjusted()) < 100 else str(value)
    return " ".join(unicodedata.normalize("NFKC", label).translate(_WITHIN).casefold().split())
