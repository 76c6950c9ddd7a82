"""Checkpoints for any number of processes, as one process writes and reads them: verified, and with parts that are empty."""

from pathlib import Path

import pytest
import torch
from torch import nn

from baton.train import checkpoint, sharded_checkpoint


@pytest.fixture
def saved(tmp_path: Path) -> sharded_checkpoint.ShardedCheckpoints:
    """Two checkpoints from before the first validation: there are no best weights yet."""
    model = nn.Linear(3, 2)
    made = sharded_checkpoint.ShardedCheckpoints(checkpoint.Checkpoints(tmp_path / "teacher", 0.0, {"run": "r7"}), model)
    for step in (1, 2):
        made.save(f"000{step}", {"model": model.state_dict(), "best": {}, "update": {"scale": torch.tensor(float(step))}}, {"step": step})
    return made


def test_what_was_saved_is_read(saved: sharded_checkpoint.ShardedCheckpoints) -> None:
    found = saved.load()
    assert found and found.state["step"] == 2 and found.state["notes"] == {"run": "r7"}
    assert found.parts["best"] == {} and float(found.parts["update"]["scale"]) == 2.0
    assert all(torch.equal(found.parts["model"][name], value) for name, value in saved.model.state_dict().items())


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
