"""What the gate's rules are made of, and what they come to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CHALLENGER, CHAMPION = "challenger", "champion"
SOME = 3  # examples in a message


@dataclass(frozen=True)
class Check:
    """One rule, whether it is met, and what was found."""

    name: str
    passed: bool
    text: str


@dataclass(frozen=True)
class Verdict:
    """What the gate says."""

    checks: tuple[Check, ...]
    figures: Mapping[str, Any]

    @property
    def passed(self) -> bool:
        """Whether every rule is met."""
        return all(check.passed for check in self.checks)

    @property
    def reasons(self) -> list[str]:
        """Why it is refused."""
        return [check.text for check in self.checks if not check.passed]


@dataclass(frozen=True)
class Mark:
    """A figure that was reached on the test table, and by what."""

    name: str
    value: float


@dataclass(frozen=True)
class Marks:
    """What was reached on the test table before; None where nothing is known."""

    champion: Mark | None = None  # the best one so far
    baseline: Mark | None = None  # the best one


def some(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - SOME:,} more" if len(names) > SOME else ""
    return ", ".join(names[:SOME]) + more
