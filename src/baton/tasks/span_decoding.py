"""From logits of words to the best answer: the start and end of a span, or that there is none.

A row's units are "no answer" (unit 0) and the words of its context. Each has a logit of being the answer's
start and one of being its end. Probabilities are softmaxes over all units of a row, whatever windows they
were read in (shared normalisation: Clark and Gardner 2018, "Simple and Effective Multi-Paragraph Reading
Comprehension", section 3.3), so that those of different windows compare.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from baton.contracts.ragged import Ragged
from baton.contracts.task_spec import Spans

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Best(NamedTuple):
    """The most probable span of each row, and how it compares with no answer; all (rows,)."""

    first: Integers  # the unit of its first word, at least 1; 0 if the context has no word that is read
    last: Integers  # that of its last word
    score: Floats  # log-probability of the span: the sum of those of start and end
    none: Floats  # log-probability of no answer


def log_probabilities(logits: Ragged, temperature: float = 1.0) -> Floats:
    """Return the log softmax over each row's units of both columns, (units, 2), in double precision.

    The logits of a word that no window reads are all 0; its probability is 0.
    """
    scaled = logits.values.astype(np.float64) / temperature
    if not len(scaled):
        return scaled
    read = np.asarray((logits.values != 0).any(axis=1))
    read[logits.offsets[:-1]] = True  # "no answer" is always read
    scaled[~read] = -np.inf
    highest = np.maximum.reduceat(scaled, logits.offsets[:-1], axis=0)  # (rows, 2); each row has unit 0
    shifted = scaled - highest[logits.owners]
    found: Floats = shifted - np.log(logits.sums(np.exp(shifted)))[logits.owners]
    return found


def losses(logits: Ragged, marks: Ragged, temperature: float = 1.0) -> Floats:
    """Return the loss of each row, (rows,): the mean of minus the log-probabilities of its start and its end.

    If several units are marked, the probability of any of them counts. NaN: no marked word is read.
    """
    marked = marks.values[:, None] & [Spans.STARTS, Spans.ENDS]  # (units, 2)
    found = np.where(marked > 0, log_probabilities(logits, temperature), -np.inf)
    both = np.logaddexp.reduceat(found, logits.offsets[:-1], axis=0)  # (rows, 2)
    each: Floats = -both.mean(axis=1)
    return np.where(np.isfinite(each), each, np.nan)


def best(logits: Ragged, most: int, temperature: float = 1.0) -> Best:
    """Return each row's best span of at most `most` words, of those with start <= end.

    Of equally probable spans it is the first, and of those from one start the shortest.
    """
    found = log_probabilities(logits, temperature)
    rows = len(logits)
    first, last = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    score, none = np.full(rows, -np.inf), np.zeros(rows)
    for row in range(rows):
        begin, end = found[logits.offsets[row] : logits.offsets[row + 1]].T  # (units,)
        none[row] = begin[0] + end[0]
        begin, end = begin[1:], end[1:]
        for length in range(min(most, len(begin))):  # words after the first
            both = begin[: len(begin) - length] + end[length:]
            place = int(both.argmax())
            better = both[place] > score[row] or (both[place] == score[row] and place + 1 < first[row])
            if better:
                first[row], last[row], score[row] = place + 1, place + 1 + length, both[place]
    return Best(first, last, score, none)


def answered(found: Best, threshold: float) -> NDArray[np.bool_]:
    """Return whether each row gets its span, (rows,): no answer must be more probable by `threshold`."""
    return (found.first > 0) & (found.none - found.score <= threshold)


def threshold(found: Best, with_span: Floats, without: Floats) -> float:
    """Return the threshold of `answered` with the highest mean score, as SQuAD 2.0 finds it on validation.

    Args:
        found: the best spans.
        with_span: the score that each row has with its span, (rows,).
        without: the score that it has without an answer, (rows,).

    Returns:
        The middle between the two differences of log-probabilities where the mean is highest; of several
        such places the lowest. If all rows, or none, should be answered: 1 beyond the last difference.
    """
    usable = found.first > 0
    differences = found.none[usable] - found.score[usable]
    if not len(differences):
        return 0.0
    order = np.argsort(differences, kind="stable")
    sorted_ = differences[order]
    gains = np.concatenate(
        [[0.0], np.cumsum((with_span - without)[usable][order])]
    )  # of answering the first n
    possible = np.concatenate([[True], sorted_[1:] > sorted_[:-1], [True]])  # equal differences go together
    count = int(np.flatnonzero(possible)[gains[possible].argmax()])
    if count == 0:
        return float(sorted_[0] - 1)
    if count == len(sorted_):
        return float(sorted_[-1] + 1)
    return float((sorted_[count - 1] + sorted_[count]) / 2)
