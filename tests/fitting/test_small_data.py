"""With few rows, cross-validation chooses fine-tuning or a linear probe, and training has enough steps."""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from baton import params, tracking
from baton.batches import subset
from baton.contracts.targets import Targets
from baton.fitting import features, jobs, small_data, strategies, trainings
from baton.losses import class_losses
from baton.models import model_folder
from baton.predict import predict
from baton.runtime import resolve
from baton.train import probe, resume
from tests import tiny

HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
PROBE, FULL = {"kind": "probe"}, {"kind": "full"}
AUTO = {"kind": "auto", "rows": 100, "folds": 3, "among": (PROBE, FULL)}
SETTINGS = {"keep": "best", "epochs": 1, "batch_size": 8, "head": HEAD, "strategy": AUTO}
Train = Callable[..., strategies.Trained]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> jobs.Job:
    """Write 48 documents of train to data/arrays."""
    monkeypatch.chdir(tmp_path)
    tiny.write_arrays(Path("data"))
    return jobs.Job(
        jobs.open_data(None),
        tiny.machine(),
        tracking.Run(),
        resume.StageCheckpoints(Path("checkpoints"), 1000.0),
    )


@pytest.fixture
def train(project: jobs.Job) -> Train:
    return partial(trained, project)


def settings(**changes: Any) -> params.Finetune:
    return params.Finetune.model_validate(tiny.TRAINING | SETTINGS | changes)


def new(job: jobs.Job, own: params.Finetune) -> model_folder.Classifier:
    resolve.seed_everything(own.seed)
    return model_folder.create(Path("data/base"), HEAD, 3, own, job.runtime.attention, job.data.input)


def trained(job: jobs.Job, **changes: Any) -> strategies.Trained:
    own = settings(**changes)
    return small_data.train(partial(new, job, own), class_losses.cross_entropy(0.0, None), own, job)


def test_a_training_that_learns_nothing_loses_to_the_probe(train: Train, project: jobs.Job) -> None:
    made = train(learning_rate=1e-9)
    model, curve, figures = made.model, made.curve, made.figures
    assert figures["chosen_probe"] == 1.0
    assert figures["cross_validated_probe"] > 0.9
    assert figures["cross_validated_full"] < 0.6
    assert [row["step"] for row in curve] == [0] and figures["steps"] == 0
    train_split, val = project.data.splits["train"], project.data.splits["val"]
    assert made.left_out is not None
    assert (made.left_out.argmax(axis=1) == train_split.targets.all).mean() == figures[
        "cross_validated_probe"
    ]
    logits = predict(model, val, project.runtime, 8)
    assert figures["val_accuracy"] == (logits.argmax(axis=1) == val.targets.all).mean()
    head, untrained = model.state_dict(), new(project, settings()).state_dict()
    assert all(torch.equal(head[name], untrained[name]) for name in head if not name.startswith("head."))


def test_a_training_that_learns_more_wins(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = probe.Probe(np.zeros((3, 32), np.float32), np.zeros(3, np.float32), 1.0)
    monkeypatch.setattr(probe, "fit", lambda *arguments: nothing)
    made = train(learning_rate=3e-3, epochs=6)
    curve, figures = made.curve, made.figures
    assert figures["chosen_probe"] == 0.0
    assert figures["cross_validated_full"] > 0.9
    assert figures["steps"] == 36 and len(curve) > 1


@pytest.mark.parametrize("changes", [{"strategy": FULL}, {"strategy": AUTO | {"rows": 47}}])
def test_many_rows_are_fine_tuned_and_get_the_bits_of_a_training_without_choice(
    train: Train, project: jobs.Job, changes: dict[str, Any]
) -> None:
    made = train(**changes)
    model = made.model
    assert "chosen_probe" not in made.figures and made.left_out is None
    plain = new(project, settings())
    trainings.fit("plain", plain, class_losses.cross_entropy(0.0, None), settings(), project)
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in model.state_dict().items())


def test_the_choice_leaves_no_trace_in_what_is_trained_after_it(
    train: Train, project: jobs.Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = probe.Probe(np.zeros((3, 32), np.float32), np.zeros(3, np.float32), 1.0)
    monkeypatch.setattr(probe, "fit", lambda *arguments: nothing)
    full_first = AUTO | {"among": (FULL, PROBE)}
    made = train(strategy=full_first, learning_rate=3e-3, epochs=6)
    assert made.figures["chosen_full"] == 1.0
    model = made.model
    plain = new(project, settings())
    own = settings(learning_rate=3e-3, epochs=6)
    trainings.fit("plain", plain, class_losses.cross_entropy(0.0, None), own, project)
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in model.state_dict().items())


