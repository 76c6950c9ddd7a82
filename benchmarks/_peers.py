"""The peers of `train_speed`: transformers' Trainer and a tutorial's loop, on the same documents as ours."""

import tempfile
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from baton import params
from baton.arrays import text_arrays
from baton.models import model_folder
from baton.runtime import resolve
from baton.tasks import metrics
from benchmarks import _sides
from benchmarks._training import WARM_UP, Clock, Measured, Rows, Work, chosen, share_of_padding

TUTORIAL_LENGTH = 512
PAD_MULTIPLE = 8  # the Trainer's, with its best flags


@dataclass(frozen=True)
class Peer:
    """A way to use the Trainer."""

    attention: str  # sdpa or eager
    best_flags: bool
    # Our architecture; else AutoModelForSequenceClassification with the dropout in the base's config.
    same_model: bool


def trainer(work: Work, peer: Peer) -> Measured:
    """Train with transformers' Trainer on the same documents, in the order of its own sampler."""
    import transformers

    settings, train, val = work.settings, work.split("train"), work.split("val")
    machine = work.machine()
    resolve.seed_everything(settings.seed)
    model = same_model(work, peer.attention) if peer.same_model else sequence_classifier(work, peer.attention)
    plan = trainers_plan(train.lengths, settings.batch_size, peer.best_flags)
    steps = chosen(plan, train.lengths, work.steps)
    rows = np.concatenate([plan[step] for step in steps]) if work.steps else np.arange(len(train))
    count = len(rows) - WARM_UP * settings.batch_size if work.steps else settings.epochs * len(train)
    clock = Clock(count)

    class Timed(transformers.TrainerCallback):
        def on_step_begin(self, _args: Any, state: Any, _control: Any, **_options: Any) -> None:
            if state.global_step == (WARM_UP if work.steps else 0):
                clock.go()

        def on_step_end(self, _args: Any, state: Any, _control: Any, **_options: Any) -> None:
            if state.global_step == state.max_steps:
                clock.stop()

    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            output_dir=folder, **flags(settings, peer, machine, len(rows), work.steps is not None)
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            work.project / "data/base", local_files_only=True
        )
        collator = transformers.DataCollatorWithPadding(
            tokenizer, pad_to_multiple_of=PAD_MULTIPLE if peer.best_flags else None
        )
        documents = [Documents(train.arrays, rows), Documents(val.arrays, np.arange(len(val)))]
        used = transformers.Trainer(model, arguments, collator, *documents, callbacks=[Timed()])
        used.remove_callback(transformers.PrinterCallback)
        used.train()
        accuracy = 0.0
        if not work.steps:
            found = used.predict(documents[1])  # in its own order, like its labels
            accuracy = metrics.scores(np.asarray(found.predictions), np.asarray(found.label_ids))["accuracy"]
    multiple = PAD_MULTIPLE if peer.best_flags else 1
    widths = [-(-int(train.lengths[plan[step]].max()) // multiple) * multiple for step in steps]
    padding = share_of_padding(train.lengths, [plan[step] for step in steps], widths)
    return Measured(clock.rate(), padding, _sides.peak_memory(), accuracy, accuracy)


def flags(
    settings: params.Training, peer: Peer, machine: resolve.Runtime, documents: int, chosen_steps: bool
) -> dict[str, Any]:
    """Return TrainingArguments with the recipe's optimizer, without costly extras; `best_flags` add speed.

    With `chosen_steps` the documents are those of one epoch's steps, in order.
    """
    epochs = 1 if chosen_steps else settings.epochs
    steps = epochs * -(-documents // settings.batch_size)
    common = {
        "per_device_train_batch_size": settings.batch_size,
        "per_device_eval_batch_size": 2 * settings.batch_size,
        "num_train_epochs": epochs,
        "learning_rate": settings.learning_rate,
        "weight_decay": settings.weight_decay,
        "warmup_steps": round(settings.warmup * steps),
        "lr_scheduler_type": settings.schedule,
        "max_grad_norm": settings.clip_norm or 0.0,
        "seed": settings.seed,
        "label_smoothing_factor": 0.0
        if peer.same_model
        else settings.label_smoothing,  # ours is in the model's own loss
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": machine.device.type == "cpu",
    }
    best = {
        "bf16": machine.precision == "bf16",
        "optim": "adamw_torch_fused",
        "train_sampling_strategy": "group_by_length",
    }
    # The chosen steps are already in the sampler's order.
    return (
        common
        | (best if peer.best_flags else {})
        | ({"train_sampling_strategy": "sequential"} if chosen_steps else {})
    )


def tutorial(work: Work) -> Measured:
    """Train as tutorials do: padded to the model's maximum, fp32, torch's AdamW, one rate, no clipping."""
    settings, train = work.settings, work.split("train")
    pad = train.pad
    machine = work.machine()
    resolve.seed_everything(settings.seed)
    model = sequence_classifier(work, "sdpa").to(machine.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate)
    width = min(TUTORIAL_LENGTH, model.config.max_position_embeddings)
    order = np.random.default_rng(settings.seed).permutation(len(train))
    steps = min(work.steps or len(train), len(train) // settings.batch_size - 1)
    clock = Clock(steps * settings.batch_size)
    model.train()
    for step, start in enumerate(range(0, (steps + 1) * settings.batch_size, settings.batch_size)):
        if step == 1:  # the first step is the warm-up; all have the same shape
            clock.go()
        batch = train.batch(order[start : start + settings.batch_size]).to(machine.device)
        missing = width - batch.shape[1]
        ids, mask = (
            nn.functional.pad(batch.input_ids, (0, missing), value=pad),
            nn.functional.pad(batch.attention_mask, (0, missing)),
        )
        loss = model(input_ids=ids, attention_mask=mask, labels=batch.targets).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    clock.stop()
    used = order[: (steps + 1) * settings.batch_size].reshape(-1, settings.batch_size)  # (steps, batch)
    padding = share_of_padding(train.lengths, list(used), [width] * len(used))
    return Measured(clock.rate(), padding, _sides.peak_memory())


def trainers_plan(lengths: Rows, batch_size: int, grouped: bool) -> list[Rows]:
    """Return the batches of an epoch, as ordered by the Trainer's own sampler."""
    from transformers.trainer_pt_utils import LengthGroupedSampler

    generator = torch.Generator().manual_seed(0)
    sampler = (
        LengthGroupedSampler(batch_size, lengths=lengths.tolist(), generator=generator) if grouped else None
    )
    order = np.array(list(sampler) if sampler else torch.randperm(len(lengths), generator=generator).tolist())
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


class Documents(torch.utils.data.Dataset[dict[str, Any]]):
    """A data set for the Trainer: lists of token ids in memory."""

    def __init__(self, arrays: text_arrays.TextArrays, rows: Rows) -> None:
        """Read all rows now, so that reading does not count."""
        tokens = [arrays.tokens[arrays.offsets[row] : arrays.offsets[row + 1]].tolist() for row in rows]
        self.items = [
            {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": int(arrays.targets.values[row])}
            for ids, row in zip(tokens, rows, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return self.items[row]


class WithLoss(nn.Module):
    """Our classifier in the Trainer's form: it returns the loss."""

    def __init__(self, classifier: model_folder.Classifier, label_smoothing: float) -> None:
        super().__init__()
        self.classifier, self.label_smoothing = classifier, label_smoothing

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return loss and logits for (batch, length), (batch, length), (batch,)."""
        logits = self.classifier(input_ids, attention_mask)
        loss = nn.functional.cross_entropy(logits.float(), labels, label_smoothing=self.label_smoothing)
        return {"loss": loss, "logits": logits}


def same_model(work: Work, attention: str) -> nn.Module:
    """Return the architecture of `ours` with transformers' attention and torch's dropout, as is usual."""
    settings, meta = work.settings, work.meta()
    model = model_folder.create(
        work.project / "data/base", settings.head, meta.task.width, settings, "sdpa", meta.input
    )
    return WithLoss(usual(model, attention), settings.label_smoothing)


def usual(model: model_folder.Classifier, attention: str) -> model_folder.Classifier:
    """Give our classifier transformers' attention and torch's dropout, in place."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Dropout):
                setattr(module, name, nn.Dropout(child.p))
    model.backbone.set_attn_implementation(attention)
    return model


def sequence_classifier(work: Work, attention: str) -> Any:
    """Return transformers' own classifier on the base model."""
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    return AutoModelForSequenceClassification.from_pretrained(
        work.project / "data/base",
        num_labels=work.meta().task.width,
        attn_implementation=attention,
        dtype=torch.float32,
        local_files_only=True,
    )
