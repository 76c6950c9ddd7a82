"""Test the training loop on a tiny encoder and real arrays."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from baton import params
from baton.arrays import text_arrays
from baton.batches.sampler import TrainingBatches
from baton.batches.text_batches import TextSplit
from baton.errors import TrainingError
from baton.losses import class_losses
from baton.models import model_folder
from baton.models.kernels import attention
from baton.models.kernels import dropout as dropouts
from baton.predict import predict
from baton.runtime import resolve
from baton.tasks import metrics
from baton.train import loop, optimizer
from tests import tiny

HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
CHANGES = {
    "epochs": 8,
    "batch_size": 8,
    "learning_rate": 3e-3,
    "log_every": 2,
    "evaluations_per_epoch": 1,
    "head": HEAD,
}
SETTINGS = params.read(Path("params.yaml")).finetune.model_copy(update=CHANGES)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("loop")
    tiny.write_arrays(root)
    return root


MACHINE = {"precision", "loader_workers", "compile"}
Run = Callable[..., tuple[model_folder.Classifier, list[loop.TrainPoint | loop.ValidationPoint]]]


@pytest.fixture(scope="module")
def fit(root: Path) -> Run:
    def run(
        validate: Callable[[], dict[str, float]] | None = None, loss_fn: Any = None, **changes: Any
    ) -> Any:
        settings = SETTINGS.model_copy(
            update={key: value for key, value in changes.items() if key not in MACHINE}
        )
        machine = tiny.machine(**{key: value for key, value in changes.items() if key in MACHINE})
        resolve.seed_everything(settings.seed)
        model = model_folder.create(
            root / "base", settings.head, 3, settings, machine.attention, tiny.TEXT_INPUT
        )
        train, val = (
            TextSplit(text_arrays.open_arrays(root / "arrays", split, tiny.TASK), 0)
            for split in ("train", "val")
        )

        def scores() -> dict[str, float]:
            found = metrics.scores(predict(model, val, machine, 16), val.targets.all)
            return {"loss": found["log_loss"], "accuracy": found["accuracy"], "macro_f1": found["macro_f1"]}

        batches = TrainingBatches(train, settings.batch_size, settings.accumulation, settings.seed)
        points = list(
            loop.train(
                model,
                batches,
                loss_fn or class_losses.cross_entropy(0.0, None),
                validate or scores,
                settings,
                machine,
            )
        )
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
    other, _ = fit(epochs=2, dropout=0.1, seeds=(1,))
    assert torch.equal(flat(first), flat(again))
    assert not torch.equal(flat(first), flat(other))


@pytest.fixture
def gradients(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[torch.Tensor]]:
    """Return the gradients of every step, (parameters,) each."""
    seen: list[torch.Tensor] = []
    step = optimizer.Update.step

    def recorded(update: optimizer.Update, *arguments: Any) -> torch.Tensor:
        seen.append(
            torch.cat(
                [parameter.grad.flatten() for parameter in update.parameters if parameter.grad is not None]
            )
        )
        return step(update, *arguments)

    monkeypatch.setattr(optimizer.Update, "step", recorded)
    return seen


def test_accumulation_equals_the_large_batch(fit: Run, gradients: list[torch.Tensor]) -> None:
    # 48 documents in batches of 32: the smaller last batch of 16 counts too. A learning rate of almost zero
    # keeps the weights of both alike: Adam divides by the gradient's size, which magnifies the rounding of
    # gradients that are nearly zero.
    settings = {"epochs": 2, "batch_size": 32, "learning_rate": 1e-12, "log_every": 1}
    losses = []
    for parts in (1, 4):
        _, points = fit(**settings, accumulation=parts)
        losses.append([point.loss for point in points if isinstance(point, loop.TrainPoint)])
    assert len(gradients) == 8
    for whole, parts in zip(gradients[:4], gradients[4:], strict=True):
        torch.testing.assert_close(parts, whole, atol=1e-6, rtol=1e-6)
    assert losses[1] == pytest.approx(losses[0], abs=1e-6)


def test_a_mean_over_parts_of_unequal_size_would_be_noticed(
    fit: Run, gradients: list[torch.Tensor], monkeypatch: Any
) -> None:
    """Negative control: parts are weighted equally, as in a mean over micro-batches."""
    fit(epochs=1, batch_size=30, learning_rate=1e-12)
    parts = TrainingBatches.micro_batches

    def alike(batches: TrainingBatches, step: int) -> Any:
        found = parts(batches, step)
        return [(part, 1 / len(found)) for part, _ in found]

    monkeypatch.setattr(TrainingBatches, "micro_batches", alike)
    fit(epochs=1, batch_size=30, learning_rate=1e-12, accumulation=4)
    assert (
        max((whole - parts).abs().max() for whole, parts in zip(gradients[:2], gradients[2:], strict=True))
        > 1e-4
    )


# Operations whose result, or its size, the host needs.
ATEN = torch.ops.aten
WAITS = {
    ATEN._local_scalar_dense.default,
    ATEN.nonzero.default,
    ATEN.masked_select.default,
    ATEN.equal.default,
    ATEN._unique2.default,
    ATEN.bincount.default,
    ATEN.repeat_interleave.Tensor,
}


def _is_mask(index: torch.Tensor | None) -> bool:
    return index is not None and index.dtype == torch.bool


class ReadBack(TorchDispatchMode):
    """A counter of transfers of a tensor's value to the host: on a device, each of them waits."""

    count = 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        """See TorchDispatchMode."""
        self.count += function in WAITS or (
            function is torch.ops.aten.index.Tensor and any(map(_is_mask, arguments[1]))
        )
        return function(*arguments, **(options or {}))


