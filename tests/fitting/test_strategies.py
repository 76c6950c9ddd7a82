"""The head is trained on features that are computed once, or fitted to them; adapters are merged."""

import dataclasses
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import timm
import torch

from baton import params, tracking
from baton.batches import text_batches
from baton.contracts import training_costs
from baton.contracts.predictions import Predicted
from baton.fitting import features, jobs, strategies, trainings
from baton.losses import class_losses
from baton.models import model_folder
from baton.predict import predict
from baton.runtime import resolve
from baton.train import resume
from tests import tiny

HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
MLP = params.MlpHead(kind="mlp", pooling="mean", dropout=0.0, width=8)
LORA = {"kind": "lora", "rank": 2, "alpha": 4.0, "dropout": 0.0}
FROZEN = {
    "kind": "rows",
    "rows": (
        {"layers": "head", "rate": 1.0, "unfreeze": 0.0},
        {"layers": "*", "rate": 0.0, "unfreeze": 0.0},
    ),
}


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> jobs.Job:
    """Write 48 documents of train to data/arrays."""
    monkeypatch.chdir(tmp_path)
    tiny.write_arrays(Path("data"))
    return jobs.Job(
        jobs.open_data(None),
        tiny.machine(),
        tracking.Run(),
        resume.StageCheckpoints(Path("checkpoints"), 1000.0, marks={"data/arrays": "1"}),
    )


def settings(strategy: dict[str, Any], **changes: Any) -> params.Finetune:
    own = {
        "keep": "best",
        "epochs": 4,
        "batch_size": 8,
        "learning_rate": 1e-2,
        "head": HEAD,
        "strategy": strategy,
    }
    return params.Finetune.model_validate(tiny.TRAINING | own | changes)


def new(job: jobs.Job, own: params.Finetune) -> model_folder.Classifier:
    resolve.seed_everything(own.seed)
    return model_folder.create(Path("data/base"), own.head, 3, own, job.runtime.attention, job.data.input)


def trained(job: jobs.Job, strategy: dict[str, Any], name: str, **changes: Any) -> strategies.Trained:
    own = settings(strategy, **changes)
    return strategies.train(partial(new, job, own), class_losses.cross_entropy(0.0, None), own, job, name)


def logits(job: jobs.Job, made: strategies.Trained, name: str = "val") -> Predicted:
    return predict(made.model.eval(), job.data.splits[name], job.runtime, 8)


