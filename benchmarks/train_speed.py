"""Our training against transformers' Trainer: the same base model, documents, batch size, optimizer, schedule and epochs.

(a) the same model and settings, dropout 0.1 everywhere included: ours against the Trainer with its best flags
(b) each as it is recommended: ours with the recipe's params, the Trainer at its defaults and with its best flags
(c) the plain loop of a tutorial (padded to 512 tokens, fp32), for orientation

Every side has a process of its own; they take turns. One epoch over a random sample of the training documents is timed, after a short
training that warms up. Best flags are bf16, batches grouped by length, the fused optimizer and padding to a multiple of 8; of the attentions
that its users can choose, sdpa (transformers' default) and eager, the faster one counts.

    python -m benchmarks.train_speed [--project FOLDER] [--documents N] [--repeats N] [--only a|b|c]
    python -m benchmarks.train_speed --accuracy [--seeds 0 1 2]    # validation accuracy of both after whole trainings
"""

import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from baton import console, params, runtime, storage
from baton.data import text
from baton.data.batches import TrainingBatches, collate
from baton.data.text import TextArrays
from baton.evaluate import metrics
from baton.models import build
from baton.predict import predict
from baton.train import loop, losses
from benchmarks import _sides

WARM_UP = 64  # documents
TUTORIAL_LENGTH = 512
DROPOUT = 0.1


@dataclass(frozen=True)
class Work:
    """What all sides are given."""

    project: Path
    recipe: Path
    rows: tuple[int, ...]  # of train
    epochs: int
    seed: int
    dropout: float | None  # everywhere; None: as the side recommends
    val_rows: int = 64

    def settings(self) -> params.Finetune:
        """The recipe's, for these epochs; validation at the end of each."""
        recipe = params.read(self.recipe).finetune
        changes: dict[str, Any] = {
            "epochs": self.epochs,
            "seed": self.seed,
            "log_every": 1,
            "evaluations_per_epoch": 1,
            "early_stopping": None,
        }
        if self.dropout is not None:
            head = recipe.head.model_copy(update={"dropout": self.dropout})
            changes |= {"dropout": self.dropout, "attention_dropout": self.dropout, "head": head}
        return recipe.model_copy(update=changes)

    def arrays(self) -> tuple[TextArrays, TextArrays]:
        """The samples of train and val."""
        folder = self.project / "data/arrays"
        train, val = (text.open_arrays(folder, split) for split in ("train", "val"))
        return sample(train, np.array(self.rows)), sample(val, np.arange(min(self.val_rows, len(val))))

    def meta(self) -> dict[str, Any]:
        """Labels, padding, length."""
        found: dict[str, Any] = storage.read_json(self.project / "data/arrays/meta.json")
        return found


@dataclass(frozen=True)
class Measured:
    """One run of one side."""

    rate: float  # samples/s
    accuracy: float  # validation, after the last step


def main(arguments: Sequence[str] | None = None) -> None:
    """Print rates and ratios, or accuracies."""
    parser = _sides.parser(__doc__, 3)
    parser.add_argument("--params", type=Path, help="a recipe (default: the project's params.yaml)")
    parser.add_argument("--documents", type=int, default=768, help="of train, in one timed epoch (default 768)")
    parser.add_argument("--only", choices=("a", "b", "c"), help="one of the comparisons")
    parser.add_argument(
        "--accuracy", action="store_true", help="train on all of train for the recipe's epochs and compare validation accuracy"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="for --accuracy (default: 0 1 2)")
    options = parser.parse_args(arguments)
    _sides.require(options.project, "data/arrays/meta.json", "data/base/config.json")
    recipe = options.params or options.project / "params.yaml"
    if options.accuracy:
        compare_accuracy(options.project, recipe, options.seeds)
        return
    total = len(text.open_arrays(options.project / "data/arrays", "train"))
    rows = tuple(_sides.sample(total, options.documents, options.seed))
    for name, compare in (("a", identical), ("b", recommended), ("c", tutorials)):
        if options.only in {None, name}:
            compare(Work(options.project, recipe, rows, 1, options.seed, None), options.repeats)
    print(f"\n{_sides.machine('torch', 'transformers', 'accelerate')}; {len(rows)} documents")


def identical(work: Work, repeats: int) -> None:
    """(a)."""
    work = replace(work, dropout=DROPOUT)
    sides: dict[str, Callable[[], Measured]] = {
        "ours": functools.partial(warm, ours, work),
        "Trainer, best flags, sdpa": functools.partial(warm, trainer, work, "sdpa", True),
        "Trainer, best flags, eager": functools.partial(warm, trainer, work, "eager", True),
    }
    print(
        "\n(a) the same model (recipe's encoder and head), rate, schedule, clipping, dropout 0.1; bf16, similar lengths together on both sides."
    )
    print("    Ours differs in the code of attention, dropout, clipping and loop.")
    table(sides, repeats)


