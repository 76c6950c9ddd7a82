"""The peers of `distill_speed`: transformers' Trainer with a teacher in its loss, and torchdistill.

Each takes teacher and student, the documents, the settings, the runtime and a folder with the tokenizer,
trains the student in place and returns the seconds.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from baton import params
from baton.batches.text_batches import TextSplit
from baton.models.classifier import Classifier
from baton.runtime import resolve
from benchmarks import _peers

ATTENTION = "eager"
Train = Callable[[Classifier, Classifier, TextSplit, params.Distill, resolve.Runtime, Path], float]


def trainer(
    teacher: Classifier,
    student: Classifier,
    train: TextSplit,
    settings: params.Distill,
    machine: resolve.Runtime,
    tokenizer: Path,
) -> float:
    """Train with a subclass whose loss asks the teacher, as transformers' guide to distillation does."""
    import transformers

    heat, alpha = settings.temperature, settings.alpha
    taught = _peers.WithLoss(_peers.usual(teacher, ATTENTION).to(machine.device), 0.0).eval()
    divergence = nn.KLDivLoss(reduction="batchmean")

    class Distilling(transformers.Trainer):  # type: ignore[misc]
        def compute_loss(
            self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **_options: Any
        ) -> Any:
            answers = model(**inputs)
            with torch.no_grad():
                wanted = taught(**inputs)["logits"]
            soft = divergence((answers["logits"] / heat).log_softmax(-1), (wanted / heat).softmax(-1))
            loss = alpha * answers["loss"] + (1 - alpha) * heat**2 * soft
            return (loss, answers) if return_outputs else loss

    model = _peers.WithLoss(_peers.usual(student, ATTENTION), settings.label_smoothing)
    documents = _peers.Documents(train.arrays, np.arange(len(train)))
    options = _peers.flags(settings, _peers.Peer(ATTENTION, True, True), machine, len(train), False)
    with tempfile.TemporaryDirectory() as folder:
        used = Distilling(
            model,
            transformers.TrainingArguments(output_dir=folder, **options),
            _collator(tokenizer),
            documents,
        )
        used.remove_callback(transformers.PrinterCallback)
        begun = time.perf_counter()
        used.train()
        return time.perf_counter() - begun


class Autocast(nn.Module):
    """A classifier that computes in the runtime's precision, and returns logits in fp32."""

    def __init__(self, classifier: Classifier, machine: resolve.Runtime) -> None:
        super().__init__()
        self.classifier, self.machine = classifier, machine

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return logits for (batch, length) twice."""
        bf16 = self.machine.precision == "bf16"
        with torch.autocast(self.machine.device.type, torch.bfloat16, enabled=bf16):
            logits: torch.Tensor = self.classifier(input_ids, attention_mask)
        return logits.float()


def torchdistill(
    teacher: Classifier,
    student: Classifier,
    train: TextSplit,
    settings: params.Distill,
    machine: resolve.Runtime,
    tokenizer: Path,
) -> float:
    """Train with torchdistill's DistillationBox and KDLoss, in the loop of its examples."""
    import transformers
    from torchdistill.core.distillation import get_distillation_box
    from torchdistill.datasets.registry import register_collate_func
    from torchdistill.optim.registry import register_scheduler
    from transformers.trainer_pt_utils import LengthGroupedSampler

    collator, device = _collator(tokenizer), machine.device

    def collate(items: list[tuple[dict[str, Any], int, dict[str, Any]]]) -> tuple[Any, torch.Tensor, Any]:
        documents = collator([item for item, _, _ in items])
        return documents, torch.tensor([target for _, target, _ in items]), {}

    register_collate_func(key="padded")(collate)
    register_scheduler(key="linear_warmup")(transformers.get_linear_schedule_with_warmup)
    assert settings.batch_size is not None, "recipes of text have no token budget"
    documents = Pairs(train)
    sampler = LengthGroupedSampler(settings.batch_size, lengths=train.lengths.tolist())
    steps = settings.epochs * -(-len(documents) // settings.batch_size)
    term = {
        "student_module_path": ".",
        "student_module_io": "output",
        "teacher_module_path": ".",
        "teacher_module_io": "output",
        "temperature": settings.temperature,
        "alpha": settings.alpha,
    }
    reads = {"forward_proc": "forward_batch_only_as_kwargs"}
    box = get_distillation_box(
        Autocast(_peers.usual(teacher, ATTENTION), machine).to(device),
        Autocast(_peers.usual(student, ATTENTION), machine).to(device),
        {"train": documents},
        {
            "num_epochs": settings.epochs,
            "train_data_loader": {
                "dataset_id": "train",
                "sampler": {"class_or_func": lambda _documents: sampler},
                "collate_fn": "padded",
                "kwargs": {"batch_size": settings.batch_size},
            },
            "teacher": reads | {"requires_grad": False},
            "student": reads,
            "criterion": {
                "key": "WeightedSumLoss",
                "kwargs": {
                    "sub_terms": {"kd": {"criterion": {"key": "KDLoss", "kwargs": term}, "weight": 1.0}}
                },
            },
            "optimizer": {
                "key": "AdamW",
                "kwargs": {
                    "lr": settings.learning_rate,
                    "weight_decay": settings.weight_decay,
                    "fused": True,
                },
                "max_grad_norm": settings.clip_norm,
            },
            "scheduler": {
                "key": "linear_warmup",
                "kwargs": {
                    "num_warmup_steps": round(settings.warmup * steps),
                    "num_training_steps": steps,
                },
                "scheduling_step": 1,
            },
        },
        device,
        None,
        False,
        1,
    )
    begun = time.perf_counter()
    for epoch in range(settings.epochs):
        box.pre_epoch_process(epoch=epoch)
        for batch, targets, extra in box.train_data_loader:
            box.pre_forward_process()
            loss = box.forward_process(batch.to(device), targets.to(device), extra)
            box.post_forward_process(loss=loss)
        box.post_epoch_process()
    return time.perf_counter() - begun


class Pairs(torch.utils.data.Dataset[tuple[dict[str, Any], int]]):
    """A data set for torchdistill: documents and their classes."""

    def __init__(self, train: TextSplit) -> None:
        """Read all rows now, so that reading does not count."""
        self.items = _peers.Documents(train.arrays, np.arange(len(train))).items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, row: int) -> tuple[dict[str, Any], int]:
        item = self.items[row]
        return {key: value for key, value in item.items() if key != "labels"}, item["labels"]


def _collator(tokenizer: Path) -> Any:
    import transformers

    made = transformers.AutoTokenizer.from_pretrained(tokenizer, local_files_only=True)
    return transformers.DataCollatorWithPadding(made, pad_to_multiple_of=_peers.PAD_MULTIPLE)
