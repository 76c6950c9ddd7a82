"""Whether incoming data differs from what the champion was trained on: how many rows, label shares, lengths, words that it never saw.

Input: the champion's profile (kept with its version) and data/clean. Incoming are the rows of train and val that the champion was not
trained on, by the digests of their texts and labels: a row with another label than before is a new one, and its old self is gone.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from baton import params, storage
from baton.lifecycle import tables

WORD = re.compile(r"\w+")
WORDS = 50_000  # of a profile's vocabulary: the most frequent ones
GRID = 101  # quantiles of lengths


@dataclass(frozen=True)
class Drift:
    """How far incoming rows are from a profile; shares and distances are 0 where there are none."""

    rows: int  # incoming ones
    gone: int  # rows that were there and are not any more
    changed: float  # both, as a share of the rows that were there
    labels: float  # total variation distance of label shares, 0 to 1
    lengths: float  # largest difference of the distributions of words a text (Kolmogorov–Smirnov), 0 to 1
    unknown: float  # share of words that are not in the vocabulary, above what it was among the training's own rows

    def beyond(self, limits: params.DriftLimits) -> list[str]:
        """Which limits are passed, in words."""
        found = {"changed": self.changed, "labels": self.labels, "lengths": self.lengths, "unknown": self.unknown}
        allowed = limits.model_dump()
        return [f"{key} {value:.3f} (limit {allowed[key]:.3f})" for key, value in found.items() if value > allowed[key]]


def profile(clean: Path) -> dict[str, Any]:
    """What is kept of the training data of a version: shares, quantiles, vocabulary; JSON values."""
    texts, labels = _rows(clean)
    counts = Counter(word for text in texts for word in _words(text))
    vocabulary = [word for word, count in counts.most_common(WORDS) if count > 1]
    lengths = [len(_words(text)) for text in texts]
    return {
        "rows": _digests(texts, labels),
        "labels": _shares(labels),
        "lengths": [float(value) for value in np.quantile(lengths, np.linspace(0, 1, GRID))],
        "vocabulary": vocabulary,
        "unknown": _unknown(texts, set(vocabulary)),
    }


def measure(clean: Path, earlier: dict[str, Any]) -> Drift:
    """Compare the rows that an earlier profile does not know with it."""
    texts, labels = _rows(clean)
    known, now = set(earlier["rows"]), _digests(texts, labels)
    gone = len(known.difference(now))
    fresh = [place for place, digest in enumerate(now) if digest not in known]
    changed = (len(fresh) + gone) / max(1, len(known))
    if not fresh:
        return Drift(0, gone, changed, 0.0, 0.0, 0.0)
    texts, labels = [texts[place] for place in fresh], [labels[place] for place in fresh]
    shares = _shares(labels)
    names = shares.keys() | earlier["labels"].keys()
    distance = sum(abs(shares.get(name, 0.0) - earlier["labels"].get(name, 0.0)) for name in names) / 2
    unknown = max(0.0, _unknown(texts, set(earlier["vocabulary"])) - earlier["unknown"])
    lengths = _kolmogorov_smirnov([len(_words(text)) for text in texts], earlier["lengths"])
    return Drift(len(fresh), gone, changed, distance, lengths, unknown)


def _digests(texts: list[str], labels: list[str]) -> list[str]:
    return tables.digests(f"{text} {label}" for text, label in zip(texts, labels, strict=True))


def _rows(clean: Path) -> tuple[list[str], list[str]]:
    names = storage.read_json(clean / "labels.json")
    found = [pq.read_table(clean / f"{split}.parquet", columns=["text", "label"]) for split in ("train", "val")]
    texts = [text for table in found for text in table["text"].to_pylist()]
    return texts, [names[label] for table in found for label in table["label"].to_pylist()]


def _words(text: str) -> list[str]:
    return WORD.findall(text.casefold())


def _shares(labels: Iterable[str]) -> dict[str, float]:
    counts = Counter(labels)
    return {label: count / counts.total() for label, count in sorted(counts.items())}


def _unknown(texts: Iterable[str], vocabulary: set[str]) -> float:
    words = [word for text in texts for word in _words(text)]
    return sum(word not in vocabulary for word in words) / max(1, len(words))


def _kolmogorov_smirnov(lengths: list[int], quantiles: list[float]) -> float:
    """Largest distance between the distribution of `lengths` and the one that `quantiles` describe."""
    place = np.unique(np.concatenate([lengths, quantiles]))
    ours = np.searchsorted(np.sort(lengths), place, side="right") / len(lengths)
    theirs = np.searchsorted(quantiles, place, side="right") / len(quantiles)
    return float(np.abs(ours - theirs).max())
