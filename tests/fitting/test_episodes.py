"""Episodic training: the backbone moves, novel classes choose the checkpoint, a kill changes no bit."""

import dataclasses
import multiprocessing
import os
import shutil
import signal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from baton import params, tracking
from baton.batches import episodes as drawing
from baton.errors import TrainingError
from baton.fitting import episodes, jobs, novel_figures, strategies, trainings
from baton.losses import class_losses, episode_losses
from baton.models import model_folder
from baton.predict import predict
from baton.runtime import resolve
from baton.train import reptile, resume
from tests import tiny, tiny_episodes

HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
METHODS: dict[str, dict[str, Any]] = {
    "prototypes": {"kind": "prototypes", "queries": 3},
    "reptile": {"kind": "reptile", "steps": 3, "learning_rate": 0.1},
}
EPISODES = {"way": 2, "shots": 2, "queries": 5, "count": 60, "seed": 0}
STEPS = 12


def strategy(method: str, **changes: Any) -> dict[str, Any]:
    own = {"way": 2, "shots": 2, "batch_size": 2, "steps": STEPS, "learning_rate": 1e-3, "evaluations": 3}
    return {"kind": "episodes", "method": METHODS[method]} | own | changes


def settings(method: str, episodes: dict[str, Any] | None = EPISODES, **changes: Any) -> params.Finetune:
    own = {"head": HEAD, "keep": "best", "strategy": strategy(method), "episodes": episodes, "dropout": 0.1}
    return params.Finetune.model_validate(tiny.TRAINING | own | changes)


def new(own: params.Finetune, job: jobs.Job) -> model_folder.Classifier:
    resolve.seed_everything(own.seed)
    return model_folder.create(Path("data/base"), own.head, 3, own, job.runtime.attention, job.data.input)


def opened(seconds: float = 1000.0, **runtime: Any) -> jobs.Job:
    return jobs.Job(
        jobs.open_data(None),
        tiny.machine(**runtime),
        tracking.Run(),
        resume.StageCheckpoints(Path("checkpoints"), seconds),
    )


def trained(own: params.Finetune, job: jobs.Job, name: str = "teacher") -> strategies.Trained:
    made = partial(new, own, job)
    return strategies.train(made, class_losses.cross_entropy(0.0, None), own, job, name)


def backbone(own: params.Finetune, job: jobs.Job) -> tuple[model_folder.Classifier, trainings.Fitted]:
    """Train the backbone alone."""
    model = new(own, job)
    assert isinstance(own.strategy, params.EpisodesStrategy)
    return model, episodes.fit("backbone", model, own.strategy, own, job)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("episodes")
    tiny.write_arrays(made / "data")
    tiny_episodes.write(made / "data")
    return made


