"""`python -m benchmarks.gpu` on tiny sizes on the CPU: every piece, time limits, the table, R8's lengths."""

import argparse
import dataclasses
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from baton.errors import DataError
from baton.runtime import kernels
from benchmarks import _gpu_checks, _gpu_course, _gpu_process, _gpu_table, _gpu_training, _gpu_work, gpu

# One of each kind; the others are the same code on another model.
KINDS = [
    "versions",
    "ceiling",
    "tests",
    "bert-packed",
    "bert-trainer-compiled",
    "vit",
    "minilm-eager",
    "resume-eager",
    "overflow",
    "data",
]


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> gpu.Work:
    work = gpu.prepare("minilm", tmp_path / "work", gpu.TINY)
    monkeypatch.chdir(work.project)
    return work


def run(folder: Path, *arguments: str) -> dict[str, Any]:
    gpu.main([*arguments, "--json", str(folder / "results/gpu.json"), "--folder", str(folder / "work")])
    found: dict[str, Any] = json.loads((folder / "results/gpu.json").read_text())
    return found


@pytest.mark.slow
def test_pieces_on_the_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [piece.name for piece in gpu.chosen(KINDS)]
    found = run(tmp_path, "--tiny", "--only", *names)
    assert sorted(found) == sorted(names)
    assert {name: result for name, result in found.items() if not result["ok"]} == {}
    for name in names:
        if name.partition("-")[0] in {"bert", "vit", "minilm"}:
            assert found[name]["samples_per_second"] > 0 and found[name]["first_step_seconds"] > 0
            assert (
                found[name]["operations_per_second"] > 0
                and found[name]["of_ceiling"] > 0
                and "mfu" not in found[name]
            )
    assert 0 <= found["minilm-eager"]["waiting_share"] < 1 and found["minilm-eager"]["recompiles"] == 0
    printed = capsys.readouterr().out
    assert "first step, s" in printed and "the same bits" in printed and "step skipped" in printed


@pytest.mark.slow
def test_all_pieces_in_processes_of_their_own(tmp_path: Path) -> None:
    """As on a GPU: untimed pieces in parallel, the rest in a few processes."""
    found = run(tmp_path, "--tiny", "--apart")
    assert {name: result for name, result in found.items() if not result["ok"]} == {} and len(found) == len(
        gpu.pieces()
    )
    apart = {piece.name for piece in gpu.pieces() if piece.fresh or not piece.timed}
    assert {path.name for path in (tmp_path / "work/pieces").iterdir()} == {"versions", *apart}


@pytest.mark.alone
def test_a_stop_in_the_first_step(tiny: gpu.Work) -> None:
    found = _gpu_checks.stopped_in_compiler(tiny)
    assert found["ok"], found
    assert "exit code 143" in found["found"]


def test_without_an_overflow_the_check_of_it_fails(tiny: gpu.Work) -> None:
    """Negative control."""
    assert not _gpu_course.overflow(tiny, factor=1.0)["ok"]


@pytest.mark.slow
def test_pieces_share_a_process_until_one_is_cut_off(tmp_path: Path) -> None:
    """The second piece starts in the first one's process, exceeds its limit, and does not lose the third."""
    options = argparse.Namespace(tiny=True, project=None, folder=tmp_path)
    pieces = {"ceiling": {}, "minilm-eager": {"limit": 0.01}, "versions": {}, "overflow": {"fresh": True}}
    wanted = [dataclasses.replace(gpu.chosen([name])[0], **changes) for name, changes in pieces.items()]
    found = {
        piece.name: (figures, seconds)
        for piece, figures, seconds in _gpu_process.results(wanted, options, time.monotonic() + 100)
    }
    assert [name for name, (figures, _) in found.items() if not figures["ok"]] == ["minilm-eager"]
    cut = found["minilm-eager"][0]
    assert cut["cut_off"] and "cut off at its limit" in cut["found"] and "at the limit:" in cut["output"], (
        "it reports where it was"
    )
    assert sorted(path.name for path in (tmp_path / "pieces").iterdir()) == [
        "ceiling",
        "overflow",
        "versions",
    ], "three processes in total"