def test_a_step_reads_nothing_back(fit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Like `tests/train/test_gpu.py`, except for CUDA itself; what only the CPU does is switched off."""
    counts = []
    step = loop._Loop.step

    def counted(training: Any, parts: Any) -> Any:
        with ReadBack() as reads:
            point = step(training, parts)
        counts.append((point is not None, reads.count))
        return point

    monkeypatch.setattr(loop._Loop, "step", counted)
    monkeypatch.setattr(loop._Loop, "_check", lambda _: None)
    monkeypatch.setattr(attention, "_may_skip", lambda _: False)
    monkeypatch.setattr(dropouts, "usable", lambda _: False)
    fit(epochs=1, log_every=1000, dropout=0.1, clip_norm=1.0)
    quiet = [reads for told, reads in counts if not told]
    assert len(quiet) > 3 and set(quiet) == {0}
    assert all(reads for told, reads in counts if told), "negative control: a point is read back"


def test_the_best_weights_are_kept_not_the_last(fit: Run) -> None:
    offered = iter([0.5, 0.9, 0.7, 0.9])
    kept, points = fit(lambda: {"loss": 0.0, "accuracy": next(offered), "macro_f1": 0.0}, epochs=4)
    assert [point.best for point in points if isinstance(point, loop.ValidationPoint)] == [
        True,
        True,
        False,
        False,
    ]
    offered = iter([0.5, 0.9, 0.95, 1.0])
    last, _ = fit(lambda: {"loss": 0.0, "accuracy": next(offered), "macro_f1": 0.0}, epochs=4)
    assert not torch.equal(flat(kept), flat(last))


def test_of_equal_scores_the_one_with_the_lower_loss_is_kept(fit: Run) -> None:
    losses = iter([0.5, 0.3, 0.3, 0.4])
    _, points = fit(lambda: {"loss": next(losses), "accuracy": 0.9, "macro_f1": 0.0}, epochs=4)
    assert [point.best for point in points if isinstance(point, loop.ValidationPoint)] == [
        True,
        True,
        False,
        False,
    ]


def test_loss_as_metric_is_better_when_lower(fit: Run) -> None:
    offered = iter([0.5, 0.4, 0.6])
    _, points = fit(
        lambda: {"loss": next(offered), "accuracy": 0.0, "macro_f1": 0.0}, epochs=3, metric="loss"
    )
    assert [point.best for point in points if isinstance(point, loop.ValidationPoint)] == [True, True, False]


def test_early_stopping_counts_evaluations_without_a_better_score(fit: Run) -> None:
    offered = iter([0.5, 0.6, 0.4, 0.6, 0.9, 0.9])
    stopping = params.EarlyStopping(patience=2)
    _, points = fit(
        lambda: {"loss": 0.0, "accuracy": next(offered), "macro_f1": 0.0}, epochs=6, early_stopping=stopping
    )
    assert sum(isinstance(point, loop.ValidationPoint) for point in points) == 4


def test_validation_falls_evenly_into_an_epoch_and_on_its_end(fit: Run) -> None:
    _, points = fit(epochs=1, evaluations_per_epoch=3)
    assert [point.step for point in points if isinstance(point, loop.ValidationPoint)] == [2, 4, 6]


@pytest.mark.parametrize("log_every", [1, 1000])
def test_a_loss_that_is_not_finite_stops_at_its_step(
    fit: Run, log_every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, seen = 4, []
    monkeypatch.setattr(loop, "seed_step", lambda seed, step, rank: seen.append(step))

    def broken(model: Any, batch: Any) -> torch.Tensor:
        loss = class_losses.cross_entropy(0.0, None)(model, batch)
        return loss * math.nan if seen[-1] == number else loss

    with pytest.raises(
        TrainingError,
        match=r"diverged at step 4[\s\S]*learning rate 0\.00[\s\S]*batch of samples row \d+, row \d+",
    ):
        fit(epochs=1, loss_fn=broken, log_every=log_every)
    assert seen == [1, 2, 3, 4]


def test_a_diverged_step_changes_no_weight() -> None:
    model = torch.nn.Linear(2, 1)
    before = flat(model).clone()
    update = optimizer.Update(optimizer.make(model, SETTINGS), 1.0, False, torch.device("cpu"))
    for step, factor in enumerate([math.inf, 1.0], start=1):  # the next one is finite, but training has ended
        (model(torch.ones(1, 2)).sum() * factor).backward()
        update.step(step, torch.tensor(factor), 0.1)
    assert torch.equal(flat(model), before) and int(update.failed) == 1


def test_clipping_in_the_kernel_is_clipping() -> None:
    torch.manual_seed(0)
    ours, theirs = torch.nn.Linear(4, 3), torch.nn.Linear(4, 3)
    theirs.load_state_dict(ours.state_dict())
    update, made = (
        optimizer.Update(optimizer.make(ours, SETTINGS), 0.1, False, torch.device("cpu")),
        optimizer.make(theirs, SETTINGS),
    )
    for step in range(1, 4):
        inputs = torch.randn(5, 4)
        loss = ours(inputs).square().mean()
        loss.backward()
        norm = update.step(step, loss.detach(), 0.01)
        theirs(inputs).square().mean().backward()
        expected = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.1)
        made.param_groups[0]["lr"] = made.param_groups[1]["lr"] = 0.01
        made.step()
        made.zero_grad()
        torch.testing.assert_close(norm, expected)
        torch.testing.assert_close(flat(ours), flat(theirs), atol=1e-7, rtol=1e-6)


def test_the_loss_scale_falls_on_overflow_and_grows_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizer, "GROWTH_STEPS", 2)
    model = torch.nn.Linear(2, 1)
    update = optimizer.Update(optimizer.make(model, SETTINGS), 1.0, True, torch.device("cpu"))
    scales = []
    for step, factor in enumerate([math.inf, 1.0, 1.0, 1.0], start=1):
        before = flat(model).clone()
        loss = model(torch.ones(1, 2)).sum()
        (loss * update.scale * factor).backward()
        norm = update.step(step, loss.detach(), 0.1)
        scales.append(float(update.scale))
        assert torch.equal(flat(model), before) == (
            step == 1
        )  # an overflow skips the update and is not an error
        assert float(norm) == pytest.approx(0.0 if step == 1 else math.sqrt(3))
    assert scales == [32768.0, 32768.0, 65536.0, 65536.0] and int(update.failed) == -1


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_every_precision_learns(fit: Run, precision: str) -> None:
    _, points = fit(epochs=6, precision=precision)
    train = [point.loss for point in points if isinstance(point, loop.TrainPoint)]
    assert train[-1] < 0.5 * train[0]


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"
)  # torch's compiler looks at gradients, and hides its own warning
def test_a_compiled_model_learns_the_same(fit: Run) -> None:
    eager, compiled = (
        [point.loss for point in fit(epochs=1, compile=compiled)[1] if isinstance(point, loop.TrainPoint)]
        for compiled in (False, True)
    )
    assert compiled == pytest.approx(eager, abs=1e-4)


@pytest.mark.parametrize("workers", [1, 2])
def test_loader_workers_change_nothing(fit: Run, workers: int) -> None:
    alone, _ = fit(epochs=2, dropout=0.1)
    fed, _ = fit(epochs=2, dropout=0.1, loader_workers=workers)
    assert torch.equal(flat(alone), flat(fed))


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_the_schedule_rises_to_the_peak_and_falls_to_zero(schedule: str) -> None:
    factors = [optimizer.factor(step, 100, 10, schedule) for step in range(101)]
    assert factors[:10] == sorted(factors[:10]) and 0 < factors[0] < 0.2
    assert factors[10] == 1.0 and factors[10:] == sorted(factors[10:], reverse=True)
    assert math.isclose(factors[100], 0.0, abs_tol=1e-12)


def test_biases_and_norms_are_not_decayed(root: Path) -> None:
    model = model_folder.create(root / "base", SETTINGS.head, 3, SETTINGS, "matmul", tiny.TEXT_INPUT)
    made = optimizer.make(model, SETTINGS)
    decayed, plain = made.param_groups
    assert decayed["weight_decay"] == SETTINGS.weight_decay and all(
        parameter.ndim > 1 for parameter in decayed["params"]
    )
    assert plain["weight_decay"] == 0.0 and all(parameter.ndim <= 1 for parameter in plain["params"])
    assert sum(len(group["params"]) for group in (decayed, plain)) == len(list(model.parameters()))
