"""The data of `gpu`: texts with R8's lengths, crops of photographs, random base models; no downloads.

Input: sizes, and optionally a folder with arrays. Output: projects with `data/base` and `data/arrays`, as
stages expect them. The lengths of R8's training texts (MiniLM's tokens, at most 128) are next to this file;
they were written from a project where `dvc repro tokenize` had run with recipes/reuters-r8-minilm.yaml by

    python -m benchmarks._gpu_work PROJECT
"""

import fcntl
import os
import shutil
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from baton import params, storage
from baton.arrays import image_input, text_arrays
from baton.contracts import input_spec, task_spec

ROOT = Path(__file__).resolve().parent.parent
LENGTHS = Path(__file__).with_name("r8_lengths.json")
LONGEST, CLASSES, EVALUATED = 128, 8, 64  # EVALUATED: rows of val and of test
TASK = task_spec.Classes(tuple(f"class {index}" for index in range(CLASSES)))
FIRST_WORD = 1000  # of BERT's vocabulary; earlier tokens are special or unused
TEXTS, PICTURES = ("minilm", "bert"), ("vit",)
BERTS = {
    "minilm": {
        "hidden_size": 384,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
    },
    "bert": {},  # transformers' defaults are BERT-base
}
TINY_BERT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
VIT, TINY_VIT = (
    "vit_base_patch16_224",
    {"img_size": 16, "patch_size": 4, "embed_dim": 32, "depth": 2, "num_heads": 2},
)


@dataclass(frozen=True)
class Sizes:
    """The sizes of everything."""

    batch: dict[str, int]  # samples per step
    warm_up: int  # steps before the clock starts
    steps: int  # timed steps
    pictures: int
    side: int  # of an image as the model reads it
    matrix: int  # side of the product that measures the ceiling
    tiny: bool = False

    @property
    def all_steps(self) -> int:
        """Return the steps of one training run."""
        return self.warm_up + self.steps


# 256 documents of at most 128 tokens have at most 32,768 tokens; MiniLM's 384 from R8 have about as many,
# including padding.
FULL = Sizes(
    {"minilm": 384, "bert": 256, "vit": 256}, warm_up=40, steps=200, pictures=4096, side=224, matrix=8192
)
TINY = Sizes(
    {"minilm": 8, "bert": 4, "vit": 4}, warm_up=2, steps=2, pictures=24, side=16, matrix=64, tiny=True
)


@dataclass(frozen=True)
class Work:
    """One prepared project and how to train in it."""

    name: str
    project: Path
    sizes: Sizes
    settings: params.Finetune
    runtime: params.Runtime


def with_root() -> dict[str, str]:
    """Return the environment of a process that imports this project."""
    return os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    }


def prepare(name: str, folder: Path, sizes: Sizes, real: Path | None = None) -> Work:
    """Return the project of one model in `folder`, built if it does not exist.

    Args:
        name: one of `TEXTS` and `PICTURES`.
        folder: the folder of all projects.
        sizes: the sizes of the measurement.
        real: a project whose text arrays are copied; without it, tokens are random.
    """
    project = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # concurrent pieces need the same project
        if not (project / "data/done").exists():
            _make(name, project, sizes, real)
    recipe = params.read(
        ROOT / "recipes" / ("cifar10-vit.yaml" if name in PICTURES else "reuters-r8-minilm.yaml")
    )
    # One epoch as long as the measurement: points follow the warm-up and each such stretch, validation runs
    # at the end.
    course = {
        "epochs": 1,
        "min_steps": 0,
        "evaluations_per_epoch": 1,
        "early_stopping": None,
        "log_every": sizes.warm_up,
    }
    settings = recipe.finetune.of(recipe.finetune.seeds[0]).model_copy(
        update={**course, "batch_size": sizes.batch[name]}
    )
    return Work(name, project, sizes, settings, recipe.runtime)


def _make(name: str, project: Path, sizes: Sizes, real: Path | None) -> None:
    shutil.rmtree(project, ignore_errors=True)
    (project / "data").mkdir(parents=True)
    if name in PICTURES:
        write_vit(project / "data/base", sizes)
        write_pictures(project / "data", sizes)
    else:
        write_bert(project / "data/base", name, sizes)
        write_texts(project / "data/arrays", sizes, real)
    (project / "data/done").touch()


# ---- texts ---------------------------------------------------------------------------------------------


def real_lengths() -> NDArray[np.int64]:
    """Return the tokens of each of R8's training texts, in an order drawn once, (texts,)."""
    counts = storage.read_json(LENGTHS)["train"]
    lengths = np.repeat([int(length) for length in counts], list(counts.values()))
    return np.random.default_rng(0).permutation(lengths)


