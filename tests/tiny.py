"""A tiny random BERT with a real fast tokenizer, a tiny random ViT, and small real arrays, for the tests."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from baton import params, storage
from baton.contracts import input_spec, task_spec
from baton.contracts.input_spec import Head, ImageInput, TextInput
from baton.contracts.targets import Targets
from baton.contracts.task_spec import Classes
from baton.distill import soft_targets
from baton.losses.class_losses import ClassLosses
from baton.losses.loss import Loss, TaskLosses
from baton.runtime import resolve
from baton.tasks import figure_scale, task_figures

TEXTS = {
    "grain": [
        "wheat exports rose sharply",
        "corn crop and soybean harvest",
        "the grain board sold wheat",
        "barley and wheat prices",
    ],
    "ship": [
        "the tanker left port",
        "port workers strike halts vessels",
        "cargo ship sank near the strait",
        "vessels wait in port",
    ],
    "trade": [
        "the trade deficit widened",
        "tariffs on imports of goods",
        "trade talks with japan failed",
        "imports and exports balance",
    ],
}

TASK = Classes(tuple(sorted(TEXTS)))  # the task of `TEXTS`
LOSSES = ClassLosses(TASK)
ACCURACY = figure_scale.of(task_figures.of(TASK))

TEXT_INPUT = TextInput(max_length=16, truncation=Head(), pad=0)


def task(*names: str) -> Classes:
    """Return the task of telling these classes apart."""
    return Classes(names)


def targets(classes: Any) -> Targets:
    """Return the targets of rows of these classes, (rows,)."""
    return Targets(TASK, np.asarray(classes, np.int64))


def write_base(folder: Path, width: int = 32, layers: int = 2, vocabulary: int = 200) -> Path:
    """Write a random BERT with a WordPiece tokenizer of `TEXTS`: its letters and words, `vocabulary` at most.

    It is not trained: tokenizers' WordPieceTrainer orders equal counts by a hash that each process draws.
    """
    from transformers import BertConfig, BertModel

    folder.mkdir(parents=True, exist_ok=True)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = sorted(set(" ".join(text for texts in TEXTS.values() for text in texts).split()))
    letters = sorted(set("".join(words)))
    tokens = [*special, *letters, *(f"##{letter}" for letter in letters), *words][:vocabulary]
    tokenizer = Tokenizer(
        models.WordPiece({token: place for place, token in enumerate(tokens)}, unk_token="[UNK]")
    )
    tokenizer.add_special_tokens(special)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))
    names = dict(
        pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]"
    )
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 64} | names)
    )
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=2 * width,
        max_position_embeddings=64,
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder, safe_serialization=True)
    return folder


def write_whisper(
    folder: Path, width: int = 32, layers: int = 2, bands: int = 80, positions: int = 100
) -> Path:
    """Write a random Whisper, with its decoder, in transformers' layout."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    folder.mkdir(parents=True, exist_ok=True)
    config = WhisperConfig(
        d_model=width,
        num_mel_bins=bands,
        max_source_positions=positions,
        encoder_layers=layers,
        encoder_attention_heads=2,
        encoder_ffn_dim=2 * width,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=width,
        vocab_size=60,
        max_target_positions=8,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    torch.manual_seed(0)
    WhisperForConditionalGeneration(config).save_pretrained(folder, safe_serialization=True)
    return folder


def write_arrays(data: Path, copies: int = 4, reads: TextInput = TEXT_INPUT) -> None:
    """Write a base model, clean tables and arrays to folders of `data`; `reads` is the model's input."""
    from baton import storage
    from baton.arrays import text_arrays
    from baton.texts import document_windows

    base, clean = write_base(data / "base"), write_clean(data / "clean", copies)
    tokenizer = document_windows.open_tokenizer(base, reads.max_length)
    (data / "arrays").mkdir()
    for split in text_arrays.SPLITS:
        text_arrays.tokenize(
            clean / f"{split}.parquet",
            tokenizer,
            data / "arrays",
            100,
            lambda count: None,
            TASK,
            reads.truncation,
        )
    storage.write_json(
        data / "arrays/meta.json",
        {"task": task_spec.described(TASK), "input": input_spec.described(reads)},
    )


def write_transfer(data: Path, reads: TextInput = TEXT_INPUT) -> None:
    """Write the split `transfer`: the rows of train, and those of data/clean/unlabelled.parquet."""
    from baton.arrays import text_arrays
    from baton.contracts import transfer_set
    from baton.texts import document_windows

    tokenizer = document_windows.open_tokenizer(data / "base", reads.max_length)
    text_arrays.tokenize(
        data / "clean/train.parquet",
        tokenizer,
        data / "arrays",
        100,
        lambda count: None,
        TASK,
        reads.truncation,
        unlabelled=data / "clean" / transfer_set.TABLE,
    )


def image_input(size: int = 8, channels: int = 1) -> ImageInput:
    """Return the input of square images of `size` pixels."""
    return ImageInput(
        (size, size), channels, (0.5,) * channels, (0.25,) * channels, "bicubic", 1.0, crop_mode="center"
    )


def write_image_base(
    folder: Path, size: int = 8, channels: int = 1, width: int = 32, depth: int = 2, **arguments: Any
) -> Path:
    """Write a random ViT of `depth` blocks, 16 patches and no classifier, in timm's hub layout.

    `arguments` go to timm.
    """
    vit = {"img_size": size, "patch_size": size // 4, "embed_dim": width, "depth": depth, "num_heads": 2}
    known = {"fixed_input_size": True, "first_conv": "patch_embed.proj", "classifier": "head"}
    return _write_timm(folder, "vit_tiny_patch16_224", size, {"in_chans": channels} | vit | arguments, known)


def write_convolutional_base(folder: Path, size: int = 8) -> Path:
    """Write a random TinyViT of two stages, for grey images.

    It has convolutions with batch normalisation, then attention in windows.
    """
    own = {"embed_dims": [8, 16], "depths": [1, 1], "num_heads": [1, 2], "window_sizes": [2, 1]}
    known = {"first_conv": "patch_embed.conv1.conv", "classifier": "head.fc"}
    return _write_timm(folder, "tiny_vit_5m_224", size, {"in_chans": 1} | own, known)


def _write_timm(
    folder: Path, architecture: str, size: int, arguments: dict[str, Any], known: dict[str, Any]
) -> Path:
    import timm
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = timm.create_model(architecture, num_classes=0, **arguments)
    save_file(model.state_dict(), folder / "model.safetensors")
    channels = arguments["in_chans"]
    shape = {"input_size": [channels, size, size]} | known
    data = {
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "crop_mode": "center",
        "mean": [0.5] * channels,
        "std": [0.25] * channels,
    }
    config = {
        "architecture": architecture,
        "num_classes": 0,
        "model_args": arguments,
        "pretrained_cfg": shape | data,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def training(**changes: Any) -> params.Training:
    """Return plain training settings, without dropout."""
    return params.Training.model_validate(TRAINING | changes)


def distill_params(**changes: Any) -> params.Distill:
    """Return the section of params.yaml with these changes."""
    plain = params.read_raw(Path(__file__).parent.parent / "params.yaml")["distill"]
    return params.Distill.model_validate_json(json.dumps(plain | changes))


def distilled(
    task: TaskLosses,
    teacher: soft_targets.Teacher,
    temperature: float,
    alpha: float,
    label_smoothing: float,
    *factors: torch.Tensor | None,
    **changes: Any,
) -> Loss:
    """Return the loss of `distillation`, as one number; `factors` are those of `Factors`."""
    settings = distill_params(
        temperature=temperature, alpha=alpha, label_smoothing=label_smoothing, **changes
    )
    terms = soft_targets.distillation(task, teacher, settings, soft_targets.Factors(*factors))
    return lambda model, batch: terms(model, batch).sum()


def write_clean(folder: Path, copies: int = 4) -> Path:
    """Write train, val and test tables and task.json.

    Train holds every text of `TEXTS`, `copies` times, with a number appended.
    """
    labels = sorted(TEXTS)
    rows = [(text, labels.index(label)) for label, texts in TEXTS.items() for text in texts]
    splits = {
        "train": [(f"{text} {copy}", label) for copy in range(copies) for text, label in rows],
        "val": rows[::2],
        "test": rows,
    }
    return write_splits(folder, splits, labels)


def write_splits(folder: Path, splits: dict[str, list[tuple[str, int]]], labels: list[str]) -> Path:
    """Write tables `id, text, label` like preprocess, and task.json."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, items in splits.items():
        columns = {
            "id": pa.array([f"{split}:{index + 1}" for index in range(len(items))], pa.string()),
            "text": pa.array([text for text, _ in items], pa.string()),
            "label": pa.array([label for _, label in items], pa.int32()),
        }
        pq.write_table(pa.table(columns), folder / f"{split}.parquet")
    storage.write_json(folder / "task.json", task_spec.described(task(*labels)))
    return folder


TRAINING = {
    "seeds": (0,),
    "epochs": 1,
    "min_steps": 0,
    "batch_size": 8,
    "accumulation": 1,
    "learning_rate": 1e-3,
    "layer_decay": 1.0,
    "weight_decay": 0.01,
    "schedule": "linear",
    "warmup": 0.1,
    "clip_norm": 1.0,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "drop_path": 0.0,
    "label_smoothing": 0.0,
    "class_weights": "none",
    "ema": None,
    "augmentation": None,
    "metric": "accuracy",
    "evaluations_per_epoch": 1,
    "early_stopping": None,
    "log_every": 1,
}
SETTINGS = {
    "device": "cpu",
    "precision": "fp32",
    "attention": "matmul",
    "compile": False,
    "packing": False,
    "threads": 1,
    "processes": 1,
    "launcher": None,
    "sharding": "none",
    "loader_workers": 0,
    "data_on_device": "auto",
    "deterministic": False,
    "gradient_checkpointing": False,
    "checkpoint_seconds": 120,
}


def machine(**changes: object) -> resolve.Runtime:
    """Return a CPU runtime in fp32 with matmul attention, one thread and one process."""
    return resolve.resolve(params.Runtime.model_validate(SETTINGS | changes))
