"""How texts are compared: without differences of white space, case and Unicode form."""

import unicodedata


def key(text: str) -> str:
    """Return the text in the form that is compared for leakage, conflicts and cutting."""
    folded = " ".join(text.split()).casefold()
    return folded if folded.isascii() else unicodedata.normalize("NFC", folded)