def recommended(work: Work, repeats: int) -> None:
    """(b)."""
    settings = work.settings()
    sides: dict[str, Callable[[], Measured]] = {
        "ours": functools.partial(warm, ours, work),
        "Trainer, defaults": functools.partial(warm, trainer, work, "sdpa", False, True),
        "Trainer, best flags, sdpa": functools.partial(warm, trainer, work, "sdpa", True, True),
        "Trainer, best flags, eager": functools.partial(warm, trainer, work, "eager", True, True),
    }
    print("\n(b) each as recommended; the same base, documents, batch size, learning rate and epochs.")
    print(
        f"    Ours: the recipe: {settings.head.pooling} pooling, dropout {settings.dropout}, attention dropout {settings.attention_dropout}."
    )
    print("    Trainer: AutoModelForSequenceClassification with the dropout of its config; defaults are fp32 and batches in random order.")
    table(sides, repeats)


def tutorials(work: Work, repeats: int) -> None:
    """(c)."""
    work = replace(work, rows=work.rows[:128])
    print(
        f"\n(c) the loop of a tutorial: every document padded to {TUTORIAL_LENGTH} tokens, fp32, torch's AdamW; against ours with the recipe."
    )
    table({"ours": functools.partial(warm, ours, work), "tutorial loop": functools.partial(warm, tutorial, work)}, repeats)


def table(sides: dict[str, Callable[[], Measured]], repeats: int) -> None:
    """Measure and print."""
    with _sides.processes(sides) as measures:
        results = _sides.take_turns(measures, repeats, lambda run: f"{run.rate:.1f} samples/s")
    rates = {name: [run.rate for run in runs] for name, runs in results.items()}
    rows = [[name, _sides.spread(values), "" if name == "ours" else _sides.ratio(rates["ours"], values)] for name, values in rates.items()]
    _sides.markdown(["side", "samples/s", "ours is faster by"], rows)


def compare_accuracy(project: Path, path: Path, seeds: Sequence[int]) -> None:
    """Whole trainings of both sides, the recipe's settings: does speed cost accuracy?"""
    recipe = params.read(path).finetune
    rows = tuple(range(len(text.open_arrays(project / "data/arrays", "train"))))
    found: dict[str, list[Measured]] = {"ours": [], "Trainer, best flags": []}
    for seed in seeds:
        work = Work(project, path, rows, recipe.epochs, seed, None, len(rows))
        sides = {
            "ours": functools.partial(warm, ours, work),
            "Trainer, best flags": functools.partial(warm, trainer, work, "eager", True, True),
        }
        with _sides.processes(sides) as measures:
            for name, runs in _sides.take_turns(measures, 1, lambda run: f"accuracy {run.accuracy:.4f}, {run.rate:.1f} samples/s").items():
                found[name] += runs
    lines = []
    for name, runs in found.items():
        values = [run.accuracy for run in runs]
        mean, deviation = statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0
        shown = ", ".join(f"{value:.2%}" for value in values)
        lines.append([name, f"{mean:.2%} ± {deviation:.2%}", shown, _sides.spread([run.rate for run in runs])])
    _sides.markdown(["side", f"validation accuracy after {recipe.epochs} epochs", "by seed", "samples/s"], lines)


# ---- the sides, each run in its own process -----------------------------------------------------------------------------------


def warm(side: Callable[..., Measured], work: Work, *arguments: Any) -> Measured:
    """A short training first, so that what a process does once does not count."""
    side(replace(work, rows=work.rows[:WARM_UP], epochs=1), *arguments)
    return side(work, *arguments)


def ours(work: Work) -> Measured:
    """Baton's loop, as `finetune` calls it."""
    settings, meta, (train, val) = work.settings(), work.meta(), work.arrays()
    machine = runtime.resolve(params.read(work.recipe).runtime)
    runtime.seed_everything(settings.seed)
    rates = settings.dropout, settings.attention_dropout
    model = build.create(work.project / "data/base", settings.head, len(meta["labels"]), *rates, machine.attention).to(machine.device)
    batches = TrainingBatches(train, settings.batch_size, settings.accumulation, settings.seed, meta["pad"])
    clock = Clock()

    def validate() -> dict[str, float]:
        found = metrics.scores(predict(model, val, meta["pad"], machine, 2 * settings.batch_size), np.asarray(val.labels))
        clock.go()  # validation does not count
        return {"loss": found["log_loss"], "accuracy": found["accuracy"], "macro_f1": found["macro_f1"]}

    accuracy = 0.0
    clock.go()
    for point in loop.train(model, batches, losses.cross_entropy(settings.label_smoothing, None), validate, settings, machine):
        if isinstance(point, loop.TrainPoint):
            clock.step(point.samples)
        else:
            accuracy = point.scores["accuracy"]
    return Measured(clock.rate(), accuracy)


