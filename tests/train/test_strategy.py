"""Exactly the weights that a strategy names are trained, from its step on; nothing is kept for the others."""

import copy
import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from baton import params
from baton.batches import array_splits
from baton.batches.sampler import TrainingBatches
from baton.errors import ModelError, TrainingError
from baton.losses.class_losses import cross_entropy
from baton.models import lora, text_model
from baton.runtime.resolve import seed_everything
from baton.train import loop, optimizer, state, strategy
from baton.train.checkpoint import Checkpoints
from tests import tiny

HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
LAYERS = ["layer.0", "layer.1", "layer.2", "head"]
ROWS: dict[str, dict[str, Any]] = {
    "full": {"kind": "full"},
    "head": {"kind": "head"},
    "top": {"kind": "top", "layers": 1},
    "all but the embeddings": {"kind": "top", "layers": 2},
    "gradual": {"kind": "gradual", "decay": 2.6, "until": 0.5},
    "lora": {"kind": "lora", "rank": 2, "alpha": 4.0, "dropout": 0.1},
    "rows": {
        "kind": "rows",
        "rows": (
            {"layers": "layer.1", "rate": 0.5, "unfreeze": 0.25},
            {"layers": "head", "rate": 1.0, "unfreeze": 0.0},
            {"layers": "*", "rate": 0.0, "unfreeze": 0.0},
        ),
    },
}
TRAINED = {
    "full": LAYERS,
    "head": ["head"],
    "top": ["layer.2", "head"],
    "all but the embeddings": ["layer.1", "layer.2", "head"],
    "gradual": LAYERS,
    "rows": ["layer.1", "head"],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("strategy")
    tiny.write_arrays(folder)
    return folder


def settings(name: str, **changes: Any) -> params.Finetune:
    own = {"head": HEAD, "keep": "best", "strategy": ROWS[name], "epochs": 2, "weight_decay": 0.1}
    return params.Finetune.model_validate(tiny.TRAINING | own | changes)


def model(data: Path, own: params.Finetune) -> text_model.TextClassifier:
    seed_everything(0)
    made = text_model.create(data / "base", HEAD, 3, own, "matmul")
    return lora.adapted(made, own.strategy) if isinstance(own.strategy, params.LoraStrategy) else made


def trained(
    made: nn.Module, data: Path, own: params.Finetune, saved: Checkpoints | None = None, stop: int = 10**6
) -> list[loop.Point]:
    split = array_splits.open_splits(data / "arrays")["train"]
    batches = TrainingBatches(split, 8, own.accumulation, 0)
    first = copy.deepcopy(made.state_dict())

    def farther() -> dict[str, float]:
        """Return the distance from the first weights: the last are the best."""
        far = sum(float((value - first[name]).square().sum()) for name, value in made.state_dict().items())
        return {"loss": 1.0, "accuracy": far}

    points = loop.train(made, batches, cross_entropy(0.0, None), farther, own, tiny.machine(), saved)
    found = []
    for point in points:
        found.append(point)
        if point.step >= stop:
            points.close()
            break
    return found


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in after.items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("name", TRAINED)
def test_exactly_the_meant_parameters_move(data: Path, name: str) -> None:
    own = settings(name)
    made = model(data, own)
    layers = strategy.layers(made)
    before = copy.deepcopy(made.state_dict())
    trained(made, data, own)
    meant = {parameter for layer in TRAINED[name] for parameter in layers[layer]}
    # A word that train does not have gets no gradient, but its row is decayed with its table.
    assert moved(before, made.state_dict()) == meant


def test_lora_moves_its_matrices_and_the_head_alone(data: Path) -> None:
    own = settings("lora")
    made = model(data, own)
    before = copy.deepcopy(made.state_dict())
    trained(made, data, own)
    changed = moved(before, made.state_dict())
    assert changed == {name for name in before if "lora_" in name or name.startswith("head.")}
    assert len([name for name in changed if "lora_A" in name]) == 12  # six linear layers in each of two


def test_merged_lora_answers_as_unmerged(data: Path) -> None:
    own = settings("lora")
    made = model(data, own)
    plain = set(model(data, settings("full")).state_dict())
    trained(made, data, own)
    batch = array_splits.open_splits(data / "arrays")["val"].batch(torch.arange(6).numpy())
    with torch.no_grad():
        unmerged = made.eval()(*batch.inputs)
        merged = lora.merged(made)(*batch.inputs)
    assert set(made.state_dict()) == plain
    assert (merged - unmerged).abs().max() < 1e-5
    untrained = model(data, settings("full")).eval()
    with torch.no_grad():
        assert (untrained(*batch.inputs) - merged).abs().max() > 1e-3  # training did change the answers


def test_lora_needs_linear_layers() -> None:
    class Convolutional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3))

    own = params.LoraStrategy(kind="lora", rank=2, alpha=4.0, dropout=0.0)
    with pytest.raises(ModelError, match="without linear layers"):
        lora.adapted(Convolutional(), own)


