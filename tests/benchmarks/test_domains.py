"""The domains benchmark: each side's params, its rows, and its tables."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from baton import params
from baton.batches import array_splits
from benchmarks import _encoder_features, _vader, domains
from benchmarks.domains import NONE, Measured

OPTIONS = domains.parse(["--rows", "60", "--test-rows", "300"])
BASE = {"kind": "run", "run": "1" * 32, "model": "teacher", "sha256": "2" * 64, "licence": "Apache-2.0"}


def test_sides_differ_in_the_base_alone(tmp_path: Path) -> None:
    alone, after = (domains.edited("films", 3, OPTIONS.rows, OPTIONS, base) for base in (None, BASE))
    for raw in (alone, after):
        (tmp_path / "params.yaml").write_text(json.dumps(raw))
        read = params.read(tmp_path / "params.yaml")
        assert read.finetune.seeds == (3,) and read.preprocess.seed == 3
        assert read.preprocess.limit == params.Limit(train=60, test=300)
    assert alone.pop("base")["kind"] == "wheel" and after.pop("base") == BASE
    assert alone == after


def test_sentences_without_a_clear_sign_are_left_out() -> None:
    lines = ["1_1\t-0.9\ta\n", "1_2\t0.5\tneutral\n", "2_1\t0.51\twith\ta tab\n", "7\t-3\tlast"]
    assert list(_vader.rows(lines)) == [
        ("a", "negative", "1"),
        ("with\ta tab", "positive", "2"),
        ("last", "negative", "7"),
    ]


def found() -> domains.Found:
    """Return two targets and two seeds, in which LogME is right about the first target alone."""
    own: domains.Found = {}
    for target, sign in (("films", 1), ("tweets", -1)):
        for place, source in enumerate((NONE, "products", "editorials")):
            own[target, source] = [
                Measured(0.80 + 0.05 * place + 0.01 * seed * place, sign * place) for seed in range(2)
            ]
    return own


def test_the_tables_have_scores_with_intervals_and_the_rank_correlation(
    capsys: pytest.CaptureFixture[str],
) -> None:
    domains.report(found(), ["films", "tweets"])
    shown = capsys.readouterr().out
    assert "| films | none | 80.0 |  |  | 0.0000 |" in shown
    # Gains of 10 and 12 points, of an error of 20%: 50% and 60% of it; Student's t of two is 12.71.
    assert "| films | editorials | 91.0 | +11.0 (-1.7 to +23.7) | +55.0% (-8.5 to +118.5) | 2.0000 |" in shown
    assert "films: LogME chooses the best (0.0 points lost); rank correlation +1.00" in shown
    assert (
        "tweets: LogME chooses none, editorials is best (11.0 points lost); rank correlation -1.00" in shown
    )
    assert "within a target and seed: +0.00" in shown


def test_one_seed_has_no_interval(capsys: pytest.CaptureFixture[str]) -> None:
    domains.report({key: own[:1] for key, own in found().items()}, ["films", "tweets"])
    assert "| films | editorials | 90.0 | +10.0 | +50.0% | 2.0000 |" in capsys.readouterr().out


def test_features_are_those_of_the_base_model_of_a_project(project: Path) -> None:
    """They are what its head reads; the targets are those of train."""
    from baton.models import model_folder

    raw = params.read_raw(project / "params.yaml")
    split = array_splits.open_splits(project / "data/arrays")["train"]
    own = _encoder_features.features(project, raw, split)
    settings = params.load("finetune", path=project / "params.yaml").finetune
    reads = array_splits.read_meta(project / "data/arrays").input
    model = model_folder.create(project / "data/base", settings.head, 3, settings, "matmul", reads).eval()
    batch = split.batch(np.array([5]))
    with torch.no_grad():
        expected = model.features(*batch.inputs).numpy()  # type: ignore[operator]
    np.testing.assert_allclose(own[5:6], expected, atol=1e-5)
    assert np.isfinite(_encoder_features.logme(project, raw))
