"""The encoder of texts in a served model: tokens of raw texts, and their pooled features."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModel

from baton.contracts.input_spec import TextInput
from baton.texts import document_windows

Windows = list[list[int]]  # the tokens of a text, in windows


class TextEncoder:
    """A transformers encoder with its tokenizer, which pools as `models.text_model` does."""

    def __init__(
        self,
        folder: Path,
        reads: TextInput,
        pooling: str,
        weights: Mapping[str, torch.Tensor],
        device: torch.device,
    ) -> None:
        """Take the folder of its config and tokenizer, and its weights.

        Raises:
            RuntimeError: If the weights do not match the config.
        """
        self.reads, self.pooling, self.device = reads, pooling, device
        self.tokenizer = document_windows.open_tokenizer(folder, reads.max_length)
        self.frame = document_windows.frame(self.tokenizer)
        self.tokenizer.no_truncation()  # the frame truncates
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        self.backbone = AutoModel.from_config(config, dtype=torch.float32)
        if pooling != "pooler" and hasattr(self.backbone, "pooler"):
            self.backbone.pooler = None
        self.backbone.load_state_dict(weights)
        self.backbone.to(device).eval()

    def read(self, texts: list[str]) -> list[Windows]:
        """Return the windows of each text."""
        whole = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [self.frame.read(own.ids, self.reads.truncation)[0] for own in whole]

    def features(self, read: Sequence[Windows]) -> torch.Tensor:
        """Return the pooled features (batch, width) of texts from their windows."""
        windows = [window for own in read for window in own]
        length = max(map(len, windows))
        tokens = torch.full((len(windows), length), self.reads.pad)  # (windows, length)
        mask = torch.zeros_like(tokens)
        for place, window in enumerate(windows):
            tokens[place, : len(window)] = torch.tensor(window)
            mask[place, : len(window)] = 1
        owner = torch.tensor([place for place, own in enumerate(read) for _ in own])  # (windows,)
        owners = owner == torch.arange(len(read)).unsqueeze(1)  # (batch, windows)
        return self._pooled(*(part.to(self.device) for part in (tokens, mask, owners)))

    def _pooled(self, tokens: torch.Tensor, mask: torch.Tensor, owners: torch.Tensor) -> torch.Tensor:
        output = self.backbone(input_ids=tokens, attention_mask=mask)
        states = output.last_hidden_state  # (windows, length, width)
        counts = torch.ones(len(tokens), 1, device=states.device)  # (windows, 1)
        if self.pooling == "pooler":
            pooled = output.pooler_output  # (windows, width)
        elif self.pooling == "cls":
            pooled = states[:, 0]
        else:
            weight = mask.unsqueeze(-1).to(states.dtype)  # (windows, length, 1)
            pooled, counts = (states * weight).sum(1), weight.sum(1)
        # The sums over the windows of each text: (batch, width) and (batch, 1).
        pooled, counts = (torch.where(owners.unsqueeze(-1), part, 0).sum(1) for part in (pooled, counts))
        return pooled / counts


def batches(read: Sequence[Windows], most: int) -> Iterator[list[int]]:
    """Yield the rows of texts, in batches of similar length of at most `most` windows or of a single text."""
    batch: list[int] = []
    for row in sorted(range(len(read)), key=lambda row: sum(map(len, read[row]))):
        if batch and sum(len(read[other]) for other in batch) + len(read[row]) > most:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
