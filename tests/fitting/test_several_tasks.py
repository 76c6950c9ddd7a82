"""Several tasks share an encoder: the main one's classifier is plain, the others' answers are written."""

import dataclasses
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from baton import params, storage
from baton.contracts import predictions
from baton.contracts.task_spec import Numbers
from baton.evaluate import other_tasks
from baton.fitting import jobs, several_tasks, strategies, trainings
from baton.losses import class_losses
from baton.models import model_folder
from baton.predict import predict
from baton.runtime import resolve
from baton.tasks import task_figures
from tests import tiny, tiny_tasks, tiny_tokens
from tests.train import several

CHANGES = {"batch_size": 8, "learning_rate": 1e-2}
TASKS = ("length", "letters")
LORA = {"kind": "lora", "rank": 2, "alpha": 4.0, "dropout": 0.0}


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> jobs.Job:
    """48 documents of train of the main task, 24 of each other."""
    monkeypatch.chdir(tmp_path)
    tiny.write_arrays(Path("data"))
    tiny_tasks.write(Path("data"), *TASKS)
    return several.job(Path("data"), tiny.machine(), 1.0)


def new(job: jobs.Job, own: params.Finetune) -> Any:
    resolve.seed_everything(own.seed)
    made = model_folder.create(Path("data/base"), own.head, 3, own, "matmul", job.data.input)
    return several_tasks.with_heads(made, job)


def trained(job: jobs.Job, name: str, **changes: Any) -> strategies.Trained:
    own = tiny_tasks.settings(**CHANGES | changes)
    loss_fn = several_tasks.loss_of(class_losses.cross_entropy(own.label_smoothing, None), own, job)
    return strategies.train(partial(new, job, own), loss_fn, own, job, name)


def accuracy(job: jobs.Job, model: Any) -> float:
    split = job.data.splits["test"]
    return float((predict(model, split, job.runtime, 8).argmax(axis=1) == split.targets.all).mean())


def test_all_tasks_are_learnt(job: jobs.Job) -> None:
    made = trained(job, "teacher", epochs=5, batch_size=4)
    assert made.figures["steps"] == 5 * 12 * 3
    assert accuracy(job, made.model) > 0.6
    answers = {own.task: own for own in several_tasks.answers(made.model, tiny_tasks.settings(), job, False)}
    assert set(answers) == set(TASKS)
    for name, own in answers.items():
        targets = job.others[name].data.splits["test"].targets
        found = task_figures.of(targets.spec).scores(own.test, targets.all)
        assert found["spearman" if isinstance(targets.spec, Numbers) else "accuracy"] > 0.5


@pytest.mark.parametrize(
    "strategy",
    [
        {"kind": "full"},
        LORA,
        {"kind": "gradual", "decay": 2.6, "until": 0.5},
        {"kind": "top", "layers": 1},
    ],
    ids=lambda own: own["kind"],
)
def test_the_main_model_is_plain_and_the_answers_are_those_of_each_head(
    job: jobs.Job, strategy: dict[str, Any]
) -> None:
    made = trained(job, "teacher", strategy=strategy)
    plain = several_tasks.main_alone(made.model)
    reference = new(dataclasses.replace(job, others={}), tiny_tasks.settings())
    assert list(plain.state_dict()) == list(reference.state_dict())
    val = job.data.splits["val"]
    of_plain, of_all = (predict(model, val, job.runtime, 8) for model in (plain, made.model))
    assert (of_plain == of_all).all()
    scores = trainings.scores(of_plain, val.targets)
    assert scores["loss"] == pytest.approx(made.figures["val_loss"], abs=1e-5)
    own = tiny_tasks.settings(**CHANGES)
    answers = several_tasks.answers(made.model, own, job, False)
    several_tasks.write(answers, job)
    for given in answers:
        other, folder = job.others[given.task], Path("data/predictions/teacher/tasks", given.task)
        ids, logits = predictions.read_predictions(folder / "test.parquet")
        assert ids == [f"test:{place + 1}" for place in range(12)] and (logits == given.test).all()
        batch = other.data.splits["test"].batch(np.arange(12))
        with torch.no_grad():
            expected = made.model.of(given.task)(plain.read(*batch.inputs)).numpy()
        np.testing.assert_allclose(logits, expected, atol=1e-5)
        fitted = task_figures.of(other.data.task).fitted(given.val, other.data.splits["val"].targets.all)
        assert storage.read_json(folder / "fitted.json") == {"fitted": fitted}
    figures = several_tasks.figures(answers, own, job, int(made.figures["steps"]))
    assert sum(figures[f"tasks/{name}/steps"] for name in ("main", *TASKS)) == made.figures["steps"] == 18
    length = job.others["length"].data.splits["val"].targets
    assert figures["tasks/length/val_accuracy"] == trainings.scores(answers[0].val, length)["accuracy"]
    assert "tasks/letters/val_mae" in figures


