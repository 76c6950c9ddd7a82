"""Words as units on CUDA: packed texts give the losses of padded ones, and the host never waits."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from baton import params
from baton.batches.text_batches import TextSplit
from baton.contracts.ragged import Units
from baton.contracts.targets import Targets
from baton.models.text_model import TextClassifier
from tests import tiny_tokens
from tests.models.test_packed import make, split

CUDA = torch.device("cuda")
LONG = [[200, 500], [130], [7], [512, 512, 40], [64]]
HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)


def words(windows: list[list[int]] = LONG) -> TextSplit:
    """Return texts in which every third token begins a word, and every tenth word is not read."""
    documents = split(windows)
    counts = np.array([-(-sum(own) // 3) for own in windows])
    starts = np.cumsum([0, *(sum(own) for own in windows)])
    places = np.concatenate(
        [start + 3 * np.arange(count) for start, count in zip(starts, counts, strict=False)]
    )
    places[::10] = -1
    offsets = np.concatenate([[0], np.cumsum(counts)])
    tags = np.random.default_rng(0).integers(0, tiny_tokens.TASK.width, len(places))
    targets = Targets(tiny_tokens.TASK, tags, offsets, places >= 0)
    arrays = replace(documents.arrays, targets=targets, units=Units(places, offsets))
    return replace(documents, arrays=arrays)


def model(**changes: object) -> TextClassifier:
    made = make("bert", **changes)
    made.head = type(made.head)(HEAD, made.backbone.config.hidden_size, tiny_tokens.TASK.width)
    return made


def losses(
    own: TextClassifier, documents: TextSplit, device: torch.device, dtype: torch.dtype, quiet: bool
) -> torch.Tensor:
    """Return the loss of each word after a backward pass; with `quiet` the host must not wait."""
    batch = documents.batch(np.array([3, 0, 2, 1, 4]))
    if device.type == "cuda":
        batch = batch.pin_memory()
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error" if quiet else "default")
    moved = batch.to(device)
    with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
        found = functional.cross_entropy(own(*moved.inputs).float(), moved.targets, reduction="none")
    found.mean().backward()
    if device.type == "cuda":
        torch.cuda.set_sync_debug_mode("default")
    return found.detach().cpu()


def test_packed_words_have_the_losses_of_padded_ones_on_the_cpu() -> None:
    own, documents = model(max_position_embeddings=514), words()
    found = [
        losses(own, one, torch.device("cpu"), torch.float32, False) for one in (documents, documents.packed())
    ]
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_words_on_cuda(dtype: torch.dtype) -> None:
    wide = {"hidden_size": 256, "intermediate_size": 512, "max_position_embeddings": 514}
    own, documents = model(kind="sdpa", **wide), words()
    for module in own.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=module.in_features**-0.5)
    exact = losses(own, documents, torch.device("cpu"), torch.float32, False)
    own.to(CUDA)
    for one in (documents, documents.packed()):
        losses(own, one, CUDA, dtype, False)  # the first pass may wait for kernels
        found = losses(own, one, CUDA, dtype, dtype == torch.bfloat16)
        close = 0.1 if dtype == torch.bfloat16 else 1e-3
        torch.testing.assert_close(found, exact, rtol=close, atol=close)
