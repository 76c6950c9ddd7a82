"""The predictor."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from baton import params
from baton.arrays import text_arrays
from baton.batches.text_batches import TextSplit
from baton.errors import TrainingError
from baton.models import model_folder
from baton.predict import predict
from tests import tiny

HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.1)


def prepare(root: Path) -> tuple[model_folder.Classifier, TextSplit]:
    tiny.write_arrays(root)
    settings = params.read(Path("params.yaml")).finetune.model_copy(
        update={"dropout": 0.1, "attention_dropout": 0.1}
    )
    model = model_folder.create(root / "base", HEAD, 3, settings, "matmul", tiny.TEXT_INPUT)
    return model.eval(), TextSplit(text_arrays.open_arrays(root / "arrays", "train", tiny.TASK), 0)


def test_logits_keep_the_order_of_the_arrays_and_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    model, arrays = prepare(tmp_path)
    done: list[int] = []
    logits = predict(model, arrays, tiny.machine(), 7, done.append)
    assert sum(done) == len(arrays) and logits.shape == (len(arrays), 3) and logits.dtype == np.float32
    for row in (0, 13, 47):
        single = arrays.batch(np.array([row]))
        with torch.no_grad():
            expected = model(*single.inputs).numpy()[0]
        np.testing.assert_allclose(logits[row], expected, atol=1e-5)


def test_weights_are_converted_once_for_all_batches(tmp_path: Path) -> None:
    """Each batch would convert them again in inference mode, or in a separate autocast."""
    model, arrays = prepare(tmp_path)
    weights = {parameter.data_ptr() for parameter in model.parameters()}
    converted = 0

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal converted
            converted += func is torch.ops.aten._to_copy.default and args[0].data_ptr() in weights
            return func(*args, **(kwargs or {}))

    counts = []
    for size in (len(arrays), 4):
        converted = 0
        with Count():
            predict(model, arrays, tiny.machine(precision="bf16"), size)
        counts.append(converted)
    assert counts[0] == counts[1] > 0


class Greedy(nn.Module):
    """A model that requests more memory than any machine has."""

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return torch.empty(2**50)


class Broken(Greedy):
    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("a bug")


def test_a_lack_of_memory_says_how_much_was_wanted_for_what_and_what_to_lower(tmp_path: Path) -> None:
    _, arrays = prepare(tmp_path)
    with pytest.raises(TrainingError) as caught:
        predict(Greedy(), arrays, tiny.machine(), 7)
    message = str(caught.value)
    assert "prediction ran out of memory on a batch of 7 samples of length 16" in message
    assert f"{4 * 2**50} bytes" in message and "GiB" in message and "lower batch_size" in message
    with pytest.raises(RuntimeError, match="a bug"):
        predict(Broken(), arrays, tiny.machine(), 7)


JOB = """
import dataclasses
from pathlib import Path

import numpy as np
import torch

from baton import console, params
from baton.arrays import text_arrays
from baton.batches.text_batches import TextSplit
from baton.contracts.task_spec import Classes
from baton.predict import predict
from baton.runtime import distributed

class Simple(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.tokens, self.head = torch.nn.Embedding(200, 16), torch.nn.Linear(16, 3)

    def forward(self, input_ids, attention_mask):
        return self.head((self.tokens(input_ids) * attention_mask.unsqueeze(-1)).sum(1))

def main():
    with distributed.started(params.Runtime.model_validate_json(Path("wanted.json").read_text())) as machine:
        classes = Classes(("grain", "ship", "trade"))
        arrays = TextSplit(text_arrays.open_arrays(Path("arrays"), "train", classes), 0)
        model = Simple().eval()
        for size in (7, 40, 1000):
            done = []
            logits = predict(model, arrays, machine, size, done.append)
            assert machine.rank or sum(done) == len(arrays)
            np.save(f"{size} by {machine.rank}.npy", logits)
            alone = dataclasses.replace(machine, processes=1, rank=0)
            np.save(f"{size} alone.npy", predict(model, arrays, alone, size))

console.run(main)
"""


def test_logits_are_the_same_bits_whatever_the_number_of_processes(tmp_path: Path) -> None:
    """Batches of 7 for both processes, of 40 (one process has the last round), and one that both compute."""
    _, arrays = prepare(tmp_path)
    (tmp_path / "job.py").write_text(JOB)
    (tmp_path / "wanted.json").write_text(
        params.Runtime.model_validate(tiny.SETTINGS | {"processes": 2}).model_dump_json()
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent / "src")}
    subprocess.run([sys.executable, "job.py"], cwd=tmp_path, env=environment, check=True, timeout=60)
    for size in (7, 40, 1000):
        alone = np.load(tmp_path / f"{size} alone.npy")
        assert alone.shape == (len(arrays), 3) and np.abs(alone).min() > 0
        for rank in (0, 1):
            assert np.load(tmp_path / f"{size} by {rank}.npy").tobytes() == alone.tobytes()
