"""How alike generated texts and their references are: chrF, BLEU and exact matches, as by sacrebleu.

Each figure of a corpus is a function of sums of numbers per row, so that all rows, a resample and a slice
share one code path. The numbers of a row are sacrebleu's (Post 2018, A call for clarity in reporting BLEU
scores, arXiv:1804.08771); the functions of their sums are its too, for many sums at once.

- chrf: F score of character n-grams up to 6, recall counting twice (Popović 2015, chrF: character n-gram
  F-score for automatic MT evaluation).
- bleu: BLEU of up to 4 words, mteval's tokenizer 13a, exponential smoothing (Papineni et al. 2002).
- exact_match: share of rows whose text is the reference, apart from white space at its ends.

All are from 0 to 1: sacrebleu's own scores are 100 times as large.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ORDER, BETA = 6, 2  # of chrF
WORDS = 4  # of BLEU
CHRF, BLEU = slice(0, 3 * ORDER), slice(3 * ORDER, 3 * ORDER + 2 + 2 * WORDS)  # columns of `statistics`
EXACT, ROWS = BLEU.stop, BLEU.stop + 1
COLUMNS = BLEU.stop + 2


def statistics(references: Sequence[str], texts: Sequence[str]) -> Floats:
    """Return the numbers of each row, (n, COLUMNS).

    Columns: for each order of chrF the n-grams of text and reference, and those in both; lengths of text and
    reference in words, then n-grams in both and n-grams of the text, for each order of BLEU; whether both
    are equal; 1.
    """
    from sacrebleu.metrics import bleu, chrf

    found = np.zeros((len(texts), COLUMNS))
    if len(texts):
        for metric, columns in ((chrf.CHRF(), CHRF), (bleu.BLEU(), BLEU)):
            found[:, columns] = metric._extract_corpus_statistics(list(texts), [list(references)])
    found[:, EXACT] = [text.strip() == other.strip() for text, other in zip(texts, references, strict=True)]
    found[:, ROWS] = 1
    found.setflags(write=False)
    return found


def figures(sums: Floats) -> dict[str, Floats]:
    """Return the figures for sums (..., COLUMNS); each value has the leading shape of `sums`."""
    return {
        "chrf": chrf(sums),
        "bleu": bleu(sums[..., BLEU]),
        "exact_match": sums[..., EXACT] / np.maximum(sums[..., ROWS], 1),
    }


def chrf(sums: Floats) -> Floats:
    """Return chrF of sums whose first columns are those of `CHRF`; 0 without a common order."""
    counts = sums[..., CHRF].reshape(*sums.shape[:-1], ORDER, 3)
    own, other, both = np.moveaxis(counts, -1, 0)  # (..., ORDER)
    valid = (own > 0) & (other > 0)
    orders = np.maximum(valid.sum(axis=-1), 1)
    precision = np.where(valid, both / np.maximum(own, 1), 0).sum(axis=-1) / orders
    recall = np.where(valid, both / np.maximum(other, 1), 0).sum(axis=-1) / orders
    below = BETA**2 * precision + recall
    return np.asarray((1 + BETA**2) * precision * recall / np.where(below > 0, below, 1))


def bleu(sums: Floats) -> Floats:
    """Return BLEU of sums (..., columns of `BLEU`); 0 if an order has no n-gram, or none is in both."""
    lengths, correct, total = np.split(sums, [2, 2 + WORDS], axis=-1)
    own, other = lengths[..., 0], lengths[..., 1]
    brevity = np.where(own < other, np.exp(1 - other / np.maximum(own, 1e-9)), 1.0)
    smooth, logs = np.ones(own.shape), np.zeros(own.shape)
    for order in range(WORDS):
        missed = correct[..., order] == 0
        smooth = np.where(missed, 2 * smooth, smooth)
        above = np.where(missed, 1 / smooth, correct[..., order])
        logs = logs + np.log(above / np.maximum(total[..., order], 1))
    defined = (correct > 0).any(axis=-1) & (total > 0).all(axis=-1) & (own > 0)
    return np.asarray(np.where(defined, brevity * np.exp(logs / WORDS), 0.0))


def signatures() -> dict[str, str]:
    """Return sacrebleu's signatures of both metrics, which say how they were computed."""
    from sacrebleu.metrics import bleu, chrf

    found = {}
    for name, metric in (("chrf", chrf.CHRF()), ("bleu", bleu.BLEU())):
        metric.corpus_score(["a"], [["a"]])  # the number of references is part of the signature
        found[name] = str(metric.get_signature())
    return found
