"""Speed measurements of tiny models; no test depends on how long anything takes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModel, MPNetConfig

from baton import params, predict
from baton.arrays import text_arrays
from baton.batches.text_batches import TextSplit
from baton.measure import speed
from baton.models import model_folder
from baton.runtime import kernels, resolve
from tests import tiny

HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
NAMES = ("teacher", "student", "control")


@pytest.fixture
def arrays(tmp_path: Path) -> TextSplit:
    """Three model folders, and the samples."""
    tiny.write_arrays(tmp_path)
    base = tmp_path / "base"
    model = model_folder.create(base, HEAD, 3, tiny.training(), "matmul", tiny.TEXT_INPUT)
    for name in NAMES:
        model_folder.save(
            model,
            model_folder.ModelInfo(tiny.task("a", "b", "c"), HEAD, tiny.TEXT_INPUT),
            base,
            tmp_path / name,
        )
    return TextSplit(text_arrays.open_arrays(tmp_path / "arrays", "train", tiny.TASK), 0)


def settings(**changes: object) -> params.Speed:
    values = {
        "repeats": 3,
        "precision": 0.9,
        "max_seconds": 1e-9,
        "batch_size": 8,
        "samples": 20,
        "latency_samples": 4,
    }
    return params.Speed.model_validate(values | changes)


def test_figures_are_of_every_model_pair_and_round(tmp_path: Path, arrays: TextSplit) -> None:
    measured = speed.measure(
        {name: tmp_path / name for name in NAMES}, dict.fromkeys(NAMES, arrays), settings(), tiny.machine()
    )
    assert measured["rounds"] == 3
    assert set(measured["models"]) == set(NAMES)
    for values in measured["models"].values():
        assert len(values["runs"]) == 3
        assert values["samples_per_second"] > 0
        assert 0 < values["latency_p50_ms"] <= values["latency_p95_ms"]
        assert values["bytes"] == (tmp_path / "teacher" / "model.safetensors").stat().st_size
        assert values["parameters"] == measured["models"]["teacher"]["parameters"] > 0
    assert set(measured["ratios"]) == {
        f"{first}_vs_{second}" for first in NAMES for second in NAMES if first != second
    }
    there, back = (measured["ratios"][pair] for pair in ("student_vs_teacher", "teacher_vs_student"))
    # With an even number of pairs, the medians are not exact reciprocals.
    assert there["throughput"] == pytest.approx(1 / back["throughput"], rel=0.2)
    assert there["throughput_interval"] == pytest.approx(
        [1 / end for end in reversed(back["throughput_interval"])]
    )


def test_models_take_turns_at_the_same_batches_of_rows_from_all_over_the_split(
    tmp_path: Path, arrays: TextSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, tuple[int, ...]]] = []
    made: list[list[int]] = []
    real_batch = TextSplit.batch

    def forward(model: nn.Module, batch: object, runtime: object) -> torch.Tensor:
        seen.append((id(model), tuple(batch.shape)))  # type: ignore[attr-defined]
        return torch.zeros(1)

    def batch(split: TextSplit, rows: np.ndarray) -> object:
        made.append(sorted(rows.tolist()))
        return real_batch(split, rows)

    monkeypatch.setattr(predict, "forward", forward)
    monkeypatch.setattr(TextSplit, "batch", batch)
    speed.measure(
        {name: tmp_path / name for name in NAMES}, dict.fromkeys(NAMES, arrays), settings(), tiny.machine()
    )
    for start in range(0, len(seen), 3):
        turn = seen[start : start + 3]
        assert len({model for model, _ in turn}) == 3, "all three take turns"
        assert len({shape for _, shape in turn}) == 1, "on the same batch"
    throughput = made[: 4 * 3]  # four rounds of three batches
    rows = {row for chunk in throughput for row in chunk}
    assert len(made) == len(seen) / 3, "a batch is made once for all models"
    assert (min(rows), max(rows), len(rows)) == (0, len(arrays) - 1, 20)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("unfused", ["teacher", "student"])
def test_each_model_has_the_attention_of_its_family(
    tmp_path: Path, arrays: TextSplit, monkeypatch: pytest.MonkeyPatch, unfused: str, device: str
) -> None:
    """An MPNet and a BERT, by CUDA's choices of `auto`, whichever of them the runtime was resolved for."""
    config = MPNetConfig(
        vocab_size=200, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    AutoModel.from_config(config).save_pretrained(tmp_path / "mpnet")
    model = model_folder.create(tmp_path / "mpnet", HEAD, 3, tiny.training(), "matmul", tiny.TEXT_INPUT)
    info = model_folder.ModelInfo(tiny.task("a", "b", "c"), HEAD, tiny.TEXT_INPUT)
    model_folder.save(model, info, tmp_path / "mpnet", tmp_path / "other")
    other = "student" if unfused == "teacher" else "teacher"
    folders = {unfused: tmp_path / "other", other: tmp_path / "control"}
    chosen = kernels.attention
    monkeypatch.setattr(
        kernels, "attention", lambda wanted, _, work: chosen(wanted, torch.device("cuda"), work)
    )  # on the CPU, `auto` is the same for all
    work = model_folder.work(folders["teacher"], tiny.TEXT_INPUT)
    wanted = params.Runtime.model_validate(tiny.SETTINGS | {"attention": "auto", "device": device})
    machine = resolve.resolve(wanted, work=work)
    measured = speed.measure(folders, dict.fromkeys(folders, arrays), settings(), machine)["models"]
    assert {name: own["attention"] for name, own in measured.items()} == {unfused: "matmul", other: "sdpa"}
