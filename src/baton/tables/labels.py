"""Labels as people write them: what is mended always, what reads alike, and in what order they are shown."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from functools import lru_cache

# Characters that nobody sees (Unicode's default ignorable code points but for tags and emoji's variation selectors, which change what is
# seen), and control characters.
_UNSEEN_RANGES = [
    (0x00, 0x20),
    (0x7F, 0xA0),
    (0xAD, 0xAD),
    (0x34F, 0x34F),
    (0x61C, 0x61C),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
]
_UNSEEN_RANGES += [
    (0x180B, 0x180F),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (0x3164, 0x3164),
    (0xFEFF, 0xFEFF),
]
_UNSEEN_RANGES += [(0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8)]
_SPACES = "\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u2800\u3000"
UNSEEN = _SPACES + "".join(chr(code) for first, last in _UNSEEN_RANGES for code in range(first, last + 1))
_WITHIN = str.maketrans("", "", "".join(character for character in UNSEEN if not character.isspace()))
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_NULLS = {"nan", "none", "null", "nil", "nat", "n/a", "na", "#n/a", "<na>", "#null!", "\\n"}
LEAST_CONTINUOUS = 20  # different decimals; ratings in halves from 0 to 5 are 11


def visible(text: str) -> str:
    """The text without white space and invisible characters at its ends; '' where there is nothing to see."""
    return text.strip(UNSEEN)


@lru_cache(maxsize=65_536)
def normal(label: str) -> str:
    """A label as it is kept: `visible`, and in Unicode's composed form (NFC)."""
    return visible(unicodedata.normalize("NFC", label))


def number(label: str) -> Decimal | None:
    """The number that a label is the text of."""
    if not _NUMBER.fullmatch(label):
        return None
    try:
        return Decimal(label).normalize() + 0  # no minus zero
    except InvalidOperation:
        return None


def order(label: str) -> tuple[bool, Decimal, str]:
    """A sorting key: numbers by their value, before all other labels, which go by their characters."""
    value = number(label)
    return value is None, Decimal() if value is None else value, label


def similar(labels: Iterable[str]) -> dict[str, str]:
    """Labels that a person may take for another one, or for a missing one.

    Two labels read alike if they are equal without case, invisible characters and differences of width or ligature (Unicode's NFKC), or are
    the same number.

    Args:
        labels: of all rows, each as often as it occurs.

    Returns:
        label -> why; of labels that read alike all but the most frequent one.
    """
    counts = Counter(labels)
    groups: dict[str, list[str]] = defaultdict(list)
    for label in sorted(counts, key=lambda label: (-counts[label], order(label))):
        groups[alike(label)].append(label)
    found: dict[str, str] = {}
    for name, group in groups.items():
        if name in _NULLS:
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
    """Decimal labels, if there are so many different ones that they look measured: what is wanted may be regression."""
    different = set(labels)
    decimals = {
        label
        for label in different
        if (value := number(label)) is not None and value != value.to_integral_value()
    }
    return decimals if len(decimals) >= LEAST_CONTINUOUS and 2 * len(decimals) > len(different) else set()


def listed(labels: Iterable[str]) -> set[str]:
    """Labels that are the text of a list, as Python or JSON write it."""
    return {label for label in set(labels) if label.startswith("[") and label.endswith("]")}


def alike(label: str) -> str:
    """What labels that read alike have in common."""
    value = number(label)
    if value is not None:
        return f"{value:f}" if abs(value.adjusted()) < 100 else str(value)
    return " ".join(unicodedata.normalize("NFKC", label).translate(_WITHIN).casefold().split())
