"""Tables, plots and terminal cells for tagged words.

Inputs: tags, outputs and bootstrap of the test texts, or figures from metrics.json -> rows and cells.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.contracts.task_spec import Tokens
from baton.evaluate import token_outputs
from baton.evaluate.evaluation import TRANSFORMERS, Evaluation
from baton.evaluate.inputs import Rows
from baton.evaluate.report import marked_texts
from baton.evaluate.report.class_tables import PER_CLASS, per_class
from baton.evaluate.report.csv_files import Table
from baton.evaluate.report.wording import percent
from baton.evaluate.token_outputs import TokenOutputs
from baton.tasks import token_decoding
from baton.texts import words

PER_TYPE = ["model", "type", *PER_CLASS[2:]]
ERRORS = ["model", "id", "kind", "actual", "predicted", "score", "text"]
CONFUSION = ["model", "actual", "predicted", "words"]
NONE = "no entity"
COLUMNS = [
    "entity F1",
    "interval",
    "precision",
    "recall",
    "macro F1",
    "exact texts",
    "words right",
    "log loss",
]
REMARK = (
    "An entity is right if its first word, its end and its type are (as seqeval counts them); tags are those "
    "of the most probable valid sequence. Macro F1 is the mean over types with an entity in the test split; "
    "exact texts have all their entities and no other; words right is the share of words with the right tag. "
    "Log loss, a mean over words, is at the temperature that was fitted on validation, for every model; "
    "metrics.json also has it as trained."
)


def errors(model: str, spec: Tokens, rows: Rows, outputs: TokenOutputs) -> list[list[object]]:
    """Return rows of ERRORS: every entity that is missed, superfluous, or found with other bounds or type.

    In the excerpt of the text, `[` and `]` mark the actual entity and `{` and `}` the predicted one. Those
    that overlap are one mistake: `type`, if the words are the same, else `bounds`. Predicted ones come first,
    by score.
    """
    true, own = token_outputs.actual(rows.targets), outputs.entities
    hit, right = token_decoding.matched(true, own)
    missed = {row: list[list[int]]() for row in true[~hit, 0].tolist()}
    for one in true[~hit].tolist():
        missed[one[0]].append(one)
    found: list[list[object]] = []
    used = set[tuple[int, ...]]()
    wrong = np.flatnonzero(~right)
    for place in wrong[np.argsort(-outputs.scores[wrong], kind="stable")]:
        row, first, end, kind = own[place].tolist()
        twin = next(
            (
                one
                for one in missed.get(row, [])
                if one[1] < end and first < one[2] and tuple(one) not in used
            ),
            None,
        )
        if twin is not None:
            used.add(tuple(twin))
        fault = "superfluous" if twin is None else "type" if twin[1:3] == [first, end] else "bounds"
        name = "" if twin is None else spec.names[twin[3]]
        shown = _marked(rows.texts[row], spec, twin, [row, first, end, kind])
        score = float(outputs.scores[place])
        found.append([model, rows.ids[row], fault, name, spec.names[kind], score, shown])
    for row, some in missed.items():
        for one in some:
            if tuple(one) not in used:
                shown = _marked(rows.texts[row], spec, one, None)
                found.append([model, rows.ids[row], "missing", spec.names[one[3]], "", float("nan"), shown])
    return found


def _marked(text: str, spec: Tokens, actual: Sequence[int] | None, predicted: Sequence[int] | None) -> str:
    """Return the part of a text around one or two entities (row, first word, end, type), in one line."""
    places = words.cut(text, spec.words)
    first, second = (
        None if own is None else (places[own[1]][0], places[own[2] - 1][1]) for own in (actual, predicted)
    )
    return marked_texts.around(text, first, second)


def confusion(model: str, names: Sequence[str], counts: NDArray[np.int64]) -> list[list[object]]:
    """Return rows of CONFUSION: the words of each pair of types that occurs."""
    every = [*names, NONE]
    return [
        [model, every[actual], every[predicted], int(counts[actual, predicted])]
        for actual, predicted in np.argwhere(counts)
    ]


def tables(spec: Tokens, evaluation: Evaluation) -> dict[str, Table]:
    """Return per_type.csv and confusion.csv of every model, and errors.csv of the drawn models."""
    outputs, test, boot = evaluation.outputs, evaluation.test, evaluation.bootstrap
    counts = {name: token_outputs.confusion(spec, test.targets, own) for name, own in outputs.items()}
    return {
        "per_type.csv": (PER_TYPE, [row for name in outputs for row in per_class(name, spec.names, boot)]),
        "confusion.csv": (
            CONFUSION,
            [row for name, own in counts.items() for row in confusion(name, spec.names, own)],
        ),
        "errors.csv": (
            ERRORS,
            [row for name in evaluation.drawn for row in errors(name, spec, test, outputs[name])],
        ),
    }


def plots(spec: Tokens, evaluation: Evaluation) -> dict[str, Table]:
    """Return F1 per type, one file per transformer."""
    return {
        f"per_type_{name}.csv": (PER_TYPE, per_class(name, spec.names, evaluation.bootstrap))
        for name in TRANSFORMERS
    }


def summary(models: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], dict[str, list[str]]]:
    """Return the terminal's columns, and model -> cells."""
    return COLUMNS, {name: _row(figures) for name, figures in models.items()}


def _row(figures: Mapping[str, Any]) -> list[str]:
    low, high = figures["entity_f1_interval"]
    shares = ("entity_precision", "entity_recall", "macro_f1", "exact", "token_accuracy")
    return [
        percent(figures["entity_f1"]),
        f"{100 * low:.1f} to {percent(high)}",
        *(percent(figures[figure]) for figure in shares),
        f"{figures['log_loss_scaled']:.3f}",
    ]
