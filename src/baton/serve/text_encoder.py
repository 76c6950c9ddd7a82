"""The encoder of texts in a served model: tokens of raw texts or pairs of them, and their pooled features."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Encoding
from transformers import AutoConfig, AutoModel

from baton.contracts.input_spec import TextInput
from baton.serve import precision
from baton.serve.precision import Precision
from baton.texts import document_windows, pair_windows
from baton.texts.pair_windows import PairFrame, Read

PORTION = 256  # texts tokenized at once: a token takes many times the memory of its id


class TextEncoder:
    """A transformers encoder with its tokenizer, which pools as `models.text_model` does."""

    def __init__(
        self,
        folder: Path,
        reads: TextInput,
        pooling: str,
        weights: dict[str, torch.Tensor],
        device: torch.device,
        computes: Precision = "fp32",
    ) -> None:
        """Take the folder of its config and tokenizer, its weights, and the precision of its encoder.

        Raises:
            RuntimeError: If the weights do not match the config.
        """
        self.reads, self.pooling, self.device = reads, pooling, device
        self.tokenizer = document_windows.open_tokenizer(folder, reads.max_length)
        whole = pair_windows.pair_frame if reads.pair else document_windows.frame
        self.frame: document_windows.Frame | PairFrame = whole(self.tokenizer)
        self.tokenizer.no_truncation()  # the frame truncates
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)

        def made(dtype: torch.dtype) -> Any:
            backbone = AutoModel.from_config(config, dtype=dtype)
            if pooling != "pooler" and hasattr(backbone, "pooler"):
                backbone.pooler = None
            backbone.load_state_dict(weights)
            return backbone

        self.backbone, self.precision = precision.prepared(made, computes, device, self._tried)
        self.takes_types = pair_windows.takes_types(self.backbone)

    def _tried(self, backbone: Any) -> torch.Tensor:
        """Return an encoder's states for a window of tokens and a shorter one."""
        tokens = torch.tensor([[1, 2], [1, self.reads.pad]], device=self.device)
        mask = torch.tensor([[1, 1], [1, 0]], device=self.device)
        states: torch.Tensor = backbone(input_ids=tokens, attention_mask=mask).last_hidden_state
        return states

    def read(self, *columns: list[str]) -> list[Read]:
        """Return what is read of each text, or of each pair of texts in two columns."""
        found: list[Read] = []
        for first in range(0, len(columns[0]), PORTION):
            some = (texts[first : first + PORTION] for texts in columns)
            whole = [self.tokenizer.encode_batch_fast(texts, add_special_tokens=False) for texts in some]
            found += [self.kept(row) for row in zip(*whole, strict=True)]
        return found

    def encoded(self, *columns: list[str]) -> list[tuple[Encoding, ...]]:
        """Return the tokens of each text, or of both texts of a pair, with their characters."""
        if not columns[0]:
            return []
        whole = (self.tokenizer.encode_batch(texts, add_special_tokens=False) for texts in columns)
        return [*zip(*whole, strict=True)]

    def kept(self, encodings: Sequence[Encoding]) -> Read:
        """Return what is read of a text, or of both texts of a pair, given their own tokens."""
        ids = [own.ids for own in encodings]
        if isinstance(self.frame, PairFrame):
            return self.frame.read(ids[0], ids[1], self.reads.truncation)
        windows, left_out = self.frame.read(ids[0], self.reads.truncation)
        return Read(windows, [], left_out)

    def features(self, read: Sequence[Read]) -> torch.Tensor:
        """Return the pooled features (batch, width) of texts or pairs."""
        windows = [window for own in read for window in own.windows]
        kinds = [types for own in read for types in own.types]
        owner = torch.tensor([place for place, own in enumerate(read) for _ in own.windows])  # (windows,)
        owners = owner == torch.arange(len(read)).unsqueeze(1)  # (batch, windows)
        return self._pooled(*self.run(windows, kinds), owners.to(self.device))

    def run(self, windows: list[list[int]], kinds: list[list[int]]) -> tuple[Any, torch.Tensor]:
        """Return the encoder's output for windows of tokens, and their mask (windows, length).

        `kinds` are the types of the tokens of pairs.
        """
        tokens, mask = _padded(windows, self.reads.pad), _padded([[1] * len(own) for own in windows], 0)
        types = _padded(kinds, 0) if kinds else torch.zeros_like(tokens)  # (windows, length)
        tokens, mask, types = (part.to(self.device) for part in (tokens, mask, types))
        typed = {"token_type_ids": types} if self.takes_types and self.reads.pair else {}
        return self.backbone(input_ids=tokens, attention_mask=mask, **typed), mask

    def _pooled(self, output: Any, mask: torch.Tensor, owners: torch.Tensor) -> torch.Tensor:
        """Return features (batch, width); `owners` (batch, windows): whether a window belongs to a text."""
        states = output.last_hidden_state.float()  # (windows, length, width)
        counts = torch.ones(len(states), 1, device=states.device)  # (windows, 1)
        if self.pooling == "pooler":
            pooled = output.pooler_output.float()  # (windows, width)
        elif self.pooling == "cls":
            pooled = states[:, 0]
        else:
            weight = mask.unsqueeze(-1).to(states.dtype)  # (windows, length, 1)
            pooled, counts = (states * weight).sum(1), weight.sum(1)
        # The sums over the windows of each text: (batch, width) and (batch, 1).
        pooled, counts = (torch.where(owners.unsqueeze(-1), part, 0).sum(1) for part in (pooled, counts))
        return pooled / counts


def batches(read: Sequence[list[list[int]]], most: int) -> Iterator[list[int]]:
    """Yield the rows of texts, given as their windows, in batches of similar length.

    A batch has at most `most` windows, or a single text.
    """
    batch: list[int] = []
    for row in sorted(range(len(read)), key=lambda row: sum(map(len, read[row]))):
        if batch and sum(len(read[other]) for other in batch) + len(read[row]) > most:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _padded(rows: list[list[int]], value: int) -> torch.Tensor:
    """Return rows of different lengths, filled up with `value`, (rows, longest) int64."""
    result = torch.full((len(rows), max(map(len, rows))), value)
    for place, row in enumerate(rows):
        result[place, : len(row)] = torch.tensor(row)
    return result