@pytest.mark.parametrize("head", [HEAD, MLP], ids=["linear", "mlp"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_head_on_kept_features_learns_what_it_learns_on_the_frozen_model(
    job: jobs.Job, head: params.Head, dropout: float
) -> None:
    own = head.model_copy(update={"dropout": dropout})
    kept = trained(job, {"kind": "head"}, "kept", head=own)
    whole = trained(job, FROZEN, "whole", head=own)
    assert np.abs(logits(job, kept) - logits(job, whole)).max() < 1e-4
    assert kept.figures["steps"] == whole.figures["steps"] == 24
    assert kept.figures["parameters"] == whole.figures["parameters"]
    assert kept.figures["trained_parameters"] == whole.figures["trained_parameters"] < 1000
    untrained = new(job, settings({"kind": "full"}, head=own)).eval()
    before = predict(untrained, job.data.splits["val"], job.runtime, 8)
    assert np.abs(logits(job, kept) - before).max() > 1e-2  # the control: training changed the answers


def test_the_backbone_reads_each_document_once(job: jobs.Job, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    batch = text_batches.TextSplit.batch

    def counted(self: text_batches.TextSplit, rows: Any) -> Any:
        read.append(len(rows))
        return batch(self, rows)

    monkeypatch.setattr(text_batches.TextSplit, "batch", counted)
    made = trained(job, {"kind": "head"}, "first")
    assert sum(read) == len(job.data.splits["train"]) + len(job.data.splits["val"])
    answers = predict(made.reading.model, made.reading.splits["test"], job.runtime, 8)
    assert len(answers) == len(job.data.splits["test"])
    assert sum(read) == sum(map(len, job.data.splits.values()))
    read.clear()
    again = trained(job, {"kind": "head"}, "second", seeds=(1,))
    trained(job, {"kind": "probe"}, "third")
    assert not read
    assert not torch.equal(made.model.head.output.weight, again.model.head.output.weight)
    others = dataclasses.replace(
        job, checkpoints=resume.StageCheckpoints(Path("checkpoints"), 1000.0, marks={"data/arrays": "2"})
    )
    trained(others, {"kind": "head"}, "fourth")
    assert sum(read) == len(job.data.splits["train"]) + len(job.data.splits["val"])


def test_only_the_last_folders_of_features_are_kept(job: jobs.Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "KEEP", 2)
    for mark in "1234":
        own = dataclasses.replace(
            job, checkpoints=resume.StageCheckpoints(Path("checkpoints"), 1000.0, marks={"data/arrays": mark})
        )
        trained(own, {"kind": "probe"}, mark)
        assert len(list(Path(".baton/features").iterdir())) == min(int(mark), 2)


def test_augmentation_needs_the_backbone_in_every_epoch(job: jobs.Job) -> None:
    own = settings({"kind": "head"})
    assert features.why_not(own, job) is None
    varied = own.model_copy(update={"augmentation": object()})
    assert "augmentation" in str(features.why_not(varied, job))


@pytest.mark.parametrize("kind", ["probe", "prototypes"])
def test_a_fitted_head_answers_alike_on_features_and_in_the_model(job: jobs.Job, kind: str) -> None:
    made = trained(job, {"kind": kind}, kind)
    for name in ("train", "val", "test"):
        on_features = predict(made.reading.model, made.reading.splits[name], job.runtime, 8)
        assert np.abs(on_features - logits(job, made, name)).max() < 1e-3
    assert made.figures["steps"] == 0 and made.figures["trained_parameters"] == 3 * 33
    train = job.data.splits["train"]
    assert (logits(job, made, "train").argmax(axis=1) == train.targets.all).mean() > 0.8
    untrained = new(job, settings({"kind": "full"})).state_dict()
    state = made.model.state_dict()
    assert all(torch.equal(state[each], untrained[each]) for each in state if not each.startswith("head."))


def test_lora_ends_as_a_plain_model(job: jobs.Job) -> None:
    made = trained(job, LORA, "lora")
    plain = new(job, settings({"kind": "full"}))
    assert list(made.model.state_dict()) == list(plain.state_dict())
    assert made.figures["parameters"] == sum(each.numel() for each in plain.parameters())
    assert made.figures["trained_parameters"] < 0.5 * made.figures["parameters"]
    assert all(parameter.requires_grad for parameter in made.model.parameters())
    scores = trainings.scores(logits(job, made), job.data.splits["val"].targets)
    assert scores["loss"] == pytest.approx(made.figures["val_loss"], abs=1e-5)


def test_pairs_train_the_backbone_and_then_fit_a_probe(job: jobs.Job) -> None:
    pairs = {"kind": "pairs", "steps": 30, "learning_rate": 3e-3}
    made, plain = trained(job, pairs, "pairs", batch_size=12), trained(job, {"kind": "probe"}, "probe")
    assert made.figures["steps"] == 30 and made.figures["trained_parameters"] == made.figures["parameters"]
    assert [row["step"] for row in made.curve if "val_accuracy" in row] == [30]
    assert {row["model"] for row in made.curve} == {"teacher"}
    state, before = made.model.state_dict(), plain.model.state_dict()
    assert all(not torch.equal(state[name], before[name]) for name in state if "query.weight" in name)
    losses = [float(str(row["loss"])) for row in made.curve if "loss" in row]
    assert len(losses) == 30 and np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    on_features = predict(made.reading.model, made.reading.splits["val"], job.runtime, 8)
    assert np.abs(on_features - logits(job, made)).max() < 1e-3
    again = trained(job, pairs, "again", batch_size=12).model.state_dict()
    assert all(torch.equal(state[name], again[name]) for name in state)


def test_features_of_other_weights_are_others(job: jobs.Job) -> None:
    """A base model without weights of its own is drawn from the seed."""
    own = settings({"kind": "probe"})
    one, other = new(job, own), new(job, own)
    with torch.no_grad():
        other.backbone.embeddings.word_embeddings.weight.normal_()
    both = [np.array(features.Features(each, own, job)["val"].features) for each in (one, other)]
    assert np.abs(both[0] - both[1]).max() > 1e-3
    again = features.Features(one, own, job)["val"].features
    assert np.array_equal(again, both[0]) and [*job.reused.values()] == [training_costs.Costs()] * 2


@pytest.mark.parametrize("architecture", ["resnet10t", "vit_tiny_patch16_224"])
def test_image_models_have_a_digest(architecture: str) -> None:
    """Batch normalisation counts its batches, in a number without dimensions."""
    backbone = timm.create_model(architecture, num_classes=0)
    held: Any = SimpleNamespace(backbone=backbone)
    first = features._digest(held)
    assert features._digest(held) == first
    with torch.no_grad():
        next(reversed([*backbone.state_dict().values()])).add_(1)
    assert features._digest(held) != first
