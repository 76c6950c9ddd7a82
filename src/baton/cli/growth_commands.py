"""The commands on labels that are still to be made: `baton learning-curve` and `baton suggest`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.markup import escape

from baton import console, params
from baton.compare import plan
from baton.errors import DataError, ParamsError
from baton.labelling import growth, report, selection, sheet
from baton.labelling.words import Measured
from baton.tasks import figure_scale, task_figures

if TYPE_CHECKING:
    from baton.fitting.features import Features
    from baton.labelling.probes import Labelled

CURVE, SHEET = Path("reports/learning_curve"), Path("inbox/to_label.csv")
FEWEST = 2  # seeds of fine-tuned models, whose spread is part of the interval
SHARES = (0.1, 0.5, 1.0)  # of the labels at hand: how many more are asked about if nobody says
PARTS = (16, 8, 4, 2)  # of the labels at hand: where models are fine-tuned, besides all


def learning_curve(more: str | None, draws: int, finetune: bool, seeds: str, output: Path) -> None:
    """Run `baton learning-curve`."""
    asked = params.read()
    if finetune:
        _check(asked, seeds)
    wanted = None if more is None else [own or 0 for own in plan.numbers(more, "--more", 1)]
    found = [_probed(asked, wanted, draws)]
    confidence = asked.evaluate.bootstrap.confidence
    if finetune:
        report.write(output, found, confidence)  # kept if an experiment fails
        report.show(found, confidence)
        found.append(_finetuned(asked, wanted, seeds))
    report.write(output, found, confidence)
    report.show(found[-1:], confidence)
    console.say(f"next: {escape(str(output))}/curve.png; `baton suggest` says which rows to label")


def _check(asked: params.Params, seeds: str) -> None:
    """Refuse what `--finetune` cannot do, before anything is computed."""
    if asked.preprocess.shots is not None:
        raise ParamsError(
            "--finetune needs all labels",
            got=f"preprocess.shots {asked.preprocess.shots}",
            expected="null",
            hint="set preprocess.shots to null and run `dvc repro tokenize`",
        )
    if len(plan.numbers(seeds, "--seeds", 0)) < FEWEST:
        raise ParamsError(
            "--seeds has too few seeds for an interval",
            got=seeds,
            expected=f"{FEWEST} or more, with commas",
            hint="for example --seeds 0,1,2",
        )


def _probed(asked: params.Params, wanted: Sequence[int] | None, draws: int) -> Measured:
    """Return the curve of probes."""
    from baton.labelling import base_features, curve

    read = base_features.opened("baton learning-curve", asked)
    rows = _labelled(read, asked)
    bootstrap, task = asked.evaluate.bootstrap, task_figures.of(read.job.data.task)
    metric = asked.finetune.metric if asked.finetune.metric in task.gated else task.main
    with console.progress("probes", curve.work(rows, draws, bootstrap.seed), "rows") as advance:
        found = curve.probed(rows, metric, draws, bootstrap.resamples, bootstrap.seed, advance)
    grown = growth.grow(found, wanted or _usual(found.pool), bootstrap.confidence, bootstrap.seed)
    said, scale = "a probe on frozen features", figure_scale.of(task, metric)
    return Measured("probe", said, "train that it had not seen", found.pool, draws, scale, grown)


def _finetuned(asked: params.Params, wanted: Sequence[int] | None, seeds: str) -> Measured:
    """Return the curve of the recipe's teacher, trained by DVC experiments as `baton compare` does."""
    from baton.batches import array_splits
    from baton.compare import compare
    from baton.compare.strategies import ROWS, Strategies, Strategy
    from baton.labelling import base_features, curve

    rows = sum(len(array_splits.read_ids(base_features.ARRAYS, split)) for split in ("train", "val"))
    # Small subsets have few rows of rare classes; that is what a learning curve is about.
    recipe = Strategy("recipe", {"preprocess.checks.small_class": "keep"})
    chosen = Strategies("finetune", ROWS, (recipe,))
    planned, done = compare.outcomes(chosen, [*(rows // part for part in PARTS), None], seeds)
    outcomes = {(one.labels, one.seed): done[one.name] for one in planned}
    sizes = {
        labels: round(np.mean([own.rows["train"] for (known, _), own in outcomes.items() if known == labels]))
        for labels in dict.fromkeys(labels for labels, _ in outcomes)
    }
    scores = {(sizes[labels], seed): own.scores["teacher"] for (labels, seed), own in outcomes.items()}
    bootstrap, first = asked.evaluate.bootstrap, next(iter(outcomes.values()))
    found = curve.of_scores(scores, bootstrap.resamples, bootstrap.seed)
    grown = growth.grow(found, wanted or _usual(found.pool), bootstrap.confidence, bootstrap.seed)
    draws = len({seed for _, seed in scores})
    return Measured("finetune", "the teacher", "test", first.rows["test"], draws, first.figure, grown)


def suggest(count: int, target: Path) -> None:
    """Run `baton suggest`."""
    from baton.batches import array_splits
    from baton.contracts import transfer_set
    from baton.labelling import base_features, probes

    asked = params.read()
    sheet.check(target)
    read = base_features.opened("baton suggest", asked)
    if transfer_set.TRANSFER not in read.job.data.splits or not isinstance(
        asked.preprocess, params.TextPreprocess
    ):
        raise DataError(
            "there are no rows without labels to choose from",
            got=f"no split `{transfer_set.TRANSFER}` in {base_features.ARRAYS}",
            expected="texts that source.unlabelled names, or that preprocess.shots leaves",
            hint="set one of them and run `dvc repro tokenize` (docs/labels.md); of images none are used yet",
        )
    features = read[transfer_set.TRANSFER].features
    free = np.flatnonzero(~array_splits.labelled(base_features.ARRAYS, transfer_set.TRANSFER))
    rows = _labelled(read, asked, np.asarray(features[: len(features) - len(free)]))
    seed = asked.finetune.seeds[0]
    made = probes.fitted(rows, np.arange(len(rows.labels)), seed)
    pool = np.asarray(features[free])
    places = selection.choose(pool, probes.probabilities(made.logits(pool)), count, seed)
    ids = array_splits.read_ids(base_features.ARRAYS, transfer_set.TRANSFER)
    table = Path("data/clean") / transfer_set.TABLE
    header = sheet.columns(asked.preprocess, asked.preprocess.text_pair_column is not None)
    sheet.write(target, header, table, [ids[free[place]] for place in places])
    if len(places) < count:
        console.warn("suggest", f"there are only {len(places):,} rows without labels, not {count:,}")
    console.say(
        f"{len(places):,} of {len(free):,} rows without labels are in {escape(str(target))}, the best "
        f"first\nnext: fill in the column {escape(header[-1])}, and bring it back (docs/labels.md)"
    )


def _labelled(read: "Features", asked: params.Params, train: "np.ndarray | None" = None) -> "Labelled":
    """Return the rows with labels; `train` are the features of train if they are known already."""
    from baton.contracts import row_attributes
    from baton.labelling import base_features
    from baton.labelling.probes import Labelled

    data = read.job.data
    rows = len(data.splits["train"])
    return Labelled(
        features=np.asarray(read["train"].features) if train is None else train,
        labels=data.splits["train"].targets.all.astype(np.int64),
        units=row_attributes.units(base_features.ARRAYS, rows),
        weights=row_attributes.weights(base_features.ARRAYS, "train", rows),
        classes=data.task.width,
        balanced=asked.finetune.class_weights == "balanced",
    )


def _usual(labels: int) -> list[int]:
    """Return a tenth, half and all of the labels at hand, rounded to one digit."""
    return [int(float(f"{max(share * labels, 1):.0e}")) for share in SHARES]
