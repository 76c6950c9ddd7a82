"""The model card and the data card that `evaluate` wrote, to go with a registered version.

Input: reports/cards -> the texts of the cards, if they are about the model that is registered.
"""

from pathlib import Path

from baton.evaluate.report.cards import writing

CARDS = Path("reports", writing.FOLDER)
MODEL_CARD = "MODEL_CARD.md"  # the name with a version, whichever model it is


def read(model: str, digest: str, origin: str) -> dict[str, str]:
    """Return the name of each card -> its text, with `origin` as the last section of the model card.

    There is none if `evaluate` has not run, or not with the model of this `digest`: a card of another model
    would be worse than none.
    """
    paths = {MODEL_CARD: CARDS / writing.MODEL_CARDS[model], writing.DATA_CARD: CARDS / writing.DATA_CARD}
    if not all(path.is_file() for path in paths.values()):
        return {}
    found = {name: path.read_text(encoding="utf-8") for name, path in paths.items()}
    if f"| models/{model} | `{digest}` |" not in found[MODEL_CARD].splitlines():
        return {}
    return found | {MODEL_CARD: f"{found[MODEL_CARD]}\n{origin}"}


def said(names: dict[str, str], folder: str) -> str:
    """Return the line of a version's description that says where its cards are."""
    if names:
        return f"\n\nCards: {' and '.join(names)} in `{folder}` of the run's artifacts."
    return "\n\nNo model card: `evaluate` has written none of this model (`dvc repro`, then register again)."
