"""Room for trained weights in DVC's cache."""

from pathlib import Path

import pytest

from baton.errors import OutputError
from baton.workspace import weights


def test_room_for_the_models_that_are_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(tmp_path, "models/teacher").mkdir(parents=True)
    Path(tmp_path, "models/teacher/model.safetensors").write_bytes(bytes(1000))
    weights.check_room(tmp_path, 10)
    usage = type("Usage", (), {"free": 9_999})
    monkeypatch.setattr(weights.shutil, "disk_usage", lambda _: usage)
    weights.check_room(tmp_path, 9)
    with pytest.raises(OutputError, match="no room"):
        weights.check_room(tmp_path, 10)
