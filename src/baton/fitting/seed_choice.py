"""Results of a stage's training runs, one per model and seed, and the seed whose models are used.

Validation decides between seeds, never test.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from baton import storage
from baton.batches import array_splits
from baton.contracts import fitted_values, predictions
from baton.contracts.predictions import Predicted
from baton.tasks import task_figures
from baton.tasks.task_figures import TaskFigures
from baton.train.state import merit

ARRAYS, PREDICTIONS = Path("data/arrays"), Path("data/predictions")
CURVE = ("model", "seed", "step", "epoch", "loss", "learning_rate", "gradient_norm")  # and val_FIGURE
TERM = "loss_"  # and the name of a term of the loss

Figures = dict[str, float]


class Answered(NamedTuple):
    """What a training run's model says on test."""

    logits: Predicted  # as trained
    fitted: dict[str, Any]  # on val; nothing if it is not needed
    others: Mapping[str, Predicted] = MappingProxyType({})  # of other splits, if they are kept


@dataclass
class Trained:
    """The curves, validation figures and test logits so far."""

    leader: str  # the model whose validation figures decide between seeds
    metric: str
    task: TaskFigures
    curve: list[dict[str, object]] = field(default_factory=list)  # rows of CURVE and the validation figures
    # seed -> model -> its validation figures
    figures: dict[int, dict[str, Figures]] = field(default_factory=dict)
    # model -> seed -> its answers on test
    test: dict[str, dict[int, Answered]] = field(default_factory=dict)
    chosen: int | None = None

    def add(self, name: str, seed: int, curve: list[dict[str, object]], figures: Figures) -> bool:
        """Add one training run; return whether its seed is the best so far (the first among equals)."""
        self.curve += curve
        self.figures.setdefault(seed, {})[name] = figures
        if name == self.leader and (self.chosen is None or self._merit(seed) > self._merit(self.chosen)):
            self.chosen = seed
        return self.chosen == seed

    def answered(self, name: str, seed: int, answers: Answered) -> None:
        """Add the answers of a training run on test."""
        self.test.setdefault(name, {})[seed] = answers

    def final(self) -> dict[str, Figures]:
        """Return, per model, the figures of the chosen seed, and the seed."""
        assert self.chosen is not None, "a stage trains at least one seed"
        return {name: {"seed": self.chosen, **figures} for name, figures in self.figures[self.chosen].items()}

    def write(self, stage: str) -> None:
        """Write curves/`stage`.csv, metrics/`stage`.json and data/predictions/seeds/MODEL/SEED.parquet.

        Next to the latter, SEED.json has what was fitted, if that decides, and SEED.SPLIT.parquet the answers
        for other splits, if they are kept.
        """
        write_curve(Path(f"curves/{stage}.csv"), self.curve, list(self.task.directions))
        storage.write_json(
            Path(f"metrics/{stage}.json"),
            self.final() | {"seeds": {str(seed): own for seed, own in self.figures.items()}},
        )
        ids = array_splits.read_ids(ARRAYS, "test")
        for name, answers in self.test.items():
            with storage.atomic_folder(PREDICTIONS / "seeds" / name) as folder:
                for seed, own in answers.items():
                    predictions.write_predictions(folder / f"{seed}.parquet", ids, own.logits)
                    for split, other in own.others.items():
                        known = array_splits.read_ids(ARRAYS, split)
                        predictions.write_predictions(folder / f"{seed}.{split}.parquet", known, other)
                    if task_figures.decides(self.task.spec):
                        storage.write_json(folder / f"{seed}.json", {fitted_values.KEY: own.fitted})

    def _merit(self, seed: int) -> tuple[float, ...]:
        own = self.figures[seed][self.leader]
        return merit(
            {key.removeprefix("val_"): value for key, value in own.items() if key.startswith("val_")},
            self.metric,
            self.task.directions,
        )


def write_curve(path: Path, rows: list[dict[str, object]], figures: list[str]) -> None:
    """Write rows of `CURVE`, the terms of losses that have any, and the validation `figures` as CSV."""
    terms = dict.fromkeys(key for row in rows for key in row if key.startswith(TERM))
    with storage.atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        columns = [*CURVE, *terms, *(f"val_{name}" for name in figures)]
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
