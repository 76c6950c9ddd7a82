"""Whether incoming data differs from what the champion was trained on: how many rows, label shares, lengths, words that it never saw.

Input: the champion's profile (kept with its version), and the rows of train and val in data/clean that the champion was not trained on, by
the digests of their texts (or pixels) and labels: a row with another label than before is a new one, and its old self is gone. Or any
`Sample` without labels, whose rows are compared by their texts (or pixels) alone. Images have neither words nor lengths: the mean
brightness of each stands for its length, and no word of them is unknown.

Both sides are samples, so every distance is a two-sample one (`two_samples`), and counts only if it is larger by more than its limit than
chance makes it, and by a test at the level `ACCIDENT` over all distances together (Holm 1979, A simple sequentially rejective multiple test
procedure).
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from baton import params, storage
from baton.arrays.image_arrays import significant_bits
from baton.errors import DataError
from baton.evaluate import proportions
from baton.images.bit_depth import BITS_16
from baton.lifecycle import test_table
from baton.lifecycle.retraining import brightness
from baton.tables import two_sample_tests
from baton.tables.two_sample_tests import Distance

LAYOUT = 2  # of a profile; the first one held shares and quantiles, which do not tell how certain they are
BITS = "significant_bits"  # its key for how many of 16 bits the pictures used, where that is fewer
WORD = re.compile(r"\w+")
WORDS = 50_000  # of a profile's vocabulary: the most frequent ones
HELD_OUT = 4  # one text of so many is not in the vocabulary; how many of their words it lacks is what new texts are compared with
PICTURES = 1000  # the most whose brightness is measured: decoding takes time
ACCIDENT = 0.01  # probability that rows of the same source are called drifted, over all distances together


@dataclass(frozen=True)
class Drift:
    """How far incoming rows are from a profile."""

    rows: int  # incoming ones
    gone: int  # rows that were there and are not any more
    changed: float  # both, as a share of the rows that were there
    # labels: total variation; lengths: of words a text, or brightness of images (Kolmogorov–Smirnov); unknown: mean share of a text's words
    # that the vocabulary lacks, above that of texts which were left out of it. Those that could be measured.
    distances: Mapping[str, Distance]
    kind: test_table.Kind = "text"

    def beyond(self, limits: params.DriftLimits) -> list[str]:
        """Which limits are passed, in words; distances only where that is no accident, which few rows cannot tell."""
        allowed = limits.model_dump()
        found = (
            [f"changed {self.changed:.3f} (limit {limits.changed:.3f})"]
            if self.changed > limits.changed
            else []
        )
        certain = dict(
            zip(
                self.distances,
                proportions.holm([distance.p for distance in self.distances.values()]),
                strict=True,
            )
        )
        names = {"lengths": "lengths (brightness)"} if self.kind == "images" else {}
        for key, distance in self.distances.items():
            if distance.excess > allowed[key] and certain[key] <= ACCIDENT:
                by_chance = f"of which chance makes {distance.chance:.3f}"
                found.append(
                    f"{names.get(key, key)} {distance.value:.3f}, {by_chance} (limit {allowed[key]:.3f} more)"
                )
        return found


@dataclass(frozen=True)
class Sample:
    """Rows whose distance is asked for."""

    kind: test_table.Kind
    keys: Sequence[str]  # texts, or digests of pixels
    labels: Sequence[str] | None
    clean: Path | None = None  # where images are, in the order of the keys
    brightness: Sequence[float] | None = None  # of images that are elsewhere
    files: Sequence[Path] | None = None  # and where


def profile(clean: Path) -> dict[str, Any]:
    """What is kept of the training data of a version: counts of labels, of lengths and of unknown words, and a vocabulary; JSON values."""
    rows = _rows(clean)
    assert rows.labels is not None
    lengths = sorted(_lengths(rows, range(len(rows.keys))).items())
    return {
        "layout": LAYOUT,
        "rows": _labelled(rows),
        "labels": dict(sorted(Counter(rows.labels).items())),
        **(
            {BITS: bits}
            if rows.kind == "images" and (bits := significant_bits(clean / "train.parquet")) != BITS_16
            else {}
        ),
        "lengths": {"values": [value for value, _ in lengths], "counts": [count for _, count in lengths]},
        **(_vocabulary(rows.keys) if rows.kind == "text" else {"vocabulary": None, "unknown": None}),
    }


def measure(clean: Path, earlier: Mapping[str, Any]) -> Drift:
    """Compare the rows that an earlier profile does not know with it.

    Raises:
        DataError: the profile is of a layout that does not tell how certain it is.
    """
    rows = _rows(clean)
    assert rows.labels is not None
    known, now = set(_current(earlier)["rows"]), _labelled(rows)
    gone = len(known.difference(now))
    fresh = [place for place, digest in enumerate(now) if digest not in known]
    changed = (len(fresh) + gone) / max(1, len(known))
    return Drift(len(fresh), gone, changed, _distances(rows, fresh, earlier), rows.kind)


def unseen(sample: Sample, known: Iterable[str]) -> list[int]:
    """Places of a sample's rows that were not trained on (the digests of those are `known`); a row that is there twice counts once."""
    seen, fresh = set(known), []
    for place, digest in enumerate(
        test_table.digests(sample.keys) if sample.kind == "text" else map(test_table.shortened, sample.keys)
    ):
        if digest not in seen:
            seen.add(digest)
            fresh.append(place)
    return fresh


