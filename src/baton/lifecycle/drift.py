"""Whether incoming data differs from what the champion was trained on: how many rows, label shares, lengths, words that it never saw.

Input: the champion's profile (kept with its version) and data/clean. Incoming are the rows of train and val that the champion was not
trained on, by the digests of their texts (or pixels) and labels: a row with another label than before is a new one, and its old self is
gone. Images have neither words nor lengths: the mean brightness of each stands for its length, and no word of them is unknown.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy import stats

from baton import params, storage
from baton.lifecycle import brightness, tables

WORD = re.compile(r"\w+")
WORDS = 50_000  # of a profile's vocabulary: the most frequent ones
GRID = 101  # quantiles of lengths
PICTURES = 1000  # the most whose brightness is measured: decoding takes time, and distances below 0.05 do not matter
SIMULATED = 9_999  # draws of a simulated test
ACCIDENT = 0.01  # probability below which a distance is no accident


@dataclass(frozen=True)
class Drift:
    """How far incoming rows are from a profile; shares and distances are 0 where there are none."""

    rows: int  # incoming ones
    gone: int  # rows that were there and are not any more
    changed: float  # both, as a share of the rows that were there
    labels: float  # total variation distance of label shares, 0 to 1
    lengths: float  # largest difference of the distributions of words a text, or brightness of images (Kolmogorov–Smirnov), 0 to 1
    unknown: float  # mean share of a text's words that the vocabulary lacks, above that of a training text whose own words are left out
    chance: Mapping[str, float]  # of each distance: the probability that rows like the earlier ones give one as large
    kind: tables.Kind = "text"

    def beyond(self, limits: params.DriftLimits) -> list[str]:
        """Which limits are passed, in words; distances only where that is no accident, which few rows cannot tell."""
        found = {"changed": self.changed, "labels": self.labels, "lengths": self.lengths, "unknown": self.unknown}
        allowed = limits.model_dump()
        over = [key for key, value in found.items() if value > allowed[key] and self.chance.get(key, 0.0) < ACCIDENT]
        names = {"lengths": "lengths (brightness)"} if self.kind == "images" else {}
        return [f"{names.get(key, key)} {found[key]:.3f} (limit {allowed[key]:.3f})" for key in over]


@dataclass(frozen=True)
class _Rows:
    """Train and val of data/clean, train first."""

    clean: Path
    kind: tables.Kind
    keys: list[str]  # texts, or digests of pixels
    labels: list[str]

    @property
    def digests(self) -> list[str]:
        """Of each row, with its label."""
        return tables.digests(f"{key} {label}" for key, label in zip(self.keys, self.labels, strict=True))


def profile(clean: Path) -> dict[str, Any]:
    """What is kept of the training data of a version: shares, quantiles, vocabulary; JSON values."""
    rows = _rows(clean)
    lengths = _lengths(rows, range(len(rows.keys)))
    return {
        "rows": rows.digests,
        "labels": _shares(rows.labels),
        "lengths": [float(value) for value in np.quantile(lengths, np.linspace(0, 1, GRID))],
        **(_vocabulary(rows.keys) if rows.kind == "text" else {"vocabulary": [], "unknown": 0.0}),
    }


def measure(clean: Path, earlier: Mapping[str, Any]) -> Drift:
    """Compare the rows that an earlier profile does not know with it."""
    rows = _rows(clean)
    known, now = set(earlier["rows"]), rows.digests
    gone = len(known.difference(now))
    fresh = [place for place, digest in enumerate(now) if digest not in known]
    changed = (len(fresh) + gone) / max(1, len(known))
    if not fresh:
        return Drift(0, gone, changed, 0.0, 0.0, 0.0, {}, rows.kind)
    found = {
        "labels": _label_distance([rows.labels[place] for place in fresh], earlier["labels"], len(known)),
        "lengths": _length_distance(_lengths(rows, fresh), earlier["lengths"]),
        "unknown": (0.0, 1.0),
    }
    if rows.kind == "text":
        shares = _unknown((rows.keys[place] for place in fresh), earlier["vocabulary"])
        found["unknown"] = _unknown_above(shares, earlier["unknown"])
    distances = {key: float(distance) for key, (distance, _) in found.items()}
    chance = {key: float(chance) for key, (_, chance) in found.items()}
    return Drift(len(fresh), gone, changed, **distances, chance=chance, kind=rows.kind)


def _label_distance(labels: list[str], earlier: Mapping[str, float], rows: int) -> tuple[float, float]:
    """Total variation, and the p of a chi-square test by simulation, since few rows leave rare labels expected far below one.

    A label that was never seen is expected as half a row of the earlier ones.
    """
    shares = _shares(labels)
    names = sorted(shares.keys() | earlier.keys())
    ours, theirs = (np.array([some.get(name, 0.0) for name in names]) for some in (shares, earlier))
    expected = np.maximum(theirs, 0.5 / rows)
    expected *= len(labels) / expected.sum()
    drawn = np.random.default_rng(0).multinomial(len(labels), expected / len(labels), SIMULATED)  # (SIMULATED, labels)
    statistic, seen = ((drawn - expected) ** 2 / expected).sum(axis=1), ((ours * len(labels) - expected) ** 2 / expected).sum()
    return np.abs(ours - theirs).sum() / 2, float((1 + (statistic >= seen - 1e-9).sum()) / (1 + SIMULATED))


def _length_distance(lengths: list[float], quantiles: list[float]) -> tuple[float, float]:
    """Largest distance between the distribution of `lengths` and the one that `quantiles` describe, and its p (Kolmogorov–Smirnov)."""
    place = np.unique(np.concatenate([lengths, quantiles]))
    ours = np.searchsorted(np.sort(lengths), place, side="right") / len(lengths)
    theirs = np.searchsorted(quantiles, place, side="right") / len(quantiles)
    distance = np.abs(ours - theirs).max()
    return distance, stats.kstwo.sf(distance, len(lengths))


def _unknown_above(shares: NDArray[np.float64], earlier: float) -> tuple[float, float]:
    """How far the mean share of unknown words lies above the earlier one, and the p of a t-test over texts."""
    above = max(0.0, shares.mean() - earlier)
    if len(shares) == 1 or not above:
        return above, 1.0  # nothing can be told
    if not np.ptp(shares):  # all alike: as if each text were known or unknown as a whole
        return above, earlier ** len(shares)
    return above, float(stats.ttest_1samp(shares, earlier, alternative="greater").pvalue)


def _rows(clean: Path) -> _Rows:
    names = storage.read_json(clean / "labels.json")
    kind = tables.kind(clean / "train.parquet")
    column = tables.KEYS[kind]
    found = [pq.read_table(clean / f"{split}.parquet", columns=[column, "label"]) for split in tables.TRAINED_ON]
    keys = [key for table in found for key in table[column].to_pylist()]
    return _Rows(clean, kind, keys, [names[label] for table in found for label in table["label"].to_pylist()])


def _lengths(rows: _Rows, places: Sequence[int]) -> list[float]:
    """Words of each text, or brightness of some images: of those with the smallest digests, which are no special ones."""
    if rows.kind == "text":
        return [len(_words(rows.keys[place])) for place in places]
    return brightness.measure(rows.clean, set(sorted(places, key=lambda place: rows.keys[place])[:PICTURES]))


def _vocabulary(texts: list[str]) -> dict[str, Any]:
    """The words of a profile, and how many of a text's a vocabulary without it lacks."""
    counts = Counter(word for text in texts for word in set(_words(text)))  # texts that hold it
    vocabulary = [word for word, _ in counts.most_common(WORDS)]
    return {"vocabulary": vocabulary, "unknown": float(_unknown(texts, (word for word in vocabulary if counts[word] > 1)).mean())}


def _words(text: str) -> list[str]:
    return WORD.findall(text.casefold())


def _shares(labels: Iterable[str]) -> dict[str, float]:
    counts = Counter(labels)
    return {label: count / counts.total() for label, count in sorted(counts.items())}


def _unknown(texts: Iterable[str], vocabulary: Iterable[str]) -> NDArray[np.float64]:
    """Share of each text's words that the vocabulary lacks."""
    known = set(vocabulary)
    words = (_words(text) for text in texts)
    return np.array([sum(word not in known for word in some) / max(1, len(some)) for some in words])
