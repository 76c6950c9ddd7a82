"""What only a CUDA device can show: the CPU's step within bf16, no waiting for the device inside a step, bitwise reruns."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from baton import params, runtime
from baton.data import arrays
from baton.data.batches import TrainingBatches
from baton.models import build
from baton.train import feed, loop, losses
from tests import tiny
from tests.train import training

pytestmark = pytest.mark.gpu
HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
CHANGES = {
    "epochs": 4,
    "batch_size": 8,
    "learning_rate": 1e-3,
    "attention_dropout": 0.0,
    "log_every": 1000,
    "evaluations_per_epoch": 1,
    "head": HEAD,
}
SETTINGS = params.read(Path("params.yaml")).finetune.model_copy(update=CHANGES)
CUDA = {"device": "cuda", "attention": "sdpa", "loader_workers": 2}
KINDS = {"text": None, "vit": tiny.write_image_base, "convolutional": tiny.write_convolutional_base}


@pytest.fixture(scope="module", params=list(KINDS))
def root(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    root = tmp_path_factory.mktemp("gpu")
    training.prepare(root, KINDS[request.param])
    return root


@pytest.fixture(autouse=True)
def _global_settings_stay() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")
    torch.use_deterministic_algorithms(False)


def steps(root: Path, count: int, dropout: float = 0.0, quiet_from: int = 1_000_000, **machine: Any) -> torch.Tensor:
    """Weights after `count` steps, on the CPU; from step `quiet_from` on a wait for the device is an error."""
    where, meta = tiny.machine(**machine), arrays.read_meta(root / "arrays")
    runtime.seed_everything(0)
    images = {"augmentation": training.AUGMENTATION, "ema": params.Ema(decay=0.9)}  # a TinyViT has no dropout of attention
    varied = images if meta["input"]["kind"] == "images" else {"attention_dropout": dropout}
    settings = SETTINGS.model_copy(update={"dropout": dropout} | varied)
    model = build.create(root / "base", settings.head, len(meta["labels"]), settings, where.attention, meta["input"]).to(where.device)
    split = arrays.open_splits(root / "arrays", settings.augmentation)["train"]
    batches = TrainingBatches(split, settings.batch_size, 1, 0, lambda: arrays.read_ids(root / "arrays", "train"))
    work = loop._Loop(model, batches, losses.cross_entropy(0.0, None), settings, where)
    model.train()
    parts = feed.parts(batches, 0, work.steps, where)
    for number in range(1, count + 1):
        prepared = next(parts)
        if number >= quiet_from:
            torch.cuda.set_sync_debug_mode("error")
        work.step(prepared)
        if where.device.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    return torch.cat([parameter.detach().float().cpu().flatten() for parameter in model.parameters()])


def test_a_compiled_bf16_step_is_the_step_of_the_cpu(root: Path) -> None:
    start, cpu = steps(root, 0), steps(root, 1)
    cuda = steps(root, 1, precision="bf16", compile=True, **CUDA)
    moved = np.abs((cpu - start).numpy()).max()
    # Adam's first step has the size of the rate whatever the gradient; bf16 may change its direction where a gradient is nearly zero.
    agree = torch.sign(cuda - start) == torch.sign(cpu - start)
    assert float(agree.float().mean()) > 0.95
    assert float((cuda - start).abs().max()) == pytest.approx(float(moved), rel=1e-2)


@pytest.mark.parametrize("compiled", [True, False])
def test_ten_steps_never_wait_for_the_device(root: Path, compiled: bool) -> None:
    steps(root, 13, quiet_from=4, precision="bf16", compile=compiled, **CUDA)


def test_a_deterministic_rerun_gives_the_same_bits(root: Path) -> None:
    machine = {"precision": "bf16", "deterministic": True, **CUDA}
    first, again = (steps(root, 12, dropout=0.1, **machine) for _ in range(2))
    assert torch.equal(first, again)
