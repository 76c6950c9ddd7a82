"""Corrected labels: a table that `baton label-errors` begins, people edit, and `preprocess` applies.

`download` copies it from inbox/ to data/raw/corrections.SUFFIX if params `corrections` name one. A row has
the `id` of a row of the clean tables and its `label`, empty while nobody has decided. The `content` tells
whether the id still belongs to the same row. Other columns are for people.
"""

import hashlib

RAW = "corrections"  # in manifest.json of data/raw
ID, LABEL, CONTENT = "id", "label", "content"  # columns
DIGITS = 12  # of the digest


def content(text: str) -> str:
    """Return what the column `content` says of a row: a digest of its text, or of its image's digest.

    The prefix keeps spreadsheets from reading it as a number.
    """
    digest = hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()
    return f"sha256:{digest[:DIGITS]}"
