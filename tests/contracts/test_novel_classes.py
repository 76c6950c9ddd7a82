"""The tasks of novel classes, next to their tables or arrays."""

from pathlib import Path

from baton.contracts import novel_classes
from baton.contracts.task_spec import Classes


def test_tasks_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert novel_classes.read(tmp_path) == {}
    novel_classes.write(tmp_path, "novel_test", Classes(("a", "b")))
    assert novel_classes.read(tmp_path) == {"novel_test": Classes(("a", "b"))}
    novel_classes.write(tmp_path, "novel_validation", Classes(("c", "d", "e")))
    assert [*novel_classes.read(tmp_path)] == ["novel_validation", "novel_test"]
