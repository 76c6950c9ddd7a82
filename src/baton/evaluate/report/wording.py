"""How numbers and figures are written in the terminal and in plots."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """What the terminal's summary says about a kind of task."""

    counted: str  # the task's names; in metrics.json the key of their number, in section `test`
    tested: str  # the test behind `holm_p`
    bounded: str  # the method behind `holm_interval`
    remark: str  # the last remark about figures
    loss: str = "log loss"  # what validation's loss is


def amount(count: int, plural: str) -> str:
    """Return how many there are of something in words: 1 number, 20 classes."""
    singular = plural.removesuffix("es") if plural.endswith("sses") else plural.removesuffix("s")
    return f"{count:,} {singular if count == 1 else plural}"


def spelled(figure: str) -> str:
    """Return a figure's name in words: macro_f1 is "macro F1"."""
    return figure.replace("f1", "F1").replace("_", " ")


def capital(words: str) -> str:
    """Return words that begin a title or a sentence."""
    return f"{words[:1].upper()}{words[1:]}"


def p_value(value: float) -> str:
    """Return a p-value in words."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}" if value < 0.1 else f"p = {value:.2f}"


def percent(share: float, digits: int = 1) -> str:
    """Return a share as a percentage."""
    return f"{100 * share:.{digits}f}%"
