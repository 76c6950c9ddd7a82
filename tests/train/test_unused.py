"""Test weights without gradients: two real processes (gloo) train like one, and leave them unchanged."""

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from baton.train import gradients
from tests.train import unused


@pytest.fixture(scope="module")
def processes() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.train.unused"])
    return context


def together(processes: Any, folder: Path, spoiled: bool = False) -> list[int]:
    """Return the exit codes of two ranks."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    ranks = [
        processes.Process(target=unused.train, args=(folder, rank, 2, store.port, spoiled)) for rank in (0, 1)
    ]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(300)
    return [rank.exitcode for rank in ranks]


def test_two_processes_train_a_model_with_unused_weights_as_one_does(tmp_path: Path, processes: Any) -> None:
    unused.train(tmp_path, 0, 1, 0)
    assert together(processes, tmp_path) == [0, 0]
    one, two = (load_file(tmp_path / f"{ranks}.safetensors") for ranks in (1, 2))
    torch.manual_seed(0)
    new = unused.Model().state_dict()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-6, rtol=0)
        assert torch.equal(value, new[name]) == name.startswith("spare"), (
            "and all but the unused one have learned"
        )
        assert torch.equal(two[name], new[name]) == name.startswith("spare"), (
            "weight decay does not touch it either"
        )


def test_without_looking_for_them_the_training_ends(tmp_path: Path, processes: Any) -> None:
    """Negative control."""
    assert together(processes, tmp_path, spoiled=True) == [1, 1]


def test_what_a_loss_reaches() -> None:
    model = unused.Model()
    part, _ = unused.Batches(0, 1).micro_batches(1)[0]
    reached = gradients.reaches(unused.loss_fn(model, part))
    assert {name for name, parameter in model.named_parameters() if parameter not in reached} == {
        "spare.weight",
        "spare.bias",
    }
