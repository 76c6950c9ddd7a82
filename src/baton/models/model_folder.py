"""Backbone plus classification head: made from a base model, saved to and loaded from a folder, whatever it reads.

A model folder holds `model.safetensors` (keys `backbone.*`, `head.*`), `config.json` (the backbone's, as transformers or timm writes it),
the tokenizer's files where it reads text, and `baton.json` (labels, head, input, temperature). Nothing is unpickled and no remote code
runs.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from baton import params, storage
from baton.errors import ModelError
from baton.models.classifier import CONFIG, INFO, WEIGHTS, Classifier, Head, ModelInfo, misfit
from baton.runtime.resolve import Work

__all__ = ["CONFIG", "INFO", "WEIGHTS", "Classifier", "Head", "ModelInfo", "create", "load", "save", "work"]

# Files that belong to the tokenizer, copied along so that a model folder is complete.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
)


def work(folder: Path, input: dict[str, Any]) -> Work:  # noqa: A002  its name in baton.json
    """What a model in `folder`, a base or one of ours, will compute: on this the runtime's `auto` depends.

    Raises:
        ModelError: it is no known encoder.
    """
    if input["kind"] != "text":  # timm fuses attention where an architecture has any
        return Work(fixed_shapes=True)
    from baton.models import text_model

    return Work(unfused=text_model.unfused(folder))


def create(
    base: Path,
    head: params.Head,
    classes: int,
    settings: params.Training,
    attention: str,
    input: dict[str, Any],  # noqa: A002  its name in baton.json
) -> Classifier:
    """A new classifier on a base model; its head is drawn from torch's global seed.

    Args:
        base: data/base.
        head: pooling and head.
        classes: number of logits.
        settings: of the training; its rates of dropout and stochastic depth are the backbone's.
        attention: "sdpa" or "matmul".
        input: what the arrays' meta.json says of the model's input.

    Raises:
        ModelError: the folder is incomplete or its weights do not fit, or the architecture lacks what is asked of it.
    """
    if input["kind"] == "text":
        from baton.models import text_model  # transformers and timm take seconds each

        return text_model.create(base, head, classes, settings, attention)
    from baton.models import image_model

    return image_model.create(base, head, classes, settings, attention, input)


def save(
    model: Classifier,
    info: ModelInfo,
    source: Path,
    target: Path,
    state: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write a complete model folder, atomically; `source` is the folder whose tokenizer files are copied along.

    `state` is the model's state dict where the model itself does not hold all of it.
    """
    with storage.atomic_folder(target) as folder:
        weights = {
            name: tensor.detach().cpu().contiguous() for name, tensor in (state or model.state_dict()).items()
        }
        save_file(weights, folder / WEIGHTS)
        storage.write_json(folder / CONFIG, model.config())
        # A student of another architecture may pool in another way than its teacher, whose head `info` has.
        head = info.head.model_dump() | {"pooling": model.pooling}
        described = {
            "labels": info.labels,
            "head": head,
            "input": info.input,
            "temperature": info.temperature,
        }
        storage.write_json(folder / INFO, described)
        for name in TOKENIZER_FILES:
            if (source / name).is_file():
                shutil.copyfile(source / name, folder / name)


def load(folder: Path, attention: str) -> tuple[Classifier, ModelInfo]:
    """Load a model folder that `save` wrote, in eval mode.

    Raises:
        ModelError: a file is missing or the weights do not fit the config.
    """
    for name in (WEIGHTS, CONFIG, INFO):
        if not (folder / name).is_file():
            raise ModelError(
                f"{folder} is no model of ours",
                got=f"no {name}",
                expected="a folder written by finetune or distill",
                hint="run `dvc repro`",
            )
    info = _info(folder)
    model = _assemble(folder, info, attention)
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (RuntimeError, SafetensorError) as error:
        hint = f"run `dvc repro --force` for the stage that writes {folder}"
        raise ModelError(
            f"{folder / WEIGHTS} does not fit {CONFIG} and {INFO}", got=misfit(error), hint=hint
        ) from None
    return model.eval(), info


def _info(folder: Path) -> ModelInfo:
    raw = storage.read_json(folder / INFO)
    if "input" not in raw:
        hint = f"run `dvc repro --force` for the stage that writes {folder}"
        raise ModelError(
            f"{folder / INFO} has another layout",
            got=", ".join(sorted(raw)),
            expected="labels, head and input",
            hint=hint,
        )
    return ModelInfo(
        raw["labels"], params.head(raw["head"]), raw["input"], raw.get("temperature", 1.0)
    )  # earlier versions had none


def _assemble(folder: Path, info: ModelInfo, attention: str) -> Classifier:
    if info.input["kind"] == "text":
        from baton.models import text_model

        return text_model.reassemble(folder, info.head, len(info.labels), attention)
    from baton.models import image_model

    return image_model.reassemble(folder, info.head, len(info.labels), attention, info.input)