@pytest.fixture
def job(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> jobs.Job:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(folder / "data")
    return opened()


@pytest.mark.parametrize("method", METHODS)
def test_the_backbone_is_trained_and_a_probe_fitted_to_it(job: jobs.Job, method: str) -> None:
    made, plain = trained(settings(method), job), trained(settings(method, strategy={"kind": "probe"}), job)
    assert made.figures["steps"] == STEPS
    assert made.figures["trained_parameters"] == made.figures["parameters"]
    state, before = made.model.state_dict(), plain.model.state_dict()
    assert list(state) == list(before), "the saved model is a plain one"
    assert all(not torch.equal(state[name], before[name]) for name in state if "query.weight" in name)
    losses = [row["loss"] for row in made.curve if "loss" in row]
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
    on_features = predict(made.reading.model, made.reading.splits["val"], job.runtime, 8)
    in_model = predict(made.model.eval(), job.data.splits["val"], job.runtime, 8)
    assert np.abs(on_features - in_model).max() < 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_episodes_of_novel_classes_choose_the_checkpoint(job: jobs.Job, method: str) -> None:
    model, chosen = backbone(settings(method), job)
    found = {row["step"]: row["val_accuracy"] for row in chosen.curve if "val_accuracy" in row}
    assert list(found) == [4, 8, 12]
    best = chosen.figures["best_step"]
    assert found[best] == max(found.values())
    made = trained(settings(method), job)
    assert made.figures["best_step"] == best and made.figures["steps"] == STEPS
    assert [row["step"] for row in made.curve if "val_accuracy" in row] == [best]
    assert {row["model"] for row in made.curve} == {"teacher"}
    state = made.model.state_dict()
    assert all(
        torch.equal(value, state[name]) for name, value in model.state_dict().items() if "head" not in name
    )
    own = novel_figures.figures(made.model, settings(method), job)
    assert own["episodes_validation"] == pytest.approx(found[best])
    assert set(own) == {
        f"episodes_{key}{end}" for key in ("validation", "test") for end in ("", "_half_width")
    }


def test_without_them_the_last_weights_count(job: jobs.Job) -> None:
    model, made = backbone(settings("prototypes", episodes=None), job)
    assert [row["step"] for row in made.curve if "val_loss" in row] == [STEPS] == [made.figures["best_step"]]
    assert novel_figures.figures(model, settings("prototypes", episodes=None), job) == {}


def test_test_classes_choose_nothing(
    job: jobs.Job, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With other rows for test, all else has the same bits."""
    first = trained(settings("prototypes"), job)
    shutil.copytree(folder / "data", tmp_path / "other/data")
    monkeypatch.chdir(tmp_path / "other")
    monkeypatch.setitem(tiny_episodes.NOVEL, "novel_test", {"x": ["foreign words"], "y": ["nothing like it"]})
    tiny_episodes.write(Path("data"), copies=8)
    second = trained(settings("prototypes"), opened())
    state = first.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in second.model.state_dict().items())
    assert first.figures == second.figures
    figures = [novel_figures.figures(one.model, settings("prototypes"), opened()) for one in (first, second)]
    assert figures[0]["episodes_validation"] == figures[1]["episodes_validation"]


def test_all_strategies_are_tested_on_the_same_episodes(
    job: jobs.Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bytes] = []
    draw = drawing.draw

    def recorded(*arguments: Any) -> Any:
        seen.append(draw(*arguments).tobytes())
        return draw(*arguments)

    monkeypatch.setattr(drawing, "draw", recorded)
    for own in (
        settings("prototypes"),
        settings("prototypes", strategy={"kind": "full"}, seeds=(3,), learning_rate=1e-2),
        settings("prototypes", episodes=EPISODES | {"seed": 1}),
    ):
        novel_figures.figures(new(own, job), own, job)
    first, second, third = (seen[120 * part : 120 * part + 120] for part in range(3))
    assert len(set(first)) >= 60 and first == second and not set(first) & set(third)


def test_too_few_rows_for_an_episode_are_named(job: jobs.Job) -> None:
    with pytest.raises(TrainingError, match=r"classes of train[\s\S]*at least 17 rows of each class"):
        trained(settings("prototypes", strategy=strategy("prototypes", shots=14)), job)
    own = settings("prototypes", episodes=EPISODES | {"queries": 11})
    with pytest.raises(
        TrainingError, match=r"novel_validation[\s\S]*at least 13 rows[\s\S]*finetune.episodes"
    ):
        novel_figures.figures(new(own, job), own, job)


def test_reptile_is_neither_compiled_nor_in_fp16(job: jobs.Job) -> None:
    runtime = dataclasses.replace(job.runtime, precision="fp16")
    with pytest.raises(TrainingError, match="loss scaler"):
        trained(settings("reptile"), dataclasses.replace(job, runtime=runtime))
    runtime = dataclasses.replace(job.runtime, compile=True)
    compiled = trained(settings("reptile"), dataclasses.replace(job, runtime=runtime), "compiled")
    eager = trained(settings("reptile"), job, "eager").model.state_dict()
    assert all(torch.equal(eager[name], value) for name, value in compiled.model.state_dict().items())


@pytest.mark.parametrize("method", METHODS)
def test_activations_may_be_computed_again(job: jobs.Job, method: str) -> None:
    own = settings(method, dropout=0.0)
    saving = dataclasses.replace(job, runtime=dataclasses.replace(job.runtime, gradient_checkpointing=True))
    first, second = (trained(own, one, name).model for one, name in ((job, "a"), (saving, "b")))
    for name, value in second.state_dict().items():
        assert torch.allclose(first.state_dict()[name], value, atol=1e-4), name


# ---- killed ------------------------------------------------------------------------------------------------


def attempt(folder: Path, method: str, kill_at: int = 0, spoilt: bool = False) -> None:
    """Train with a checkpoint after every step, in the folder; before step `kill_at` (from 1) it is killed.

    `spoilt`: episodes are drawn from a generator of the process, not from seed and step (negative control).
    """
    os.chdir(folder)
    losses: list[int] = []

    def counted(loss_fn: Any) -> Any:
        def loss(*arguments: Any) -> torch.Tensor:
            losses.append(1)
            if kill_at and len(losses) == 2 * kill_at - 1:  # two episodes a step
                os.kill(os.getpid(), signal.SIGKILL)
            return loss_fn(*arguments)

        return loss

    prototypical = episode_losses.prototypical
    episode_losses.prototypical = lambda *sizes: counted(prototypical(*sizes))
    reptile.loss = counted(reptile.loss)
    if spoilt:
        draw, random = drawing.draw, np.random.default_rng()
        drawing.draw = lambda classes, way, each, key: draw(
            classes, way, each, (int(random.integers(2**31)),)
        )
    made = trained(settings(method, log_every=3), opened(0.0))
    state = {name: value.contiguous() for name, value in made.model.state_dict().items()}
    save_file(state, folder / "final.safetensors")
    rows = [{key: value for key, value in row.items() if key != "time"} for row in made.curve]
    (folder / "curve.txt").write_text("\n".join(map(str, [*rows, made.figures])))


def run(folder: Path, method: str, **arguments: Any) -> int:
    process = multiprocessing.get_context("spawn").Process(
        target=attempt, args=(folder, method), kwargs=arguments
    )
    process.start()
    process.join(240)
    assert process.exitcode is not None, "the attempt hangs"
    return int(process.exitcode)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_killed_and_resumed_it_ends_with_the_same_bits(folder: Path, tmp_path: Path, method: str) -> None:
    places = {}
    for name in ("whole", "killed", "spoilt"):
        places[name] = tmp_path / name
        places[name].mkdir()
        (places[name] / "data").symlink_to(folder / "data")
    assert run(places["whole"], method) == 0
    for kill_at in (2, 5, 4):  # the second attempt goes on after step 1 or 2, the third after 5 or 6
        assert run(places["killed"], method, kill_at=kill_at) == -signal.SIGKILL
    assert not (places["killed"] / "final.safetensors").exists()
    assert run(places["killed"], method) == 0
    assert run(places["spoilt"], method, kill_at=3, spoilt=True) == -signal.SIGKILL
    assert run(places["spoilt"], method, spoilt=True) == 0
    whole, killed, spoilt = (load_file(place / "final.safetensors") for place in places.values())
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
    assert (places["whole"] / "curve.txt").read_text() == (places["killed"] / "curve.txt").read_text()
    assert not all(torch.equal(whole[name], spoilt[name]) for name in whole)
