"""Integrated gradients (Sundararajan et al. 2017), by captum: which tokens speak for a model's answer.

Gradients of the answer's log-odds are integrated along the straight line from embeddings of the mask token,
which says nothing, to those of the text; they sum to the change of the log-odds along the line. (Padding may
be embedded as zeros. Layer normalisation then hides how far along the line a place is, and gradients are 0.)
Special tokens stay as they are. Log-odds, unlike a probability, still tell words apart where a model is sure.

Each step is one pass forth and back, however long the text is, and few steps are enough. Leaving out one word
at a time (Li et al. 2016, Understanding neural networks through representation erasure) takes a pass for each
word, and so grows with the square of the length. A model takes the mixture of two embeddings in each place as
its input (as with mixup). The line lies there, so this works for every encoder and pooling, and for documents
in several windows.

Inputs: a text model, a text and a score of its logits -> a number for each token.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from baton.batches.text_batch import TextBatch

AT_ONCE = 16  # windows in memory at a time


def attribute(
    model: nn.Module,
    batch: TextBatch,
    plain: torch.Tensor,
    score: Callable[[torch.Tensor], torch.Tensor],
    steps: int,
) -> NDArray[np.float64]:
    """Return attributions of the tokens of one document, (windows, length).

    Args:
        model: in eval mode.
        batch: one document, padded, on the model's device.
        plain: the tokens in place of those of the document at the start of the line, (windows, length); where
            they are the same, attributions are 0.
        score: (copies, width) logits -> (copies,), what the words speak for.
        steps: of the integration; more steps make the sums more exact.
    """
    from captum.attr import IntegratedGradients

    windows, length = batch.shape

    def along(parts: torch.Tensor) -> torch.Tensor:
        count = len(parts)  # (copies, windows * length), 1 at the document's own embeddings
        own = parts.reshape(count * windows, length)
        owners = None
        if windows > 1:
            owners = torch.eye(count, dtype=torch.bool, device=parts.device).repeat_interleave(windows, 1)
        ids, mask, others = (one.repeat(count, 1) for one in (batch.input_ids, batch.attention_mask, plain))
        types = None if batch.types is None else batch.types.repeat(count, 1)
        shares = torch.stack([own, 1 - own], dim=-1) * mask.unsqueeze(-1)  # (copies * windows, length, 2)
        logits: torch.Tensor = model(ids, mask, owners, None, types, None, others, shares)
        return score(logits.float())

    full = torch.ones(1, windows * length, device=batch.input_ids.device)
    found = IntegratedGradients(along).attribute(
        full, torch.zeros_like(full), n_steps=steps, internal_batch_size=max(1, AT_ONCE // windows)
    )
    return found.reshape(windows, length).double().cpu().numpy()  # type: ignore[no-any-return]


def log_odds(logits: torch.Tensor, name: int, given: bool, one_class: bool) -> torch.Tensor:
    """Return the log-odds of an answer, (rows,), from logits, (rows, width).

    Args:
        logits: of classes, or of labels.
        name: the class or label.
        given: False: the answer is that the label is left out.
        one_class: whether each row has one class.
    """
    own = logits[:, name]
    if one_class:
        return own - torch.cat([logits[:, :name], logits[:, name + 1 :]], dim=1).logsumexp(dim=1)
    return own if given else -own