def trainer(work: Work, attention: str, best_flags: bool, own_model: bool = False) -> Measured:
    """Transformers' Trainer; with `own_model` on AutoModelForSequenceClassification, else on the architecture of `ours`."""
    from transformers import DataCollatorWithPadding, PreTrainedTokenizerFast, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

    settings, (train, val) = work.settings(), work.arrays()
    runtime.seed_everything(settings.seed)
    model = sequence_classifier(work, attention) if own_model else same_model(work, attention)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(work.project / "data/base/tokenizer.json"), pad_token="[PAD]")  # noqa: S106
    clock = Clock()

    class Timed(TrainerCallback):
        def on_train_begin(self, *_arguments: Any, **_others: Any) -> None:
            clock.go()

        def on_step_end(self, _arguments: Any, state: Any, _control: Any, **_others: Any) -> None:
            done = (state.global_step - 1) % steps + 1
            clock.step(len(train) - (steps - 1) * settings.batch_size if done == steps else settings.batch_size)

    steps = -(-len(train) // settings.batch_size)
    flags = {"bf16": True, "train_sampling_strategy": "group_by_length"} if best_flags else {}
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=settings.batch_size,
            per_device_eval_batch_size=2 * settings.batch_size,
            num_train_epochs=settings.epochs,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            warmup_steps=round(settings.warmup * steps * settings.epochs),
            lr_scheduler_type=settings.schedule,
            max_grad_norm=settings.clip_norm or 0.0,
            seed=settings.seed,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=torch.cuda.is_available(),
            **flags,
        )
        collator = DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8 if best_flags else None)
        used = Trainer(model, arguments, collator, Documents(train), Documents(val), callbacks=[Timed()])
        used.remove_callback(PrinterCallback)
        used.train()
        logits = used.predict(Documents(val)).predictions
    return Measured(clock.rate(), metrics.scores(np.asarray(logits), np.asarray(val.labels))["accuracy"])


def tutorial(work: Work) -> Measured:
    """What tutorials show: everything padded to the model's maximum, fp32, no clipping, a bar for loop."""
    settings, (train, _) = work.settings(), work.arrays()
    runtime.seed_everything(settings.seed)
    model = sequence_classifier(work, "sdpa")
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate)
    clock = Clock()
    model.train()
    clock.go()
    for rows in np.array_split(np.random.permutation(len(train)), -(-len(train) // settings.batch_size)):
        batch = collate(train, rows, work.meta()["pad"])
        missing = TUTORIAL_LENGTH - batch.shape[1]
        ids, mask = (nn.functional.pad(part, (0, missing)) for part in (batch.input_ids, batch.attention_mask))
        loss = model(input_ids=ids, attention_mask=mask, labels=batch.labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        clock.step(len(rows))
    return Measured(clock.rate(), 0.0)


# ---- parts --------------------------------------------------------------------------------------------------------------------


class Clock:
    """Samples and seconds of steps."""

    def __init__(self) -> None:
        self.samples, self.seconds, self.since = 0, 0.0, 0.0

    def go(self) -> None:
        """Time runs."""
        self.since = time.perf_counter()

    def step(self, samples: int) -> None:
        """A step of this size has ended, the next one begins."""
        now = time.perf_counter()
        self.samples, self.seconds, self.since = self.samples + samples, self.seconds + now - self.since, now

    def rate(self) -> float:
        """Samples a second."""
        return self.samples / self.seconds


class Documents(torch.utils.data.Dataset[dict[str, Any]]):
    """What the Trainer takes."""

    def __init__(self, arrays: TextArrays) -> None:
        self.arrays = arrays

    def __len__(self) -> int:
        return len(self.arrays)

    def __getitem__(self, row: int) -> dict[str, Any]:
        tokens = self.arrays.tokens[self.arrays.offsets[row] : self.arrays.offsets[row + 1]].tolist()
        return {"input_ids": tokens, "attention_mask": [1] * len(tokens), "labels": int(self.arrays.labels[row])}


class WithLoss(nn.Module):
    """Our classifier as the Trainer wants a model: it returns the loss."""

    def __init__(self, classifier: build.Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """(batch, length), (batch, length), (batch,)."""
        logits = self.classifier(input_ids, attention_mask)
        return {"loss": nn.functional.cross_entropy(logits.float(), labels), "logits": logits}


def same_model(work: Work, attention: str) -> nn.Module:
    """The architecture of `ours`, with transformers' attention and torch's dropout, as whoever gives it to the Trainer has them."""
    settings = work.settings()
    rates = settings.dropout, settings.attention_dropout
    model = build.create(work.project / "data/base", settings.head, len(work.meta()["labels"]), *rates, "sdpa")
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Dropout):
                setattr(module, name, nn.Dropout(child.p))
    model.backbone.set_attn_implementation(attention)
    return WithLoss(model)


def sequence_classifier(work: Work, attention: str) -> nn.Module:
    """Transformers' own classifier on the base model."""
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    labels = len(work.meta()["labels"])
    model: nn.Module = AutoModelForSequenceClassification.from_pretrained(
        work.project / "data/base", num_labels=labels, attn_implementation=attention, dtype=torch.float32
    )
    return model


def sample(arrays: TextArrays, rows: np.ndarray[Any, np.dtype[np.int64]]) -> TextArrays:
    """Only these rows."""
    documents = [arrays.tokens[arrays.offsets[row] : arrays.offsets[row + 1]] for row in rows]
    offsets = np.concatenate([[0], np.cumsum([len(document) for document in documents])])
    return TextArrays(np.concatenate(documents), offsets, arrays.labels[rows])


if __name__ == "__main__":
    console.run(main)
