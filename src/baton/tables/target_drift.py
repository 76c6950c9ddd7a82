"""The distance between two samples of targets, for drift of any task.

Inputs: what is `compared` of the targets of rows, with numbers of rows -> a `Distance`.
"""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from baton.contracts.task_spec import Classes, Labels, Numbers, Sequence, Spans, TaskSpec, Tokens
from baton.tables import two_sample_tests
from baton.tables.two_sample_tests import Distance


def compared(spec: TaskSpec, text: str) -> str:
    """Return what is compared of a row's target, given as `TaskFigures.texts` writes it.

    Hardly any text occurs twice. Of texts it is the number of characters, of the answer to a question (the
    first true one) that of words; 0 means that there is no answer.
    """
    match spec:
        case Sequence():
            return str(len(text))
        case Spans():
            return str(len(" ".join(json.loads(text)[:1]).split()))
        case _:
            return text


def distance(spec: TaskSpec, earlier: Mapping[str, int], new: Mapping[str, int]) -> Distance:
    """Return the distance between the targets of two samples, `earlier` and `new` (`compared` -> rows)."""
    match spec:
        case Classes():
            return two_sample_tests.labels(earlier, new)
        case Labels() | Tokens():  # rows are compared with all their labels
            sets = [{_listed(text): count for text, count in counts.items()} for counts in (earlier, new)]
            return two_sample_tests.label_sets(*sets)
        case Numbers():
            return of_numbers(earlier, new)
        case Sequence() | Spans():
            lengths = [{float(length): count for length, count in own.items()} for own in (earlier, new)]
            return two_sample_tests.distributions(*lengths)


def of_numbers(earlier: Mapping[str, int], new: Mapping[str, int]) -> Distance:
    """Return the Kolmogorov-Smirnov distance of numbers, see `two_sample_tests.distributions`.

    Of several numbers it is that of the largest excess over chance, whose p is multiplied by their number
    (Bonferroni). Rows with other counts of numbers, or with targets that are no numbers, have nothing in
    common: their distance is 1.

    Args:
        earlier: JSON list of a row's numbers -> rows; empty texts are left out.
        new: the same of the other sample.
    """
    samples = [[(_listed(text), count) for text, count in own.items() if text] for own in (earlier, new)]
    widths = {len(row) for sample in samples for row, _ in sample}
    if len(widths) != 1 or any(
        isinstance(one, str) for sample in samples for row, _ in sample for one in row
    ):
        return Distance(1.0, 0.0, 0.0)
    found = []
    for place in range(*widths):
        values: list[Counter[float]] = [Counter(), Counter()]
        for own, sample in zip(values, samples, strict=True):
            for row, count in sample:
                own[row[place]] += count
        found.append(two_sample_tests.distributions(*values))
    worst = max(found, key=lambda one: one.excess)
    return Distance(worst.value, worst.chance, min(1.0, len(found) * worst.p))


def _listed(text: str) -> tuple[Any, ...]:
    """Return the items of a JSON list; a champion that gave each row one class has no lists."""
    try:
        found = json.loads(text)
    except ValueError:
        return (text,)
    return tuple(found) if isinstance(found, list) else (text,)
