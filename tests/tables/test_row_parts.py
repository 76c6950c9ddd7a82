"""What `preprocess` writes does not depend on the parts in which rows are read, kept and compared."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baton import params
from baton.tables import near_candidates, near_duplicates, row_files, row_sets
from baton.tables.row_files import Spool
from baton.tables.rows import Extras, Row
from baton.tables.stored_rows import StoredRows
from tests.tables.messy_tables import SCENARIOS, clean_all

Settings = Callable[..., params.TextPreprocess]
WHOLE = 10**9


def set_parts(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Let everything that works in parts, or in slices of hashes, have `size` rows in each."""
    for module, names in {
        row_files: ("PART",),
        row_sets: ("AT_ONCE", "SORTED"),
        near_candidates: ("CHUNK", "SORTED"),
        near_duplicates: ("CHUNK",),
    }.items():
        for name in names:
            monkeypatch.setattr(module, name, size)


def digests(name: str, settings: Settings, monkeypatch: pytest.MonkeyPatch, *sizes: int) -> list[str]:
    """Clean the tables of a scenario with parts of each of `sizes`."""
    scenario, found = SCENARIOS[name], list[str]()
    for size in sizes:
        set_parts(monkeypatch, size)
        found.append(clean_all(scenario, settings(scenario.checks, **scenario.settings)))
    return found


@pytest.mark.parametrize("name", ["one file", "shots of a file", "limits"])
def test_outputs_are_the_same_bytes_whatever_the_size_of_parts(
    name: str, workplace: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len({*digests(name, settings, monkeypatch, 7, 100, 1000, WHOLE)}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", list(SCENARIOS))
def test_every_kind_of_table_gives_the_same_bytes(
    name: str, workplace: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {split: 3 * rows for split, rows in SCENARIOS[name].files.items()}
    monkeypatch.setitem(SCENARIOS, name, SCENARIOS[name]._replace(files=files))
    assert len({*digests(name, settings, monkeypatch, 7, 1000, WHOLE)}) == 1


def test_control_comparing_rows_within_their_part_only_gives_other_bytes(
    workplace: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = row_sets.firsts

    def within_parts(values: Any) -> Any:
        size = row_files.PART
        starts = range(0, len(values), size)
        found = [start + whole(values[start : start + size]) for start in starts]
        return np.concatenate([np.zeros(0, np.int64), *found])

    monkeypatch.setattr(row_sets, "firsts", within_parts)
    part, table = digests("one file", settings, monkeypatch, 7, WHOLE)
    assert part != table


# ---- rows on disk ------------------------------------------------------------------------------------------

ROWS = [
    Row("train", 1, "one", "a"),
    Row("train", 3, "zwei \udcff", "b", Extras("g", 1.5, 2.0, ("x", "\udc80"), dated=True)),
    Row("train", 4, "", "", pair="second"),
    *(Row("train", number, f"text {number}", "c", Extras(weight=0.5)) for number in range(5, 20)),
]


@pytest.fixture(params=[1, 3, WHOLE])
def stored(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoredRows:
    monkeypatch.setattr(row_files, "PART", request.param)
    spool = Spool(tmp_path, "train")
    for row in ROWS:
        spool.append(row)
    assert len(spool) == len(ROWS)
    return StoredRows((spool.ended(),))


def test_rows_come_back_as_they_were(stored: StoredRows) -> None:
    assert list(stored) == ROWS
    assert [stored[place] for place in range(len(ROWS))] == ROWS
    assert list(stored[2:9:3]) == ROWS[2:9:3]
    assert [(row.id, row.label, row.extras) for row in stored.brief()] == [
        (row.id, row.label, row.extras) for row in ROWS
    ]
    assert {row.text for row in stored.brief()} == {""}


def test_some_rows_and_changes(stored: StoredRows) -> None:
    def louder(row: Row) -> Row:
        return Row(row.split, row.number, row.text.upper(), row.label + "!", row.extras, pair=row.pair)

    keep = np.arange(len(ROWS)) % 3 == 1
    some = stored.where(keep).changed(louder, texts=True)
    assert list(some) == [louder(row) for row in ROWS[1::3]]
    assert some[2] == louder(ROWS[7])
    over = some.over(stored)
    assert list(over) == [louder(row) if keep[place] else row for place, row in enumerate(ROWS)]
    assert list(over.where(keep)) == list(some)


def test_a_part_ends_when_it_has_enough_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_files, "LETTERS", 12)
    spool = Spool(tmp_path, "train")
    for row in ROWS:
        spool.append(row)
    rows = StoredRows((spool.ended(),))
    assert list(rows) == ROWS
    assert len(rows._files[0].starts) > len(ROWS) // 2


def test_no_rows(tmp_path: Path) -> None:
    assert list(StoredRows((Spool(tmp_path, "train").ended(),))) == []


def test_equal_digests_get_the_first_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{number % 37}" for number in range(500)]
    for size in (3, WHOLE):
        monkeypatch.setattr(row_sets, "SORTED", size)
        monkeypatch.setattr(row_sets, "AT_ONCE", size)
        assert row_sets.numbered(names, 500).tolist() == [number % 37 for number in range(500)]


def pieces() -> Iterator[str]:
    return iter("abcab")


def test_numbers_of_names() -> None:
    codes, names = row_sets.coded(pieces(), 5)
    assert (codes.tolist(), names) == ([0, 1, 2, 0, 1], ["a", "b", "c"])
    assert row_sets.counted(codes).tolist() == [0, 0, 0, 1, 1]
    assert row_sets.earliest(codes, 4).tolist() == [0, 1, 2, -1]
    assert row_sets.earliest(codes, 3, np.arange(5) > 1).tolist() == [3, 4, 2]