def test_a_process_that_dies_says_so(tmp_path: Path) -> None:
    options = argparse.Namespace(tiny=True, project=None, folder=tmp_path)
    child = _gpu_process.Child(["versions"], options)
    child.process.kill()
    assert "exit code -9" in child.result("versions", 60.0)["found"]
    late = _gpu_process.results(gpu.chosen(["versions"]), options, time.monotonic() + 1)
    assert [figures["found"] for _, figures, _ in late] == ["not started: no time was left"]


def test_what_is_not_timed_runs_side_by_side_and_before_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together, order = threading.Barrier(2, timeout=30), []

    def results(wanted: Any, options: Any, end: float) -> Any:
        if len(wanted) == 1:
            together.wait()  # blocks until both are here
        for piece in wanted:
            order.append(piece.name)
            yield piece, {"ok": True, "found": "fine"}, 1.0

    monkeypatch.setattr(_gpu_process, "results", results)
    found = run(tmp_path, "--only", "ceiling", "overflow", "tests", "versions")
    assert (
        sorted(order[:2]) == ["overflow", "tests"]
        and order[2:] == ["versions", "ceiling"]
        and len(found) == 4
    )


def test_a_failed_piece_does_not_lose_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(work: gpu.Work, folder: Path) -> dict[str, Any]:
        raise RuntimeError("out of luck")

    bad = gpu.Piece("bad", "", 10.0, fail)
    monkeypatch.setattr(
        gpu, "pieces", lambda: [bad, gpu.Piece("good", "", 10.0, lambda work, folder: {"found": "fine"})]
    )
    found = run(tmp_path, "--tiny")
    assert not found["bad"]["ok"] and "out of luck" in found["bad"]["found"] and found["good"]["ok"]
    late = run(tmp_path, "--tiny", "--seconds", "0")
    assert "no time was left" in late["good"]["found"]


def test_an_unknown_piece_is_named() -> None:
    with pytest.raises(DataError, match="only"):
        gpu.chosen(["bort"])


def test_lengths_are_those_of_r8() -> None:
    """Cachopo's split has 5,485 training texts, less 10% for validation and those dropped by checks.

    Each has at most 128 tokens.
    """
    lengths = _gpu_work.real_lengths()
    assert 4800 < len(lengths) < 4940 and lengths.max() == 128 and lengths.min() > 2


def test_the_file_of_lengths_is_made_from_arrays(tiny: gpu.Work, tmp_path: Path) -> None:
    _gpu_work.write_lengths(tiny.project, tmp_path / "made.json")
    counts = json.loads((tmp_path / "made.json").read_text())["train"]
    offsets = np.load(tiny.project / "data/arrays/train.offsets.npy")
    assert sum(int(length) * count for length, count in counts.items()) == offsets[-1]


def test_real_arrays_are_taken_where_there_are_some(tiny: gpu.Work, tmp_path: Path) -> None:
    work = gpu.prepare("bert", tmp_path / "again", gpu.TINY, tiny.project)
    assert np.array_equal(
        np.load(work.project / "data/arrays/train.tokens.npy"),
        np.load(tiny.project / "data/arrays/train.tokens.npy"),
    )


