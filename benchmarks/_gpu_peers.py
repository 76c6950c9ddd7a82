"""The peers of `gpu`: transformers' Trainer with its best flags on the same texts, and timm's training step.

Best flags, as the installed transformers offers them: bf16, the fused AdamW (its default), batches grouped by
length and padded to a multiple of 8, pinned memory (its default), persistent worker processes that prefetch,
sdpa attention, and `torch_compile` on or off: both are measured, since its shapes differ from step to step.
Batch size, optimizer, schedule, clipping, dropout and the architecture are ours.
"""

import tempfile
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from baton.batches import array_splits
from baton.runtime import memory, resolve
from benchmarks import _flops, _peers, _training
from benchmarks._gpu_training import graphs
from benchmarks._gpu_work import Work
from benchmarks._training import now

PEER = _peers.Peer("sdpa", best_flags=True, same_model=True)
WORKERS = 4  # each only batches token ids; more bring nothing


def trainer(work: Work, compiled: bool) -> dict[str, Any]:
    """Train with transformers' Trainer; return figures of the timed steps."""
    import transformers

    sizes, settings = work.sizes, work.settings
    ours = _training.Work(work.project, settings, work.runtime, None)
    train, machine = ours.split("train"), ours.machine()
    resolve.seed_everything(settings.seed)
    model = _peers.same_model(ours, PEER.attention)
    costs = _flops.of_text(model.classifier)  # type: ignore[arg-type]
    meter = Meter(sizes.warm_up, sizes.all_steps)

    class Metered(transformers.Trainer):
        def training_step(
            self, model: Any, inputs: dict[str, Any], *others: Any, **named: Any
        ) -> torch.Tensor:
            meter.add(inputs["attention_mask"])
            return super().training_step(model, inputs, *others, **named)

    class Timed(transformers.TrainerCallback):
        def on_step_end(self, _args: Any, state: Any, _control: Any, **_options: Any) -> None:
            meter.end(state.global_step)

    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(output_dir=folder, **flags(work, machine, compiled))
        documents = _peers.Documents(train.arrays, np.arange(len(train)))
        collator = transformers.DataCollatorWithPadding(tokenizer(), pad_to_multiple_of=_peers.PAD_MULTIPLE)
        used = Metered(model, arguments, collator, documents, callbacks=[Timed()])
        used.remove_callback(transformers.PrinterCallback)
        memory.reset_peak()
        meter.begin()
        used.train()
    return meter.figures(costs) | {
        "peak_memory_bytes": memory.peak_memory(),
        "batch_size": settings.batch_size,
    }


def flags(work: Work, machine: resolve.Runtime, compiled: bool) -> dict[str, Any]:
    """Return the TrainingArguments."""
    workers = 0 if work.sizes.tiny else WORKERS
    loading = {
        "dataloader_num_workers": workers,
        "dataloader_persistent_workers": bool(workers),
        "dataloader_pin_memory": True,
    }
    loading |= {"dataloader_prefetch_factor": 4} if workers else {}
    steps = {"max_steps": work.sizes.all_steps, "torch_compile": compiled, "logging_strategy": "no"}
    steps["logging_nan_inf_filter"] = False  # it would read back every loss
    documents = work.sizes.all_steps * work.settings.batch_size
    return _peers.flags(work.settings, PEER, machine, documents, True) | loading | steps


