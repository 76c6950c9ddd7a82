"""What every kind of task must do alike: descriptions, figures, losses, and served answers."""

from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import pytest
import torch

from baton import params
from baton.contracts import task_spec
from baton.contracts.questions import Passages
from baton.contracts.ragged import Ragged
from baton.contracts.targets import Targets
from baton.contracts.task_spec import Classes, Labels, Numbers, Sequence, Spans, TaskSpec, Tokens
from baton.evaluate import task_reports
from baton.losses import task_losses
from baton.tasks import figure_scale, task_figures

ROWS = 40
RANDOM = np.random.default_rng(0)
LENGTHS = np.arange(ROWS) % 4  # units or labels of the rows; some have none
OFFSETS = np.concatenate([[0], np.cumsum(LENGTHS)])
TEXTS = [" ".join(["word"] * length) for length in LENGTHS]


@dataclass(frozen=True)
class Example:
    """A kind of task, with targets and what a model predicts for the same rows."""

    spec: TaskSpec
    section: Any  # of params
    targets: Targets
    predicted: Any  # as `predict` returns it
    logits: torch.Tensor  # (targets of the loss, width)
    marks: torch.Tensor  # what the loss compares with them
    bounds: np.ndarray | None = None  # the first logits of each row, if a loss is about them together


def logits(rows: int, width: int) -> np.ndarray:
    return RANDOM.normal(size=(rows, width)).astype(np.float32)


def of_classes() -> Example:
    spec, values, own = Classes(("a", "b", "ç")), RANDOM.integers(0, 3, ROWS), logits(ROWS, 3)
    return Example(
        spec,
        params.ClassesTask,
        Targets(spec, values),
        own,
        torch.from_numpy(own),
        torch.from_numpy(values),
    )


def of_labels() -> Example:
    spec, own = Labels(("a", "b", "ç")), logits(ROWS, 3)
    values = np.concatenate([np.arange(length) for length in LENGTHS])
    targets = Targets(spec, values, OFFSETS)
    return Example(
        spec, params.LabelsTask, targets, own, torch.from_numpy(own), torch.from_numpy(targets.all)
    )


def of_tokens() -> Example:
    spec, own = Tokens(("PER", "ORG"), "space"), logits(int(OFFSETS[-1]), 5)
    values = np.where(RANDOM.random(OFFSETS[-1]) < 0.4, 1 + 2 * RANDOM.integers(0, 2, OFFSETS[-1]), 0)
    return Example(
        spec,
        params.TokensTask,
        Targets(spec, values, OFFSETS, np.full(len(values), True)),
        Ragged(own, OFFSETS),
        torch.from_numpy(own),
        torch.from_numpy(values),
    )


def of_texts() -> Example:
    from baton.contracts.written_texts import Texts

    spec = Sequence(target_length=8, beams=1, validation_rows=10, vocabulary=7, end=1)
    values = np.array([*(f"a text {row}" for row in range(ROWS)), None], dtype=object)[:-1]
    own = logits(12, 7)
    return Example(
        spec,
        params.SequenceTask,
        Targets(spec, values),
        Texts(tuple(f"a text {row % 30}" for row in range(ROWS))),
        torch.from_numpy(own),
        torch.from_numpy(RANDOM.integers(0, 7, 12)),
    )


def of_numbers() -> Example:
    spec = Numbers(("stars", "price"), (3.0, 100.0), (1.5, 40.0), "smooth_l1", 0.9)
    own, values = logits(ROWS, 2), RANDOM.normal(size=(ROWS, 2)) * spec.scale + spec.centre
    return Example(
        spec,
        params.NumbersTask,
        Targets(spec, values),
        own,
        torch.from_numpy(own),
        torch.from_numpy(values),
    )


def of_spans() -> Example:
    spec, bounds = Spans(3), np.concatenate([[0], np.cumsum(1 + LENGTHS)])
    own, marks = logits(int(bounds[-1]), 2), np.zeros(bounds[-1], np.int64)
    answered = (LENGTHS > 0) & (np.arange(ROWS) % 3 > 0)
    marks[bounds[:-1] + answered] = spec.STARTS + spec.ENDS  # the first word, or no answer
    known = [("word",) if row else () for row in answered]
    contexts, answers = (np.array([*cells, None], dtype=object)[:-1] for cells in (TEXTS, known))
    return Example(
        spec,
        params.SpansTask,
        Targets(spec, marks, bounds, np.full(len(marks), True), lambda: Passages(contexts, answers)),
        Ragged(own, bounds),
        torch.from_numpy(own),
        torch.from_numpy(marks),
        bounds,
    )


EXAMPLES = [of_classes(), of_labels(), of_numbers(), of_tokens(), of_texts(), of_spans()]
every = pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.spec.kind)


@every
def test_a_description_is_read_as_it_was_written(example: Example) -> None:
    assert task_spec.read({"task": task_spec.described(example.spec)}) == example.spec
    assert {"names", "width", "word", "column", "ragged", "outputs", "kind"} <= set(dir(example.spec))


@every
def test_params_name_the_figures_of_the_task(example: Example) -> None:
    figures = task_figures.of(example.spec)
    assert tuple(figures.directions) == example.section.metrics
    assert figures.gated == example.section.gated and figures.main in figures.gated
    assert set(figures.gated) < set(figures.directions)
    assert figures.directions["loss"] == -1 and set(figures.directions.values()) <= {1, -1}
    for name in figures.gated:
        scale = figure_scale.of(figures, name)
        assert scale.direction == figures.directions[name]


