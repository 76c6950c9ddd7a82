"""The closed form of a step's operations against torch's own counter, and peaks by the card's name."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from baton import params
from baton.batches import array_splits
from baton.models import model_folder
from benchmarks import _flops
from tests import tiny, tiny_images

HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)


def counted(model: model_folder.Classifier, inputs: tuple[torch.Tensor, ...]) -> int:
    """Count a forward and a backward pass with torch."""
    with FlopCounterMode(display=False) as counter:
        model.train()(*inputs).sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize(("batch", "length"), [(4, 16), (1, 8), (3, 64)])
def test_of_text(tmp_path: Path, batch: int, length: int) -> None:
    base = tiny.write_base(tmp_path / "base")
    model = model_folder.create(base, HEAD, 3, tiny.training(), "matmul", tiny.TEXT_INPUT)
    inputs = torch.ones(batch, length, dtype=torch.int64), torch.ones(batch, length, dtype=torch.int64)
    assert _flops.of_text(model).operations([length] * batch) == counted(model, inputs)


def test_of_images(tmp_path: Path) -> None:
    tiny.write_image_base(tmp_path / "base")
    meta = tiny_images.write_arrays(tmp_path, {"train": 5, "val": 2, "test": 2})
    model = model_folder.create(tmp_path / "base", HEAD, 10, tiny.training(), "matmul", meta)
    costs = _flops.of_image(model)
    batch = array_splits.open_splits(tmp_path / "arrays")["train"].batch(np.arange(5))
    assert costs.own_tokens == 17  # 16 patches and the class token
    assert costs.operations([costs.own_tokens] * 5) == counted(model, batch.inputs)


def test_of_bert_base_at_128_tokens() -> None:
    """By hand: 12 layers of 4 * 768² + 2 * 768 * 3072 = 7,077,888 weights, which each token passes."""
    costs = _flops.Costs(token=12 * 7_077_888, sample=768 * 8, stem=0, layers=12, width=768)
    token = 6 * 84_934_656 + 12 * 12 * 768 * 128
    assert costs.operations([128]) == 128 * token + 6 * 768 * 8


@pytest.mark.parametrize(
    ("card", "tera"),
    [
        ("NVIDIA H100 80GB HBM3", 989.5),
        ("NVIDIA H100 PCIe", 756.5),
        ("NVIDIA H200", 989.5),
        ("NVIDIA H100", None),
    ],
)
def test_peaks(card: str, tera: float | None) -> None:
    assert _flops.peak(card) == (None if tera is None else tera * 1e12)
