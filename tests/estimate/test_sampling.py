"""The steps that are planned are those of the real training run, and a sample stands for all of them."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baton import params, tracking
from baton.batches.sampler import TrainingBatches
from baton.estimate import sampling, timing
from baton.fitting import jobs, trainings
from baton.fitting.seed_choice import Figures
from baton.losses import class_losses
from baton.models import model_folder
from baton.train import resume
from tests import tiny

HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)


class Counted(jobs.Job):
    """A real job, which counts the tokens of the batches that its training run reads."""

    def batches(self, settings: params.Training, smallest: int, packs: bool = False) -> TrainingBatches:
        made = super().batches(settings, smallest, packs)
        assert isinstance(made, TrainingBatches)
        return Counting(**{own.name: getattr(made, own.name) for own in dataclasses.fields(made)})


class Counting(TrainingBatches):
    read: list[int] = []  # noqa: RUF012  one run per test

    def micro_batches(self, step: int) -> Any:
        made = super().micro_batches(step)
        Counting.read.append(sum(int(self.split.lengths[part.rows.numpy()].sum()) for part, _ in made))
        return made


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> jobs.Job:
    """A job on 48 documents of train."""
    monkeypatch.chdir(tmp_path)
    tiny.write_arrays(Path("data"))
    saved = resume.StageCheckpoints(Path("checkpoints"), 1000.0)
    return jobs.Job(jobs.open_data(None), tiny.machine(), tracking.Run(), saved)


def fit(settings: Any, job: jobs.Job) -> Figures:
    model = model_folder.create(
        Path("data/base"), HEAD, job.data.task.width, settings, job.runtime.attention, job.data.input
    )
    return trainings.fit("teacher", model, class_losses.cross_entropy(0.0, None), settings, job).figures


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 2, "batch_size": 7, "evaluations_per_epoch": 3},
        {"epochs": 1, "batch_size": 8, "min_steps": 20, "evaluations_per_epoch": 1},
        {"epochs": 3, "batch_size": None, "tokens": 64, "accumulation": 2, "evaluations_per_epoch": 2},
    ],
)
def test_what_is_planned_is_what_the_real_run_does(job: jobs.Job, changes: dict[str, Any]) -> None:
    settings = tiny.training(**changes).of(0)
    timed = timing.time_training(fit, settings, job, seconds=0.0)
    Counting.read = []
    clock = timing.Clock()
    real = Counted(job.data, job.runtime, clock, job.checkpoints)
    steps = fit(settings, real)["steps"]
    assert timed.planned.steps == steps
    assert timed.planned.validations == len(clock.validated)
    # The loop reads the first batch once more, before the first step.
    assert timed.planned.tokens in (sum(Counting.read), sum(Counting.read[1:]))
    assert timed.val_tokens == int(np.sum(job.data.splits["val"].lengths))
    assert 0 < timed.step_tokens <= timed.planned.tokens
    assert timed.seconds > 0 and timed.memory > 0 and timed.checkpoint > 0


def test_another_batch_size_is_another_plan(job: jobs.Job) -> None:
    """The negative control: a plan follows from the settings."""
    plans = [
        sampling.planned(settings, batches(settings, job))
        for settings in (tiny.training(batch_size=8), tiny.training(batch_size=5))
    ]
    assert plans[0].steps != plans[1].steps and plans[0].tokens == plans[1].tokens


def batches(settings: params.Training, job: jobs.Job) -> TrainingBatches:
    found = job.batches(settings, 1)
    assert isinstance(found, TrainingBatches)
    return found


def test_a_sample_is_made_of_real_batches_and_the_costliest_is_among_those_that_warm_up(
    job: jobs.Job,
) -> None:
    whole = batches(tiny.training(batch_size=4), job)
    steps = sampling.chosen(whole, 4, 6)
    assert len(steps) == 10 and steps[4:] == sorted(set(steps[4:]))
    costs = [sampling.tokens(whole, [step]) for step in range(whole.steps_per_epoch)]
    assert costs[steps[0]] == max(costs)
    some = sampling.sample(whole, steps)
    assert some.steps_per_epoch == 10 and whole.steps_per_epoch == 12
    for place, step in enumerate(steps):
        assert some.rows(place).tolist() == whole.rows(step).tolist()
        (mine, _), (theirs, _) = some.micro_batches(place)[0], whole.micro_batches(step)[0]
        assert all((one == other).all() for one, other in zip(mine.inputs, theirs.inputs, strict=True))


def test_steps_are_spread_over_all_costs() -> None:
    costs = np.random.default_rng(0).permutation(100).tolist()
    found = sampling.spread(costs, 10)
    assert sorted(costs[place] for place in found) == list(range(5, 100, 10))
    assert found == sorted(found)
    assert sampling.spread([3, 1, 2], 9) == [0, 1, 2]


def test_with_steps_of_equal_cost_per_token_the_estimate_is_exact() -> None:
    planned = sampling.Planned(steps=100, tokens=10_000, validations=4)
    timed = timing.Timed(
        planned,
        steps=10,
        step_seconds=2.0,
        step_tokens=1_000,
        validation_seconds=0.5,
        validation_tokens=50,
        val_tokens=200,
        rest=3.0,
        memory=7,
        checkpoint=5,
    )
    assert timed.seconds == pytest.approx(10_000 * 0.002 + 4 * 2.0 + 3.0)
    assert timed.predicting(100) == pytest.approx(1.0)
    assert timed.peak(30, "cpu") == 12 and timed.peak(32, "cpu") == 7 and timed.peak(30, "cuda") == 7
