"""Test on a CUDA device: the CPU's step within bf16, no waiting for the device inside a step, bitwise reruns.

There are 48 samples: an epoch has 6 steps in batches of 8, and 16 in batches of 3. After the last step of an
epoch, which is validated, the loop checks that its numbers are finite, and waits.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from baton import params
from baton.batches import array_splits
from baton.batches.sampler import TrainingBatches
from baton.contracts.input_spec import ImageInput
from baton.distill import soft_targets
from baton.losses import class_losses
from baton.models import model_folder
from baton.runtime import resolve
from baton.train import compiling, loader, loop
from tests import tiny
from tests.train import training

# Notes of torch's compiler about its own choices are not errors.
NOTED = [
    "ignore:::torch._inductor",
    "ignore:::torch._dynamo",
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning",
]
pytestmark = [pytest.mark.gpu, *map(pytest.mark.filterwarnings, NOTED)]
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
    waits("default")
    torch.use_deterministic_algorithms(False)
    torch._dynamo.reset()
    tiny.machine()


def waits(mode: Literal["default", "error"]) -> None:
    """Set what torch does when the host waits for the device.

    It warns once per process that it does not detect all such places.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Synchronization debug mode is a prototype")
        torch.cuda.set_sync_debug_mode(mode)


def steps(
    root: Path,
    count: int,
    dropout: float = 0.0,
    quiet_from: int = 1_000_000,
    batch_size: int = 8,
    live: bool = False,
    **machine: Any,
) -> torch.Tensor:
    """Return the weights after `count` steps, on the CPU; waiting is an error from step `quiet_from` on."""
    meta = array_splits.read_meta(root / "arrays")
    wanted = params.Runtime.model_validate(tiny.SETTINGS | machine)
    where = resolve.resolve(wanted, work=model_folder.work(root / "base", meta.input))
    resolve.seed_everything(0)
    images = {
        "augmentation": training.AUGMENTATION,
        "ema": params.Ema(decay=0.9),
    }  # a TinyViT has no attention dropout
    varied = images if isinstance(meta.input, ImageInput) else {"attention_dropout": dropout}
    settings = SETTINGS.model_copy(update={"dropout": dropout, "batch_size": batch_size} | varied)
    model, teacher = (
        model_folder.create(
            root / "base", settings.head, meta.task.width, settings, where.attention, meta.input
        ).to(where.device)
        for _ in range(2)
    )
    split = array_splits.open_splits(root / "arrays", settings.augmentation)["train"]
    batches = TrainingBatches(
        split, batch_size, 1, 0, lambda: array_splits.read_ids(root / "arrays", "train")
    )
    asked = soft_targets.Live(teacher)
    if where.compile is True:
        compiling.use([asked], where.fixed_shapes)
    loss_fn = (
        tiny.distilled(tiny.LOSSES, asked, 2.0, 0.5, 0.0, None)
        if live
        else class_losses.cross_entropy(0.0, None)
    )
    work = loop._Loop(model, batches, loss_fn, settings, where)
    work.join()
    parts = loader.parts(batches, 0, work.steps, where)
    for number in range(1, count + 1):
        prepared = next(parts)
        if number >= quiet_from:
            assert number not in work.validate_at, "a step that is read back by design"
            waits("error")
        try:
            work.step(prepared)
        finally:
            if where.device.type == "cuda":
                waits("default")
    return torch.cat([parameter.detach().float().cpu().flatten() for parameter in model.parameters()])


def test_a_compiled_bf16_step_is_the_step_of_the_cpu(root: Path) -> None:
    start, cpu = steps(root, 0), steps(root, 1)
    cuda = steps(root, 1, precision="bf16", compile=True, **CUDA)
    moved = np.abs((cpu - start).numpy()).max()
    # Adam's first step has the size of the learning rate for any gradient; bf16 may change its direction if a
    # gradient is nearly zero.
    agree = torch.sign(cuda - start) == torch.sign(cpu - start)
    assert float(agree.float().mean()) > 0.95
    assert float((cuda - start).abs().max()) == pytest.approx(float(moved), rel=1e-2)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("live", [False, True], ids=["labels", "live teacher"])
def test_ten_steps_never_wait_for_the_device(root: Path, compiled: bool, live: bool) -> None:
    steps(root, 13, quiet_from=4, batch_size=3, live=live, precision="bf16", compile=compiled, **CUDA)


@pytest.mark.parametrize("precision", ["fp16", "tf32"])
def test_no_precision_waits(root: Path, precision: str) -> None:
    steps(root, 9, quiet_from=4, batch_size=3, precision=precision, **CUDA)


def test_a_wait_would_be_found_out(root: Path) -> None:
    """Negative control: step 6 of 6 is validated, and read back."""
    with pytest.raises(AssertionError, match="read back by design"):
        steps(root, 6, quiet_from=6, **CUDA)
    waits("error")
    with pytest.raises(RuntimeError, match="synchronizing CUDA operation"):
        float(torch.ones((), device="cuda"))


def test_steps_after_the_first_compile_nothing(root: Path) -> None:
    """Texts of every width, images of a single size, and a smaller last batch: 48 samples in batches of 9."""
    counters = torch._dynamo.utils.counters
    counters.clear()
    steps(root, 0, batch_size=9, precision="bf16", compile=True, **CUDA)  # the warm-up
    first = counters["stats"]["unique_graphs"]
    torch._dynamo.reset()
    counters.clear()
    steps(root, 12, batch_size=9, precision="bf16", compile=True, **CUDA)
    assert counters["stats"]["unique_graphs"] == first > 0
    assert not counters["graph_break"]


def test_a_deterministic_rerun_gives_the_same_bits(root: Path) -> None:
    machine = {"precision": "bf16", "deterministic": True, **CUDA}
    first, again = (steps(root, 12, dropout=0.1, **machine) for _ in range(2))
    assert torch.equal(first, again)
    other = steps(root, 12, dropout=0.1, batch_size=7, **machine)
    assert not torch.equal(first, other)