def tokenizer() -> Any:
    """Return a tokenizer that only pads, with BERT's padding token."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"[PAD]": 0}, "[PAD]")),
        pad_token="[PAD]",  # noqa: S106
    )


class Meter:
    """Time and shapes of the Trainer's steps; it waits for the device three times in total."""

    def __init__(self, warm_up: int, steps: int) -> None:
        self.warm_up, self.steps = warm_up, steps
        self.masks: list[torch.Tensor] = []  # lengths (batch,) of each timed step, on the device
        self.widths: list[int] = []
        self.began = self.first = self.start = self.stop = 0.0
        self.compiled = 0

    def begin(self) -> None:
        """Begin the training run."""
        self.began = now()

    def add(self, mask: torch.Tensor) -> None:
        """Add a step's attention mask (batch, length)."""
        if self.start:
            self.masks.append(mask.sum(1))
            self.widths.append(mask.shape[1])

    def end(self, step: int) -> None:
        """End a step."""
        if step == 1:
            self.first = now()
        if step == self.warm_up:
            self.start, self.compiled = now(), graphs()
        if step == self.steps:
            self.stop = now()

    def figures(self, costs: _flops.Costs) -> dict[str, Any]:
        """Return figures like those of `_gpu_training.ours`."""
        seconds = self.stop - self.start
        lengths = [int(length) for mask in self.masks for length in mask.tolist()]
        padded = [width for mask, width in zip(self.masks, self.widths, strict=True) for _ in mask]
        return {
            "samples_per_second": len(lengths) / seconds,
            "first_step_seconds": self.first - self.began,
            "graphs": graphs(),
            "recompiles": graphs() - self.compiled,
            "operations_per_second": costs.operations(lengths) / seconds,
            "padded_operations_per_second": costs.operations(padded) / seconds,
            "tokens_per_second": sum(lengths) / seconds,
            "tokens_per_step": sum(lengths) / len(self.widths),
            "padding": 1 - sum(lengths) / sum(padded),
        }


def timm_step(work: Work) -> dict[str, Any]:
    """Time a step of timm's train.py on one batch on the device.

    Its flags are --amp --amp-dtype bfloat16 --channels-last --torchcompile --fused.
    """
    import timm
    from timm.optim import create_optimizer_v2
    from timm.utils import dispatch_clip_grad

    from baton import storage

    sizes, settings = work.sizes, work.settings
    machine = resolve.resolve(work.runtime, work=resolve.Work(fixed_shapes=True))
    resolve.seed_everything(settings.seed)
    config = storage.read_json(work.project / "data/base/config.json")
    classes = array_splits.read_meta(work.project / "data/arrays").task.width
    pool = {"cls": "token", "mean": "avg"}[settings.head.pooling]
    shape = {"num_classes": classes, "global_pool": pool, "drop_path_rate": settings.drop_path}
    model = timm.create_model(config["architecture"], **config["model_args"], **shape).to(
        machine.device, memory_format=torch.channels_last
    )
    rates = {
        "lr": settings.learning_rate,
        "weight_decay": settings.weight_decay,
        "layer_decay": settings.layer_decay,
    }
    optimizer = create_optimizer_v2(model, opt="adamw", fused=True, **rates)
    compiled = torch.compile(model.train(), backend="inductor")
    pixels = torch.randn(settings.batch_size, 3, sizes.side, sizes.side, device=machine.device).contiguous(
        memory_format=torch.channels_last
    )
    labels = torch.randint(classes, (settings.batch_size,), device=machine.device)
    loss_fn = torch.nn.CrossEntropyLoss(label_smoothing=settings.label_smoothing).to(machine.device)

    def step() -> None:
        with machine.autocast():
            loss = loss_fn(compiled(pixels), labels)
        loss.backward()
        if settings.clip_norm:
            dispatch_clip_grad(model.parameters(), value=settings.clip_norm, mode="norm")
        optimizer.step()
        optimizer.zero_grad()

    return replace_costs(work, timed_steps(step, sizes.warm_up, sizes.steps))


def timed_steps(step: Any, warm_up: int, steps: int) -> dict[str, Any]:
    """Return steps per second, and the cost of the first step."""
    memory.reset_peak()
    began = now()
    step()
    first = now()
    for _ in range(warm_up - 1):
        step()
    start, compiled = now(), graphs()
    for _ in range(steps):
        step()
    rate = steps / (now() - start)
    made = {"graphs": graphs(), "recompiles": graphs() - compiled, "peak_memory_bytes": memory.peak_memory()}
    return {"steps_per_second": rate, "first_step_seconds": first - began} | made


def replace_costs(work: Work, figures: dict[str, Any]) -> dict[str, Any]:
    """Convert figures of steps into samples and operations of our ViT, which has the same matrices."""
    from benchmarks._gpu_training import setup

    model = setup(replace(work, runtime=work.runtime.model_copy(update={"device": "cpu"})), compile=False)[1]
    costs, batch = _flops.of_image(model), work.settings.batch_size
    done = figures["steps_per_second"] * costs.operations([costs.own_tokens] * batch)
    rates = {"samples_per_second": figures["steps_per_second"] * batch, "batch_size": batch}
    return figures | rates | {"operations_per_second": done, "padded_operations_per_second": done}