@pytest.mark.parametrize("name", ["head", "top", "lora"])
def test_frozen_weights_have_no_gradient_no_state_and_no_backward(data: Path, name: str) -> None:
    own = settings(name)
    made = model(data, own)
    found = strategy.groups(made, own)
    optimizer_ = optimizer.make(made, own, found)
    strategy.apply(made, found, 0, 10)
    frozen = strategy.untrained(made, found)
    held = {id(parameter) for group in optimizer_.param_groups for parameter in group["params"]}
    parameters = dict(made.named_parameters())
    assert frozen and not held & {id(parameters[each]) for each in frozen}
    graphs: dict[str, bool] = {}
    for layer, module in enumerate(made.shards()):
        module.register_forward_hook(
            lambda _, __, output, layer=layer: graphs.update({str(layer): _first(output).requires_grad})
        )
    strategy.training_mode(made)
    batch = array_splits.open_splits(data / "arrays")["train"].batch(torch.arange(6).numpy())
    cross_entropy(0.0, None)(made, batch).backward()
    assert {each for each, parameter in parameters.items() if parameter.grad is not None} == set(
        parameters
    ) - frozen
    expected = {"head": [False, False], "top": [False, True], "lora": [True, True]}[name]
    assert list(graphs.values()) == expected


def _first(output: Any) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output[0]


def test_gradual_unfreezing_goes_from_top_to_bottom_with_lower_rates(data: Path) -> None:
    own = settings("gradual")
    made = model(data, own)
    found = strategy.groups(made, own)
    assert [round(group.rate, 4) for group in found] == [0.0569, 0.1479, 0.3846, 1.0]
    assert strategy.starts(found, 12) == [0, 2, 4, 6]
    seen = {}
    for step in (0, 1, 2, 4, 6):
        strategy.apply(made, found, step, 12)
        free = {name for name, parameter in made.named_parameters() if parameter.requires_grad}
        seen[step] = [layer for layer, names in strategy.layers(made).items() if set(names) <= free]
    assert seen == {0: ["head"], 1: ["head"], 2: LAYERS[2:], 4: LAYERS[1:], 6: LAYERS}


def test_layer_decay_multiplies_the_rates_of_a_strategy(data: Path) -> None:
    own = settings("top", layer_decay=0.5)
    assert [group.rate for group in strategy.groups(model(data, own), own)] == [0.0, 0.0, 0.5, 1.0]


