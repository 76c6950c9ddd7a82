"""Code shared by `finetune` and `distill`, on real arrays: batch normalisation never sees a single sample."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baton import params, predict, tracking
from baton.batches.text_batch import PackedBatch
from baton.contracts import predictions
from baton.contracts.task_spec import Sequence, TaskSpec
from baton.distill import soft_targets
from baton.errors import ModelError
from baton.evaluate import inputs
from baton.fitting import jobs, trainings
from baton.losses import class_losses
from baton.models import classifier, model_folder, packing
from baton.tasks import temperature
from baton.train import resume
from tests import tiny, tiny_images
from tests.models.test_packed import make

HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)


def train(rows: int) -> dict[str, object]:
    """Train a TinyViT whose last map is one pixel, in batches of eight; return the figures."""
    tiny.write_convolutional_base(Path("data/base"))
    tiny_images.write_arrays(Path("data"), {"train": rows, "val": 6, "test": 6})
    data, settings, machine = jobs.open_data(None), tiny.training(epochs=1, batch_size=8), tiny.machine()
    model = model_folder.create(
        Path("data/base"), HEAD, data.task.width, settings, machine.attention, data.input
    )
    job = jobs.Job(data, machine, tracking.Run(), resume.StageCheckpoints(Path("checkpoints"), 1000.0))
    return trainings.fit("teacher", model, class_losses.cross_entropy(0.0, None), settings, job).figures


def test_the_temperature_of_val_is_shipped_and_the_predictions_are_the_logits_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    base = tiny.write_convolutional_base(Path("data/base"))
    tiny_images.write_arrays(Path("data"), {"train": 6, "val": 20, "test": 6})
    data, machine = jobs.open_data(None), tiny.machine()
    model = model_folder.create(
        base, HEAD, data.task.width, tiny.training(), machine.attention, data.input
    ).eval()
    job = jobs.Job(data, machine, tracking.Run(), resume.StageCheckpoints(Path("checkpoints"), 1000.0))
    trainings.write(
        "teacher",
        model,
        model_folder.ModelInfo(data.task, HEAD, data.input),
        base,
        job,
        4,
        best=True,
        packs=False,
    )
    for split, rows in data.splits.items():
        _, logits = predictions.read_predictions(Path(f"data/predictions/teacher/{split}.parquet"))
        assert (logits == predict.predict(model, rows, machine, 4)).all()
        if split == "val":
            fitted = {"temperature": temperature.fit(logits, rows.targets.all)}
    assert (
        model_folder.load(Path("models/teacher"), machine.attention)[1].fitted
        == inputs.read_fitted(Path("models/teacher"))
        == fitted
    )
    assert fitted["temperature"] != 1


@pytest.mark.parametrize(
    ("name", "best", "read"),
    [
        ("teacher", True, 32),
        ("student", True, 26),
        ("control", True, 26),
        ("teacher", False, 6),
        ("student", False, 6),
    ],
)
def test_nobody_predicts_what_nobody_reads(
    name: str, best: bool, read: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 6 rows of train, 20 of val and 6 of test.

    `distill` reads the teacher's logits on train, `evaluate` those of all models on val and test.
    """
    monkeypatch.chdir(tmp_path)
    base = tiny.write_convolutional_base(Path("data/base"))
    tiny_images.write_arrays(Path("data"), {"train": 6, "val": 20, "test": 6})
    data, machine, predicted = jobs.open_data(None), tiny.machine(), []

    def counted(model: object, split: object, *arguments: object) -> np.ndarray:
        predicted.append(len(split))  # type: ignore[arg-type]
        return predict.predict(model, split, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(trainings, "predict", counted)
    model = model_folder.create(
        base, HEAD, data.task.width, tiny.training(), machine.attention, data.input
    ).eval()
    job = jobs.Job(data, machine, tracking.Run(), resume.StageCheckpoints(Path("checkpoints"), 1000.0))
    answers = trainings.write(
        name,
        model,
        model_folder.ModelInfo(data.task, HEAD, data.input),
        base,
        job,
        4,
        best=best,
        packs=False,
    )
    assert sum(predicted) == read and len(answers.logits) == 6
    written = {path.stem for path in Path("data/predictions").glob("*/*.parquet")}
    assert written == (
        set() if not best else {"train", "val", "test"} if name == "teacher" else {"val", "test"}
    )


def texts(**changes: object) -> tuple[jobs.Job, model_folder.Classifier]:
    """Return a job with documents of at most 16 tokens, and a BERT."""
    tiny.write_arrays(Path("data"), copies=1)
    job = jobs.Job(
        jobs.open_data(None),
        tiny.machine(**changes),
        tracking.Run(),
        resume.StageCheckpoints(Path("checks"), 1000.0),
    )
    return job, model_folder.create(
        Path("data/base"), HEAD, 3, tiny.training(), job.runtime.attention, job.data.input
    )


def test_packing_is_settled_once_for_a_training_and_its_predictions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job, model = texts(packing=True)
    asked, seen = [], []
    monkeypatch.setattr(
        packing, "decided", lambda wanted, facts: asked.append(facts) or (wanted, "for a test")
    )
    real = predict.forward
    monkeypatch.setattr(predict, "forward", lambda *given: seen.append(type(given[1])) or real(*given))
    made = trainings.fit(
        "teacher", model, class_losses.cross_entropy(0.0, None), tiny.training(batch_size=8), job
    )
    trainings.write(
        "teacher",
        model,
        model_folder.ModelInfo(job.data.task, HEAD, job.data.input),
        Path("data/base"),
        job,
        4,
        True,
        made.packs,
    )
    assert len(asked) == 1 and made.packs and set(seen) == {PackedBatch}


def test_a_live_teacher_is_asked_whether_it_takes_packed_documents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The student, a BERT, takes them; its teacher, an MPNet, does not."""
    monkeypatch.chdir(tmp_path)
    job, model = texts(packing=True)
    asked = soft_targets.Live(make("mpnet"))
    taught = tiny.distilled(tiny.LOSSES, asked, 2.0, 0.5, 0.0, None)
    with pytest.raises(
        ModelError, match=r"documents cannot be packed here[\s\S]*the teacher, mpnet is not one of bert"
    ):
        trainings.fit("student", model, taught, tiny.training(), job, [asked])
    able = soft_targets.Live(make("electra"))
    assert packing.settled(job.runtime, model, 0.0, [able])[0]
    assert trainings.fit(
        "control", model, class_losses.cross_entropy(0.0, None), tiny.training(batch_size=8), job, [able]
    ).packs


def augmented(**changes: object) -> tuple[jobs.Job, model_folder.Classifier, params.Training]:
    """Return the job of `texts` with all operations on tokens, and with `changes`."""
    own = {"delete": 0.2, "swap": 0.2, "mask": 0.1, "mixup": 0.0} | changes
    settings = tiny.training(epochs=2, batch_size=8, augmentation=params.TextAugmentation.model_validate(own))
    job, model = texts(packing="auto")
    data = jobs.open_data(settings.augmentation, tokenizer=Path("data/base"))
    return dataclasses.replace(job, data=data), model, settings


@pytest.mark.parametrize("taught", [False, True])
def test_texts_are_augmented_in_training_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taught: bool
) -> None:
    """With mixup, and with a live teacher, who sees the same texts."""
    monkeypatch.chdir(tmp_path)
    job, model, settings = augmented(mixup=0.4)
    seen: list[tuple[str, int]] = []
    forward = type(model).forward
    monkeypatch.setattr(
        type(model),
        "forward",
        lambda self, *inputs: (seen.append((reader(self), len(inputs))), forward(self, *inputs))[1],
    )

    def reader(one: model_folder.Classifier) -> str:
        return ("training" if one.training else "validation") if one is model else "teacher"

    loss_fn, asked = class_losses.cross_entropy(0.0, None), soft_targets.Live(make("electra", vocab_size=200))
    if taught:
        loss_fn = tiny.distilled(tiny.LOSSES, asked, 2.0, 0.5, 0.0, None)
    made = trainings.fit("student", model, loss_fn, settings, job, [asked] if taught else [])
    assert not made.packs
    assert set(seen) == {("training", 8), ("validation", 2)} | ({("teacher", 8)} if taught else set())
    assert made.figures["steps"] == 4 and np.isfinite(made.figures["val_loss"])


def test_the_same_run_gives_the_same_bits_and_without_augmentation_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job, model, settings = augmented()
    plain = dataclasses.replace(job, data=jobs.open_data(None))
    losses = []
    for name, own in (("first", job), ("again", job), ("plain", plain)):
        loss_fn = class_losses.cross_entropy(0.0, None)
        made = trainings.fit(name, copy.deepcopy(model), loss_fn, settings, own)
        losses.append([row["loss"] for row in made.curve if "loss" in row])
    assert losses[0] == losses[1] != losses[2] and len(losses[0]) == 4


@pytest.mark.parametrize(
    ("task", "settings", "expected"),
    [
        (tiny.TASK, {"batch_size": 8}, 16),
        (tiny.TASK, {"batch_size": None, "tokens": 320}, 40),
        (Sequence(24, 1, 4), {"batch_size": 8}, 16),
        (Sequence(24, 4, 4), {"batch_size": 8}, 4),
        (Sequence(24, 64, 4), {"batch_size": 8}, 1),
        (Sequence(24, 1, 4), {"batch_size": None, "tokens": 320}, 16),
        (Sequence(24, 4, 4), {"batch_size": None, "tokens": 320}, 4),
    ],
)
def test_beams_share_a_prediction_batch(task: TaskSpec, settings: dict[str, Any], expected: int) -> None:
    data, checkpoints = jobs.Data({}, task, tiny.TEXT_INPUT), resume.StageCheckpoints(Path("c"), 1.0)
    job = jobs.Job(data, tiny.machine(), tracking.Run(), checkpoints)
    assert job.at_once(tiny.training(**settings)) == expected


def test_a_sample_that_is_left_over_joins_the_last_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert train(17)["steps"] == 2


def test_alone_it_would_have_no_variance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(classifier.Classifier, "smallest_part", 1)
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        train(17)
