"""Compare the champion's predictions for unlabelled rows with those for labelled rows it was not fitted on.

Label shares of unlabelled rows can be compared through a model's predictions (Lipton, Wang and Smola 2018,
Detecting and correcting for label shift with black box predictors), if both sides relate to the model alike:
the other side is val of data/clean, which only served to select it.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from baton.contracts import task_spec, text_pairs
from baton.errors import ModelError
from baton.lifecycle import test_table
from baton.lifecycle.retraining import samples
from baton.lifecycle.retraining.drift import counted
from baton.lifecycle.retraining.samples import Sample
from baton.tables import target_drift
from baton.tables.two_sample_tests import Distance
from baton.tasks import task_figures
from baton.tasks.answers import PROBABILITY
from baton.tasks.task_figures import TaskFigures

ROWS = 1000  # the most rows of each side that are predicted: those with the smallest digests


def distance(
    uri: str,
    load: Callable[[], Any],
    val: Path,
    known: frozenset[str],
    sample: Sample,
    places: Sequence[int],
) -> Distance | None:
    """Measure the distance between the labels a model predicts for val and for new rows.

    Return None if val is not the model's own.

    Args:
        uri: the model, `models:/NAME/VERSION`.
        load: returns it, loaded from verified files.
        val: the table in data/clean.
        known: digests of the rows that the model was trained or selected on.
        sample: the new rows.
        places: the rows of the sample to predict.

    Raises:
        ModelError: it has another task.
    """
    if not places or not val.is_file() or test_table.kind(val) != sample.kind:
        return None
    digests = list(test_table.row_digests(val, sample.kind))
    rows_apart: Sequence[int] = range(len(digests))
    if sample.contexts:
        contexts = pq.read_table(val, columns=[text_pairs.COLUMN])[text_pairs.COLUMN].to_pylist()
        rows_apart = samples.one_of_each(rows_apart, digests, contexts)
    first = sorted(rows_apart, key=lambda place: digests[place])[:ROWS]
    own = {place for place in first if digests[place] in known}
    if not own:
        return None
    model = load()
    chosen = sorted(sample.apart(places), key=lambda place: sample.keys[place])[:ROWS]
    rows = enumerate(row for some in test_table.inputs(val, sample.kind) for row in some)
    task = task_spec.read_file(val.parent)
    read = _Reader(model, uri, task_figures.of(task), test_table.PORTION[sample.kind])
    earlier = read.answers(row for place, row in rows if place in own)
    return target_drift.distance(task, earlier, read.answers(sample.inputs(chosen)))


@dataclass(frozen=True)
class _Reader:
    """A served model, and the task whose answers it must give."""

    model: Any
    uri: str
    task: TaskFigures
    portion: int  # inputs at a time

    def answers(self, inputs: Iterator[Any]) -> Counter[str]:
        """Count the model's answers."""
        found: Counter[str] = Counter()
        while some := list(islice(inputs, self.portion)):
            frame = self.model.predict(some)
            needed = [name for name in self.task.columns if not name.startswith(PROBABILITY)]
            if missing := [name for name in needed if name not in frame.columns]:
                got, expected = ", ".join(map(str, frame.columns)), f"a column {missing[0]}"
                raise ModelError(f"{self.uri} has another task than data/clean", got=got, expected=expected)
            found.update(counted(self.task.said(frame), self.task.spec))
        return found
