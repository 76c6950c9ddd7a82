"""Test that training killed at any step or file operation of a save resumes and ends with the same bits.

Each guarantee has its negative control.
"""

import multiprocessing
import random
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from baton.arrays import text_arrays
from tests import tiny
from tests.train import training

KILLED = -9


@pytest.fixture(scope="module")
def processes() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.train.training"])
    return context


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, processes: Any) -> Path:
    """Train without interruption, and count the file operations of its saves."""
    folder = tmp_path_factory.mktemp("whole")
    training.prepare(folder)
    assert run(processes, folder, kill_operation=-1) == 0
    return folder


def run(processes: Any, folder: Path, **arguments: Any) -> int:
    """Return the exit code of one attempt in a separate process."""
    process = processes.Process(target=training.attempt, args=(folder,), kwargs=arguments)
    process.start()
    process.join(120)
    assert process.exitcode is not None, "the attempt hangs"
    return int(process.exitcode)


@pytest.fixture
def again(whole: Path, tmp_path: Path, processes: Any) -> Iterator[Callable[..., Path]]:
    """Kill an attempt and let another one finish it; return the folder of both."""
    yield attempts_in(tmp_path, whole, processes)
    shutil.rmtree(tmp_path)


def attempts_in(tmp_path: Path, whole: Path, processes: Any) -> Callable[..., Path]:
    def attempts(without: str = "", **kill: Any) -> Path:
        tmp_path.mkdir(exist_ok=True)
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for path in whole.iterdir():
            if path.name in ("base", "arrays", "teacher"):
                (folder / path.name).symlink_to(path)
        assert run(processes, folder, without=without, **kill) == KILLED
        assert not (folder / "final.safetensors").exists()
        shutil.copy(folder / "order.txt", folder / "before.txt")
        assert run(processes, folder, without=without) == 0
        return folder

    return attempts


def differences(whole: Path, folder: Path) -> set[str]:
    """Return the parts of the result that differ."""
    found = {
        name
        for name in ("final.safetensors", "points.txt")
        if (whole / name).read_bytes() != (folder / name).read_bytes()
    }
    expected = (whole / "order.txt").read_text().splitlines()
    computed = (folder / "order.txt").read_text().splitlines()
    return found | ({"order.txt"} if set(computed) != set(expected) else set())


def lost_steps(folder: Path) -> int:
    """Return the steps that were computed again although their checkpoint was written."""
    computed = [int(line.split()[0]) for line in (folder / "before.txt").read_text().splitlines()]
    return max(computed) - int((folder / "first.txt").read_text())


STEPS = sorted(random.Random(3).sample(range(2, training.STEPS + 1), 16))


def test_killed_in_a_step(whole: Path, again: Callable[..., Path]) -> None:
    for step in (2, 9, training.STEPS):
        folder = again(kill_at=step)
        assert differences(whole, folder) == set()
        assert lost_steps(folder) == 0


@pytest.fixture(
    scope="module",
    params=[tiny.write_image_base, tiny.write_convolutional_base],
    ids=["vit", "convolutional"],
)
def whole_of_images(
    tmp_path_factory: pytest.TempPathFactory, processes: Any, request: pytest.FixtureRequest
) -> Path:
    """The same with images.

    These add augmentation, mixup and CutMix, stochastic depth, layer-wise rates, and averaged weights and
    statistics.
    """
    folder = tmp_path_factory.mktemp("images")
    training.prepare(folder, request.param)
    assert run(processes, folder) == 0
    return folder


@pytest.fixture
def again_with_images(whole_of_images: Path, tmp_path: Path, processes: Any) -> Iterator[Callable[..., Path]]:
    yield attempts_in(tmp_path, whole_of_images, processes)
    shutil.rmtree(tmp_path)


def test_images_killed_in_a_step(whole_of_images: Path, again_with_images: Callable[..., Path]) -> None:
    for step in (3, 12):
        assert differences(whole_of_images, again_with_images(kill_at=step)) == set()


