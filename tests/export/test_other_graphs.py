"""Graphs of models of sound, and of images with texts, compute the logits of their torch models."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from baton import params
from baton.batches.clip_batches import ClipBatch
from baton.batches.image_batch import ImageBatch
from baton.batches.image_text_batches import ImageTextBatch
from baton.batches.text_batch import TextBatch
from baton.contracts.input_spec import AudioInput, ImageTextInput
from baton.engines import engine
from baton.export import graphs, quantization
from baton.models import model_folder
from baton.predict import forward
from tests import tiny

pytestmark = pytest.mark.slow

HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
AUDIO = AudioInput(16_000, 0.4, "head", 80, 400, 160, parts=3)  # 40 frames
BOTH = ImageTextInput(tiny.image_input(), tiny.TEXT_INPUT)
RANDOM = torch.Generator().manual_seed(0)


def clips(count: int) -> ClipBatch:
    """Return clips of one to three parts, the second with silence at its end."""
    counts = torch.tensor([1 + row % 3 for row in range(count)])
    pixels = torch.randint(0, 256, (int(counts.sum()), 1, 80, 40), dtype=torch.uint8, generator=RANDOM)
    pixels[min(1, len(pixels) - 1), ..., 22:] = 0
    return ClipBatch(pixels, counts, torch.zeros(count, dtype=torch.int64), torch.arange(count))


def images_with_texts(count: int) -> ImageTextBatch:
    pixels = torch.randint(0, 256, (count, 1, 8, 8), dtype=torch.uint8, generator=RANDOM)
    tokens = torch.randint(5, 100, (count, 4 + count), generator=RANDOM)
    mask = torch.ones_like(tokens)
    mask[0, 3:] = 0
    rows, none = torch.arange(count), torch.zeros(count, dtype=torch.int64)
    return ImageTextBatch(ImageBatch(pixels, none, rows), TextBatch(tokens, mask, none, rows))


class Rows:
    def __init__(self, batch: Any) -> None:
        self.batch = lambda rows: batch(len(rows))

    def __len__(self) -> int:
        return 9


def check(model: Any, reads: Any, batch: Any, work: Path) -> None:
    torch.nn.init.normal_(model.head.output.weight, std=3.0)
    info = model_folder.ModelInfo(tiny.TASK, HEAD, reads)
    graphs.check(info)
    rows: Any = Rows(batch)
    names = graphs.write(model, info, rows, work / "fp32.onnx")
    for library in ("onnxruntime", "openvino"):
        (candidate,) = quantization.candidates((library,), ("fp32",), text=False)  # type: ignore[arg-type]
        (work / library).mkdir()
        candidate.write(work / "fp32.onnx", work / library / engine.FILES[candidate.library], [])
        loaded = engine.load(engine.Graph(candidate.library, "fp32", names), work / library, 1)
        for count in (1, 5):
            own = batch(count)
            with torch.no_grad():
                wanted = forward(model, own, tiny.machine()).numpy()
            got = graphs.of_batch(loaded.run(graphs.arrays(own, names)), own)
            assert wanted.std() > 1e-2
            np.testing.assert_allclose(got, wanted, atol=1e-4, err_msg=f"{library}, {count}")


def test_whisper(tmp_path: Path) -> None:
    base = tiny.write_whisper(tmp_path / "base")
    made = model_folder.create(base, HEAD, 3, tiny.training(), "sdpa", AUDIO).eval()
    check(made, AUDIO, clips, tmp_path)


def test_spectrograms_as_images(tmp_path: Path) -> None:
    base = tiny.write_convolutional_base(tmp_path / "base")
    made = model_folder.create(base, HEAD, 3, tiny.training(), "sdpa", AUDIO).eval()
    check(made, AUDIO, clips, tmp_path)


def test_images_with_texts(tmp_path: Path) -> None:
    tiny.write_image_base(tmp_path / "base/image")
    tiny.write_base(tmp_path / "base/text")
    settings = tiny.training()
    made = model_folder.create(tmp_path / "base", HEAD, 3, settings, "matmul", BOTH).eval()
    check(made, BOTH, images_with_texts, tmp_path)
