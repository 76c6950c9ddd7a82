"""The tables of the report as they lie in reports/tables and reports/plots.

The HTML report shows what these files hold, so that it and `dvc plots` never disagree.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baton import storage
from baton.contracts.csv_cells import original

Row = dict[str, str]


@dataclass(frozen=True)
class Reports:
    """The folder `reports`, and data/clean next to it."""

    folder: Path
    clean: Path
    arrays: Path

    def table(self, name: str) -> list[Row]:
        """Return the rows of tables/NAME, all cells as text; none if the kind of task has no such table."""
        return self._rows(self.folder / "tables" / name)

    def plot(self, name: str) -> list[Row]:
        """Return the rows of plots/NAME."""
        return self._rows(self.folder / "plots" / name)

    def json(self, path: Path) -> dict[str, Any]:
        """Return an object of a JSON file; an empty one if there is none."""
        try:
            found = storage.read_json(path)
        except (OSError, json.JSONDecodeError):
            return {}
        return found if isinstance(found, dict) else {}

    def _rows(self, path: Path) -> list[Row]:
        import pandas as pd  # unlike `csv`, it has no limit on the length of a cell

        if not path.is_file():
            return []
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
        return [
            {original(str(key)): original(str(value)) for key, value in row.items()}
            for row in table.to_dict("records")
        ]


def points(rows: Sequence[Row], x: str, y: str) -> list[tuple[float, float]]:
    """Return the numbers of two columns."""
    return [(number(row[x]), number(row[y])) for row in rows]


def number(cell: str) -> float:
    """Return the number in a cell; an empty one is undefined."""
    return float(cell) if cell else float("nan")
