"""A Parquet file as an MLflow dataset input: digest, columns and row count, read from its footer only."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from baton.tracking.store import Store

DIGEST_LENGTH = 36  # MLflow's limit; the whole sha256 is in the profile and in the tag `sha256.PATH`
TYPES = {
    "string": "string",
    "large_string": "string",
    "binary": "binary",
    "large_binary": "binary",
    "int32": "integer",
    "int64": "long",
    "float": "float",
    "double": "double",
    "bool": "boolean",
}


def describe(path: Path) -> dict[str, Any]:
    """Return columns, row count and address of a file; without mlflow."""
    import pyarrow.parquet as pq

    footer = pq.ParquetFile(path)
    columns = [
        {"name": field.name, **kind, "required": True}
        for field in footer.schema_arrow
        if (kind := _type(field.type)) is not None
    ]
    return {"columns": columns, "rows": footer.metadata.num_rows, "uri": str(path.resolve())}


def _type(arrow: Any) -> dict[str, Any] | None:
    """Return the type of a column as MLflow's schemas describe it; None if they have no such type."""
    import pyarrow as pa

    if pa.types.is_list(arrow) or pa.types.is_fixed_size_list(arrow):
        items = _type(arrow.value_type)
        return None if items is None else {"type": "array", "items": items}
    return {"type": TYPES[str(arrow)]} if str(arrow) in TYPES else None


def log(store: "Store", run: str, entry: Mapping[str, Any], digest: str) -> str:
    """Record a file on a run, unless it is recorded already; return the dataset's digest.

    `entry` has name, path, context and the result of `describe`.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    data = Dataset(
        name=entry["name"],
        digest=digest[:DIGEST_LENGTH],
        source_type="local",
        source=json.dumps({"uri": entry["uri"]}),
        schema=json.dumps({"mlflow_colspec": entry["columns"]}),
        profile=json.dumps({"num_rows": entry["rows"], "sha256": digest}),
    )
    inputs = store.client.get_run(run).inputs
    known = {(item.dataset.name, item.dataset.digest) for item in inputs.dataset_inputs} if inputs else set()
    if (data.name, data.digest) not in known:
        store.client.log_inputs(
            run, [DatasetInput(data, [InputTag("mlflow.data.context", entry["context"])])]
        )
    store.log(run, tags={f"sha256.{entry['path']}": digest})
    return data.digest
