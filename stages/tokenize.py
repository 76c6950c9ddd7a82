"""Clean text to token arrays, or clean images to pixel arrays.

Reads data/clean and data/base, writes data/arrays: memory-mapped arrays of each split, meta.json (labels, and what a model must know of its
input) and report.json. Run by DVC as `sh stages/run tokenize`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.markup import escape
from tokenizers import Tokenizer

from baton import console, params, storage
from baton.data import framing, image, room, text, unknown

CLEAN, BASE, ARRAYS = Path("data/clean"), Path("data/base"), Path("data/arrays")
TABLES = [CLEAN / f"{split}.parquet" for split in text.SPLITS]


def main() -> None:
    """Write the arrays of every split and report what became of them."""
    settings = params.load("tokenize").tokenize
    if isinstance(settings, params.ImageTokenize):
        described = framing.describe(storage.read_json(BASE / "config.json"), settings)
        room.check(TABLES, described, ARRAYS)
        report = write(described, "images", lambda *job: image.tokenize(job[0], described, job[1], settings.chunk_size, job[2]))
        title = f"pixels ({' x '.join(map(str, described['size']))})"
        columns = {"images": "images", "bytes": "bytes", "resized_share": "resized", "height": "source height", "width": "source width"}
    else:
        tokenizer, config = text.open_tokenizer(BASE, settings.max_length), storage.read_json(BASE / "config.json")
        text.check_length(config, settings.max_length)
        described = {"kind": "text", "max_length": settings.max_length, "pad": config.get("pad_token_id") or 0}
        report = write(described, "documents", lambda *job: documents(settings, tokenizer, *job))
        labels = storage.read_json(CLEAN / "labels.json")
        for warning in filter(None, (unknown.named(split, part["unknown"], labels, settings.unknown) for split, part in report.items())):
            console.say(f"[yellow]unknown tokens:[/] {escape(warning)}")
        title = f"tokens (at most {settings.max_length})"
        columns = {"documents": "documents", "tokens": "tokens", "truncated_share": "truncated", "lengths": "length"}
    console.table(
        title, ("split", *columns.values()), [(split, *(shown(part[name]) for name in columns)) for split, part in report.items()]
    )


def documents(settings: params.TextTokenize, tokenizer: Tokenizer, table: Path, folder: Path, advance: Callable[[int], object]) -> Any:
    """The arrays of one split, unless the tokenizer does not know its texts."""
    found = text.tokenize(table, tokenizer, folder, settings.chunk_size, advance)
    unknown.check(table.stem, found["unknown"], settings.unknown)
    return found


def write(described: dict[str, Any], unit: str, tokenize: Callable[..., dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The whole folder at once: arrays by `tokenize(table, folder, advance)`, meta.json, and the report that is returned."""
    total = sum(pq.ParquetFile(table).metadata.num_rows for table in TABLES)
    with storage.atomic_folder(ARRAYS) as folder, console.progress("tokenize", total, unit) as advance:
        report = {table.stem: tokenize(table, folder, advance) for table in TABLES}
        storage.write_json(folder / "meta.json", {"labels": storage.read_json(CLEAN / "labels.json"), "input": described})
        storage.write_json(folder / "report.json", report)
    return report


def shown(figure: Any) -> str:
    """A count, a share, or quantiles."""
    if isinstance(figure, dict):
        return f"{figure['p50']:,} (p95 {figure['p95']:,}, most {figure['max']:,})"
    return f"{figure:.1%}" if isinstance(figure, float) else f"{figure:,}"


if __name__ == "__main__":
    console.run_stage(main)
