"""A student that also learns what its teacher's head reads: cached or live, of equal and of another width."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from baton import params
from baton.arrays import text_arrays
from baton.batches.sampler import TrainingBatches
from baton.batches.text_batches import TextSplit
from baton.distill import matched_features, soft_targets
from baton.errors import ParamsError
from baton.losses import distillation_losses
from baton.models import model_folder
from baton.models.classifier import Classifier, headless
from baton.predict import predict
from baton.train import loop
from tests import first_gradient, tiny

HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
SETTINGS = tiny.training(epochs=25, batch_size=8, learning_rate=5e-3, metric="loss")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("features")
    tiny.write_arrays(root)
    tiny.write_base(root / "wide", width=48)
    return root


def split(root: Path, name: str) -> TextSplit:
    return TextSplit(text_arrays.open_arrays(root / "arrays", name, tiny.TASK), 0)


def made(root: Path, base: str, seed: int) -> Classifier:
    torch.manual_seed(seed)
    found: Classifier = model_folder.create(root / base, HEAD, 3, SETTINGS, "matmul", tiny.TEXT_INPUT)
    return found


def features(model: Classifier, rows: TextSplit) -> np.ndarray[Any, Any]:
    with headless(model):
        found = predict(model.eval(), rows, tiny.machine(), 16)
    assert isinstance(found, np.ndarray)
    return found


def taught(root: Path, teacher: Classifier, live: bool) -> soft_targets.Teacher:
    if live:
        matched_features.attach(teacher)
        return soft_targets.Live(teacher)
    train = split(root, "train")
    both = [predict(teacher.eval(), train, tiny.machine(), 16), features(teacher, train)]
    return soft_targets.cached(torch.from_numpy(np.concatenate(both, axis=1)))


def fit(
    root: Path,
    student: Classifier,
    teacher: soft_targets.Teacher,
    scale: torch.Tensor,
    how: params.Training = SETTINGS,
) -> list[Any]:
    settings = tiny.distill_params(alpha=0.0, temperature=1.0, features={"weight": 4.0})
    terms = soft_targets.distillation(tiny.LOSSES, teacher, settings, soft_targets.Factors(), scale)
    batches = TrainingBatches(split(root, "train"), 8, 1, 0)

    def validate() -> dict[str, float]:
        found = predict(student, split(root, "val"), tiny.machine(), 16)
        assert isinstance(found, np.ndarray)
        assert found.shape[1] == 3, "validation sees logits alone"
        return {"loss": -float(next(count))}

    points, count = list[Any](), itertools.count()  # the last weights are kept
    with matched_features.attached(student):
        points += loop.train(student, batches, terms, validate, how, tiny.machine())
    return [point for point in points if isinstance(point, loop.TrainPoint)]


def scale(root: Path, teacher: Classifier) -> torch.Tensor:
    return matched_features.deviations(torch.from_numpy(features(teacher, split(root, "train"))))


def unexplained(student: np.ndarray[Any, Any], teacher: np.ndarray[Any, Any]) -> float:
    """Return the share of the variance of the teacher's features that the student's leave."""
    pair = (torch.from_numpy(student), torch.from_numpy(teacher))
    return float(distillation_losses.apart(*pair, matched_features.deviations(pair[1])).mean())


@pytest.mark.parametrize("base", ["base", "wide"])
def test_the_student_reads_what_its_teacher_reads(root: Path, base: str) -> None:
    teacher, student = made(root, base, 1), made(root, "base", 2)
    for parameter in student.backbone.encoder.parameters():  # otherwise of the teacher's own base
        torch.nn.init.normal_(parameter, std=0.1)
    width, train = matched_features.width_of(teacher), split(root, "train")
    assert width == (32 if base == "base" else 48)
    matched_features.project(student, width)
    assert hasattr(student, "projection") == (base == "wide"), "only to another width"
    names = set(student.state_dict())
    points = fit(root, student, taught(root, teacher, live=False), scale(root, teacher))
    assert list(points[0].terms) == ["labels", "soft", "features"]
    assert all(sum(point.terms.values()) == pytest.approx(point.loss, rel=1e-5) for point in points)
    assert points[-1].terms["features"] < points[0].terms["features"] / 10, "control: it was not so before"
    assert set(student.state_dict()) == names, "nothing is added to the model by the context"
    found = features(student, train)
    if base == "wide":
        found = student.projection(torch.from_numpy(found)).detach().numpy()
        matched_features.without_projection(student)
        assert set(student.state_dict()) == names - {"projection.weight", "projection.bias"}
    # A random encoder's features are so much alike that through a projection their mean is what is learnt.
    assert unexplained(found, features(teacher, train)) < (0.8 if base == "base" else 1.1)


def test_parts_and_processes_give_the_gradient_of_the_whole_step(root: Path) -> None:
    teacher, student = made(root, "wide", 1), made(root, "base", 2)
    matched_features.project(student, 48)
    settings = tiny.distill_params(
        features={"weight": 2.0}, soft={"kind": "decoupled", "of_class": 1.0, "of_others": 3.0}
    )
    source, of_rows = taught(root, teacher, live=False), torch.linspace(0.5, 1.5, 48)
    factors = soft_targets.Factors(of_rows=of_rows)
    terms = soft_targets.distillation(tiny.LOSSES, source, settings, factors, scale(root, teacher))
    found = []
    with matched_features.attached(student.train()):
        for parts, ranks in [(1, 1), (3, 1), (2, 2), (1, 3)]:
            student.zero_grad()
            found.append(first_gradient.of(student, split(root, "train"), terms, parts, ranks, packs=False))
    for gradient in found[1:]:
        torch.testing.assert_close(gradient, found[0], atol=1e-5, rtol=1e-3)


def test_a_live_teacher_teaches_as_its_cached_features_do(root: Path) -> None:
    # Batches of another size round otherwise: 1e-7 at first, and training makes more of it with every step.
    points, short = {}, SETTINGS.model_copy(update={"epochs": 10})
    for live in (False, True):
        teacher, student = made(root, "base", 1), made(root, "base", 2)
        points[live] = fit(
            root, student, taught(root, teacher, live), scale(root, made(root, "base", 1)), short
        )
    for cached, seen in zip(points[False], points[True], strict=True):
        assert cached.terms == pytest.approx(seen.terms, rel=1e-3, abs=1e-5)


def test_a_row_without_label_has_the_class_that_its_teacher_finds_likeliest() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(4, 3, generator=generator) for _ in range(2))

    class Rows:
        inputs, units, bounds = (torch.zeros(1),), torch.arange(4), None
        targets = torch.tensor([0, 1, 0, 0])  # the last two rows have none

    own = tiny.distill_params(
        alpha=0.0, temperature=2.0, soft={"kind": "decoupled", "of_class": 1.0, "of_others": 3.0}
    )
    factors = soft_targets.Factors(labelled=torch.tensor([1.0, 1.0, 0.0, 0.0]))
    terms = soft_targets.distillation(tiny.LOSSES, soft_targets.cached(teacher), own, factors)
    found: Any = terms(lambda _: student, Rows())  # type: ignore[arg-type]
    classes = torch.cat([torch.tensor([0, 1]), teacher[2:].argmax(1)])
    expected = 4 * distillation_losses.decoupled(student, teacher, classes, 2.0, 1.0, 3.0).mean()
    torch.testing.assert_close(found, torch.stack([torch.tensor(0.0), expected]))
    right = soft_targets.distillation(
        tiny.LOSSES, soft_targets.cached(teacher), tiny.distill_params(alpha=0.0, correct=True), factors
    )(lambda _: student, Rows())  # type: ignore[arg-type]
    put_right = distillation_losses.corrected(teacher, classes)
    assert not torch.equal(put_right, teacher), "control: the teacher is wrong about a row"
    divergence = tiny.LOSSES.divergence(student, put_right, 2.0).mean
    torch.testing.assert_close(right[1], 4 * divergence)


def test_logits_of_two_classes_are_not_standardised() -> None:
    with pytest.raises(ParamsError, match="leaves nothing of the logits"):
        soft_targets.check(tiny.distill_params(standardise=True), 2)
    soft_targets.check(tiny.distill_params(standardise=True), 3)
    soft_targets.check(tiny.distill_params(), 2)
