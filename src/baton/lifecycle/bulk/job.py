"""The process of a prediction job: reads the input, asks the model, writes parts, and joins them at the end.

    python -m baton.lifecycle.bulk.job OPTIONS

OPTIONS are those of `settings`, in JSON. The process has an environment without credentials
(`bulk.launch`), since the code of the model runs in it. Killed at any moment, the same command goes on after
the last finished part; the output has the bytes that it would have had. Of several jobs with shards, the last
one to finish joins all parts.
"""

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from baton import console, storage, tracking
from baton.errors import DataError, ParamsError, visible
from baton.lifecycle.bulk import inputs, joining, settings
from baton.lifecycle.bulk.inputs import Source
from baton.lifecycle.bulk.parts import Finished, Parts
from baton.lifecycle.bulk.rows import CHUNK, Chunk, chunks
from baton.lifecycle.bulk.settings import Options

if TYPE_CHECKING:
    from baton.lifecycle.bulk.answering import Answerer

ROW, ERROR = "row", "error"


def predict(options: Options) -> None:
    """Load the model and run the job.

    A job that goes on, or shares its output with others, takes their precision unless told otherwise.

    Raises:
        ModelError: the model cannot be loaded.
        BatonError: as `run`.
    """
    from baton.lifecycle.bulk.answering import Answerer

    known = Parts(Path(options.out)).known().get("precision") if options.precision == "auto" else None
    precision = known if known in settings.PRECISIONS else options.precision
    run(options, Answerer(Path(options.model), precision, options.batch_size))


def run(options: Options, model: "Answerer") -> None:
    """Run the job with a loaded model.

    Raises:
        DataError: the input cannot be read, or changed meanwhile.
        OutputError: the output or parts of another job are there, or another job has the same shard.
        ParamsError: an option does not fit the model or the input.
    """
    parts = Parts(Path(options.out))
    source = inputs.opened(Path(options.source), _columns(options, model), options.id)
    schema = _schema(source, model)
    content, about = inputs.digest(source)
    if parts.begin(_job(options, model, source, content)):
        console.say(f"{parts.out} is there already: nothing to do")
        return
    with contextlib.suppress(Finished), parts.shard(str(options.part)):
        console.say(f"precision: {model.precision}")
        rows, count = _answer(options, parts, model, source, schema, about)
        if inputs.digest(source)[0] != content:
            hint = f"remove {parts.folder} and run the job again"
            raise DataError(f"{source.path} changed while it was read", expected="the same file", hint=hint)
        _join(options, parts, schema, rows, count)
        return
    console.say(f"another job has finished {parts.out}: nothing is left to do")


def _columns(options: Options, model: "Answerer") -> dict[str, str]:
    """Return what the model reads, with its columns.

    Raises:
        ParamsError: an option names a column that it does not read.
    """
    if wrong := [name for name in options.columns if name not in model.reads]:
        got = f"--{wrong[0].replace('_', '-')}"
        hint = "leave it out"
        raise ParamsError(
            "the model reads something else", got=got, expected=", ".join(model.reads), hint=hint
        )
    return {name: options.columns.get(name, name) for name in model.reads}


def _schema(source: Source, model: "Answerer") -> pa.Schema:
    """Return the columns of the output.

    Raises:
        ParamsError: two have the same name.
    """
    types = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64()}
    ids = [(source.id, pa.int64() if source.integer_id else pa.string())] if source.id else []
    answers = [(name, types[kind]) for name, kind in model.columns.items()]
    fields = [(ROW, pa.int64()), *ids, *answers, (ERROR, pa.string())]
    names = [name for name, _ in fields]
    if twice := [name for name in names if names.count(name) > 1]:
        hint = "rename the column of ids in the input"
        raise ParamsError("two columns of the output have one name", got=twice[0], hint=hint)
    return pa.schema(fields)


def _job(options: Options, model: "Answerer", source: Source, content: str) -> dict[str, Any]:
    """Return what decides about the answers and their rows."""
    from baton.tracking import model_files

    return {
        "input": content,
        "kind": source.kind,
        "model": model_files.digest(Path(options.model)),
        "columns": dict(source.columns) | ({"id": source.id} if source.id else {}),
        "format": options.format,
        "precision": model.precision,
        "batch_size": options.batch_size,
        "chunk": options.chunk or CHUNK[model.kind],
    }


def _answer(
    options: Options, parts: Parts, model: "Answerer", source: Source, schema: pa.Schema, about: int | None
) -> tuple[int, int]:
    """Write the parts of this job's chunks that are missing; return the input's rows and chunks."""
    total = about / options.part.count if about is not None else None
    base = source.path if source.path.is_dir() else source.path.parent
    rows = count = 0
    with console.progress("predict", total, "rows") as advance:
        for chunk in chunks(source.rows(), options.chunk or CHUNK[model.kind]):
            rows, count = rows + len(chunk.rows), count + 1
            if not options.part.has(chunk.number):
                continue
            if missing := not parts.has(chunk.number):
                frame, errors = model.of(chunk.rows, base)
                parts.write(chunk.number, _table(chunk, frame, errors, schema))
            advance(len(chunk.rows), worked=missing)
    return rows, count


def _table(chunk: Chunk, frame: pd.DataFrame, errors: Sequence[str], schema: pa.Schema) -> pa.Table:
    columns: dict[str, Any] = {str(name): frame[name].tolist() for name in frame.columns}
    columns |= {ROW: [*range(chunk.first, chunk.first + len(chunk.rows))], ERROR: [*errors]}
    arrays = []
    for own in schema:
        values = columns.get(own.name)
        if values is None:
            values = [row.id if own.type == pa.int64() else _text(row.id) for row in chunk.rows]
        gaps = [None if value is None or _is_gap(value) else value for value in values]
        whole = (
            [int(value) if value is not None else None for value in gaps] if own.type == pa.int64() else gaps
        )
        arrays.append(pa.array(whole, type=own.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _is_gap(value: Any) -> bool:
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def _text(value: Any) -> str | None:
    return None if value is None else visible(str(value))


def _join(options: Options, parts: Parts, schema: pa.Schema, rows: int, count: int) -> None:
    """Join the parts if all are there."""
    with parts.going_on():
        missing = [chunk for chunk in range(count) if not parts.has(chunk)]
        if missing:
            console.say(
                f"shard {options.part} is finished; {len(missing):,} of {count:,} parts are other shards' "
                "and not there yet: the last job joins them"
            )
            return
        bad = 0

        def counted() -> Any:
            nonlocal bad
            for table in parts.read(count):
                bad += sum(map(bool, table.column(ERROR).to_pylist()))
                yield table

        with storage.atomic_file(parts.out) as temporary:
            joining.write(counted(), schema, options.format, temporary)
        parts.finish({"job": parts.job, "rows": rows, "bad_rows": bad, "sha256": storage.sha256(parts.out)})
    console.say(f"{parts.out}: {rows:,} rows")
    if bad:
        console.warn("predict", f"{bad:,} of {rows:,} rows have no answer; the column {ERROR} says why")


def without_triton(devices: Path = Path("/dev")) -> None:
    """Keep torch from loading Triton, a compiler for GPUs that takes 75 MB, where there is no GPU."""
    if not [*devices.glob("nvidia[0-9]*"), *devices.glob("kfd"), *devices.glob("dxg")]:
        absent: Any = None  # an import of it fails
        sys.modules.setdefault("triton", absent)


def main(text: str) -> None:
    """Run the process."""
    without_triton()
    tracking.prepare()
    predict(settings.read(text))


if __name__ == "__main__":
    console.run(lambda: main(*sys.argv[1:]))
