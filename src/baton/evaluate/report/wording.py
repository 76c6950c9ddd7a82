"""How numbers and figures are written in the terminal and in plots."""


def spelled(figure: str) -> str:
    """Return a figure's name in words: macro_f1 is "macro F1"."""
    return figure.replace("f1", "F1").replace("_", " ")


def percent(share: float, digits: int = 1) -> str:
    """Return a share as a percentage."""
    return f"{100 * share:.{digits}f}%"
