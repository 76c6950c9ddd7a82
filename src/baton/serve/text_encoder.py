"""The encoder of texts in a served model: tokens of texts or pairs -> pooled features, or vectors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel

from baton.contracts.input_spec import TextInput
from baton.serve import precision, text_reader
from baton.serve.precision import Precision
from baton.serve.text_reader import TextReader
from baton.texts import pair_windows
from baton.texts.pair_windows import Read


class TextEncoder(TextReader):
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
        super().__init__(folder, reads)
        self.pooling, self.device = pooling, device
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

    def features(self, read: Sequence[Read]) -> torch.Tensor:
        """Return the pooled features (batch, width) of texts or pairs."""
        windows = [window for own in read for window in own.windows]
        kinds = [types for own in read for types in own.types]
        owners = torch.from_numpy(text_reader.owners(read)).to(self.device)  # (batch, windows)
        return self._pooled(*self.run(windows, kinds), owners)

    def run(self, windows: list[list[int]], kinds: list[list[int]]) -> tuple[Any, torch.Tensor]:
        """Return the encoder's output for windows of tokens, and their mask (windows, length).

        `kinds` are the types of the tokens of pairs.
        """
        arrays = text_reader.tokens(windows, kinds, self.reads.pad)
        if not (self.takes_types and self.reads.pair):
            del arrays["token_type_ids"]
        inputs = {name: torch.from_numpy(own).to(self.device) for name, own in arrays.items()}
        return self.backbone(**inputs), inputs["attention_mask"]

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
