"""A student whose hidden states are compared with its live teacher's."""

from pathlib import Path
from typing import Any

import pytest
import torch

from baton import params
from baton.batches.sampler import TrainingBatches
from baton.contracts.input_spec import TextInput, Windows
from baton.distill import matched_states, soft_targets, student
from baton.distill.matched_states import States
from baton.errors import ParamsError
from baton.models import model_folder
from baton.models.classifier import Classifier, ModelInfo
from baton.train import loop
from tests import first_gradient, tiny
from tests.distill.test_soft_targets import HEAD, SETTINGS, split

HIDDEN = {"kind": "hidden", "weight": 4.0}
RELATIONS = {"kind": "relations", "weight": 4.0, "heads": 4}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("states")
    tiny.write_arrays(root)
    tiny.write_base(root / "deep", layers=4)
    return root


def both(root: Path) -> tuple[Classifier, Classifier]:
    """Return a teacher of four layers, and a student of two of them."""
    torch.manual_seed(1)
    teacher = model_folder.create(root / "deep", HEAD, 3, SETTINGS, "matmul", tiny.TEXT_INPUT)
    for parameter in teacher.backbone.encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    chosen = params.LayersStudent(kind="teacher_layers", layers=(0, 2))
    info = ModelInfo(tiny.TASK, HEAD, tiny.TEXT_INPUT)
    return teacher, student.make(teacher, info, chosen, SETTINGS, "matmul")


def terms(teacher: Classifier, states: States, kind: dict[str, Any]) -> Any:
    own = tiny.distill_params(teacher="live", alpha=0.0, states=kind)
    live = soft_targets.Live(teacher)
    return soft_targets.distillation(tiny.LOSSES, live, own, soft_targets.Factors(), states=states)


def of(kind: dict[str, Any]) -> States:
    settings = tiny.distill_params(teacher="live", states=kind).states
    assert settings is not None
    return States(settings)


def test_layers_are_compared_evenly_and_the_last_with_the_last() -> None:
    assert matched_states.pairs(3, 6) == [(0, 1), (1, 3), (2, 5)]
    assert matched_states.pairs(2, 4) == [(0, 1), (1, 3)]
    assert matched_states.pairs(4, 4) == [(layer, layer) for layer in range(4)]
    assert matched_states.pairs(1, 12) == [(0, 11)]


@pytest.mark.parametrize("kind", [HIDDEN, RELATIONS], ids=["hidden", "relations"])
def test_the_students_states_become_its_teachers(root: Path, kind: dict[str, Any]) -> None:
    teacher, made = both(root)
    states = of(kind)
    batches = TrainingBatches(split(root, "train"), 8, 1, 0)
    settings = SETTINGS.model_copy(update={"epochs": 8, "learning_rate": 1e-3})
    with states.attached(made, teacher):
        points = [
            point
            for point in loop.train(
                made, batches, terms(teacher, states, kind), lambda: {"loss": 0.0}, settings, tiny.machine()
            )
            if isinstance(point, loop.TrainPoint)
        ]
    assert list(points[0].terms) == ["labels", "soft", "states"]
    assert points[-1].terms["states"] < 0.6 * points[0].terms["states"]
    assert not made.backbone.encoder.layer[0]._forward_hooks, "nothing stays"
    assert states.seen == ({}, {})


def test_the_distance_is_of_tokens_not_of_padding(root: Path) -> None:
    teacher, made = both(root)
    states, train = of(HIDDEN), split(root, "train")
    lengths = train.lengths
    rows = lengths.argsort()[[0, -1]]
    assert lengths[rows[0]] < lengths[rows[1]]
    batch, alone = train.batch(rows), train.batch(rows[:1])
    with torch.no_grad(), states.attached(made.eval(), teacher.eval()):
        found = {}
        for name, read in (("both", batch), ("alone", alone)):
            for model in (made, teacher):
                model(*read.inputs)
            found[name] = states(read)
        tokens = int(lengths[rows[0]])  # the last pass was of the shorter text
        squares = [
            (states.seen[0][layer][0, :tokens] - states.seen[1][other][0, :tokens]).square().mean()
            for layer, other in states.pairs
        ]
    torch.testing.assert_close(found["alone"], torch.stack(squares).mean(0, keepdim=True))
    torch.testing.assert_close(found["both"][:1], found["alone"], atol=1e-5, rtol=1e-4)


def test_parts_and_processes_give_the_gradient_of_the_whole_step(root: Path) -> None:
    teacher, made = both(root)
    states = of(HIDDEN)
    loss, found = terms(teacher, states, HIDDEN), []
    with states.attached(made.train(), teacher):
        for parts, ranks in [(1, 1), (3, 1), (2, 2), (1, 3)]:
            made.zero_grad()
            found.append(first_gradient.of(made, split(root, "train"), loss, parts, ranks, packs=False))
    for gradient in found[1:]:
        torch.testing.assert_close(gradient, found[0], atol=1e-5, rtol=1e-3)


def test_what_cannot_be_compared_is_refused() -> None:
    hidden, relations = of(HIDDEN).settings, of(RELATIONS).settings
    windows = TextInput(max_length=8, truncation=Windows(most=3, overlap=1), pad=0)
    with pytest.raises(ParamsError, match="one window each"):
        matched_states.check(hidden, windows, 32)
    with pytest.raises(ParamsError, match="does not divide the width"):
        matched_states.check(relations, tiny.TEXT_INPUT, 30)
    matched_states.check(relations, tiny.TEXT_INPUT, 32)
    with pytest.raises(ValueError, match="set teacher to live, or states to null"):
        tiny.distill_params(states=HIDDEN)