def known(train: np.ndarray) -> Callable[..., np.ndarray]:
    """Return these features for train, and others for the other splits."""

    def of(model: object, split: Any, *_: object) -> np.ndarray:
        return train if len(split) == len(train) else np.zeros((len(split), train.shape[1]), np.float32)

    return of


def probed(job: jobs.Job) -> np.ndarray:
    """Return the logits of rows of train, each by a probe that did not see it."""
    own = settings(strategy=PROBE)
    loss_fn = class_losses.cross_entropy(0.0, None)
    return small_data._left_out(partial(new, job, own), loss_fn, own, job, 3)


class Mislabelled(subset.Part):
    """Documents with random labels."""

    @property
    def targets(self) -> Targets:
        return tiny.targets(np.random.default_rng(0).integers(0, 3, len(self)))


@pytest.mark.parametrize("peeking", [False, True])
def test_rows_are_scored_by_a_probe_that_did_not_see_them(
    project: jobs.Job, monkeypatch: pytest.MonkeyPatch, peeking: bool
) -> None:
    """The control is fitted on the rows it is scored on, and finds order in noise."""
    split = Mislabelled(project.data.splits["train"], np.arange(48))
    own = dataclasses.replace(
        project, data=dataclasses.replace(project.data, splits={**project.data.splits, "train": split})
    )
    noise = np.random.default_rng(1).normal(size=(48, 32)).astype(np.float32)
    monkeypatch.setattr(features, "of", known(noise))
    cuts = subset.folds
    if peeking:
        monkeypatch.setattr(
            subset, "folds", lambda *given: [(np.arange(48), scored) for _, scored in cuts(*given)]
        )
    left_out = probed(own)
    accuracy = (left_out.argmax(axis=1) == split.targets.all).mean()
    assert accuracy > 0.8 if peeking else accuracy < 0.5


@pytest.mark.parametrize("grouped", [True, False])
def test_rows_of_one_unit_are_never_parted(
    project: jobs.Job, monkeypatch: pytest.MonkeyPatch, grouped: bool
) -> None:
    """Labels are random, but shared within a group that the features identify.

    The control's folds split the groups, so it finds the labels.
    """
    groups = np.repeat(np.arange(16), 3)
    by_group = np.random.default_rng(2).integers(0, 3, 16)[groups]

    class Grouped(subset.Part):
        targets = property(lambda self: tiny.targets(by_group))  # type: ignore[assignment]

    split = Grouped(project.data.splits["train"], np.arange(48))
    own = dataclasses.replace(
        project, data=dataclasses.replace(project.data, splits={**project.data.splits, "train": split})
    )
    telling = np.random.default_rng(3).normal(size=(16, 32)).astype(np.float32)[groups]
    monkeypatch.setattr(features, "of", known(telling))
    if grouped:
        np.save("data/arrays/train.units.npy", groups)
    accuracy = (probed(own).argmax(axis=1) == by_group).mean()
    assert accuracy < 0.6 if grouped else accuracy > 0.8


def test_train_of_one_unit_is_fine_tuned_without_choice(train: Train, project: jobs.Job) -> None:
    np.save("data/arrays/train.units.npy", np.zeros(48, np.int64))
    assert "chosen_probe" not in train().figures


@pytest.mark.parametrize("labels", [[0] * 47 + [2], [0, 1]])
def test_a_fold_may_hold_one_class_or_none(project: jobs.Job, labels: list[int]) -> None:
    class Few(subset.Part):
        targets = property(lambda self: tiny.targets(labels))  # type: ignore[assignment]

    split = Few(project.data.splits["train"], np.arange(len(labels)))
    own = dataclasses.replace(
        project, data=dataclasses.replace(project.data, splits={**project.data.splits, "train": split})
    )
    left_out = probed(own)
    assert np.isfinite(left_out).all() and left_out.shape == (len(labels), 3)


def test_few_rows_get_more_epochs(project: jobs.Job) -> None:
    own = settings(min_steps=20)
    figures = trainings.fit(
        "teacher", new(project, own), class_losses.cross_entropy(0.0, None), own, project
    ).figures
    assert figures["steps"] == 24  # six steps per epoch


def test_a_diverged_fold_names_its_own_rows(project: jobs.Job) -> None:
    rows = np.array([5, 40, 7])
    own = jobs.Data(
        {**project.data.splits, "train": subset.Part(project.data.splits["train"], rows)},
        project.data.task,
        project.data.input,
    )
    batches = jobs.Job(own, project.runtime, project.run, project.checkpoints).batches(settings(), 1)
    assert set(batches.names(0)) == {"train:6", "train:41", "train:8"}