def test_the_table_knows_shares_and_targets(capsys: pytest.CaptureFixture[str]) -> None:
    def rate(samples: float, operations: float = 1e14) -> dict[str, Any]:
        return {
            "ok": True,
            "samples_per_second": samples,
            "operations_per_second": operations,
            "padded_operations_per_second": operations,
        }

    found: _gpu_table.Results = {
        "versions": {
            "ok": True,
            "card": "NVIDIA H100 80GB HBM3",
            "other_than_locked": {"torch": "2.11.0, locked 2.14.1"},
        },
        "ceiling": {"ok": True, "bf16_operations_per_second": 8e14, "copied_bytes_per_second": 3e12},
        "bert-compiled": rate(900.0, 989.5e12 / 2),
        "bert-packed": rate(1200.0),
        "bert-trainer": rate(500.0),
        "bert-trainer-compiled": rate(400.0),
    }
    _gpu_table.add_shares(found)
    assert found["bert-compiled"]["mfu"] == pytest.approx(0.5) and found["bert-packed"][
        "of_ceiling"
    ] == pytest.approx(1 / 8)
    assert _gpu_table.to_trainer(found, "bert") == pytest.approx(1200 / 500)
    _gpu_table.show(found)
    printed = capsys.readouterr().out
    assert (
        "| BERT-base, samples/s relative to Trainer's best | 2.00 | 2.40 |" in printed
        and "NOT the locked versions" in printed
    )


def test_the_table_names_what_was_cut_off(capsys: pytest.CaptureFixture[str]) -> None:
    cut = {"ok": False, "found": "cut off at its limit of 180 s", "cut_off": True, "seconds": 182.0}
    _gpu_table.show(
        {"bert-trainer-compiled": cut, "tests": {"ok": True, "found": "39 passed", "seconds": 100.4}}
    )
    printed = capsys.readouterr().out
    assert "| bert-trainer-compiled | CUT OFF | cut off at its limit of 180 s | 182 |" in printed
    assert "| tests | ok | 39 passed | 100 |" in printed


def test_a_report_of_failed_tests_is_read(tmp_path: Path) -> None:
    report = tmp_path / "tests.xml"
    cases = (
        '<testcase classname="a" name="b"><failure message="wrong&#10;more">x</failure></testcase>'
        '<testcase classname="a" name="c"/>'
    )
    report.write_text(
        '<testsuites><testsuite tests="3" skipped="1" failures="1" errors="0">'
        f"{cases}</testsuite></testsuites>"
    )
    found = _gpu_checks.summary(report)
    assert (
        not found["ok"]
        and found["found"] == "1 passed, 1 failed, 1 skipped"
        and found["failed"] == {"a.b": ["wrong", "more"]}
    )
    assert not _gpu_checks.summary(tmp_path / "none.xml")["ok"]


def test_the_data_path_is_measured_by_a_thread_and_by_processes(
    tiny: gpu.Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`auto` decides by the time of a step, and there is none: it would always take the most workers."""
    used: list[Any] = []
    for name in ("_threaded", "_loaded"):
        real = getattr(_gpu_training.loader, name)
        monkeypatch.setattr(
            _gpu_training.loader,
            name,
            lambda *given, real=real, name=name: used.append((name, given[1:])) or real(*given),
        )
    found = _gpu_training.data_path(tiny)
    most = max(len(os.sched_getaffinity(0)) - 1, 1)
    assert [name for name, _ in used] == ["_threaded", "_loaded"] and used[1][1][-1] == most
    assert (
        list(found["samples_per_second_by"]) == ["a thread", f"{most} processes"]
        and min(found["samples_per_second_by"].values()) > 0
    )
    assert "samples/s by a thread" in found["found"] and "samples_per_second" not in found, (
        "it is not a training run"
    )


def test_versions_say_what_a_compiler_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "compiler_lacks", lambda: "package triton")
    assert _gpu_checks.versions(torch.device("cpu"))["compiler_lacks"] == "package triton"


def test_the_first_batch_again_and_again_is_the_step_alone(tiny: gpu.Work) -> None:
    _, _, batches = _gpu_training.setup(tiny, compile=False)
    course = _gpu_training.Course(batches, 100)
    assert course.steps_per_epoch == 100 and course.size(0) == batches.size(0)
    assert sys.getsizeof(course) and not hasattr(course, "__len__")