def measure_unlabelled(
    sample: Sample, places: Sequence[int], earlier: Mapping[str, Any], predicted: Distance | None = None
) -> Drift:
    """Compare a sample's rows at `places` with a profile; instead of labels, their distance as a model predicts them, if it is given.

    Raises:
        DataError: the profile is of a layout that does not tell how certain it is.
    """
    by_model = {"labels": predicted} if predicted else {}
    return Drift(len(places), 0, 0.0, by_model | _distances(sample, places, _current(earlier)), sample.kind)


def current(earlier: Mapping[str, Any]) -> bool:
    """Whether a profile is of the layout that is compared with."""
    return earlier.get("layout") == LAYOUT


def _current(earlier: Mapping[str, Any]) -> Mapping[str, Any]:
    if not current(earlier):
        got, expected = f"layout {earlier.get('layout', 1)}", f"layout {LAYOUT}, which keeps counts"
        hint = "run `baton register` where that version's data and model are checked out: it writes the profile anew"
        raise DataError(
            "the profile of the training data cannot be compared with", got=got, expected=expected, hint=hint
        )
    return earlier


def _distances(rows: Sample, places: Sequence[int], earlier: Mapping[str, Any]) -> dict[str, Distance]:
    found: dict[str, Distance] = {}
    if not places:
        return found
    if rows.labels is not None:
        found["labels"] = two_sample_tests.labels(
            earlier["labels"], Counter(rows.labels[place] for place in places)
        )
    lengths = dict(zip(earlier["lengths"]["values"], earlier["lengths"]["counts"], strict=True))
    found["lengths"] = two_sample_tests.distributions(lengths, _lengths(rows, places))
    if rows.kind == "text" and earlier["unknown"] is not None:
        new = _unknown((rows.keys[place] for place in places), earlier["vocabulary"])
        found["unknown"] = two_sample_tests.means(
            {place / 100: count for place, count in enumerate(earlier["unknown"])}, new
        )
    return found


def _rows(clean: Path) -> Sample:
    """Train and val of data/clean, train first."""
    names = storage.read_json(clean / "labels.json")
    kind = test_table.kind(clean / "train.parquet")
    column = test_table.KEYS[kind]
    found = [
        pq.read_table(clean / f"{split}.parquet", columns=[column, "label"])
        for split in test_table.TRAINED_ON
    ]
    keys = [key for table in found for key in table[column].to_pylist()]
    return Sample(
        kind, keys, [names[label] for table in found for label in table["label"].to_pylist()], clean
    )


def _labelled(rows: Sample) -> list[str]:
    """The digest of each row with its label."""
    assert rows.labels is not None
    return test_table.digests(f"{key} {label}" for key, label in zip(rows.keys, rows.labels, strict=True))


def _lengths(rows: Sample, places: Sequence[int]) -> Counter[float]:
    """Words of each text, or brightness of some images: of those with the smallest digests, which are no special ones."""
    if rows.kind == "text":
        return Counter(float(len(_words(rows.keys[place]))) for place in places)
    some = set(sorted(places, key=lambda place: rows.keys[place])[:PICTURES])
    found = [rows.brightness[place] for place in sorted(some)] if rows.brightness is not None else []
    if rows.clean is not None:
        found = brightness.measure(rows.clean, some)
    return Counter(round(value, 4) for value in found)


def _vocabulary(texts: Sequence[str]) -> dict[str, Any]:
    """The words of a profile, and of how many hundredths of their words it lacks how many of the texts that were left out of it.

    New texts of the same source stand to the vocabulary as those do, so both are compared as two samples, with no estimate in between.
    """
    digests = test_table.digests(texts)
    order = sorted(range(len(texts)), key=lambda place: digests[place])
    left_out = set(order[: max(1, len(texts) // HELD_OUT)])
    counts = Counter(
        word for place, text in enumerate(texts) if place not in left_out for word in set(_words(text))
    )
    vocabulary = [word for word, _ in counts.most_common(WORDS)]
    unknown = _unknown((texts[place] for place in order[: len(left_out)]), vocabulary)
    return {"vocabulary": vocabulary, "unknown": [unknown[place / 100] for place in range(101)]}


def _words(text: str) -> list[str]:
    return WORD.findall(text.casefold())


def _unknown(texts: Iterable[str], vocabulary: Iterable[str]) -> Counter[float]:
    """Share of a text's words that the vocabulary lacks, in hundredths -> texts."""
    known = set(vocabulary)
    words = (_words(text) for text in texts)
    return Counter(
        round(100 * sum(word not in known for word in some) / max(1, len(some))) / 100 for some in words
    )
