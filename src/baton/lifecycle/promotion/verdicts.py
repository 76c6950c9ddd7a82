"""The parts of a gate's verdict: checks, marks, and the verdict itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CHALLENGER, CHAMPION = "challenger", "champion"
SOME = 3  # examples in a message


@dataclass(frozen=True)
class Check:
    """One rule, whether it is met, and the finding."""

    name: str
    passed: bool
    text: str


@dataclass(frozen=True)
class Verdict:
    """The gate's verdict."""

    checks: tuple[Check, ...]
    figures: Mapping[str, Any]

    @property
    def passed(self) -> bool:
        """Return whether every rule is met."""
        return all(check.passed for check in self.checks)

    @property
    def reasons(self) -> list[str]:
        """Return why the challenger is refused."""
        return [check.text for check in self.checks if not check.passed]


@dataclass(frozen=True)
class Mark:
    """A figure reached on the test table, and what reached it."""

    name: str
    value: float


@dataclass(frozen=True)
class Marks:
    """The best results reached earlier on the test table; None if unknown."""

    champion: Mark | None = None  # the best champion so far
    baseline: Mark | None = None  # the best baseline


def some(names: list[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - SOME:,} more" if len(names) > SOME else ""
    return ", ".join(names[:SOME]) + more