def test_a_frozen_layer_is_in_eval_mode(data: Path) -> None:
    own = settings("top")
    made = model(data, own)
    found = strategy.groups(made, own)
    strategy.apply(made, found, 0, 10)
    strategy.training_mode(made)
    modes = [layer.training for layer in made.shards()]
    assert modes == [False, True] and not made.backbone.embeddings.training and made.head.training


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([("*", 1.0), ("head", 0.0)], "row 2, head, comes after rows for all it matches"),
        ([("head", 1.0), ("layer.9", 1.0), ("*", 0.0)], "no layer group matches the row layer.9"),
        ([("head", 1.0), ("layer.1", 1.0)], "the layer group layer.0 matches no row"),
    ],
)
def test_every_row_and_every_group_must_match(
    data: Path, rows: list[tuple[str, float]], problem: str
) -> None:
    made = tuple({"layers": layers, "rate": rate, "unfreeze": 0.0} for layers, rate in rows)
    own = settings("full", strategy={"kind": "rows", "rows": made})
    with pytest.raises(ModelError, match=problem.replace(".", r"\.")) as error:
        strategy.groups(model(data, own), own)
    assert "layer.0 to layer.2 and head" in str(error.value)


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("stop", [2, 3, 5, 6])
def test_a_training_that_was_stopped_gets_the_same_bits(
    data: Path, tmp_path: Path, name: str, stop: int
) -> None:
    own = settings(name)
    whole, halves = model(data, own), model(data, own)
    points = trained(whole, data, own)
    saved = partial(Checkpoints, tmp_path / "run", 1000.0, {})
    trained(halves, data, own, saved(), stop)
    again = model(data, own)
    resumed = trained(again, data, own, saved())
    assert _figures(resumed) == _figures(points)
    assert not moved(whole.state_dict(), again.state_dict())
    # The control: what has been trained when it stopped differs from the end.
    assert moved(whole.state_dict(), halves.state_dict())


def _figures(points: list[loop.Point]) -> list[tuple[int, float]]:
    return [(point.step, point.loss) for point in points if isinstance(point, loop.TrainPoint)]


def test_a_checkpoint_has_no_frozen_weights(data: Path, tmp_path: Path) -> None:
    def bytes_of(name: str) -> int:
        own = settings(name)
        trained(model(data, own), data, own, Checkpoints(tmp_path / name, 1000.0, {}), 3)
        return sum(path.stat().st_size for path in (tmp_path / name).rglob("*.safetensors"))

    assert bytes_of("head") < 0.1 * bytes_of("full")


def test_top_has_no_more_layers_than_the_model(data: Path) -> None:
    own = settings("full", strategy={"kind": "top", "layers": 9})
    with pytest.raises(ModelError, match="more layers than the model"):
        strategy.groups(model(data, own), own)


def test_the_pass_that_looks_for_unused_weights_keeps_frozen_layers_in_eval_mode(data: Path) -> None:
    """Several processes make it, before they train; here one does."""
    own = settings("top", dropout=0.1)
    made = model(data, own)
    batches = TrainingBatches(array_splits.open_splits(data / "arrays")["train"], 8, 1, 0)
    work = loop._Loop(made, batches, cross_entropy(0.0, None), own, tiny.machine())
    work.join()
    work.gradients.runtime = dataclasses.replace(work.runtime, processes=2)
    assert not work.gradients._unused()
    assert [layer.training for layer in made.shards()] == [False, True]


def test_weights_that_do_not_fit_are_noticed_although_others_are_frozen(data: Path) -> None:
    made = model(data, settings("head"))
    frozen = strategy.untrained(made, strategy.groups(made, settings("head")))
    weights = state.changing(made, frozen)
    state.load(made, weights, frozen)
    for wrong in ({}, weights | {"head.other": torch.zeros(1)}):
        with pytest.raises(TrainingError, match="do not fit"):
            state.load(made, wrong, frozen)


def test_an_average_of_weights_leaves_out_those_that_are_frozen(data: Path, tmp_path: Path) -> None:
    own = settings("head", ema={"decay": 0.9})
    trained(model(data, own), data, own, Checkpoints(tmp_path / "run", 1000.0, {}), 3)
    found = next((tmp_path / "run").rglob("average.safetensors"))
    assert found.stat().st_size < 2000


def test_a_group_that_joins_late_is_trained_in_the_last_step_at_least() -> None:
    late = strategy.Group(("weight",), unfreeze=0.99)
    assert strategy.starts([strategy.Group(("bias",)), late], 10) == [0, 9]
    assert strategy.starts([late], 1000) == [990]
    assert strategy.starts([late], 1) == [0]
