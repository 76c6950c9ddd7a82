"""What cells of a label column may be for: lines of a recipe, and the error if there are several."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from baton.errors import DataError

CLASSES: dict[str, Any] = {"kind": "classes"}
NUMBERS: dict[str, Any] = {"kind": "numbers", "loss": "smooth_l1", "coverage": 0.9}
# At most as many words as BERT's answers on SQuAD have (Devlin et al. 2019).
SPANS: dict[str, Any] = {"kind": "spans", "max_answer_words": 30}


@dataclass(frozen=True)
class Inferred:
    """The params of a task, why they fit the column, and when another task would."""

    task: dict[str, Any]
    reason: str
    otherwise: str = ""


class Reading(NamedTuple):
    """A task that cells may be for, and when they are."""

    task: dict[str, Any]
    condition: str

    def __str__(self) -> str:
        return f"{written(self.task)} {self.condition}"


MEASURED = Reading(NUMBERS, "if they measure or count something")
CODES = Reading(CLASSES, "if each is a name, such as a code or a grade")


def written(task: dict[str, Any]) -> str:
    """Return the line of a recipe that sets a task."""
    values = ", ".join(f"{key}: {_yaml(value)}" for key, value in task.items())
    return f"`task: {{{values}}}`"


def _yaml(value: Any) -> str:
    if value is None:
        return "null"
    return json.dumps(value) if isinstance(value, str) and not value.isidentifier() else str(value)


def several(column: str, got: str, readings: Sequence[Reading | str], where: str) -> DataError:
    """Return the error for cells that are read in several ways, each with what to write."""
    return DataError(
        f"column {column!r}: more than one kind of task fits its cells",
        got=got,
        expected="one kind, which you choose",
        hint=f"write into {where}" + "".join(f"\n    - {one}" for one in readings),
    )


def some(texts: Sequence[str]) -> str:
    """Return the first different texts."""
    few = list(dict.fromkeys(texts))
    return ", ".join(few[:3]) + (", …" if len(few) > 3 else "")
