"""Which columns of a file of soft labels are read."""

from collections.abc import Callable
from pathlib import Path

import pytest

from baton import params
from baton.tables import soft_label_columns
from tests.tables.soft_label_files import NAMES, read, refused

Settings = Callable[..., params.TextPreprocess]


@pytest.mark.parametrize(
    ("header", "row", "wanted"),
    [
        ("text,bad,good", "1,3", [0.25, 0.75]),
        ("text, good ,bad", "1,3", [0.75, 0.25]),
        ("text,0,1", "1,3", [0.25, 0.75]),
        ("text,1,0", "1,3", [0.75, 0.25]),
        ("text,id,0,0.5,1", "7,1,9,3", [0.25, 0.75]),
        ("text,label,bad,good", "good,1,3", [0.25, 0.75]),
        ("text,label", "good", [0, 1]),
        ("text,label", "0", [1, 0]),
        ("text,confidence,label", "0.4, good ", [0, 1]),
    ],
)
def test_classes_are_called_by_name_or_by_raw_label(
    tmp_path: Path, settings: Settings, header: str, row: str, wanted: list[float]
) -> None:
    table = read(tmp_path, f"{header}\ntext 1,{row}\n", settings(label_names=NAMES))
    assert table.probabilities().tolist() == [wanted]


def test_columns_that_are_not_read_are_named(tmp_path: Path, settings: Settings) -> None:
    table = read(tmp_path, "id,text,bad,good,neutral\n1,text 1,1,1,5\n", settings())
    (remark,) = table.remarks
    assert remark.endswith("soft_labels.csv: columns that name no class are not read: 'id', 'neutral'")
    assert read(tmp_path, "id,text,label\n1,text 1,good\n", settings()).remarks == []


def test_several_raw_labels_of_a_class_are_added(tmp_path: Path, settings: Settings) -> None:
    names = {"1": "bad", "2": "bad", "3": "good"}
    table = read(tmp_path, "text,1,2,3\ntext 1,1,2,1\ntext 2,0,0,5\n", settings(label_names=names))
    assert table.probabilities().tolist() == [[0.75, 0.25], [0, 1]]
    assert "has no column for class '2'" in refused(
        tmp_path, "text,1,3\ntext 1,1,2\n", settings(label_names=names)
    )


def test_names_of_classes_come_before_raw_labels(tmp_path: Path, settings: Settings) -> None:
    """Where the raw label of one class is the name of another."""
    names = {"bad": "good", "worse": "bad"}
    table = read(tmp_path, "text,bad,good\ntext 1,1,0\n", settings(label_names=names))
    assert table.probabilities().tolist() == [[1, 0]]
    table = read(tmp_path, "text,bad,worse\ntext 1,1,0\n", settings(label_names=names))
    assert table.probabilities().tolist() == [[0, 1]]
    table = read(tmp_path, "text,label\ntext 1,bad\ntext 2,worse\n", settings(label_names=names))
    assert table.probabilities().tolist() == [[0, 1], [1, 0]], "all by one kind of name"


@pytest.mark.parametrize(
    ("header", "parts"),
    [
        ("text,good", ("has no column for class 'bad'", "besides texts: 'good'", "add what is missing")),
        ("text,1,x", ("has no column for class '0'", "('0', '1'), or the column 'label'")),
        ("text,Bad,good", ("has no column for class 'bad'", "'Bad', 'good'")),
        ("text,good,label", ("no column for class 'bad'", "to use 'label' instead, remove the columns")),
        ("text,x,y", ("has neither columns for the classes nor the label column 'label'", "'x', 'y'")),
        ("text", ("has neither columns for the classes", "no column besides texts")),
        ("text,bad,good,good ", ("has 2 columns for the same class or label", "'good', 'good '")),
        ("text,label,label", ("has 2 columns for the same class or label", "'label', 'label'")),
    ],
)
def test_columns_that_do_not_say_enough_are_refused(
    tmp_path: Path, settings: Settings, header: str, parts: tuple[str, ...]
) -> None:
    row = ",".join("1" for _ in header.split(",")[1:])
    message = refused(tmp_path, f"{header}\ntext 1,{row}\n", settings(label_names=NAMES))
    assert all(part in message for part in parts), message


def test_calls() -> None:
    names, raw = soft_label_columns.calls(("a", "b", "other"), {"1": " a", "2": "b", "3": "b"})
    assert names == {"a": ("a",), "b": ("b",), "other": ("other",)}
    assert raw == {"a": ("1",), "b": ("2", "3"), "other": ("other",)}
