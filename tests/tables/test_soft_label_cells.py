"""What is read in the cells of a file of soft labels, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baton import params
from baton.tables.soft_label_cells import ClassColumns
from tests.tables.soft_label_files import NAMES, refused

Settings = Callable[..., params.TextPreprocess]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ("0.5,-0.5", "good is negative: -0.5"),
        ("0.5,", "good is empty"),
        ("nan,1", "bad is empty"),
        ("0.5,much", "good 'much' is not a number"),
        ('"0,5",1', "bad '0,5' is not a number"),
        ("50%,50%", "bad '50%' is not a number"),
        ("inf,1", "bad 'inf' is infinite"),
        ("0,0.0", "all weights are 0"),
        ("1", "line 3: 2 fields instead of 3"),
    ],
)
def test_weights_that_are_none_are_refused_by_row(
    tmp_path: Path, settings: Settings, cells: str, reason: str
) -> None:
    for text in ("text 2", "a text that no row has"):
        content = f"text,bad,good\ntext 1,1,1\n{text},{cells}\ntext 3,1,1\n"
        message = refused(tmp_path, content, settings())
        assert "soft_labels.csv: 1 of 3 rows cannot be used" in message
        assert f"- soft_labels:2: {reason}" in message
        assert ("write the softmax" in message) == ("negative" in reason)


def test_only_the_first_wrong_rows_are_shown(tmp_path: Path, settings: Settings) -> None:
    rows = "".join(f"text {number},-1,1\n" for number in range(9))
    message = refused(tmp_path, f"text,bad,good\n{rows}", settings())
    assert "9 of 9 rows cannot be used" in message and "soft_labels:5: " in message
    assert "soft_labels:6" not in message and "- and 4 more" in message


@pytest.mark.parametrize("text", ["text 2", "a text that no row has"])
def test_labels_that_are_none_are_refused_by_row(tmp_path: Path, settings: Settings, text: str) -> None:
    wanted = settings(label_names=NAMES)
    message = refused(tmp_path, f"text,label\ntext 1,good\n{text},Good\ntext 3,Good\n", wanted)
    assert "labels in column 'label' are none of the classes" in message
    assert "- soft_labels:2: 'Good' (2 rows)" in message and "expected: 'bad', 'good'" in message
    message = refused(tmp_path, f"text,label\ntext 1,1\n{text},2\ntext 3,0\n", wanted)
    assert "- soft_labels:2: '2' (1 rows)" in message and "expected: '0', '1'" in message
    message = refused(tmp_path, f"text,label\ntext 1,good\n{text},\n", wanted)
    assert "- soft_labels:2: label is empty" in message


@pytest.mark.parametrize(
    "weights", [(1e-60, 3e-60), (5e60, 1.5e61), (0.25, 0.75), (1, 3), ("1e0", b" 3 "), (5e-324, 1.5e-323)]
)
def test_weights_of_any_size_become_probabilities(weights: tuple[Any, ...]) -> None:
    said = ClassColumns(("bad", "good"), (0, 1))
    found = said.probabilities(np.array([said.numbers(weights, "")], np.float64))
    assert found == pytest.approx(np.array([[0.25, 0.75]]))
