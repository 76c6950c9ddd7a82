"""Test sharded checkpoints as one process writes and reads them: verified, and with empty parts."""

from pathlib import Path

import pytest
import torch
from torch import nn

from baton.errors import OutputError
from baton.runtime import memory
from baton.train import checkpoint, sharded_checkpoint, shards


@pytest.fixture
def saved(tmp_path: Path) -> sharded_checkpoint.ShardedCheckpoints:
    """Save two checkpoints before the first validation: there are no best weights yet."""
    model = nn.Linear(3, 2)
    made = sharded_checkpoint.ShardedCheckpoints(
        checkpoint.Checkpoints(tmp_path / "teacher", 0.0, {"run": "r7"}), model
    )
    for step in (1, 2):
        made.save(
            f"000{step}",
            {"model": model.state_dict(), "best": {}, "update": {"scale": torch.tensor(float(step))}},
            {"step": step},
        )
    return made


def test_what_was_saved_is_read(saved: sharded_checkpoint.ShardedCheckpoints) -> None:
    found = saved.load()
    assert found and found.state["step"] == 2 and found.state["notes"] == {"run": "r7"}
    assert found.parts["best"] == {} and float(found.parts["update"]["scale"]) == 2.0
    assert all(
        torch.equal(found.parts["model"][name], value) for name, value in saved.model.state_dict().items()
    )


def test_where_there_is_no_memory_for_a_copy_it_is_asked_for_once(
    saved: sharded_checkpoint.ShardedCheckpoints,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(memory, "available", lambda: asked.append(1) or 0)
    for step in (3, 4):
        saved.save(f"000{step}", {"model": saved.model.state_dict()}, {"step": step}, wait=False)
        assert (found := saved.load()) and found.state["step"] == step, "it was waited for"
    assert len(asked) == 1
    assert (
        " ".join(capsys.readouterr().out.split()).count("so training waits while each checkpoint is written")
        == 1
    )


@pytest.mark.parametrize(("wait", "most"), [(True, 0.3), (False, 1.3)])
def test_writing_takes_no_more_memory_than_the_copy(
    saved: sharded_checkpoint.ShardedCheckpoints, wait: bool, most: float
) -> None:
    """`most` is a multiple of the checkpoint's size.

    `torch.distributed.checkpoint.save` took 2 more: its own copy, and the file.
    """
    parts = {"model": {"weight": torch.ones(1 << 25)}}
    memory.reset_peak()
    before = memory.peak_memory()
    with saved.writing():
        saved.save("0003", parts, {}, wait=wait)
    assert memory.peak_memory() - before < most * parts["model"]["weight"].nbytes


def test_whatever_the_thread_that_writes_meets_is_an_error_of_ours(
    saved: sharded_checkpoint.ShardedCheckpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("CUDA error: unspecified launch failure\nmore")

    monkeypatch.setattr(shards, "put", fail)
    failure = "RuntimeError: CUDA error: unspecified launch failure"
    told = rf"0003 cannot be written\n.*got: +{failure}\n.*next: +run again"
    with pytest.raises(OutputError, match=told), saved.writing():
        saved.save("0003", {"model": saved.model.state_dict()}, {"step": 3}, wait=False)
    assert sorted(path.name for path in saved.folder.iterdir()) == ["0001", "0002"]


@pytest.mark.parametrize("spoil", ["flip", "cut", "remove"])
def test_a_broken_one_is_named_and_the_one_before_is_read(
    saved: sharded_checkpoint.ShardedCheckpoints, spoil: str, capsys: pytest.CaptureFixture[str]
) -> None:
    part = next((saved.folder / "0002").glob("*.safetensors"))
    content = bytearray(part.read_bytes())
    content[-1] ^= 1
    part.unlink() if spoil == "remove" else part.write_bytes(content[:-1] if spoil == "cut" else content)
    found = saved.load()
    assert found and found.state["step"] == 1
    assert "0002 is broken" in " ".join(capsys.readouterr().out.split())
    assert not (saved.folder / "0002").exists()
