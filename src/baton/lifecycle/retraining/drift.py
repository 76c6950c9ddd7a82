"""Measure drift from the champion's training data, in row counts, labels, lengths and unknown words.

Input: the champion's profile (kept with its version), and the rows of train and val in data/clean that the
champion was not trained on, by the digests of their texts (or pixels) and labels: a row whose label changed
is a new row, and the old one is gone. Or any `Sample` without labels, whose rows are compared by their texts
(or pixels) alone. Images have neither words nor lengths: the mean brightness of each is used as its length,
and none of its words is unknown. A clip's length is in seconds, and its loudness is compared too; images with
texts are compared by their texts and their brightness. Of questions about the same context one is measured.

Both sides are samples, so every distance is a two-sample one (`two_samples`). It counts only if it exceeds
what chance makes of it by more than its limit, and a test finds it significant at the level `ACCIDENT` over
all distances together (Holm 1979, A simple sequentially rejective multiple test procedure).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baton import params
from baton.arrays.image_arrays import significant_bits
from baton.contracts.task_spec import TaskSpec
from baton.errors import DataError
from baton.evaluate import proportions
from baton.images.bit_depth import BITS_16
from baton.lifecycle import test_table
from baton.lifecycle.retraining import samples, vocabulary
from baton.lifecycle.retraining.samples import Sample
from baton.tables import target_drift, two_sample_tests
from baton.tables.two_sample_tests import Distance

# Of a profile. The first layout held shares and quantiles, which do not show how certain they are; in the
# second a sentence without spaces (Japanese, Thai) was one word, and each question about a context counted.
LAYOUT = 3
BITS = "significant_bits"  # the profile's key for how many of 16 bits the images used, if fewer
# A distance that has no limit of its own -> whose it takes.
LIMITS = {"loudness": "lengths", "brightness": "lengths"}
ACCIDENT = 0.01  # probability of reporting drift for rows of the same source, over all distances together


@dataclass(frozen=True)
class Drift:
    """The distance of incoming rows from a profile."""

    rows: int  # incoming rows
    gone: int  # rows that have disappeared
    changed: float  # both, as a share of the earlier rows
    # labels: see `target_drift.distance`; lengths: of words per text, or
    # brightness of images (Kolmogorov–Smirnov); unknown: mean share of a text's words that the vocabulary
    # lacks, in excess of that of texts kept out of it. Only those that could be measured.
    distances: Mapping[str, Distance]
    kind: test_table.Kind = "text"

    def beyond(self, limits: params.DriftLimits) -> list[str]:
        """Return the exceeded limits in words; a distance counts only if it is significant."""
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
        names = {"images": {"lengths": "lengths (brightness)"}, "audio": {"lengths": "lengths (seconds)"}}
        own = names.get(self.kind, {})
        for key, distance in self.distances.items():
            limit = allowed[LIMITS.get(key, key)]
            if distance.excess > limit and certain[key] <= ACCIDENT:
                by_chance = f"of which chance accounts for {distance.chance:.3f}"
                found.append(
                    f"{own.get(key, key)} {distance.value:.3f}, {by_chance} (limit {limit:.3f} more)"
                )
        return found


def profile(clean: Path) -> dict[str, Any]:
    """Return what is kept of a version's training data, as JSON values.

    It holds counts of labels, of lengths and of unknown words, and a vocabulary.
    """
    rows = samples.of_clean(clean)
    assert rows.labels is not None
    apart = rows.apart(range(len(rows.keys)))
    measured = samples.measured(rows, apart)
    return {
        "layout": LAYOUT,
        "rows": _labelled(rows),
        "labels": dict(sorted(counted((rows.labels[place] for place in apart), rows.task).items())),
        **(
            {BITS: bits}
            if "image" in rows.kind and (bits := significant_bits(clean / "train.parquet")) != BITS_16
            else {}
        ),
        **{
            name: {"values": sorted(own), "counts": [own[value] for value in sorted(own)]}
            for name, own in measured.items()
        },
        **(
            vocabulary.profile([rows.texts[place] for place in apart])
            if rows.texts
            else {"vocabulary": None, "unknown": None}
        ),
    }


def measure(clean: Path, earlier: Mapping[str, Any]) -> Drift:
    """Compare the rows that an earlier profile does not contain with it.

    Raises:
        DataError: the profile has an earlier layout.
    """
    rows = samples.of_clean(clean)
    assert rows.labels is not None
    known, now = set(_current(earlier)["rows"]), _labelled(rows)
    gone = len(known.difference(now))
    fresh = [place for place, digest in enumerate(now) if digest not in known]
    changed = (len(fresh) + gone) / max(1, len(known))
    return Drift(len(fresh), gone, changed, _distances(rows, fresh, earlier), rows.kind)


def measure_unlabelled(
    sample: Sample, places: Sequence[int], earlier: Mapping[str, Any], predicted: Distance | None = None
) -> Drift:
    """Compare a sample's rows at `places` with a profile.

    `predicted`, if given, is the distance of the labels that a model predicts.

    Raises:
        DataError: the profile has an earlier layout.
    """
    by_model = {"labels": predicted} if predicted else {}
    return Drift(len(places), 0, 0.0, by_model | _distances(sample, places, _current(earlier)), sample.kind)


def current(earlier: Mapping[str, Any]) -> bool:
    """Return whether a profile has the current layout."""
    return earlier.get("layout") == LAYOUT


def _current(earlier: Mapping[str, Any]) -> Mapping[str, Any]:
    if not current(earlier):
        got, expected = (
            f"layout {earlier.get('layout', 1)}",
            f"layout {LAYOUT}, whose words and counts mean what they mean now",
        )
        hint = (
            "run `baton register` with that version's data and model checked out: it writes the profile again"
        )
        raise DataError(
            "the profile of the training data cannot be used for comparison",
            got=got,
            expected=expected,
            hint=hint,
        )
    return earlier


def _distances(rows: Sample, places: Sequence[int], earlier: Mapping[str, Any]) -> dict[str, Distance]:
    found: dict[str, Distance] = {}
    if not places:
        return found
    apart = rows.apart(places)
    if rows.labels is not None:
        assert rows.task is not None
        own = counted((rows.labels[place] for place in apart), rows.task)
        found["labels"] = target_drift.distance(rows.task, earlier["labels"], own)
    for name, new_values in samples.measured(rows, apart).items():
        known = dict(zip(earlier[name]["values"], earlier[name]["counts"], strict=True))
        found[name] = two_sample_tests.distributions(known, new_values)
    if rows.texts and earlier["unknown"] is not None:
        new = vocabulary.unknown((rows.texts[place] for place in apart), earlier["vocabulary"])
        found["unknown"] = two_sample_tests.means(
            {place / 100: count for place, count in enumerate(earlier["unknown"])}, new
        )
    return found


def counted(labels: Iterable[str], task: TaskSpec | None) -> Counter[str]:
    """Count what is compared of rows' targets, see `target_drift.compared`."""
    return Counter(label if task is None else target_drift.compared(task, label) for label in labels)


def _labelled(rows: Sample) -> list[str]:
    """Return the digest of each row together with its targets."""
    return test_table.digests(f"{key} {own}" for key, own in zip(rows.keys, rows.identities, strict=True))