@pytest.mark.slow
def test_images_killed_in_each_of_ten_steps(
    whole_of_images: Path, again_with_images: Callable[..., Path]
) -> None:
    for number, step in enumerate(random.Random(6).sample(range(2, training.STEPS + 1), 10)):
        assert (
            differences(whole_of_images, again_with_images(kill_at=step, seconds=0.05 * (number % 3)))
            == set()
        )


@pytest.fixture(scope="module")
def whole_in_windows(tmp_path_factory: pytest.TempPathFactory, processes: Any) -> Path:
    """The same with documents in windows, whose steps are divided differently, and with augmentation."""
    folder = tmp_path_factory.mktemp("windows")
    training.prepare(folder, windows=True)
    arrays = text_arrays.open_arrays(folder / "arrays", "train", tiny.TASK)
    assert 1 < arrays.windows.mean() < 3
    assert run(processes, folder) == 0
    return folder


@pytest.mark.slow
def test_windows_killed_in_a_step(whole_in_windows: Path, tmp_path: Path, processes: Any) -> None:
    again_in_windows = attempts_in(tmp_path, whole_in_windows, processes)
    for step in (3, 12):
        assert differences(whole_in_windows, again_in_windows(kill_at=step)) == set()
    for part in ("rng", "augmentation"):  # negative controls
        assert "final.safetensors" in differences(whole_in_windows, again_in_windows(part, kill_at=9))


@pytest.fixture(scope="module")
def whole_in_turns(tmp_path_factory: pytest.TempPathFactory, processes: Any) -> Path:
    """The same with three tasks that take turns: 18 steps, in one epoch."""
    folder = tmp_path_factory.mktemp("turns")
    training.prepare(folder, tasks=("length", "letters"))
    assert run(processes, folder) == 0
    lines = (folder / "order.txt").read_text().splitlines()
    assert [int(line.split()[0]) for line in lines] == list(range(training.STEPS))
    assert Counter(line.split()[1] for line in lines) == {"main": 6, "length": 6, "letters": 6}
    return folder


@pytest.mark.slow
def test_tasks_in_turns_killed_in_a_step(whole_in_turns: Path, tmp_path: Path, processes: Any) -> None:
    again_in_turns = attempts_in(tmp_path, whole_in_turns, processes)
    for step in (3, 10, training.STEPS):
        folder = again_in_turns(kill_at=step)
        assert differences(whole_in_turns, folder) == set()
        assert lost_steps(folder) == 0
    for part in ("rng", "position", "optimizer"):
        assert "final.safetensors" in differences(whole_in_turns, again_in_turns(part, kill_at=9)), (
            "negative control"
        )


def test_a_student_killed_in_a_step(tmp_path: Path, processes: Any) -> None:
    """Of a live teacher, by all terms of the loss; its projection is trained and goes on, too."""
    whole = tmp_path / "whole"
    training.prepare(whole, teacher=True)
    assert run(processes, whole) == 0
    assert "'features':" in (whole / "points.txt").read_text()
    with safe_open(whole / "final.safetensors", "pt") as saved:
        assert {"model/projection.weight", "optimizer.exp_avg/projection.weight"} <= set(saved.keys())
    again = attempts_in(tmp_path / "again", whole, processes)
    for step in (2, 10, training.STEPS):
        folder = again(kill_at=step)
        assert differences(whole, folder) == set()
    for part in ("rng", "optimizer"):  # negative controls
        assert "final.safetensors" in differences(whole, again(part, kill_at=9))


@pytest.mark.parametrize(
    ("whole_of_images", "part"),
    [
        (tiny.write_image_base, "average"),
        (tiny.write_image_base, "augmentation"),
        (tiny.write_convolutional_base, "statistics"),
        (tiny.write_convolutional_base, "layout"),
    ],
    indirect=["whole_of_images"],
)
@pytest.mark.slow
def test_without_a_part_of_what_images_bring_the_result_differs(
    whole_of_images: Path, again_with_images: Callable[..., Path], part: str
) -> None:
    """Negative controls."""
    assert "final.safetensors" in differences(whole_of_images, again_with_images(part, kill_at=9))


