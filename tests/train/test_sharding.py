"""Test a model split over processes (FSDP2, gloo, CPU): it follows the curve of one process.

Its checkpoints fit any number of processes.
"""

import json
import multiprocessing
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import load_file

from tests import tiny
from tests.train import sharded, training

pytestmark = pytest.mark.alone
STOPPED = 143
SECONDS = 600.0  # on a busy machine
CONTEXT = multiprocessing.get_context("forkserver")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Prepare base model and arrays, and train with one process, whose model is whole."""
    made = tmp_path_factory.mktemp("sharded")
    training.prepare(
        made, windows=True
    )  # documents of several windows: processes have different numbers of parts in a step
    CONTEXT.set_forkserver_preload(["tests.train.sharded"])
    run(made, "one", 1, runtime={"sharding": "none"})
    yield made
    shutil.rmtree(made)


def run(folder: Path, out: str, processes: int, code: int | tuple[int, ...] = 0, **options: Any) -> str:
    """Train on `processes` and return their output.

    `code` is the exit code of the first, if the others end with 0; or all exit codes.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    arguments = (folder, {"out": out, **options})
    ranks = [
        CONTEXT.Process(target=sharded.rank, args=(*arguments, rank, processes, port))
        for rank in range(processes)
    ]
    for each in ranks:
        each.start()
    try:
        for each in ranks:
            each.join(SECONDS)
        said = (folder / f"{out}.txt").read_text()
        codes = [code, *[0] * (processes - 1)] if isinstance(code, int) else [*code]
        assert [each.exitcode for each in ranks] == codes, said
        return said
    finally:
        for each in ranks:
            each.kill()
            each.join()


def points(folder: Path, out: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / f"{out}.json").read_text())
    return found


def assert_close(folder: Path, one: str, other: str, tolerance: float = 1e-4) -> None:
    """Assert that the curves agree, and so do the weights."""
    pairs = list(zip(points(folder, one), points(folder, other), strict=True))
    assert len(pairs) > 30
    for first, second in pairs:
        for key in ("loss", "gradient_norm"):
            assert second.get(key) == pytest.approx(first.get(key), abs=tolerance), (key, first, second)
        assert second.get("scores", {}).get("loss") == pytest.approx(
            first.get("scores", {}).get("loss"), abs=tolerance
        )
    weights = [load_file(folder / f"{name}.safetensors") for name in (one, other)]
    assert weights[0].keys() == weights[1].keys()
    assert (
        max(float((weights[0][name] - weights[1][name]).abs().max()) for name in weights[0]) < 100 * tolerance
    )


def same(folder: Path, one: str, other: str) -> bool:
    """Return whether both runs agree bit for bit."""
    return all(
        (folder / f"{one}{end}").read_bytes() == (folder / f"{other}{end}").read_bytes()
        for end in (".json", ".safetensors")
    )


