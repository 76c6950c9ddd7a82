"""Several tasks in one loop: parts, ranks and two real processes (gloo) give the gradients of one process."""

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from baton.runtime import resolve
from baton.train import optimizer
from baton.train.gradients import Gradients
from tests import tiny, tiny_tasks
from tests.train import several

STEPS = range(8)


@pytest.fixture(scope="module")
def processes() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.train.several"])
    return context


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("several")
    several.prepare(made)
    return made


def gradients(
    folder: Path, accumulation: int = 1, ranks: int = 1, weight: float = several.WEIGHT, shared: bool = False
) -> list[tuple[str, dict[str, torch.Tensor]]]:
    """Return the task of each step, and the sum over ranks of its gradients.

    DDP takes the mean over ranks, and the loop scales it back.
    """
    found = []
    settings = tiny_tasks.settings(batch_size=12, accumulation=accumulation)
    for step in STEPS:
        total: dict[str, torch.Tensor] = {}
        for rank in range(ranks):
            place = resolve.Place(rank, rank, ranks, ranks, "a test")
            machine = resolve.resolve(several.params.Runtime.model_validate(tiny.SETTINGS), place)
            own = several.job(folder, machine, weight)
            model, loss_fn, batches = several.made(folder, own, settings, shared)
            model.double()
            update = optimizer.Update(optimizer.make(model, settings), None, False, machine.device)
            alone = tiny.machine()  # no exchange: this process is every rank in turn
            Gradients(model, batches, loss_fn, update, alone, 0).backward(batches.micro_batches(step))
            for name, parameter in model.named_parameters():
                if parameter.grad is not None:
                    total[name] = total.get(name, torch.zeros(())) + parameter.grad
        found.append((batches.place(step)[0], total))
    return found


def alike(one: Any, other: Any) -> bool:
    return all(
        task == again
        and own.keys() == others.keys()
        and all(torch.allclose(own[name], others[name], rtol=0, atol=1e-7) for name in own)
        for (task, own), (again, others) in zip(one, other, strict=True)
    )


@pytest.fixture(scope="module")
def whole(folder: Path) -> Any:
    found = gradients(folder)
    assert {task for task, _ in found} == {"main", "length", "words", "letters"}
    return found


@pytest.mark.parametrize(("accumulation", "ranks"), [(4, 1), (2, 3), (1, 5)])
def test_parts_and_ranks_give_the_gradient_of_the_whole_step(
    folder: Path, whole: Any, accumulation: int, ranks: int
) -> None:
    assert alike(whole, gradients(folder, accumulation, ranks))


@pytest.mark.parametrize("change", [{"weight": 1.0}, {"shared": True}], ids=["weight", "head"])
def test_another_weight_or_a_shared_head_gives_others(folder: Path, whole: Any, change: Any) -> None:
    """Negative controls."""
    found = gradients(folder, **change)
    assert not alike(whole, found)
    assert alike([whole[0]], [found[0]]) == (whole[0][0] == "main")


def together(processes: Any, folder: Path, without: str = "", accumulation: int = 1) -> list[int]:
    """Return the exit codes of two ranks."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    ranks = [
        processes.Process(target=several.train, args=(folder, rank, 2, store.port, without, accumulation))
        for rank in (0, 1)
    ]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(300)
    return [rank.exitcode for rank in ranks]


def difference(folder: Path, one: str, other: str) -> float:
    own, others = (load_file(folder / f"{name}.safetensors") for name in (one, other))
    assert own.keys() == others.keys()
    return max(float((own[name] - others[name]).abs().max()) for name in own)


def test_two_processes_train_as_one_does(folder: Path, processes: Any) -> None:
    several.train(folder, 0, 1, 0)
    for accumulation in (1, 2):
        assert together(processes, folder, accumulation=accumulation) == [0, 0]
        assert difference(folder, "1-1-", f"2-{accumulation}-") < 1e-4
    several.train(folder, 0, 1, 0, "weight")
    assert difference(folder, "1-1-", "1-1-weight") > 1e-3, "negative control"


def test_without_the_search_for_unused_weights_the_training_ends(folder: Path, processes: Any) -> None:
    """Negative control: in every step the heads of other tasks get no gradient."""
    assert together(processes, folder, "search") == [1, 1]