@pytest.mark.slow
def test_killed_in_each_of_twenty_steps(whole: Path, again: Callable[..., Path]) -> None:
    steps = [*STEPS, *random.Random(4).sample(STEPS, 4)]  # there are 17 steps after the first
    for number, step in enumerate(steps):
        assert differences(whole, again(kill_at=step, seconds=0.05 * (number % 3))) == set()


def saves(whole: Path) -> range:
    """The file operations of the fourth save, which removes an older one too."""
    total = int((whole / "operations.txt").read_text())
    a_save = total // training.STEPS
    return range(3 * a_save, 4 * a_save + 3)


@pytest.mark.parametrize("power", [True, False], ids=["process", "machine"])
def test_killed_in_a_save(whole: Path, again: Callable[..., Path], power: bool) -> None:
    operations = saves(whole)
    for operation in random.Random(5).sample(operations, 3):
        folder = again(kill_operation=operation, power=power)
        assert differences(whole, folder) == set()
        assert lost_steps(folder) <= 0


@pytest.mark.slow
@pytest.mark.parametrize("power", [True, False], ids=["process", "machine"])
def test_killed_at_every_file_operation_of_a_save(
    whole: Path, again: Callable[..., Path], power: bool
) -> None:
    operations = saves(whole)
    assert len(operations) > 20
    for operation in operations:
        folder = again(kill_operation=operation, power=power)
        assert differences(whole, folder) == set()
        assert lost_steps(folder) <= 0


@pytest.mark.parametrize("place", ["step", "validation", "caller"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_asked_to_stop(
    whole: Path, tmp_path: Path, processes: Any, place: str, number: int, code: int
) -> None:
    """The step is finished and saved, although it is not yet time for a checkpoint."""
    for name in ("base", "arrays"):
        (tmp_path / name).symlink_to(whole / name)
    assert run(processes, tmp_path, stop=(place, number), seconds=1e9) == code
    steps = len((tmp_path / "order.txt").read_text().splitlines())
    assert steps == int((tmp_path / "asked.txt").read_text()) + 1, "no further step was begun"
    assert run(processes, tmp_path, seconds=1e9) == 0
    assert int((tmp_path / "first.txt").read_text()) == steps
    assert differences(whole, tmp_path) == set()


# ---- while a checkpoint is being written
# -----------------------------------------------------------------------


def test_killed_while_one_is_being_written(whole: Path, again: Callable[..., Path]) -> None:
    folder = again(kill_at=8, overlap=True)
    assert differences(whole, folder) == set()
    assert lost_steps(folder) == 2, "that of step 7 was not on the disk yet, that of step 5 was"


def test_asked_to_stop_while_one_is_being_written(whole: Path, tmp_path: Path, processes: Any) -> None:
    """That checkpoint and the newest are on disk when the process has ended."""
    for name in ("base", "arrays"):
        (tmp_path / name).symlink_to(whole / name)
    assert run(processes, tmp_path, stop=("step", signal.SIGTERM), overlap=True) == 143
    steps = len((tmp_path / "order.txt").read_text().splitlines())
    older, newest = sorted(int(path.name[:8]) for path in (tmp_path / "checkpoints").iterdir())
    assert older < newest == steps
    assert run(processes, tmp_path) == 0
    assert int((tmp_path / "first.txt").read_text()) == steps
    assert differences(whole, tmp_path) == set()


# ---- negative controls: each part of the guarantee is needed
# ---------------------------------------------------


@pytest.mark.parametrize("part", ["rng", "position", "optimizer"])
def test_without_a_part_of_the_state_the_result_differs(
    whole: Path, again: Callable[..., Path], part: str
) -> None:
    assert "final.safetensors" in differences(whole, again(part, kill_at=9))


def test_without_a_copy_what_is_written_is_of_several_steps(whole: Path, again: Callable[..., Path]) -> None:
    assert "final.safetensors" in differences(whole, again("snapshot", kill_at=8, overlap=True))


def test_without_flushing_before_the_rename_checkpoints_are_lost(
    whole: Path, again: Callable[..., Path]
) -> None:
    folder = again("order", kill_operation=saves(whole)[-1], power=False)
    assert lost_steps(folder) > 0
