"""The benchmark of episodes: its classes and params, the accuracy by episode, and its table."""

import argparse
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from baton import params
from benchmarks import episodes
from tests import tiny_episodes

RAW = params.read_raw(Path("recipes/20newsgroups-minilm.yaml"))
OPTIONS = argparse.Namespace(
    rows_read=16000, max_length=64, count=200, train_rows=500, rate=1e-4, inner_rate=0.2
)


def made(side: str, seed: int = 3) -> dict[str, Any]:
    return episodes.edited(RAW, OPTIONS, seed, side)


def test_the_classes_are_those_of_the_paper() -> None:
    assert all(label.startswith("comp.") for label in episodes.NOVEL["validation"])
    named = [label for labels in episodes.NOVEL.values() for label in labels]
    assert len(episodes.NOVEL["validation"]) == 5 and len(episodes.NOVEL["test"]) == 7
    assert len({*named}) == 12 and not any(label.startswith(("sci.", "rec.")) for label in named)


def test_sides_differ_in_training_alone() -> None:
    checked = {side: params.checked(made(side), params.PATH) for side in episodes.SIDES}
    assert [own.finetune.strategy.kind for own in checked.values()] == [
        "probe",
        "full",
        "episodes",
        "episodes",
    ]
    for own in checked.values():
        assert own.finetune.seeds == (3,) and own.finetune.episodes is not None
        assert own.finetune.episodes.count == 200 and own.tokenize.max_length == 64
    base = made(episodes.WITHOUT)
    for side in episodes.SIDES[1:]:
        other = made(side)
        for name in ("strategy", "epochs", "min_steps"):
            base["finetune"].pop(name, None)
            other["finetune"].pop(name, None)
        assert other == base


def test_trained_sides_read_as_many_rows() -> None:
    full, prototypes, reptile = (made(side)["finetune"] for side in episodes.SIDES[1:])
    assert full["min_steps"] * full["batch_size"] == 16000
    assert prototypes["strategy"]["steps"] * 5 * 10 == 16000
    assert reptile["strategy"]["steps"] * 5 * 15 == pytest.approx(16000, rel=0.01)


def test_accuracies_are_those_of_the_stage(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(project, tmp_path / "project")
    tiny_episodes.write(tmp_path / "project/data", copies=20)
    raw = params.read_raw(project / "params.yaml")
    raw["preprocess"]["novel"] = {
        key.removeprefix("novel_"): [*own] for key, own in tiny_episodes.NOVEL.items()
    }
    raw["finetune"]["episodes"] = {"way": 2, "shots": 5, "queries": 8, "count": 30, "seed": 0}
    settings = params.checked(raw, params.PATH)
    found = episodes.accuracies(tmp_path / "project", settings)
    assert [(shots, len(values)) for shots, values in found.items()] == [(1, 30), (5, 30)]
    assert found[1].mean() > 0.4 and found[1].std() > 0

    from baton import tracking
    from baton.fitting import jobs, novel_figures
    from baton.models import model_folder
    from baton.train import resume
    from tests import tiny

    monkeypatch.chdir(tmp_path / "project")
    job = jobs.Job(
        jobs.open_data(None), tiny.machine(), tracking.Run(), resume.StageCheckpoints(Path("c"), 9.0)
    )
    model, _ = model_folder.load(Path("models/teacher"), job.runtime.attention)
    figures = novel_figures.figures(model, settings.finetune, job)
    assert figures["episodes_test"] == pytest.approx(found[5].mean())


def test_the_table_has_paired_differences(capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    base = random.uniform(0.4, 0.8, 200)
    gain = np.stack([0.1 + 0.01 * random.normal(size=200) + 0.01 * seed for seed in range(3)])
    found: episodes.Found = {
        episodes.WITHOUT: {shots: [base] * 3 for shots in episodes.SHOTS},
        episodes.PROTOTYPES: {shots: [base + own for own in gain] for shots in episodes.SHOTS},
    }
    episodes.report([0, 1, 2], found)
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if line.startswith("| prototypes | 1-shot"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    over_episodes, over_seeds = gain.mean(axis=0), gain.mean(axis=1)
    halves = [stats.t.ppf(0.975, len(own) - 1) * stats.sem(own) for own in (over_episodes, over_seeds)]
    assert cells[5:] == [f"{100 * gain.mean():+.1f}", *(f"± {100 * half:.1f}" for half in halves)]
    spread = stats.t.ppf(0.975, 199) * stats.sem(base + over_episodes)
    assert cells[2] == f"{100 * (base + over_episodes).mean():.1f}" and cells[3] == f"± {100 * spread:.1f}"
    assert any("Bao et al. 2020" in line and "1-shot 52.1, 5-shot 68.3" in line for line in lines)
