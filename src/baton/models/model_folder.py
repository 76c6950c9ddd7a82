"""Model folders: create a classifier from a base model, save it to a folder, load it.

A model folder holds `model.safetensors` (keys `backbone.*`, `head.*`), `config.json` (the backbone's, as
written by transformers or timm), the tokenizer's files if the model reads text, and `baton.json` (task,
head, input, fitted values). A model of images with texts has config and tokenizer in a folder for each
encoder, `image` and `text`. Nothing is unpickled and no remote code runs.
"""

import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from baton import params, storage
from baton.contracts import encoder_library, fitted_values, input_spec, task_spec
from baton.contracts.input_spec import (
    ENCODERS,
    AudioInput,
    ImageInput,
    ImageTextInput,
    InputSpec,
    TextInput,
)
from baton.contracts.task_spec import Sequence
from baton.errors import ModelError
from baton.models.classifier import CONFIG, INFO, WEIGHTS, Classifier, Head, ModelInfo, weight_mismatch
from baton.runtime.kernels import Attention
from baton.runtime.resolve import Runtime, Work
from baton.texts import document_windows

__all__ = ["CONFIG", "INFO", "WEIGHTS", "Classifier", "Head", "ModelInfo", "create", "load", "save", "work"]

# The tokenizer's files, copied so that a model folder is complete.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
)


class _Kind(NamedTuple):
    """The functions for one kind of input."""

    work: Callable[[Path], Work]
    create: Callable[[Path, params.Head, int, params.Training, str], Classifier]
    reassemble: Callable[[Path, params.Head, int, str], Classifier]
    encoders: tuple[str, ...] = ("",)  # the folders of their configs, within a model folder


def _kind(reads: InputSpec, folder: Path) -> _Kind:
    """Return the functions for the model, or base model, in a folder."""
    match reads:  # transformers and timm take seconds each to import
        case TextInput():
            from baton.models import text_model

            return _Kind(text_model.work, text_model.create, text_model.reassemble)
        case AudioInput() if encoder_library.of_transformers(folder):
            from baton.models import audio_model

            return _Kind(audio_model.work, partial(audio_model.create, reads=reads), audio_model.reassemble)
        case ImageInput() | AudioInput():
            from baton.models import image_model

            seen = reads.picture if isinstance(reads, AudioInput) else reads
            return _Kind(
                image_model.work,
                partial(image_model.create, reads=seen),
                partial(image_model.reassemble, reads=seen),
            )
        case ImageTextInput():
            from baton.models import image_text_model

            return _Kind(
                image_text_model.work,
                partial(image_text_model.create, reads=reads),
                partial(image_text_model.reassemble, reads=reads),
                ENCODERS,
            )


def work(folder: Path, reads: InputSpec) -> Work:
    """Return the facts on which the runtime's `auto` depends, for a base or Baton model in `folder`.

    Raises:
        ModelError: If it is not a known encoder.
    """
    return _kind(reads, folder).work(folder)


def attention(folder: Path, runtime: Runtime) -> Attention:
    """Return the attention of a Baton model under this runtime.

    With `runtime.attention: auto`, a student on its own base model may have fused attention where its teacher
    has none, or the reverse.

    Raises:
        ModelError: If the folder has an unknown layout.
    """
    return runtime.attention_for(work(folder, read_info(folder).input))


def create(
    base: Path,
    head: params.Head,
    outputs: int,
    settings: params.Training,
    attention: str,
    reads: InputSpec,
) -> Classifier:
    """Create a classifier on a base model; its head is initialised from torch's global seed.

    Args:
        base: data/base.
        head: pooling and head.
        outputs: the number of logits, the task's `width`.
        settings: the training settings, whose rates of dropout and stochastic depth apply to the backbone.
        attention: "sdpa" or "matmul".
        reads: the model's input.

    Raises:
        ModelError: If the folder is incomplete, its weights do not match, or the architecture lacks a
            requested feature.
    """
    return _kind(reads, base).create(base, head, outputs, settings, attention)


