"""Hidden states of a student's layers beside those of its live teacher's, so that a loss can compare them.

Both read the same tokens, one document per row: packed documents and windows have other shapes. The student's
layers are some of the teacher's, so all states have one width.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from baton import params
from baton.contracts.batch import Batch
from baton.contracts.input_spec import InputSpec, TextInput, Windows
from baton.errors import ParamsError
from baton.losses import distillation_losses
from baton.models.transformers_backbone import layer_stack

Seen = dict[int, torch.Tensor]  # layer -> its states in the last pass, (rows, length, width)


def check(states: params.HiddenStates | params.Relations, reads: InputSpec, width: int) -> None:
    """Refuse what cannot be compared; `width` is that of the states.

    Raises:
        ParamsError: documents are read in windows, or the states cannot be divided into heads.
    """
    if isinstance(states, params.Relations) and width % states.heads:
        raise ParamsError(
            "distill.states.heads does not divide the width of the teacher's hidden states",
            got=f"{states.heads} heads, width {width}",
            expected=f"a divisor of {width}",
        )
    if isinstance(reads, TextInput) and isinstance(reads.truncation, Windows):
        raise ParamsError(
            "distill.states compares documents of one window each",
            got="tokenize.truncation.kind windows",
            expected="head, tail or head_tail",
            hint="set distill.states to null, or read a part of each document",
        )


def pairs(student: int, teacher: int) -> list[tuple[int, int]]:
    """Return each of the student's layers with one of the teacher's, evenly, from 0; the last ones match.

    The uniform mapping of TinyBERT (Jiao et al. 2020, arXiv:1909.10351, section 4.1).
    """
    return [(layer, (layer + 1) * teacher // student - 1) for layer in range(student)]


class States:
    """The term of a loss that compares hidden states; `attached` says of which models."""

    def __init__(self, settings: params.HiddenStates | params.Relations) -> None:
        """`settings` say what is compared."""
        self.settings = settings
        self.seen: tuple[Seen, Seen] = ({}, {})  # of student and teacher
        self.pairs: list[tuple[int, int]] = []

    @contextlib.contextmanager
    def attached(self, student: Any, teacher: Any) -> Iterator[None]:
        """Keep the states of each pass of both classifiers, of the layers that are compared."""
        counts = [int(model.backbone.config.num_hidden_layers) for model in (student, teacher)]
        self.pairs = pairs(*counts)
        if isinstance(self.settings, params.Relations):
            self.pairs = self.pairs[-1:]
        handles = _kept(student, self.seen[0], [layer for layer, _ in self.pairs])
        handles += _kept(teacher, self.seen[1], [layer for _, layer in self.pairs])
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            for seen in self.seen:
                seen.clear()

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Return the distance of each sample of the batch that both models have just read, (batch,)."""
        count = len(batch.units)
        ids, given = batch.inputs[:2]
        mask = torch.ones_like(ids[:count]) if given is None else given[:count]
        places = slice(count), slice(ids.shape[1])  # encoders of local attention pad to its window
        own = [self.seen[0][layer][places] for layer, _ in self.pairs]
        taught = [self.seen[1][layer][places] for _, layer in self.pairs]
        each = [self._apart(*pair, mask) for pair in zip(own, taught, strict=True)]
        return torch.stack(each).mean(0)

    def _apart(self, student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if isinstance(self.settings, params.Relations):
            return distillation_losses.relations(student, teacher, self.settings.heads, mask)
        return distillation_losses.hidden(student, teacher, mask)


def _kept(model: Any, seen: Seen, layers: list[int]) -> list[RemovableHandle]:
    """Let layers of a model write their output into `seen`."""
    stack = model.backbone.get_submodule(layer_stack(model.backbone))

    def writing(layer: int) -> Any:
        def write(_module: nn.Module, _read: Any, output: Any) -> None:
            seen[layer] = output[0] if isinstance(output, tuple) else output

        return write

    return [stack[layer].register_forward_hook(writing(layer)) for layer in layers]
