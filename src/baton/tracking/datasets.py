"""A Parquet file as an MLflow dataset input: digest, columns and number of rows, read from its footer without loading it."""

import json
from pathlib import Path

import pyarrow.parquet as pq
from mlflow.entities import Dataset, DatasetInput, InputTag

from baton import storage
from baton.tracking.store import Store

DIGEST_LENGTH = 36  # what MLflow stores; the whole sha256 is in the profile and in the tag `sha256.PATH`
TYPES = {
    "string": "string",
    "large_string": "string",
    "int32": "integer",
    "int64": "long",
    "float": "float",
    "double": "double",
    "bool": "boolean",
}


def log(store: Store, run: str, name: str, path: Path, context: str) -> str:
    """Record the file on a run; return the dataset's digest."""
    digest = storage.sha256(path)
    footer = pq.ParquetFile(path)
    columns = [
        {"name": field.name, "type": TYPES[str(field.type)], "required": True} for field in footer.schema_arrow if str(field.type) in TYPES
    ]
    data = Dataset(
        name=name,
        digest=digest[:DIGEST_LENGTH],
        source_type="local",
        source=json.dumps({"uri": str(path.resolve())}),
        schema=json.dumps({"mlflow_colspec": columns}),
        profile=json.dumps({"num_rows": footer.metadata.num_rows, "sha256": digest}),
    )
    store.client.log_inputs(run, [DatasetInput(data, [InputTag("mlflow.data.context", context)])])
    store.log(run, tags={f"sha256.{path.as_posix()}": digest})
    return digest[:DIGEST_LENGTH]
