"""Clean text to token arrays.

Reads data/clean and data/base, writes data/arrays: memory-mapped token ids, offsets and labels of each split, meta.json and report.json.
Run by DVC as `sh stages/run tokenize`.
"""

import json
from pathlib import Path

import pyarrow.parquet as pq

from baton import console, params, storage
from baton.data import text

CLEAN, BASE, ARRAYS = Path("data/clean"), Path("data/base"), Path("data/arrays")


def main() -> None:
    """Tokenize every split and report lengths and truncation."""
    settings = params.load("tokenize").tokenize
    tokenizer = text.open_tokenizer(BASE, settings.max_length)
    tables = [CLEAN / f"{split}.parquet" for split in text.SPLITS]
    total = sum(pq.ParquetFile(table).metadata.num_rows for table in tables)
    config = json.loads((BASE / "config.json").read_text(encoding="utf-8"))
    text.check_length(config, settings.max_length)
    with storage.atomic_folder(ARRAYS) as folder, console.progress("tokenize", total, "documents") as advance:
        report = {table.stem: text.tokenize(table, tokenizer, folder, settings.chunk_size, advance) for table in tables}
        labels = storage.read_json(CLEAN / "labels.json")
        meta = {"labels": labels, "max_length": settings.max_length, "pad": config.get("pad_token_id") or 0}
        storage.write_json(folder / "meta.json", meta)
        storage.write_json(folder / "report.json", report)
    rows = [
        [
            split,
            f"{item['documents']:,}",
            f"{item['tokens']:,}",
            f"{item['truncated_share']:.1%}",
            *(item["lengths"][q] for q in ("p50", "p95", "max")),
        ]
        for split, item in report.items()
    ]
    console.table(
        f"tokens (at most {settings.max_length})", ["split", "documents", "tokens", "truncated", "median", "p95", "longest"], rows
    )


if __name__ == "__main__":
    console.run_stage(main)