@pytest.mark.parametrize("processes", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_split_over_processes_it_is_the_training_of_one(folder: Path, processes: int) -> None:
    run(folder, f"split{processes}", processes)
    assert_close(folder, "one", f"split{processes}")
    assert not same(folder, "one", f"split{processes}"), "equal bits would mean that there was one process"


@pytest.mark.slow
def test_augmented_texts_are_the_same_on_several_processes(folder: Path) -> None:
    """With mixup, whose partners another process may hold: replicated, and split, on two processes."""
    own = {"settings": {"augmentation": training.TEXTS}}
    run(folder, "augmented", 1, runtime={"sharding": "none"}, **own)
    for sharding in ("none", "full"):
        run(folder, f"augmented-{sharding}", 2, runtime={"sharding": sharding}, **own)
        assert_close(folder, "augmented", f"augmented-{sharding}")
    with pytest.raises(AssertionError):  # negative control
        assert_close(folder, "one", "augmented")


@pytest.fixture(scope="module")
def stopped(folder: Path) -> Path:
    """Return the checkpoints of two processes that were asked to stop in the middle."""
    assert run(folder, "never", 2, STOPPED, checkpoints="stopped", stop=17) is not None
    assert not (folder / "never.json").exists()
    return folder / "stopped"


def resumed(folder: Path, stopped: Path, processes: int) -> str:
    """Resume with `processes`; return the name of the result."""
    out = f"{stopped.name}-{processes}"
    shutil.copytree(stopped, folder / out)
    said = run(folder, out, processes, checkpoints=out)
    assert "resumed after step 17 of 36" in said, said
    return out


def test_it_goes_on_bit_for_bit(folder: Path, stopped: Path) -> None:
    out = resumed(folder, stopped, 2)
    run(folder, "whole2", 2)
    assert same(folder, out, "whole2")


@pytest.mark.parametrize("processes", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_another_number_of_processes_goes_on_to_rounding(folder: Path, stopped: Path, processes: int) -> None:
    assert_close(folder, resumed(folder, stopped, processes), "one")


def test_asked_to_stop_in_the_passes_before_the_first_step_it_is_saved(folder: Path) -> None:
    """These passes, which start compilation, are collective operations too."""
    own = {"runtime": {"compile": True}, "uncompiled": True, "settings": {"epochs": 1}}
    run(folder, "never", 2, STOPPED, checkpoints="warming", stop=0, where="pass", **own)
    assert [path.name for path in (folder / "warming").iterdir()] == ["00000000-00000000"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Prepare 48 images.

    Of batches of 7, process 0 computes 4 and process 1 computes 3; of the last, which has 6, they compute 3
    each.
    """
    made = tmp_path_factory.mktemp("sharded_pictures")
    training.prepare(made, images=tiny.write_image_base)
    yield made
    shutil.rmtree(made)


def test_processes_that_see_unlike_numbers_of_shapes_compile_together(pictures: Path) -> None:
    """Process 0 shows the compiler two sizes, process 1 one; each pass of a split model is collective."""
    own = {"uncompiled": True, "settings": {"epochs": 1, "batch_size": 7, "accumulation": 1}}
    run(pictures, "compiled", 2, runtime={"compile": True}, **own)
    assert len(points(pictures, "compiled")) > 6


def content(path: Path) -> dict[str, Any]:
    """Return the bytes and positions of all tensors in a file."""
    with safe_open(path, "pt") as file:
        places = {
            name: json.loads(text) if text[:1] in "{[" else text for name, text in file.metadata().items()
        }
        return {name: file.get_tensor(name).numpy().tobytes() for name in file.keys()} | {"": places}  # noqa: SIM118


def early(folder: Path, how: str) -> dict[str, dict[str, Any]]:
    """Return the content of an early checkpoint's files and the last one's; header order is arbitrary."""
    run(folder, "never", 2, STOPPED, checkpoints=f"early-{how}", stop=6, early=how)
    found = {
        str(path.relative_to(folder / f"early-{how}")): content(path)
        for path in (folder / f"early-{how}").rglob("*.safetensors")
    }
    assert len({name.partition("/")[0] for name in found}) == 2 and len(found) == 4
    return found


@pytest.fixture(scope="module")
def waited_for(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the content of these files if training waits for the first of them too."""
    return early(folder, "waiting")


def test_written_while_the_training_goes_on_it_is_what_it_would_be_if_that_waited(
    folder: Path, waited_for: dict[str, Any]
) -> None:
    """It is written steps later, from copies."""
    assert early(folder, "late") == waited_for


@pytest.mark.slow
def test_without_copies_it_is_not(folder: Path, waited_for: dict[str, Any]) -> None:
    """Negative control: it holds the tensors as later steps changed them; training waits for the last one."""
    found = early(folder, "uncopied")
    assert {name for name in found if found[name] != waited_for[name]} == {
        name for name in found if name.startswith("00000003")
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("full", "No space left on device: shard-00002"),
        ("faulty", "got: RuntimeError: CUDA error: [/unknown] next: run again"),
    ],
)
def test_one_that_could_not_be_written_by_a_process_is_told_and_does_not_cost_the_last(
    folder: Path, how: str, told: str
) -> None:
    said = " ".join(
        run(folder, f"never-{how}", 2, STOPPED, checkpoints=f"early-{how}", stop=6, early=how).split()
    )
    assert [path.name for path in (folder / f"early-{how}").iterdir()] == ["00000006-00000000"]
    assert "00000003-00000000 cannot be written" in said and told in said and "Traceback" not in said


@pytest.mark.slow
def test_a_process_that_is_lost_while_one_is_written_is_what_the_training_tells_of(folder: Path) -> None:
    said = " ".join(
        run(folder, "lost", 2, (1, -signal.SIGKILL), checkpoints="early-gone", stop=12, early="gone").split()
    )
    assert "error: the connection to another process of this training run is lost" in said, said
    assert "Markup" not in said and "Traceback" not in said
    assert not list((folder / "early-gone").iterdir())


@pytest.mark.slow
def test_asked_to_stop_in_validation_it_is_saved_after_it(folder: Path) -> None:
    """All processes are in the same collective operation then, and leave it together."""
    run(folder, "never", 2, STOPPED, checkpoints="validating", stop=12, where="validation")
    out = "validating-2"
    shutil.copytree(folder / "validating", folder / out)
    assert "resumed after step 12 of 36" in run(folder, out, 2, checkpoints=out)
    run(folder, "whole2", 2)
    assert same(folder, out, "whole2")


@pytest.mark.slow
def test_saved_after_each_step_it_is_the_same_training(folder: Path) -> None:
    run(folder, "often", 2, checkpoints="often", seconds=0.0, settings={"epochs": 1})
    assert len([path for path in (folder / "often").iterdir() if path.name.endswith("-finished")]) == 1
    run(folder, "never_saved", 2, settings={"epochs": 1})
    assert same(folder, "often", "never_saved")


@pytest.mark.slow
@pytest.mark.parametrize("spoil", ["flip", "remove"])
def test_a_broken_part_is_named_and_the_one_before_is_used(folder: Path, spoil: str) -> None:
    """The control: with the same two checkpoints intact, training resumes from the later one."""
    out = f"broken-{spoil}"
    run(folder, "never", 2, STOPPED, checkpoints=out, stop=5, seconds=0.0)
    first, last = sorted((folder / out).iterdir())
    shutil.copytree(folder / out, folder / f"{out}-control")
    part = last / "shard-00002.safetensors"
    content = bytearray(part.read_bytes())
    content[-1] ^= 1
    part.unlink() if spoil == "remove" else part.write_bytes(content)
    said = run(folder, out, 2, checkpoints=out)
    assert f"{last.name} is broken" in " ".join(said.split())
    assert f"resumed after step {int(first.name.split('-')[0])} of 36" in said, said
    assert "resumed after step 5 of 36" in run(folder, f"{out}-control", 2, checkpoints=f"{out}-control")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("own", "tolerance"),
    [
        ({"precision": "bf16"}, 0.1),
        ({"precision": "fp16"}, 1e-2),
        ({"gradient_checkpointing": True}, 1e-4),
        ({"compile": True}, 1e-4),
    ],
    ids=["bf16", "fp16", "checkpointed", "compiled"],
)
def test_precision_checkpointing_and_compilation_go_with_it(
    folder: Path, own: dict[str, Any], tolerance: float
) -> None:
    """In bf16, weights are gathered rounded.

    This includes those of embeddings and norms, which autocast of a whole model leaves in 32 bits. Not in
    fp16: the scaled gradients of norms overflowed, steps were skipped, and losses differed by 0.1.
    """
    name, shorter = "-".join(map(str, own.values())) + "-".join(own), {"ema": None, "epochs": 2}
    run(folder, f"{name}1", 1, runtime={"sharding": "none", **own}, settings=shorter)
    run(folder, f"{name}2", 2, runtime=own, settings=shorter)
    pairs = zip(points(folder, f"{name}1"), points(folder, f"{name}2"), strict=True)
    assert all(
        two["loss"] == pytest.approx(one["loss"], abs=tolerance) for one, two in pairs if "loss" in one
    )


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(4, 2), (4, 1), (1, 2), (1, 4)])
def test_the_reverse(folder: Path, before: int, after: int) -> None:
    own = f"of{before}to{after}"
    run(folder, "never", before, STOPPED, checkpoints=own, stop=17)
    assert_close(folder, resumed(folder, folder / own, after), "one")
