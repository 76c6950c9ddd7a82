"""Files of soft labels for tests: two classes, and texts `text 0` to `text 9` to learn from."""

from pathlib import Path

import pytest

from baton import params
from baton.errors import DataError
from baton.tables import soft_label_rows
from baton.tables.rows import Row
from baton.tables.unlabelled_table import digest

CLASSES = ("bad", "good")
NAMES = {"0": "bad", "1": "good"}
LEARNT = {digest(Row("train", 1, f"text {number}", "")) for number in range(10)}


def read(tmp_path: Path, content: str, settings: params.TextPreprocess) -> soft_label_rows.SoftRows:
    path = tmp_path / "soft_labels.csv"
    path.write_text(content)
    return soft_label_rows.read(path, settings, CLASSES, LEARNT, {})


def refused(tmp_path: Path, content: str, settings: params.TextPreprocess) -> str:
    with pytest.raises(DataError) as caught:
        read(tmp_path, content, settings).probabilities()
    message = str(caught.value)
    assert all(part in message for part in ("soft_labels.csv", "got:", "expected:", "next:"))
    return message
