"""Test that snapshots hold the values of one moment, in reused memory, and only if there is enough."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from baton.runtime import memory
from baton.train import snapshot


def parts(value: float) -> dict[str, dict[str, torch.Tensor]]:
    layout = torch.full((2, 3, 4, 5), value).to(memory_format=torch.channels_last)
    odd = {
        "mask": torch.tensor([True]),
        "bytes": torch.arange(7, dtype=torch.uint8),
        "half": torch.full((3,), value).bfloat16(),
    }
    return {
        "model": {"weight": layout, "scalar": torch.tensor(value)},
        "none": {},
        "odd": {**odd, "empty": torch.zeros(0, 4)},
    }


def test_copies_stay_when_what_was_copied_changes() -> None:
    values, taken = parts(1.5), snapshot.Snapshot().take(parts(1.5))
    assert taken is not None
    copies, ready = taken
    ready()
    assert {part: list(tensors) for part, tensors in copies.items()} == {
        part: list(tensors) for part, tensors in values.items()
    }
    for part, tensors in values.items():
        for name, tensor in tensors.items():
            copy = copies[part][name]
            assert copy.dtype == tensor.dtype and copy.shape == tensor.shape and torch.equal(copy, tensor), (
                name
            )


def test_memory_is_used_again() -> None:
    own = snapshot.Snapshot()
    first, second = own.take(parts(1.0)), own.take(parts(2.0))
    assert first is not None and second is not None
    assert first[0]["model"]["weight"].data_ptr() == second[0]["model"]["weight"].data_ptr()
    assert float(second[0]["model"]["scalar"]) == 2.0
    own.free()
    assert len(own._block) == 0


def test_what_does_not_fit_is_not_copied_and_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {"model": {"weight": torch.zeros(1000)}}
    monkeypatch.setattr(memory, "available", lambda: 5333)
    own = snapshot.Snapshot()
    assert own.take(values) is None and own.take(values) is None
    assert (
        " ".join(capsys.readouterr().out.split()).count("training waits while each checkpoint is written")
        == 1
    )
    monkeypatch.setattr(memory, "available", lambda: 5334)  # three quarters of it are 4000.5
    assert own.take(values) is not None


@pytest.mark.parametrize(
    ("wanted", "processes", "free", "said"),
    [
        (10, 1, 100, None),
        (75, 1, 100, None),
        (76, 1, 100, "76.0 GB, more than 75% of the 100.0 GB that are free"),
        (9, 8, 100, None),
        (10, 8, 100, "8 times 10.0 GB, more than 75% of the 100.0 GB that are free"),
    ],
)
def test_all_processes_of_a_machine_take_their_copies_at_once(
    wanted: int, processes: int, free: int, said: str | None
) -> None:
    """Sizes are in units of 10^9 bytes."""
    found = snapshot.too_large(wanted * 10**9, processes, free * 10**9)
    assert found == (said and f"a copy of the checkpoint takes {said}")


def test_memory_that_the_system_refuses_is_done_without(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A limit that cannot be queried (`ulimit -v`, kernel overcommit); here the whole address space."""
    monkeypatch.setattr(memory, "available", lambda: 1 << 62)
    own, wanted = snapshot.Snapshot(), 1 << 61
    assert not own._grow(wanted, pin=False) and not own._grow(wanted, pin=False)
    assert (
        " ".join(capsys.readouterr().out.split()).count("training waits while each checkpoint is written")
        == 1
    )
    assert own.take(parts(1.0)) is not None, "copies that fit are still made"


def test_a_failed_registration_is_followed_by_what_takes_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []

    def fail(*_: int) -> None:
        happened.append("failed")
        raise RuntimeError("Registering memory failed with cudaError: 2")

    monkeypatch.setattr(snapshot.pinning, "pin_memory", fail)
    monkeypatch.setattr(snapshot, "_take_error", lambda: happened.append("taken"))
    assert snapshot.Snapshot()._grow(64, pin=True)
    assert happened == ["failed", "taken"]


@pytest.mark.gpu
def test_on_cuda_memory_that_cannot_be_pinned_leaves_no_error_behind(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The runtime keeps the error of a failed registration until it is read, as the next launch does."""
    pin = snapshot.pinning.pin_memory
    monkeypatch.setattr(snapshot.pinning, "pin_memory", lambda address, size: pin(0, 0))
    values, own = {"model": {"weight": torch.ones(1000, device="cuda")}}, snapshot.Snapshot()
    taken = own.take(values)
    values["model"]["weight"].add_(1)
    assert "cannot be pinned" in " ".join(capsys.readouterr().out.split())
    assert taken is not None and not own._pinned
    taken[1]()
    assert bool((taken[0]["model"]["weight"] == 1).all()) and bool((values["model"]["weight"] == 2).all())
    own.free()


@pytest.mark.gpu
def test_on_cuda_copies_are_of_the_moment_although_nobody_waits() -> None:
    values = {"model": {"weight": torch.zeros(64, 1024, 1024, device="cuda")}}
    own = snapshot.Snapshot()
    own.take(values)  # memory is pinned once
    for step in range(1, 4):
        values["model"]["weight"].fill_(step)
        torch.cuda.set_sync_debug_mode("error")
        taken = own.take(values)
        torch.cuda.set_sync_debug_mode("default")
        values["model"]["weight"].add_(100)
        assert taken is not None and taken[0]["model"]["weight"].is_pinned()
        with ThreadPoolExecutor(1) as thread:
            thread.submit(taken[1]).result()
            assert thread.submit(torch.cuda.current_device).result() == torch.cuda.current_device()
        assert bool((taken[0]["model"]["weight"] == step).all())
    own.free()
