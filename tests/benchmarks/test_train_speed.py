"""The training benchmark: both sides get the same documents, and the timed steps represent an epoch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from baton import params
from baton.batches.sampler import TrainingBatches
from benchmarks import _peers, _training, train_speed
from tests import tiny


@pytest.fixture(scope="module")
def work(project: Path) -> _training.Work:
    loaded = params.load("finetune", "runtime", path=project / "params.yaml")
    return _training.Work(project, loaded.finetune, loaded.runtime, 3)


def test_chosen_steps_have_the_epochs_share_of_every_width() -> None:
    random = np.random.default_rng(0)
    lengths = random.integers(5, 128, 5000)
    plan = _peers.trainers_plan(lengths, 32, grouped=True)
    steps = _training.chosen(plan, lengths, 20)[_training.WARM_UP :]
    assert len(steps) == 20 and all(len(plan[step]) == 32 for step in steps)
    everything = np.mean([lengths[rows].max() for rows in plan])
    assert np.mean([lengths[plan[step]].max() for step in steps]) == pytest.approx(everything, rel=0.05)
    assert np.mean([lengths[rows].max() for rows in plan[:20]]) != pytest.approx(everything, rel=0.05), (
        "the first steps do not"
    )
    assert _training.chosen(plan, lengths, None) == list(range(len(plan)))


def test_the_trainers_plan_has_every_document_once() -> None:
    lengths = np.arange(1, 101)
    for grouped in (True, False):
        assert sorted(np.concatenate(_peers.trainers_plan(lengths, 8, grouped))) == list(range(100))
    grouped, random = (
        _training.share_of_padding(lengths, plan, [int(lengths[rows].max()) for rows in plan])
        for plan in (_peers.trainers_plan(lengths, 8, flag) for flag in (True, False))
    )
    assert grouped < random


def test_our_chosen_steps_are_those_of_the_epoch(work: _training.Work) -> None:
    batches = TrainingBatches(work.split("train"), 4, 1, 0)
    chosen = _training.Chosen(batches, [5, 2])
    assert chosen.steps_per_epoch == 2 and chosen.size(0) == 4 and chosen.names(1) == batches.names(2)
    ((part, share),) = chosen.micro_batches(0)
    assert part.rows.tolist() == batches.rows(5).tolist() and share == 1.0


def test_every_side_trains(work: _training.Work) -> None:
    runs = [_training.ours(work), _peers.tutorial(work)]
    for attention, best_flags, same_model in (
        ("sdpa", True, True),
        ("eager", True, False),
        ("sdpa", False, False),
    ):
        runs.append(_peers.trainer(work, _peers.Peer(attention, best_flags, same_model)))
    for run in runs:
        assert run.rate > 0 and 0 <= run.padding < 1 and run.memory > 0


def test_the_trainers_copy_of_our_model_is_our_model(work: _training.Work) -> None:
    """The first weights and, without dropout, the logits are the same; with dropout, it is torch's own."""
    import torch
    from torch import nn

    from baton.models import model_folder
    from baton.runtime import resolve

    settings = work.settings.model_copy(update={"dropout": 0.1, "attention_dropout": 0.1})
    resolve.seed_everything(0)
    theirs = _peers.same_model(replace(work, settings=settings), "sdpa")
    resolve.seed_everything(0)
    ours = model_folder.create(
        work.project / "data/base", settings.head, 3, settings, "matmul", tiny.TEXT_INPUT
    )
    batch = work.split("train").batch(np.arange(6))
    logits = theirs.eval()(batch.input_ids, batch.attention_mask, batch.targets)["logits"]
    torch.testing.assert_close(
        logits, ours.eval()(batch.input_ids, batch.attention_mask), atol=1e-5, rtol=1e-5
    )
    drops = [module for module in theirs.modules() if isinstance(module, nn.Dropout)]
    assert (
        drops and {type(module) for module in drops} == {nn.Dropout} and 0.1 in {module.p for module in drops}
    )


def test_whole_trainings_give_accuracies(work: _training.Work) -> None:
    whole = replace(work, steps=None)
    for run in (_training.ours(whole), _peers.trainer(whole, _peers.Peer("sdpa", True, False))):
        assert 0 < run.accuracy <= run.best <= 1 and run.rate > 0


@pytest.mark.slow
def test_it_prints_every_comparison(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_speed.main(["--project", str(project), "--steps", "2", "--repeats", "1"])
    printed = capsys.readouterr().out
    for part in (
        "(a)",
        "(b)",
        "(c)",
        "Trainer, defaults",
        "what differs",
        "AutoModelForSequenceClassification",
    ):
        assert part in printed
    train_speed.main(["--project", str(project), "--accuracy", "--seeds", "0", "1"])
    assert "by seed" in capsys.readouterr().out
