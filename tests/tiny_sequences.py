"""Tiny texts with texts as targets, their arrays, and a tiny random encoder-decoder."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from baton import params, storage
from baton.arrays import sequence_targets, text_arrays, tokenizer_training
from baton.batches.sequence_batches import SequenceSplit
from baton.contracts import input_spec, task_spec
from baton.contracts.input_spec import Head, TextInput
from baton.contracts.task_spec import Sequence
from baton.models import sequence_model
from baton.models.sequence_model import SequenceModel
from baton.sources import encoder_decoder_base
from baton.texts import document_windows
from tests import tiny

READS = TextInput(max_length=48, truncation=Head(), pad=0)
TASK = Sequence(target_length=24, beams=1, validation_rows=4)
SOURCES = [text for texts in tiny.TEXTS.values() for text in texts]


def target(text: str) -> str:
    """Return what is to be written for a text: its first words, in reverse order."""
    return " ".join(reversed(text.split()[: 1 + len(text) % 4]))


def base(architecture: str = "t5", **changes: Any) -> params.EncoderDecoderBase:
    raw = {
        "kind": "encoder_decoder",
        "architecture": architecture,
        "width": 32,
        "hidden": 48,
        "heads": 4,
        "encoder_layers": 3,
        "decoder_layers": 4,  # more than the encoder has, for which transformers makes the cache
        "positions": 64,
        "tokenizer": {"kind": "byte_pairs", "vocabulary": 320},
        "licence": "none",
    }
    return params.EncoderDecoderBase.model_validate(raw | changes)


def write(folder: Path, architecture: str = "t5", task: Sequence = TASK, **changes: Any) -> Sequence:
    """Write clean tables, a new base model and arrays into `folder`; return the task of the arrays."""
    clean, arrays = folder / "clean", folder / "arrays"
    for one in (clean, arrays, folder / "base"):
        one.mkdir(parents=True, exist_ok=True)
    encoder_decoder_base.write(base(architecture, **changes), folder / "base")
    for split, rows in (("train", SOURCES * 2), ("val", SOURCES[::2]), ("test", SOURCES)):
        table = {
            "id": pa.array([f"{split}:{place + 1}" for place in range(len(rows))], pa.string()),
            "text": pa.array(rows, pa.string()),
            "target": pa.array([target(text) for text in rows], pa.string()),
        }
        pq.write_table(pa.table(table), clean / f"{split}.parquet")
    storage.write_json(clean / "task.json", task_spec.described(task))
    config = storage.read_json(folder / "base/config.json")
    columns = ("text", "target")
    source = tokenizer_training.provided(folder / "base", clean / "train.parquet", columns, arrays)
    tokenizer = document_windows.open_tokenizer(source, READS.max_length)
    made = sequence_targets.completed(task, tokenizer, config)
    encoder = sequence_targets.Encoder(made, source)
    for split in text_arrays.SPLITS:
        table = clean / f"{split}.parquet"
        text_arrays.tokenize(table, tokenizer, arrays, 100, lambda _: None, made, READS.truncation, encoder)
    meta = {"task": task_spec.described(made), "input": input_spec.described(READS)}
    storage.write_json(arrays / "meta.json", meta)
    return made


def opened(folder: Path, name: str = "train") -> SequenceSplit:
    task = task_spec.read(storage.read_json(folder / "arrays/meta.json"))
    return SequenceSplit(text_arrays.open_arrays(folder / "arrays", name, task), READS.pad)


def split(folder: Path, name: str = "train", **changes: Any) -> SequenceSplit:
    """Return a split of new arrays in `folder`."""
    if not (folder / "arrays").is_dir():
        write(folder, **changes)
    return opened(folder, name)


def model(folder: Path, **settings: Any) -> SequenceModel:
    """Return the base model in `folder`, in eval mode."""
    task = task_spec.read(storage.read_json(folder / "arrays/meta.json"))
    assert isinstance(task, Sequence)
    source = tokenizer_training.folder(folder / "base", folder / "arrays")
    tokenizer = document_windows.open_tokenizer(source, READS.max_length)
    torch.manual_seed(0)
    made = sequence_model.create(
        folder / "base", tokenizer, task, tiny.training(**settings), "sdpa", READS.pad
    )
    return made.eval()
