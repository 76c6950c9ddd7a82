"""Test the loader: measurement and free shared memory decide how batches are prepared, not their content."""

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from baton.runtime import resolve
from baton.train import loader
from tests import tiny


@dataclasses.dataclass(frozen=True)
class Part:
    values: torch.Tensor

    def pin_memory(self) -> "Part":
        return self


@dataclasses.dataclass(frozen=True)
class Numbered:
    """Batches that hold the number of their step."""

    slow: float = 0.0
    steps_per_epoch: int = 100

    def size(self, step: int) -> int:
        return 1

    def names(self, step: int) -> list[str]:
        return [str(step)]

    def micro_batches(self, step: int) -> list[tuple[Part, float]]:
        time.sleep(self.slow)
        return [(Part(torch.full((10,), step)), 1.0)]


def machine(workers: int | None) -> resolve.Runtime:
    return dataclasses.replace(tiny.machine(), loader_workers=workers, threads=2)


def steps(fed: Iterator[loader.Parts]) -> list[int]:
    return [int(parts[0][0].values[0]) for parts in fed]


@pytest.mark.parametrize("workers", [None, 0, 1])
@pytest.mark.parametrize(("start", "end"), [(3, 50), (3, 9), (3, 4), (3, 3)])
def test_steps_come_in_order_and_once(workers: int | None, start: int, end: int) -> None:
    assert steps(loader.parts(Numbered(), start, end, machine(workers))) == list(range(start, end))


def test_workers_are_as_many_as_a_step_needs() -> None:
    assert loader.workers(0.030, 0.060, 15) == 0  # a thread has enough time
    assert loader.workers(0.031, 0.060, 15) == 1
    assert loader.workers(0.060, 0.060, 15) == 2
    assert loader.workers(0.600, 0.060, 15) == 15
    assert loader.workers(0.600, 0.060, 7) == 7
    assert loader.workers(0.600, 0.060, 0) == 0  # no processor is left: a thread
    assert loader.workers(0.1, 0.0, 3) == 3


def test_what_preparation_takes_decides(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[int] = []
    loaded = loader._loaded
    monkeypatch.setattr(loader, "_loaded", lambda *given: asked.append(given[-1]) or loaded(*given))
    assert steps(loader.parts(Numbered(slow=0.003), 0, 30, machine(None))) == list(
        range(30)
    )  # steps take no time
    assert asked == [1]
    assert "loader_workers: 1 process: a batch takes" in capsys.readouterr().out
    fed = loader.parts(Numbered(), 0, 30, machine(None))
    assert [time.sleep(0.002) or int(parts[0][0].values[0]) for parts in fed] == list(range(30))
    assert asked == [1]
    assert "loader_workers: a thread: " in capsys.readouterr().out


class Lagging:
    """An asynchronous device like CUDA: a step is launched at once, and takes `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.done_at = seconds, 0.0

    def launch(self) -> None:
        self.done_at = max(self.done_at, time.perf_counter()) + self.seconds

    def synchronize(self, _device: torch.device) -> None:
        time.sleep(max(self.done_at - time.perf_counter(), 0.0))


@pytest.mark.parametrize(("preparation", "step", "most"), [(0.002, 0.040, 0), (0.010, 0.010, 5)])
def test_a_step_is_what_the_device_takes(
    monkeypatch: pytest.MonkeyPatch, preparation: float, step: float, most: int
) -> None:
    """Launches take no time: judged by them, 15 processes would prepare batches in both cases."""
    device, found = Lagging(step), list[int]()
    monkeypatch.setattr(torch.cuda, "synchronize", device.synchronize)
    monkeypatch.setattr(
        loader,
        "_loaded",
        lambda _batches, start, end, _machine, count: found.append(count) or iter([[]] * (end - start)),
    )
    cuda = dataclasses.replace(machine(None), device=torch.device("cuda"), threads=16)
    for _ in loader.parts(Numbered(slow=preparation), 0, 30, cuda):
        device.launch()
    assert sum(found) <= most and bool(found) == bool(most)


@pytest.mark.gpu
def test_a_step_on_cuda_is_what_the_device_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """20 ms at 2 GHz, launched in microseconds: a thread prepares a batch in 2 ms."""
    found = list[int]()
    monkeypatch.setattr(
        loader,
        "_loaded",
        lambda _batches, start, end, _machine, count: found.append(count) or iter([[]] * (end - start)),
    )
    cuda = dataclasses.replace(machine(None), device=torch.device("cuda"), threads=16)
    for _ in loader.parts(Numbered(slow=0.002), 0, 30, cuda):
        torch.cuda._sleep(40_000_000)
    assert found == []


def test_a_validation_between_two_steps_is_no_step_and_first_steps_do_not_count() -> None:
    slow_first = [9.0] * loader.SETTLING
    steps = [*slow_first, *[0.060] * 10, 30.0, *[0.060] * 9]
    assert loader.figures([*slow_first, *[0.030] * 20], steps) == (0.030, 0.060)
    assert loader.figures([0.030, 0.010], [0.2, 0.1]) == pytest.approx(
        (0.020, 0.15)
    )  # fewer than `SETTLING`: all count


def test_shared_memory_must_hold_the_batches() -> None:
    batch = 77_000_000
    assert loader.with_room(4, batch, 9 * batch) == 4
    assert loader.with_room(4, batch, 9 * batch - 1) == 3
    assert loader.with_room(4, batch, 64 * 2**20) == 0  # docker's default
    assert loader.with_room(2, 0, 64 * 2**20) == 2
    assert loader.nbytes([(Part(torch.zeros(10)), 0.5), (Part(torch.zeros(3, dtype=torch.uint8)), 0.5)]) == 43
    assert loader.room() > 0


@pytest.mark.parametrize("free", [0, 300])
def test_a_small_shared_memory_is_said_and_not_run_into(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], free: int
) -> None:
    monkeypatch.setattr(loader, "room", lambda: free)
    asked: list[int] = []
    loaded = loader._loaded
    monkeypatch.setattr(loader, "_loaded", lambda *given: asked.append(given[-1]) or loaded(*given))
    assert steps(loader.parts(Numbered(), 0, 6, machine(2))) == list(range(6))
    assert asked == ([1] if free else [])  # a batch has 80 bytes
    said = " ".join(capsys.readouterr().out.split())
    assert "too little for the batches of 2 workers" in said
    assert "--shm-size" in said


def test_a_fault_in_a_batch_reaches_the_loop() -> None:
    class Broken(Numbered):
        def micro_batches(self, step: int) -> list[tuple[Part, float]]:
            if step == 2:
                raise ValueError("step 2")
            return super().micro_batches(step)

    with pytest.raises(ValueError, match="step 2"):
        steps(loader.parts(Broken(), 0, 9, machine(None)))


def test_a_stopped_loop_leaves_no_thread() -> None:
    import threading

    fed = loader.parts(Numbered(), 0, 9, machine(None))
    next(fed)
    fed.close()  # type: ignore[attr-defined]
    assert not [
        thread for thread in threading.enumerate() if thread.name.startswith("batches") and thread.is_alive()
    ]


def test_shared_memory_is_where_torch_puts_it() -> None:
    assert Path("/dev/shm") == loader.SHARED
