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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from baton import params
from baton.arrays.image_arrays import significant_bits
from baton.contracts import targets, task_spec, text_pairs
from baton.contracts.task_spec import Spans, TaskSpec
from baton.errors import DataError
from baton.evaluate import proportions
from baton.images.bit_depth import BITS_16
from baton.lifecycle import test_table
from baton.lifecycle.retraining import brightness, sound_levels
from baton.tables import target_drift, two_sample_tests
from baton.tables.two_sample_tests import Distance
from baton.tasks import task_figures
from baton.texts import words

# Of a profile. The first layout held shares and quantiles, which do not show how certain they are; in the
# second a sentence without spaces (Japanese, Thai) was one word.
LAYOUT = 3
BITS = "significant_bits"  # the profile's key for how many of 16 bits the images used, if fewer
WORDS = 50_000  # of a profile's vocabulary: the most frequent ones
# One in HELD_OUT texts is kept out of the vocabulary; new texts are compared with the share of words it lacks
# of them.
HELD_OUT = 4
MOST_IMAGES = 1000  # the most images or clips that are measured: decoding takes time
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


@dataclass(frozen=True)
class Sample:
    """Rows to compare with a profile."""

    kind: test_table.Kind
    # Texts, whole pairs of texts (`text_pairs.whole`), digests of pixels or samples, or whole pairs of a
    # digest and a text.
    keys: Sequence[str]
    labels: Sequence[str] | None  # the targets of each row, as a served model writes them
    identities: Sequence[str] = ()  # what tells them apart, see `task_figures.identities`; only with labels
    clean: Path | None = None  # folder of the images or clips, in the order of the keys
    brightness: Sequence[float] | None = None  # of images stored elsewhere
    levels: Sequence[tuple[float, float]] | None = None  # of clips stored elsewhere, see `sound_levels`
    files: Sequence[Path] | None = None  # their paths
    task: TaskSpec | None = None  # of the labels
    pairs: Sequence[text_pairs.Pair] | None = None  # the two texts of each key, if rows are pairs
    captions: Sequence[str] = ()  # the texts of images
    contexts: Sequence[str] = ()  # of questions, several of which can have the same one
    again: Callable[[], Iterable[Any]] | None = None  # reads each row's image and text, in order, once more

    def inputs(self, places: Iterable[int]) -> Iterator[Any]:
        """Yield what a model reads of some rows: a text, both of a pair, the bytes of a file, or a dict.

        The order is that of the rows. One input is in memory at a time.
        """
        wanted = set(places)
        if self.again is not None:
            yield from (row for place, row in enumerate(self.again()) if place in wanted)
            return
        for place in sorted(wanted):
            if self.files is not None:
                yield self.files[place].read_bytes()
            else:
                yield self.keys[place] if self.pairs is None else [*self.pairs[place]]

    @property
    def texts(self) -> Sequence[str]:
        """The texts, if rows have any."""
        return self.keys if self.kind == "text" else self.captions

    def apart(self, places: Sequence[int]) -> Sequence[int]:
        """Return one of the `places` for each context: a test of lengths and words needs independent rows."""
        return list({self.contexts[place]: place for place in places}.values()) if self.contexts else places


def profile(clean: Path) -> dict[str, Any]:
    """Return what is kept of a version's training data, as JSON values.

    It holds counts of labels, of lengths and of unknown words, and a vocabulary.
    """
    rows = _rows(clean)
    assert rows.labels is not None
    apart = rows.apart(range(len(rows.keys)))
    measured = _measured(rows, apart)
    return {
        "layout": LAYOUT,
        "rows": _labelled(rows),
        "labels": dict(sorted(counted(rows.labels, rows.task).items())),
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
            _vocabulary([rows.texts[place] for place in apart])
            if rows.texts
            else {"vocabulary": None, "unknown": None}
        ),
    }


def measure(clean: Path, earlier: Mapping[str, Any]) -> Drift:
    """Compare the rows that an earlier profile does not contain with it.

    Raises:
        DataError: the profile has a layout that does not show how certain it is.
    """
    rows = _rows(clean)
    assert rows.labels is not None
    known, now = set(_current(earlier)["rows"]), _labelled(rows)
    gone = len(known.difference(now))
    fresh = [place for place, digest in enumerate(now) if digest not in known]
    changed = (len(fresh) + gone) / max(1, len(known))
    return Drift(len(fresh), gone, changed, _distances(rows, fresh, earlier), rows.kind)


def unseen(sample: Sample, known: Iterable[str]) -> list[int]:
    """Return the places of a sample's rows whose digests are not `known`; a repeated row counts once."""
    seen, fresh = set(known), []
    for place, digest in enumerate(test_table.keys(sample.kind, sample.keys)):
        if digest not in seen:
            seen.add(digest)
            fresh.append(place)
    return fresh


