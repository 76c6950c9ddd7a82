"""The few-labels benchmark: each side's params, and the interval of the gain."""

import argparse
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from baton import params
from benchmarks import few_labels
from tests import tiny

RAW = params.read_raw(Path("recipes/digits-from-fashion.yaml"))


def test_both_sides_differ_in_the_base_alone(tmp_path: Path) -> None:
    options = argparse.Namespace(base=tiny.write_image_base(tmp_path / "base"), epochs=7)
    transferred, scratch = (few_labels.edited(RAW, options, 3, side) for side in (True, False))
    assert (
        transferred["base"]["kind"] == "local"
        and scratch["base"]["kind"] == "timm"
        and scratch["base"]["weights"] is None
    )
    assert scratch["base"]["arguments"] == {"patch_size": 2, "embed_dim": 32, "depth": 2, "num_heads": 2}
    assert transferred["preprocess"]["seed"] == 3 and scratch["finetune"]["seeds"] == [3]
    for made in (transferred, scratch):
        assert made["finetune"]["epochs"] == 7
        made["finetune"].pop("layer_decay")
        made.pop("base")
    assert transferred == scratch


def test_a_recipe_is_compared_with_itself_without_its_weights() -> None:
    raw = params.read_raw(Path("recipes/stamps.yaml"))
    options = argparse.Namespace(base=None, epochs=None)
    transferred, scratch = (few_labels.edited(raw, options, 3, side) for side in (True, False))
    assert transferred["base"] == raw["base"] and scratch["base"] == raw["base"] | {"weights": None}
    assert {key for key in scratch if scratch[key] != transferred[key]} == {"base"}


def test_the_interval_is_students(capsys: pytest.CaptureFixture[str]) -> None:
    found = {"transferred": [0.90, 0.92, 0.91], "from scratch": [0.80, 0.84, 0.79]}
    few_labels.report([0, 1, 2], found)
    gains = np.array([10.0, 8.0, 12.0])
    low, high = stats.t.interval(0.95, 2, gains.mean(), stats.sem(gains))
    assert (
        f"gain: +10.0 points, 95% interval {low:+.1f} to {high:+.1f} over 3 seeds" in capsys.readouterr().out
    )
