"""The data path alone: every side runs and reports its speed."""

import json
from pathlib import Path

import pytest

from benchmarks import image_feed


def test_every_side_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image_feed.main(["--tiny", "--device", "cpu", "--output", str(tmp_path / "rates.json")])
    rows = json.loads((tmp_path / "rates.json").read_text())
    assert [row["side"] for row in rows] == [
        "augmented on the host, 0 workers",
        "augmented on the host, 1 workers",
        "augmented on the device, images copied",
        "augmented on the device, images kept there",
    ]
    assert all(row["pictures_per_second"] > 0 and row["slowest_ms"] > 0 for row in rows)
    assert "| augmented on the device, images kept there | " in capsys.readouterr().out