def test_without_other_tasks_nothing_changes(job: jobs.Job) -> None:
    alone = dataclasses.replace(job, others={})
    own, model = tiny_tasks.settings(mixing=None), object()
    main = class_losses.cross_entropy(0.0, None)
    assert several_tasks.loss_of(main, own, alone) is main
    assert several_tasks.main_alone(model) is several_tasks.with_heads(model, alone) is model  # type: ignore[arg-type]
    assert several_tasks.answers(model, own, alone, False) == []  # type: ignore[arg-type]
    assert several_tasks.figures([], own, alone, 9) == {}


def test_the_weight_of_another_task_changes_the_encoder(job: jobs.Job) -> None:
    """Negative control: the main task's loss is not all that trains it."""
    other = dataclasses.replace(job, others=tiny_tasks.others(Path("data"), 0.1))
    models = [trained(own, name).model for own, name in ((job, "a"), (job, "b"), (other, "c"))]
    weights = [model.backbone.embeddings.word_embeddings.weight for model in models]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_smoothing_and_class_weights_are_for_names_alone(job: jobs.Job) -> None:
    """Numbers have neither; they would refuse weights."""
    own = tiny_tasks.settings(**CHANGES, label_smoothing=0.1, class_weights="balanced")
    made = [
        several_tasks.loss_of(class_losses.cross_entropy(0.0, None), settings, job)
        for settings in (own, tiny_tasks.settings(**CHANGES))
    ]
    model, batches, differ = new(job, own).eval(), job.batches(own, 1), {}
    for step in range(batches.steps_per_epoch):
        ((batch, _),) = batches.micro_batches(step)
        smooth, plain = (float(loss_fn(model, batch).detach()) for loss_fn in made)
        differ[batch.task] = smooth != plain  # type: ignore[attr-defined]
    assert differ == {"main": False, "length": True, "letters": False}


def test_words_of_a_text_are_a_task_too(job: jobs.Job) -> None:
    """In windows, whatever the other tasks read."""
    tiny_tokens.write_arrays(Path("words"))
    shutil.rmtree("data/clean/tasks")
    shutil.copytree("words/clean", "data/clean/tasks/tags")
    settings = params.OtherTask.model_construct(head=tiny_tasks.HEAD, weight=1.0)
    tags = jobs.open_task(settings, Path("words/arrays"))
    own = dataclasses.replace(job, others={"tags": tags})
    made = trained(own, "tagger", epochs=8)
    (answers,) = several_tasks.answers(made.model, tiny_tasks.settings(**CHANGES), own, False)
    scores = trainings.scores(answers.val, tags.data.splits["val"].targets)
    assert scores["entity_f1"] > 0.5 and accuracy(own, made.model) > 0.5
    several_tasks.write([answers], own)
    evaluate = params.read(Path(__file__).parents[2] / "params.yaml").evaluate
    bootstrap = evaluate.bootstrap.model_copy(update={"resamples": 50})
    found = other_tasks.figures(
        Path("data/clean"),
        Path("data/predictions/teacher"),
        evaluate.model_copy(update={"bootstrap": bootstrap}),
    )
    test = trainings.scores(answers.test, tags.data.splits["test"].targets)
    assert list(found) == ["tags"] and found["tags"]["rows"] == 20
    assert found["tags"]["entity_f1"] == pytest.approx(test["entity_f1"])
    (line,) = other_tasks.said(found)
    assert line.startswith("The teacher's other task tags: entity F1 ") and line.endswith("on 20 test rows.")
