"""The one predictor."""

from pathlib import Path

import numpy as np
import torch

from baton import params
from baton.data import batches, text
from baton.models import build
from baton.predict import measure_speed, predict
from tests import tiny

HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.1)


def prepare(root: Path) -> tuple[build.Classifier, text.TextArrays]:
    base, clean = tiny.write_base(root / "base"), tiny.write_clean(root / "clean")
    text.tokenize(clean / "train.parquet", text.open_tokenizer(base, 16), root, 100, lambda count: None)
    return build.create(base, HEAD, 3, 0.1, 0.1, "matmul").eval(), text.open_arrays(root, "train")


def test_logits_keep_the_order_of_the_arrays_and_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    model, arrays = prepare(tmp_path)
    done: list[int] = []
    logits = predict(model, arrays, 0, tiny.machine(), 7, done.append)
    assert sum(done) == len(arrays) and logits.shape == (len(arrays), 3) and logits.dtype == np.float32
    for row in (0, 13, 47):
        single = batches.collate(arrays, np.array([row]), 0)
        with torch.no_grad():
            expected = model(single.input_ids, single.attention_mask).numpy()[0]
        np.testing.assert_allclose(logits[row], expected, atol=1e-5)


def test_speed_figures_are_of_every_model_and_run(tmp_path: Path) -> None:
    model, arrays = prepare(tmp_path)
    for name in ("teacher", "student"):
        build.save(model, build.ModelInfo(["a", "b", "c"], HEAD, 16, 0), tmp_path / "base", tmp_path / name)
    speed = params.Speed(repeats=3, batch_size=8, samples=20, latency_samples=4)
    figures = measure_speed({name: tmp_path / name for name in ("teacher", "student")}, arrays, speed, tiny.machine())
    assert set(figures) == {"teacher", "student"}
    for values in figures.values():
        assert len(values["runs"]) == 3 and min(values["runs"]) <= values["samples_per_second"] <= max(values["runs"])
        assert 0 < values["latency_p50_ms"] <= values["latency_p95_ms"]
        assert values["parameters"] == sum(parameter.numel() for parameter in model.parameters())
        assert values["bytes"] == (tmp_path / "teacher" / "model.safetensors").stat().st_size