def create_sequence(
    base: Path, tokenizer: Path, task: Sequence, settings: params.Training, attention: str, reads: InputSpec
) -> Classifier:
    """Create a model that writes texts on a base model, or from scratch if it has no weights.

    Args:
        base: data/base.
        tokenizer: the folder of its tokenizer.
        task: from the arrays.
        settings: the training settings, whose rates of dropout apply.
        attention: "sdpa" or "matmul".
        reads: the model's input.

    Raises:
        ModelError: If the folder is incomplete, or its weights do not match.
    """
    from baton.models import sequence_model

    assert isinstance(reads, TextInput), "params refuse other inputs"
    opened = document_windows.open_tokenizer(tokenizer, reads.max_length)
    return sequence_model.create(base, opened, task, settings, attention, reads.pad)


def save(
    model: Classifier,
    info: ModelInfo,
    source: Path,
    target: Path,
    state: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write a complete model folder atomically; the tokenizer's files are copied from the folder `source`.

    `state` is the model's state dict if the model itself does not hold all of it.
    """
    with storage.atomic_folder(target) as folder:
        weights = {
            name: tensor.detach().cpu().contiguous() for name, tensor in (state or model.state_dict()).items()
        }
        save_file(weights, folder / WEIGHTS)
        for encoder, config in model.configs().items():
            (folder / encoder).mkdir(exist_ok=True)
            storage.write_json(folder / encoder / CONFIG, config)
            for name in TOKENIZER_FILES:
                if (source / encoder / name).is_file():
                    shutil.copyfile(source / encoder / name, folder / encoder / name)
        # A student of another architecture may pool differently from its teacher, whose head is in `info`.
        pooling = {} if isinstance(info.head, params.DecoderHead) else {"pooling": model.pooling}
        head = info.head.model_dump() | pooling
        described = {
            "task": task_spec.described(info.task),
            "head": head,
            "input": input_spec.described(info.input),
            fitted_values.KEY: dict(info.fitted),
        }
        storage.write_json(folder / INFO, described)


def load(folder: Path, attention: str) -> tuple[Classifier, ModelInfo]:
    """Load a model folder written by `save`, in eval mode.

    Raises:
        ModelError: If a file is missing or the weights do not match the config.
    """
    _require(folder, WEIGHTS, INFO)
    info = read_info(folder)
    _require(folder, *(str(Path(encoder, CONFIG)) for encoder in _kind(info.input, folder).encoders))
    model = _reassemble(folder, info, attention)
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (RuntimeError, SafetensorError) as error:
        hint = f"run `dvc repro --force` for the stage that writes {folder}"
        raise ModelError(
            f"{folder / WEIGHTS} does not match {CONFIG} and {INFO}", got=weight_mismatch(error), hint=hint
        ) from None
    return model.eval(), info


def _reassemble(folder: Path, info: ModelInfo, attention: str) -> Classifier:
    if isinstance(info.task, Sequence):
        from baton.models import sequence_model

        assert isinstance(info.input, TextInput), "models that write texts read texts"
        tokenizer = document_windows.open_tokenizer(folder, info.input.max_length)
        return sequence_model.reassemble(folder, tokenizer, info.task, attention, info.input.pad)
    return _kind(info.input, folder).reassemble(folder, info.head, info.task.width, attention)


def _require(folder: Path, *names: str) -> None:
    for name in names:
        if not (folder / name).is_file():
            raise ModelError(
                f"{folder} is not a Baton model folder",
                got=f"no {name}",
                expected="a folder written by finetune or distill",
                hint="run `dvc repro`",
            )


def read_info(folder: Path) -> ModelInfo:
    """Read the description of a model folder, without its weights.

    Raises:
        ModelError: it has an unknown layout.
    """
    raw = storage.read_json(folder / INFO)
    if "input" not in raw or not {"task", "labels"} & raw.keys():  # earlier versions wrote `labels`
        hint = f"run `dvc repro --force` for the stage that writes {folder}"
        raise ModelError(
            f"{folder / INFO} has an unknown layout",
            got=", ".join(sorted(raw)),
            expected="task, head and input",
            hint=hint,
        )
    fitted = fitted_values.read({"temperature": 1.0} | raw)  # earlier versions wrote none
    reads = input_spec.read(raw["input"], f"{folder / INFO}: input")
    return ModelInfo(task_spec.read(raw), params.head(raw["head"]), reads, fitted)
