"""A tiny random BERT with a real fast tokenizer, and small real arrays: what the training tests run on."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from baton import params, runtime

TEXTS = {
    "grain": ["wheat exports rose sharply", "corn crop and soybean harvest", "the grain board sold wheat", "barley and wheat prices"],
    "ship": ["the tanker left port", "port workers strike halts vessels", "cargo ship sank near the strait", "vessels wait in port"],
    "trade": ["the trade deficit widened", "tariffs on imports of goods", "trade talks with japan failed", "imports and exports balance"],
}


def write_base(folder: Path, width: int = 32, layers: int = 2) -> Path:
    """Write a random BERT (hidden `width`, `layers` layers) with a WordPiece tokenizer trained on `TEXTS`."""
    from transformers import BertConfig, BertModel

    folder.mkdir(parents=True, exist_ok=True)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator([text for texts in TEXTS.values() for text in texts], trainer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))
    names = dict(pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 64} | names)
    )
    config = BertConfig(
        vocab_size=200,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=2 * width,
        max_position_embeddings=64,
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder, safe_serialization=True)
    return folder


def write_clean(folder: Path, copies: int = 4) -> Path:
    """Write train, val and test tables and labels.json: every text of `TEXTS`, `copies` times in train with a number appended."""
    labels = sorted(TEXTS)
    rows = [(text, labels.index(label)) for label, texts in TEXTS.items() for text in texts]
    splits = {"train": [(f"{text} {copy}", label) for copy in range(copies) for text, label in rows], "val": rows[::2], "test": rows}
    return write_splits(folder, splits, labels)


def write_splits(folder: Path, splits: dict[str, list[tuple[str, int]]], labels: list[str]) -> Path:
    """Tables `id, text, label` as preprocess writes them, and labels.json."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, items in splits.items():
        columns = {
            "id": pa.array([f"{split}:{index + 1}" for index in range(len(items))], pa.string()),
            "text": pa.array([text for text, _ in items], pa.string()),
            "label": pa.array([label for _, label in items], pa.int32()),
        }
        pq.write_table(pa.table(columns), folder / f"{split}.parquet")
    (folder / "labels.json").write_text(json.dumps(labels))
    return folder


SETTINGS = {
    "device": "cpu",
    "precision": "fp32",
    "attention": "matmul",
    "compile": False,
    "threads": 1,
    "processes": 1,
    "loader_workers": 0,
    "deterministic": False,
    "gradient_checkpointing": False,
    "checkpoint_seconds": 120,
}


def machine(**changes: object) -> runtime.Runtime:
    """The CPU in fp32 with matmul attention, one thread and one process."""
    return runtime.resolve(params.Runtime.model_validate(SETTINGS | changes))
