"""The metrics of a stage in a file, for a program that watches it: `baton tune`. Without mlflow.

One JSON object a line, `{"step": 20, "teacher/val_accuracy": 0.9}`, written when the stage records it. A
resumed training run records its earlier points again, so each attempt begins the file anew.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from baton.tracking.run import Run

VARIABLE = "BATON_POINTS"  # of the environment: the file to write


class FileRun(Run):
    """A run whose metrics go to a file; nothing else is recorded."""

    def __init__(self, file: TextIO) -> None:
        """`file` is open."""
        self._file = file

    def metrics(self, values: Mapping[str, float], step: int, time: int | None = None) -> None:  # noqa: ARG002
        """See `Run`."""
        own = {key: float(value) for key, value in values.items()}
        self._file.write(json.dumps({"step": step, **own}) + "\n")
        self._file.flush()


@contextlib.contextmanager
def recorded(record: bool) -> Iterator[Run]:
    """Yield a run that writes the file which the environment names, or records nothing if it names none.

    `record` is False in a stage's other processes.
    """
    path = os.environ.get(VARIABLE)
    if not path or not record:
        yield Run()
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with Path(path).open("w", encoding="utf-8") as file:
        yield FileRun(file)


def read(path: Path) -> list[dict[str, float]]:
    """Return the whole lines of a file; nothing if it is not there yet."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]
