"""The training loop on a tiny encoder and real arrays."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from baton import params, runtime
from baton.data import text
from baton.data.batches import TrainingBatches
from baton.errors import TrainingError
from baton.evaluate import metrics
from baton.models import build
from baton.predict import predict
from baton.train import loop, losses, optim
from tests import tiny

HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
CHANGES = {"epochs": 8, "batch_size": 8, "learning_rate": 3e-3, "log_every": 2, "evaluations_per_epoch": 1, "head": HEAD}
SETTINGS = params.read(Path("params.yaml")).finetune.model_copy(update=CHANGES)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("loop")
    base, clean = tiny.write_base(root / "base"), tiny.write_clean(root / "clean")
    for split in text.SPLITS:
        text.tokenize(clean / f"{split}.parquet", text.open_tokenizer(base, 16), root, 100, lambda count: None)
    return root


Run = Callable[..., tuple[build.Classifier, list[loop.TrainPoint | loop.ValidationPoint]]]


@pytest.fixture(scope="module")
def fit(root: Path) -> Run:
    def run(validate: Callable[[], dict[str, float]] | None = None, **changes: object) -> tuple[build.Classifier, list[object]]:
        settings, machine = SETTINGS.model_copy(update=changes), tiny.machine()
        runtime.seed_everything(settings.seed)
        model = build.create(root / "base", settings.head, 3, settings.dropout, settings.attention_dropout, machine.attention)
        train, val = text.open_arrays(root, "train"), text.open_arrays(root, "val")

        def scores() -> dict[str, float]:
            found = metrics.scores(predict(model, val, 0, machine, 16), np.asarray(val.labels))
            return {"loss": found["log_loss"], "accuracy": found["accuracy"], "macro_f1": found["macro_f1"]}

        batches = TrainingBatches(train, settings.batch_size, settings.accumulation, settings.seed, 0)
        points = list(loop.train(model, batches, losses.cross_entropy(0.0, None), validate or scores, settings, machine))
        return model, points

    return run


def flat(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_it_learns(fit: Run) -> None:
    _, points = fit()
    train = [point for point in points if isinstance(point, loop.TrainPoint)]
    best = [point for point in points if isinstance(point, loop.ValidationPoint) and point.best][-1]
    assert train[-1].loss < 0.3 * train[0].loss
    assert best.scores["accuracy"] == 1.0
    assert sum(point.samples for point in train) == 8 * 48


def test_the_same_seed_gives_the_same_bits_and_another_does_not(fit: Run) -> None:
    first, _ = fit(epochs=2, dropout=0.1)
    again, _ = fit(epochs=2, dropout=0.1)
    other, _ = fit(epochs=2, dropout=0.1, seed=1)
    assert torch.equal(flat(first), flat(again))
    assert not torch.equal(flat(first), flat(other))


def test_accumulation_equals_the_large_batch(fit: Run) -> None:
    # 10 does not divide 48: the ragged last batch of each epoch counts too. Adam divides by the gradient's size, which magnifies rounding
    # of near-zero gradients, so the comparison is of the losses along the way.
    whole, parts = (
        [point.loss for point in fit(epochs=2, batch_size=10, learning_rate=1e-4, accumulation=n)[1] if isinstance(point, loop.TrainPoint)]
        for n in (1, 5)
    )
    assert parts == pytest.approx(whole, abs=1e-5)


def test_the_best_weights_are_kept_not_the_last(fit: Run) -> None:
    offered = iter([0.5, 0.9, 0.7, 0.9])
    kept, points = fit(lambda: {"loss": 0.0, "accuracy": next(offered), "macro_f1": 0.0}, epochs=4)
    assert [point.best for point in points if isinstance(point, loop.ValidationPoint)] == [True, True, False, False]
    offered = iter([0.5, 0.9, 0.95, 1.0])
    last, _ = fit(lambda: {"loss": 0.0, "accuracy": next(offered), "macro_f1": 0.0}, epochs=4)
    assert not torch.equal(flat(kept), flat(last))


def test_loss_as_metric_is_better_when_lower(fit: Run) -> None:
    offered = iter([0.5, 0.4, 0.6])
    _, points = fit(lambda: {"loss": next(offered), "accuracy": 0.0, "macro_f1": 0.0}, epochs=3, metric="loss")
    assert [point.best for point in points if isinstance(point, loop.ValidationPoint)] == [True, True, False]


def test_early_stopping_counts_evaluations_without_a_better_score(fit: Run) -> None:
    offered = iter([0.5, 0.6, 0.4, 0.6, 0.9, 0.9])
    stopping = params.EarlyStopping(patience=2)
    _, points = fit(lambda: {"loss": 0.0, "accuracy": next(offered), "macro_f1": 0.0}, epochs=6, early_stopping=stopping)
    assert sum(isinstance(point, loop.ValidationPoint) for point in points) == 4


def test_validation_falls_evenly_into_an_epoch_and_on_its_end(fit: Run) -> None:
    _, points = fit(epochs=1, evaluations_per_epoch=3)
    assert [point.step for point in points if isinstance(point, loop.ValidationPoint)] == [2, 4, 6]


def test_a_diverged_training_stops_with_its_step(fit: Run) -> None:
    with pytest.raises(TrainingError, match=r"up to step 2[\s\S]*learning rate"):
        fit(epochs=1, learning_rate=1e30, clip_norm=None, schedule="cosine", warmup=0.0)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_the_schedule_rises_to_the_peak_and_falls_to_zero(schedule: str) -> None:
    factors = [optim.factor(step, 100, 10, schedule) for step in range(101)]
    assert factors[:10] == sorted(factors[:10]) and 0 < factors[0] < 0.2
    assert factors[10] == 1.0 and factors[10:] == sorted(factors[10:], reverse=True)
    assert math.isclose(factors[100], 0.0, abs_tol=1e-12)


def test_biases_and_norms_are_not_decayed(root: Path) -> None:
    model = build.create(root / "base", SETTINGS.head, 3, 0.0, 0.0, "matmul")
    optimizer, _ = optim.make(model, SETTINGS, 10)
    decayed, plain = optimizer.param_groups
    assert decayed["weight_decay"] == SETTINGS.weight_decay and all(parameter.ndim > 1 for parameter in decayed["params"])
    assert plain["weight_decay"] == 0.0 and all(parameter.ndim <= 1 for parameter in plain["params"])
    assert sum(len(group["params"]) for group in (decayed, plain)) == len(list(model.parameters()))
