"""Test a split model on one CUDA device (a group of one).

Its curve is that of the whole model within bf16, and a step does not wait for the device.
"""

import dataclasses
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from baton import params
from baton.batches import array_splits
from baton.batches.sampler import TrainingBatches
from baton.losses import class_losses
from baton.models import model_folder
from baton.runtime import resolve, sharding
from baton.train import checkpoint, loader, loop, sharded_checkpoint
from tests import tiny
from tests.train import training

pytestmark = [pytest.mark.gpu, pytest.mark.alone]
HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
CUDA = {"device": "cuda", "attention": "sdpa"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("gpu_sharding")
    training.prepare(root)
    return root


@pytest.fixture
def group() -> Iterator[None]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    where = {"init_method": f"tcp://127.0.0.1:{port}", "rank": 0, "world_size": 1}
    dist.init_process_group("cpu:gloo,cuda:nccl", device_id=torch.device("cuda", 0), **where)
    yield
    torch.cuda.set_sync_debug_mode("default")
    dist.destroy_process_group()


def losses_of(
    root: Path, split: bool, count: int = 12, quiet_from: int = 1_000_000, **own: Any
) -> list[float]:
    """Return the losses of `count` steps; waiting for the device is an error from step `quiet_from` on."""
    machine, meta = tiny.machine(**CUDA, **own), array_splits.read_meta(root / "arrays")
    resolve.seed_everything(0)
    settings = tiny.training(epochs=4, clip_norm=1.0, ema={"decay": 0.9}, log_every=1000)
    model = model_folder.create(root / "base", HEAD, meta.task.width, settings, machine.attention, meta.input)
    if split:
        machine = dataclasses.replace(machine, sharding="full")
        sharding.split(model, machine)
        assert all(sharding.own(parameter).is_cuda for parameter in model.parameters())
    else:
        model.to(machine.device)
    batches = TrainingBatches(array_splits.open_splits(root / "arrays", None)["train"], 8, 1, 0, tuple)
    work = loop._Loop(model, batches, class_losses.cross_entropy(0.0, None), settings, machine)
    work.join()
    parts, found = loader.parts(batches, 0, work.steps, machine), []
    for number in range(1, count + 1):
        prepared = next(parts)
        if number >= quiet_from:
            torch.cuda.set_sync_debug_mode("error")
        work.step(prepared)
        torch.cuda.set_sync_debug_mode("default")
        found.append(float(sum(work.state.meter.terms)))
    return found


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-3), ("bf16", 0.3), ("fp16", 0.1)])
def test_the_curve_is_that_of_the_whole_model(
    root: Path, group: None, precision: str, tolerance: float
) -> None:
    """Return the sums of losses over 12 steps."""
    whole, split = (losses_of(root, split, precision=precision) for split in (False, True))
    assert split == pytest.approx(whole, abs=tolerance)


def test_a_checkpoint_is_of_its_moment_although_the_training_goes_on(
    root: Path, group: None, tmp_path: Path
) -> None:
    """Written by threads, from pinned copies, while the weights change."""
    meta = array_splits.read_meta(root / "arrays")
    model = model_folder.create(root / "base", HEAD, meta.task.width, tiny.training(), "sdpa", meta.input)
    sharding.split(model, dataclasses.replace(tiny.machine(**CUDA, precision="bf16"), sharding="full"))
    saved = sharded_checkpoint.ShardedCheckpoints(
        checkpoint.Checkpoints(tmp_path / "teacher", 1000.0, {}), model
    )
    with saved.writing():
        for step in (1, 2, 3):  # the first pins memory
            parts = {
                "model": model.state_dict(),
                "update": {"scale": torch.tensor(float(step), device="cuda")},
            }
            expected = {name: sharding.whole(value).clone() for name, value in parts["model"].items()}
            saved.save(f"000{step}", parts, {"step": step}, wait=False)
            assert saved._pending is not None, "it is not waited for"
            with torch.no_grad():
                for parameter in model.parameters():
                    sharding.own(parameter).add_(step)
            while not saved._pending.done():
                time.sleep(0.001)
            found = saved.load()
            assert found and found.state["step"] == step and float(found.parts["update"]["scale"]) == step
            assert all(
                torch.equal(sharding.whole(found.parts["model"][name]), value)
                for name, value in expected.items()
            )
            assert all(sharding.own(value).is_cuda for value in found.parts["model"].values())


@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"
)  # torch's compiler looks at gradients, and hides its own warning
@pytest.mark.parametrize("compiled", [False, True])
def test_steps_never_wait_for_the_device(root: Path, group: None, compiled: bool) -> None:
    losses_of(root, True, quiet_from=6, precision="bf16", compile=compiled)