def write_texts(folder: Path, sizes: Sizes, real: Path | None) -> None:
    """Write the arrays of texts."""
    if real:
        shutil.copytree(real / "data/arrays", folder)
        return
    folder.mkdir(parents=True)
    lengths = real_lengths()
    if sizes.tiny:
        lengths = np.maximum(lengths[:48] // 8, 2)
    random = np.random.default_rng(0)
    words = range(5, 200) if sizes.tiny else range(FIRST_WORD, 30522)
    for split, own in {"train": lengths, "val": lengths[:EVALUATED], "test": lengths[:EVALUATED]}.items():
        np.save(folder / f"{split}.offsets.npy", np.concatenate([[0], np.cumsum(own)]).astype(np.int64))
        np.save(
            folder / f"{split}.tokens.npy",
            random.integers(words.start, words.stop, own.sum(), dtype=np.int32),
        )
        _write_rows(folder, split, random.integers(0, CLASSES, len(own)))
    read = input_spec.TextInput(max_length=LONGEST, truncation=input_spec.Head(), pad=0)
    storage.write_json(
        folder / "meta.json", {"task": task_spec.described(TASK), "input": input_spec.described(read)}
    )


def write_bert(folder: Path, name: str, sizes: Sizes) -> None:
    """Write a random BERT."""
    import torch
    from transformers import BertConfig, BertModel
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    config = (
        BertConfig(vocab_size=200, max_position_embeddings=64, **TINY_BERT)
        if sizes.tiny
        else BertConfig(**BERTS[name])
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)


# ---- images --------------------------------------------------------------------------------------------


def write_vit(folder: Path, sizes: Sizes) -> None:
    """Write the base model's config; weights are drawn when the model is built."""
    known = {
        "fixed_input_size": True,
        "first_conv": "patch_embed.proj",
        "classifier": "head",
        "input_size": [3, sizes.side, sizes.side],
    }
    data = {
        "interpolation": "bicubic",
        "crop_pct": 0.9,
        "crop_mode": "center",
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
    }
    config = {
        "architecture": VIT,
        "num_classes": 0,
        "model_args": TINY_VIT if sizes.tiny else {},
        "pretrained_cfg": known | data,
    }
    storage.write_json(folder / "config.json", config)


def write_pictures(folder: Path, sizes: Sizes) -> None:
    """Write crops, at random places, of scikit-learn's two sample photographs, as `tokenize` stores them."""
    from sklearn.datasets import load_sample_images

    from baton.images import framing

    base = storage.read_json(folder / "base/config.json")
    wanted = params.ImageTokenize(
        kind="images", size=sizes.side, crop_fraction=None, channels=3, chunk_size=64
    )
    reads = image_input.describe(base, wanted)
    height, width = framing.framing(reads).canvas
    photographs, random, arrays = load_sample_images().images, np.random.default_rng(0), folder / "arrays"
    arrays.mkdir()
    for split, count in {
        "train": sizes.pictures,
        "val": min(EVALUATED, sizes.pictures),
        "test": min(EVALUATED, sizes.pictures),
    }.items():
        labels = random.integers(0, CLASSES, count)
        pixels = np.lib.format.open_memmap(
            arrays / f"{split}.pixels.npy", "w+", np.uint8, (count * height * width * 3,)
        )
        stacked = pixels.reshape(count, height, width, 3)
        for row, label in enumerate(labels):
            whole = photographs[label % len(photographs)]
            top, left = (
                random.integers(0, whole.shape[0] - height + 1),
                random.integers(0, whole.shape[1] - width + 1),
            )
            stacked[row] = whole[top : top + height, left : left + width]
        pixels.flush()
        np.save(arrays / f"{split}.shapes.npy", np.full((count, 2), (height, width), dtype=np.int32))
        np.save(arrays / f"{split}.offsets.npy", np.arange(count + 1, dtype=np.int64) * (height * width * 3))
        _write_rows(arrays, split, labels)
    storage.write_json(
        arrays / "meta.json", {"task": task_spec.described(TASK), "input": input_spec.described(reads)}
    )


def _write_rows(folder: Path, split: str, labels: NDArray[np.int64]) -> None:
    np.save(folder / f"{split}.targets.npy", labels.astype(np.int64))
    ids = pa.array([f"{split}:{row + 1}" for row in range(len(labels))], pa.string())
    pq.write_table(pa.table({"id": ids}), folder / f"{split}.ids.parquet")


# ---- the file of lengths -------------------------------------------------------------------------------


def write_lengths(project: Path, target: Path = LENGTHS) -> None:
    """Write how many training texts have each number of tokens."""
    counts = Counter(text_arrays.open_arrays(project / "data/arrays", "train", TASK).lengths.tolist())
    made: dict[str, Any] = {"train": {str(length): counts[length] for length in sorted(counts)}}
    storage.write_json(target, made)


if __name__ == "__main__":
    write_lengths(Path(sys.argv[1]))