@every
def test_validation_figures_are_those_that_it_names(example: Example) -> None:
    """Those of texts lack the loss, which needs the model."""
    found = task_figures.of(example.spec).scores(own(example), example.targets.all)
    missing = {"loss"} if example.spec.outputs == "text" else set()
    assert set(found) == set(task_figures.of(example.spec).directions) - missing
    assert all(isinstance(value, float) and np.isfinite(value) for value in found.values())


def own(example: Example) -> Any:
    """Return what is predicted as figures read it."""
    return example.predicted.values if example.spec.outputs == "text" else example.predicted


@every
def test_an_answer_has_the_columns_that_it_names(example: Example) -> None:
    figures = task_figures.of(example.spec)
    fitted = figures.fitted(own(example), example.targets.all)
    for values in (fitted, {}):  # a model of an earlier version answers as trained
        found = figures.answer(own(example), values, range(5, 5 + ROWS), TEXTS)
        assert list(found) == list(figures.columns) and list(found.index) == list(range(5, 5 + ROWS))
        for name, kind in figures.columns.items():
            assert all(isinstance(cell, kind) for cell in found[name]), name
        assert figures.misfit(found) is None
        assert figures.misfit(found.set_axis([f"other {name}" for name in found], axis=1)) is not None
        assert len(figures.said(found)) == len(figures.texts(example.targets.all)) == ROWS
    assert isinstance(figures.output(fitted), str) and figures.output({})


@every
def test_targets_elsewhere_in_a_row_are_other_targets(example: Example) -> None:
    targets = example.targets.all
    own = task_figures.identities(example.spec, targets)
    assert len(own) == ROWS
    if example.spec.outputs == "unit":
        moved = replace(targets, values=np.roll(targets.values, 1))
        assert sum(a != b for a, b in zip(own, task_figures.identities(example.spec, moved), strict=True)) > 2


@every
def test_parts_of_a_loss_add_up_and_its_count_is_that_of_the_targets(example: Example) -> None:
    """Parts are some targets, or whole rows if a row's targets are read together."""
    task, bounds = task_losses.of(example.spec), example.bounds
    count = len(example.marks) if bounds is None else len(bounds) - 1
    if example.spec.outputs != "text":
        assert count == example.targets.counts.sum()
    weights = torch.rand(len(example.marks), generator=torch.Generator().manual_seed(0))
    for of_rows in (None, weights):
        parts = [slice(0, 1), slice(1, 7), slice(7, count)]

        def losses(part: slice, of_rows: torch.Tensor | None = of_rows) -> list[Any]:
            own, ends = part, None
            if bounds is not None:
                ends = torch.from_numpy(bounds[part.start or 0 : (part.stop or count) + 1])
                own, ends = slice(int(ends[0]), int(ends[-1])), ends - ends[0]
            logits, marks = example.logits[own], example.marks[own]
            factors = None if of_rows is None else of_rows[own]
            hard = task.supervised(logits, marks, 0.1, None, factors, ends)
            soft = task.divergence(logits, 2 * logits - 1, 2.0, factors, ends)
            return [hard, soft]

        whole = losses(slice(None))
        for place, one in enumerate(whole):
            some = [losses(part)[place] for part in parts]
            assert one.count == sum(part.count for part in some) == count
            total = sum(part.total.double() for part in some)
            torch.testing.assert_close(one.total.double(), total, rtol=1e-6, atol=0)
    ends = None if bounds is None else torch.from_numpy(bounds)
    again = task.divergence(example.logits, example.logits, 2.0, None, ends).total
    assert again.abs() < 1e-5


@every
def test_the_mean_of_the_scores_of_rows_is_the_main_figure(example: Example) -> None:
    """So that the model recommended by rows is the one that the main figure says is better."""
    reports, targets = task_reports.of(example.spec), example.targets.all
    outputs = reports.outputs(example.predicted, reports.figures.fitted(own(example), targets))
    whole = figure_scale.of(reports.figures).gain(reports.overall(targets, outputs))
    parts = reports.parts(targets, outputs)
    assert reports.score(parts).mean() == pytest.approx(whole, abs=1e-9)
    cuts = [np.arange(cut, len(parts), 3) for cut in range(3)]
    in_folds = task_reports.together([(cut, parts[cut]) for cut in cuts])
    np.testing.assert_array_equal(in_folds, parts)


@every
def test_the_served_model_is_as_good_as_its_predictions(example: Example) -> None:
    reports, targets = task_reports.of(example.spec), example.targets.all
    fitted = reports.figures.fitted(own(example), targets)
    outputs = reports.outputs(example.predicted, fitted)
    served = reports.served(reports.figures.answer(own(example), fitted, None, TEXTS))
    assert reports.overall(targets, served) == pytest.approx(reports.overall(targets, outputs), abs=1e-12)
    assert reports.parts(targets, served) == pytest.approx(reports.parts(targets, outputs), abs=1e-12)
    assert {reports.figures.main} <= set(reports.over_seeds) and reports.figures.main in reports.tracked
    assert replace(outputs, **fitted) is not None, "fields of a baseline's outputs"


def test_every_kind_of_task_is_tried() -> None:
    assert {type(example.spec) for example in EXAMPLES} == set(get_args(TaskSpec))
