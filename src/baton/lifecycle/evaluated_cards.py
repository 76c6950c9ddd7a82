"""The model card and the data card that `evaluate` wrote, to go with a registered version.

Input: reports/cards -> the texts of the cards, if they are about the model that is registered.
"""

from pathlib import Path
from typing import Any

from baton import storage
from baton.engines import engine
from baton.evaluate.report.cards import writing
from baton.evaluate.report.wording import percent

CARDS = Path("reports", writing.FOLDER)
EXPORT, FIGURES = "export", Path("metrics/export.json")
MODEL_CARD = "MODEL_CARD.md"  # the name with a version, whichever model it is


def read(model: str, digest: str, origin: str) -> dict[str, str]:
    """Return the name of each card -> its text, with `origin` as the last section of the model card.

    There is none if `evaluate` has not run, or not with the model of this `digest`: a card of another model
    would be worse than none. An export has the card of its model, with a section of its own.
    """
    if model == EXPORT:
        figures = storage.read_json(FIGURES) if FIGURES.is_file() else {}
        if figures.get("sha256") != digest:
            return {}
        graph = storage.read_json(Path("models", EXPORT, "baton.json"))[engine.KEY]
        model, digest = graph["of"], graph["sha256"]
        origin = f"{_exported(figures)}\n{origin}"
    paths = {MODEL_CARD: CARDS / writing.MODEL_CARDS[model], writing.DATA_CARD: CARDS / writing.DATA_CARD}
    if not all(path.is_file() for path in paths.values()):
        return {}
    found = {name: path.read_text(encoding="utf-8") for name, path in paths.items()}
    if f"| models/{model} | `{digest}` |" not in found[MODEL_CARD].splitlines():
        return {}
    return found | {MODEL_CARD: f"{found[MODEL_CARD]}\n{origin}"}


def _exported(figures: dict[str, Any]) -> str:
    """Return the section of a card that says how an export differs from the model that the card describes."""
    of = figures["of"]
    return (
        f"## Export\n\nThis version is the {of} described above, exported: {figures['chosen']}, "
        f"{figures['bytes'] / 1e6:.1f} MB. On test {percent(figures['same'], 2)} of its answers are those "
        f"of the {of}; the largest difference of a logit is {figures['largest_difference']:.3g}.\n"
    )


def said(names: dict[str, str], folder: str) -> str:
    """Return the line of a version's description that says where its cards are."""
    if names:
        return f"\n\nCards: {' and '.join(names)} in `{folder}` of the run's artifacts."
    return "\n\nNo model card: `evaluate` has written none of this model (`dvc repro`, then register again)."
