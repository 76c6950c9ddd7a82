"""A trained model -> an ONNX graph, and batches -> what the graph takes.

The graph holds encoder, pooling and head. Of a model with an answer for each unit, it computes the logits of
every token, of which those of the units are taken afterwards. Everything but the widths is of any size.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.export import Dim

from baton.batches import clip_batches
from baton.batches.sampler import Split
from baton.batches.text_batch import TextBatch
from baton.contracts.batch import Batch
from baton.contracts.input_spec import AudioInput, ImageInput, ImageTextInput, InputSpec, TextInput, Windows
from baton.contracts.task_spec import Sequence
from baton.errors import ModelError
from baton.models.classifier import Classifier, ModelInfo

OPSET = 20
Arrays = Mapping[str, NDArray[Any]]


class _TextGraph(nn.Module):
    """Logits of documents, with inputs by name."""

    def __init__(self, model: Any, units: bool) -> None:
        super().__init__()
        self.model, self.units = model, units

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        owners: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return logits (batch, width), or (windows, length, width) of all tokens."""
        if self.units:
            typed = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
            states = self.model.backbone(input_ids=input_ids, attention_mask=attention_mask, **typed)
            return cast("torch.Tensor", self.model.head(states.last_hidden_state))
        features = self.model.features(input_ids, attention_mask, owners, None, token_type_ids)
        return cast("torch.Tensor", self.model.head(features))


class _ImageGraph(nn.Module):
    """Logits of images, or spectrograms, from pixels 0 to 255."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map (batch, channels, height, width) to (batch, width)."""
        return cast("torch.Tensor", self.model(pixels))


class _ImageTextGraph(nn.Module):
    """Logits of images with texts."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        pixels: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        owners: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return logits (batch, width)."""
        read = (input_ids, attention_mask) if owners is None else (input_ids, attention_mask, owners)
        return cast("torch.Tensor", self.model(pixels, *read))


def check(info: ModelInfo) -> None:
    """Refuse a model that cannot be exported.

    Raises:
        ModelError: it writes texts.
    """
    if isinstance(info.task, Sequence):
        raise ModelError(
            "this model cannot be exported: it writes texts, token by token, which needs a loop",
            got=f"task {info.task.kind}",
            expected="a task whose answers follow from one pass: classes, labels, numbers, tokens, spans",
            hint="set export to null, and serve the model itself",
        )


def inputs(reads: InputSpec, model: Any) -> tuple[str, ...]:
    """Return the names of a graph's inputs, see `engine.Graph`."""
    match reads:
        case ImageInput() | AudioInput():
            return ("pixels",)
        case ImageTextInput():
            return ("pixels", *inputs(reads.text, model.backbone.text))
        case TextInput():
            owners = ("owners",) if isinstance(reads.truncation, Windows) else ()
            types = ("token_type_ids",) if reads.pair and model.takes_types else ()
            return ("input_ids", "attention_mask", *owners, *types)


def arrays(batch: Batch, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Return a batch as a graph takes it."""
    made: dict[str, torch.Tensor] = {}
    if "pixels" in names:
        made["pixels"] = batch.inputs[0].float()
    text = getattr(batch, "text", batch)
    if isinstance(text, TextBatch):
        windows, documents = len(text.input_ids), len(text)
        made |= {
            "input_ids": text.input_ids,
            "attention_mask": text.attention_mask,
            "owners": torch.eye(documents, windows, dtype=torch.bool) if text.owners is None else text.owners,
            "token_type_ids": torch.zeros_like(text.input_ids) if text.types is None else text.types,
        }
    return {name: made[name].numpy() for name in names}


def of_batch(logits: NDArray[np.float32], batch: Batch) -> NDArray[np.float32]:
    """Return the logits of a batch's outputs, (outputs, width), of what the graph returned for it."""
    if isinstance(batch, TextBatch) and batch.read is not None:
        return np.asarray(logits.reshape(-1, logits.shape[-1])[batch.read.places.numpy()])
    return np.asarray(clip_batches.per_sample(batch, torch.from_numpy(logits)))[: len(batch)]


def write(model: Classifier, info: ModelInfo, split: Split, path: Path) -> tuple[str, ...]:
    """Write a model, in eval mode on the CPU, as ONNX in fp32; return the names of the graph's inputs.

    Args:
        model: the model.
        info: its task and input.
        split: samples from which the graph is traced.
        path: of the file.

    Raises:
        ModelError: torch cannot trace the architecture.
    """
    names = inputs(info.input, model)
    batch = split.batch(np.arange(min(3, len(split)), dtype=np.int64))
    example = {name: torch.from_numpy(own) for name, own in arrays(batch, names).items()}
    graph = _graph(model, info)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of torch's exporter, on its own internals
            program = torch.onnx.export(
                graph.eval(),
                kwargs=example,
                dynamo=True,
                dynamic_shapes=_shapes(names),
                input_names=list(names),
                output_names=["logits"],
                opset_version=OPSET,
                external_data=False,
                verbose=False,
            )
            assert program is not None, "the exporter by dynamo returns a program"
            _without_traces(program.model)
            program.save(path)
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError) as error:
        raise ModelError(
            "torch cannot export this architecture to ONNX",
            got=f"{type(error).__name__}: {str(error).strip().splitlines()[0]}",
            expected="an encoder that torch.export can trace",
            hint="set export to null, and serve the model itself",
        ) from None
    return names


def _without_traces(model: Any) -> None:
    """Remove what the exporter notes of each node: its lines of code, with this machine's paths."""
    for part in (model, model.graph, *model.graph.all_nodes(), *model.functions.values()):
        part.metadata_props.clear()
    for node in model.graph.all_nodes():
        for value in node.outputs:
            value.metadata_props.clear()


def _graph(model: Classifier, info: ModelInfo) -> nn.Module:
    match info.input:
        case ImageInput() | AudioInput():
            return _ImageGraph(model)
        case ImageTextInput():
            return _ImageTextGraph(model)
        case TextInput():
            return _TextGraph(model, info.task.outputs == "unit")


def _shapes(names: tuple[str, ...]) -> dict[str, dict[int, Any]]:
    """Return which axes of each input are of any size; without `owners` each document has one window."""
    batch, length = Dim("batch"), Dim("length")
    windows = Dim("windows") if "owners" in names else batch
    known = {"owners": {0: batch, 1: windows}, "pixels": {0: batch}}
    return {name: known.get(name, {0: windows, 1: length}) for name in names}
