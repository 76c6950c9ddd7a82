"""The texts that a model wrote for the rows of a split, and their table.

One Parquet file per model and split, as for logits (`contracts.predictions`): `id` and `text`, both strings.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Texts:
    """A text for each row, in row order."""

    values: tuple[str, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.values)


def table(ids: Sequence[str], texts: Texts) -> Any:
    """Return the Arrow table of texts for the rows `ids` (n)."""
    import pyarrow as pa

    return pa.table(
        {"id": pa.array(list(ids), pa.string()), "text": pa.array(list(texts.values), pa.string())}
    )


def of_table(found: Any) -> Texts | None:
    """Return the texts in an Arrow table; None if it is a table of logits."""
    import pyarrow as pa

    if "text" not in found.schema.names or found.schema.field("text").type != pa.string():
        return None
    return Texts(tuple(found["text"].to_pylist()))
