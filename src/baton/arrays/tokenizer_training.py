"""Train a tokenizer on the sources and targets of train; equal tables give equal bytes.

Input: the plan (`contracts.trained_tokenizer`) and the clean train table. Output: tokenizer.json.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from baton import storage
from baton.contracts.trained_tokenizer import END, PLAN, SPECIAL, UNKNOWN

NAME = "tokenizer.json"
AT_ONCE = 4096  # texts


def train(plan: dict[str, Any], table: Path, columns: tuple[str, ...], target: Path) -> None:
    """Write tokenizer.json into the folder `target`, trained on `columns` of a table."""
    tokenizer = (
        _characters(table, columns) if plan["kind"] == "characters" else _byte_pairs(plan, table, columns)
    )
    tokenizer.add_special_tokens(list(SPECIAL))
    end = SPECIAL[END]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {end}", pair=f"$A {end} $B {end}", special_tokens=[(end, END)]
    )
    tokenizer.save(str(target / NAME))


def _characters(table: Path, columns: tuple[str, ...]) -> Tokenizer:
    counts = Counter(character for text in _texts(table, columns) for character in text)
    ordered = sorted(counts, key=lambda one: (-counts[one], one))
    words = {word: place for place, word in enumerate([*SPECIAL, *ordered])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=SPECIAL[UNKNOWN]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def _byte_pairs(plan: dict[str, Any], table: Path, columns: tuple[str, ...]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=plan["vocabulary"],
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(table, columns), trainer)
    return tokenizer


def _texts(table: Path, columns: tuple[str, ...]) -> Iterator[str]:
    for batch in pq.ParquetFile(table).iter_batches(batch_size=AT_ONCE, columns=list(columns)):
        for name in columns:
            yield from batch[name].to_pylist()


def provided(base: Path, table: Path, columns: tuple[str, ...], target: Path) -> Path:
    """Return the folder that holds the tokenizer: that of the base model, or `target` if none is there yet.

    If the base model brings a plan instead of a tokenizer, it is trained here on `columns` of `table` and
    written to `target`.
    """
    if not (base / PLAN).is_file():
        return base
    train(storage.read_json(base / PLAN), table, columns, target)
    return target


def folder(base: Path, arrays: Path) -> Path:
    """Return the folder that holds the tokenizer after `tokenize`: the base model's, or its arrays'."""
    return arrays if (arrays / NAME).is_file() else base
