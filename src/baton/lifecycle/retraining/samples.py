"""Rows that `drift` compares, and what it measures of them.

Inputs: clean tables, or rows stored elsewhere -> a `Sample`, with lengths of texts, brightness of images,
seconds and loudness of clips.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from baton.contracts import targets, task_spec, text_pairs
from baton.contracts.task_spec import Spans, TaskSpec
from baton.lifecycle import test_table
from baton.lifecycle.retraining import brightness, sound_levels, vocabulary
from baton.tasks import task_figures

MOST_IMAGES = 1000  # the most images or clips that are measured: decoding takes time


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
        """Return one of the `places` for each context, see `one_of_each`."""
        if not self.contexts:
            return places
        digests = test_table.keys(self.kind, [self.keys[place] for place in places])
        return one_of_each(places, digests, [self.contexts[place] for place in places])


def one_of_each(places: Sequence[int], digests: Sequence[str], contexts: Sequence[str]) -> list[int]:
    """Return one of the `places` for each context, that of the smallest digest.

    Questions about one context share its words and often an answer, and tests need independent rows.
    """
    order = sorted(zip(digests, places, contexts, strict=True), reverse=True)
    return sorted({context: place for _, place, context in order}.values())


def of_clean(clean: Path) -> Sample:
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


def unseen(sample: Sample, known: Iterable[str]) -> list[int]:
    """Return the places of a sample's rows whose digests are not `known`; a repeated row counts once."""
    seen, fresh = set(known), []
    for place, digest in enumerate(test_table.keys(sample.kind, sample.keys)):
        if digest not in seen:
            seen.add(digest)
            fresh.append(place)
    return fresh


def measured(rows: Sample, places: Sequence[int]) -> dict[str, Counter[float]]:
    """Count the words of each text, the brightness of images, or the seconds and the loudness of clips.

    Of images and clips, those with the smallest digests are measured.
    """
    lengths = Counter(float(len(vocabulary.words_of(rows.texts[place]))) for place in places if rows.texts)
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