def measure_unlabelled(
    sample: Sample, places: Sequence[int], earlier: Mapping[str, Any], predicted: Distance | None = None
) -> Drift:
    """Compare a sample's rows at `places` with a profile.

    `predicted`, if given, is the distance of the labels that a model predicts.

    Raises:
        DataError: the profile has a layout that does not show how certain it is.
    """
    by_model = {"labels": predicted} if predicted else {}
    return Drift(len(places), 0, 0.0, by_model | _distances(sample, places, _current(earlier)), sample.kind)


def current(earlier: Mapping[str, Any]) -> bool:
    """Return whether a profile has the current layout."""
    return earlier.get("layout") == LAYOUT


def _current(earlier: Mapping[str, Any]) -> Mapping[str, Any]:
    if not current(earlier):
        got, expected = f"layout {earlier.get('layout', 1)}", f"layout {LAYOUT}, which keeps counts"
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
    if rows.labels is not None:
        assert rows.task is not None
        own = counted((rows.labels[place] for place in places), rows.task)
        found["labels"] = target_drift.distance(rows.task, earlier["labels"], own)
    apart = rows.apart(places)
    for name, new_values in _measured(rows, apart).items():
        known = dict(zip(earlier[name]["values"], earlier[name]["counts"], strict=True))
        found[name] = two_sample_tests.distributions(known, new_values)
    if rows.texts and earlier["unknown"] is not None:
        new = _unknown((rows.texts[place] for place in apart), earlier["vocabulary"])
        found["unknown"] = two_sample_tests.means(
            {place / 100: count for place, count in enumerate(earlier["unknown"])}, new
        )
    return found


def counted(labels: Iterable[str], task: TaskSpec | None) -> Counter[str]:
    """Count what is compared of rows' targets, see `target_drift.compared`."""
    return Counter(label if task is None else target_drift.compared(task, label) for label in labels)


def _rows(clean: Path) -> Sample:
    """Return train and val of data/clean, train first."""
    task, kind = task_spec.read_file(clean), test_table.kind(clean / "train.parquet")
    paths = [clean / f"{split}.parquet" for split in test_table.TRAINED_ON]
    columns = text_pairs.columns(paths[0]) if kind == "text" else test_table.KEYS[kind]
    wanted = [*dict.fromkeys([*columns, *targets.columns(task)])]
    table = pa.concat_tables(pq.read_table(path, columns=wanted) for path in paths)
    own = targets.of_table(table, task)
    texts, identities = task_figures.of(task).texts(own.all), task_figures.identities(task, own.all)
    keys = text_pairs.wholes(*(table[column].to_pylist() for column in columns))
    captions = table["text"].to_pylist() if kind == "image_text" else ()
    contexts = table[text_pairs.COLUMN].to_pylist() if isinstance(task, Spans) else ()
    return Sample(kind, keys, texts, identities, clean, task=task, captions=captions, contexts=contexts)


def _labelled(rows: Sample) -> list[str]:
    """Return the digest of each row together with its targets."""
    return test_table.digests(f"{key} {own}" for key, own in zip(rows.keys, rows.identities, strict=True))


def _measured(rows: Sample, places: Sequence[int]) -> dict[str, Counter[float]]:
    """Count the words of each text, the brightness of images, or the seconds and the loudness of clips.

    Of images and clips, those with the smallest digests are measured.
    """
    lengths = Counter(float(len(_words(rows.texts[place]))) for place in places if rows.texts)
    if rows.kind == "text":
        return {"lengths": lengths}
    some = set(sorted(places, key=lambda place: rows.keys[place])[:MOST_IMAGES])
    if rows.kind == "audio":
        levels = [rows.levels[place] for place in sorted(some)] if rows.levels is not None else []
        if rows.clean is not None:
            levels = sound_levels.measure(rows.clean, some)
        return {
            name: Counter(one[place] for one in levels) for place, name in enumerate(("lengths", "loudness"))
        }
    found = [rows.brightness[place] for place in sorted(some)] if rows.brightness is not None else []
    if rows.clean is not None:
        found = brightness.measure(rows.clean, some)
    bright = Counter(round(value, 4) for value in found)
    return {"lengths": lengths, "brightness": bright} if rows.texts else {"lengths": bright}


def _vocabulary(texts: Sequence[str]) -> dict[str, Any]:
    """Return the words of a profile, and the counts of unknown words in held-out texts.

    The counts map the share of a text's words that the vocabulary lacks, in hundredths, to the number of
    texts kept out of the vocabulary. New texts of the same source relate to the vocabulary as those do, so
    both are compared as two samples, with no estimate in between.
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
    """Return the words of a text without punctuation; of scripts without spaces, the letters."""
    folded = text.casefold()
    found = (folded[start:end] for start, end in words.cut(folded, "pattern"))
    return [word for word in found if word[0].isalnum() or word[0] == "_"]


def _unknown(texts: Iterable[str], vocabulary: Iterable[str]) -> Counter[float]:
    """Count texts by the share of their words that the vocabulary lacks, in hundredths."""
    known = set(vocabulary)
    found = (_words(text) for text in texts)
    return Counter(
        round(100 * sum(word not in known for word in some) / max(1, len(some))) / 100 for some in found
    )
