"""Run a small real training in a separate process, to be killed and resumed.

The model is a tiny BERT with dropout, AdamW, clipping and best weights, whose texts are augmented if they are
read in windows; or a tiny ViT with all that images use: augmentation, mixup and CutMix, stochastic depth,
layer-wise rates, averaged weights; or the same with a TinyViT, whose batch normalisation has statistics that
are not weights; or a student of a wider teacher, with a learned projection of its features.

`attempt` runs in the folder that `prepare` filled. It writes final.safetensors (weights, optimizer),
points.txt, order.txt (sample ids of every step that was computed) and first.txt (the first step, from 0, that
this attempt computed).
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers.models.bert.modeling_bert  # noqa: F401  once for all attempts, which are forked
from safetensors.torch import save_file

from baton import console, params, storage
from baton.batches import array_splits
from baton.batches.alternating_batches import AlternatingBatches
from baton.batches.sampler import TrainingBatches
from baton.contracts import input_spec
from baton.contracts.input_spec import ImageInput
from baton.distill import matched_features, soft_targets
from baton.fitting import several_tasks
from baton.losses import class_losses, loss
from baton.losses.loss import Loss
from baton.models import model_folder
from baton.predict import predict
from baton.runtime import resolve
from baton.tasks import metrics
from baton.train import checkpoint, checkpoint_folders, loop, snapshot, state
from tests import tiny, tiny_images, tiny_tasks
from tests.train import several

HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.1)
CHANGES = {
    "epochs": 3,
    "batch_size": 8,
    "accumulation": 2,
    "learning_rate": 3e-3,
    "log_every": 3,
    "evaluations_per_epoch": 2,
    "head": HEAD,
}
RATES = {"dropout": 0.1, "attention_dropout": 0.1}
AUGMENTATION = params.Augmentation(
    crop=params.PaddedCrop(kind="padded", padding=1),
    flip=0.5,
    rotation=10.0,
    colour=params.ColourJitter(brightness=0.2, contrast=0.2, saturation=0.0, hue=0.0),
    randaugment=params.RandAugment(operations=1, magnitude=5),
    erasing=0.3,
    mixup=0.2,
    cutmix=1.0,
)
TEXTS = params.TextAugmentation(delete=0.2, swap=0.2, mask=0.1, mixup=0.4)
IMAGES = {"augmentation": AUGMENTATION, "ema": params.Ema(decay=0.9), "drop_path": 0.2, "layer_decay": 0.8}
WINDOWS = input_spec.Windows(most=3, overlap=1)
STEPS = 18  # 48 documents, batches of 8, 3 epochs
IN_TURNS = {"epochs": 1, "mixing": tiny_tasks.UNIFORM}  # as many steps, of three tasks


def prepare(
    folder: Path,
    images: Callable[[Path], Path] | None = None,
    windows: bool = False,
    tasks: tuple[str, ...] = (),
    teacher: bool = False,
) -> None:
    """Write base model (for images, with `images`) and arrays (texts in `windows`), once for all attempts.

    `tasks` are further tasks of `tiny_tasks`; with a `teacher`, the model is its student.
    """
    if teacher:
        tiny.write_base(folder / "teacher", width=48)
    if images:
        images(folder / "base")
        tiny_images.write_arrays(folder, {"train": 48, "val": 12, "test": 12})
        return
    long = replace(tiny.TEXT_INPUT, max_length=8, truncation=WINDOWS)
    tiny.write_arrays(folder, reads=long if windows else tiny.TEXT_INPUT)
    tiny_tasks.write(folder, *tasks)


def attempt(
    folder: Path,
    kill_at: int = 0,
    kill_operation: int = 0,
    power: bool = True,
    without: str = "",
    seconds: float = 0.0,
    stop: tuple[str, int] = ("", 0),
    overlap: bool = False,
) -> None:
    """Train or resume, with a checkpoint after every step (or every `seconds`), until killed.

    Args:
        folder: base, arrays, checkpoints and results.
        kill_at: the step (from 1) in whose forward pass the process group is killed.
        kill_operation: the file operation below checkpoints/ before which it is killed.
        power: False if the power fails too, so that data not flushed to disk is lost.
        without: the part of the guarantee that is broken (negative controls).
        seconds: between checkpoints.
        stop: where (step, validation, caller) and with which signal it is asked to stop, in mid-training.
        overlap: each checkpoint is still being written when the next step is done; otherwise each is on disk
            before the next step begins.
    """
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job's is ignored
    if kill_operation:
        watch_operations(folder / "checkpoints", kill_operation, power)
    spoil(without)
    meta, machine = array_splits.read_meta(folder / "arrays"), tiny.machine()
    images = IMAGES if isinstance(meta.input, ImageInput) else {}
    texts = {"augmentation": TEXTS} if getattr(meta.input, "truncation", None) == WINDOWS else {}
    lacking = {"attention_dropout": 0.0} if "tiny_vit" in (folder / "base/config.json").read_text() else {}
    settings = params.read(Path("params.yaml")).finetune.model_copy(
        update=CHANGES | RATES | images | texts | lacking
    )
    resolve.seed_everything(settings.seed)
    model = model_folder.create(
        folder / "base", settings.head, meta.task.width, settings, machine.attention, meta.input
    )
    splits = array_splits.open_splits(folder / "arrays", settings.augmentation, folder / "base")
    batches: Any = Recorded(
        splits["train"], 8, 2, settings.seed, lambda: array_splits.read_ids(folder / "arrays", "train")
    )
    Recorded.folder = folder
    of_batch, taught = loss_of(folder, model, settings, machine, meta)
    if storage.tasks(folder / "arrays"):
        settings = settings.model_copy(update=IN_TURNS)
        model, batches, of_batch = in_turns(folder, model, settings, machine)

    def validate() -> dict[str, float]:
        ask("validation")
        found = metrics.scores(predict(model, splits["val"], machine, 16), splits["val"].targets.all)
        return {"loss": found["log_loss"], "accuracy": found["accuracy"], "macro_f1": found["macro_f1"]}

    def loss_fn(model: Any, batch: Any) -> torch.Tensor:
        if Recorded.last + 1 == kill_at:
            kill()
        ask("step")
        return of_batch(model, batch)

    def ask(place: str) -> None:
        if place == stop[0] and Recorded.last + 1 >= STEPS // 2:
            (folder / "asked.txt").write_text(str(Recorded.last))
            os.kill(os.getpid(), stop[1])

    signal.signal(signal.SIGTERM, console._terminate)
    states, asked = remember_states(), loss.Terms(loss.names(of_batch), loss_fn)
    saved = (Slow if overlap else Settled)(folder / "checkpoints", seconds, {})
    points = []
    try:
        with (
            taught,
            contextlib.closing(loop.train(model, batches, asked, validate, settings, machine, saved)) as new,
        ):
            for point in new:
                points.append(point)
                ask("caller")
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    states[0].finished = False  # all of it, not only what is kept
    ends = {
        f"{part}/{name}": tensor.contiguous()
        for part, tensors in states[0].parts().items()
        for name, tensor in tensors.items()
    }
    save_file(ends, folder / "final.safetensors")
    shown = [{**vars(point), "time": 0, "samples_per_second": 0} for point in points]
    (folder / "points.txt").write_text("\n".join(map(str, shown)))


def loss_of(
    folder: Path, student: Any, settings: params.Finetune, machine: resolve.Runtime, meta: array_splits.Meta
) -> tuple[Loss, contextlib.AbstractContextManager[None]]:
    """Return the loss, with a live teacher in all its terms, and the context that it needs."""
    if not (folder / "teacher").is_dir():
        return class_losses.cross_entropy(0.1, None), contextlib.nullcontext()
    teacher = model_folder.create(
        folder / "teacher", settings.head, meta.task.width, settings, machine.attention, meta.input
    )
    matched_features.attach(teacher)
    width = matched_features.width_of(teacher)
    matched_features.project(student, width)
    soft = {"kind": "decoupled", "of_class": 1.0, "of_others": 2.0}
    own = tiny.distill_params(
        teacher="live", alpha=0.3, soft=soft, standardise=True, features={"weight": 1.0}
    )
    live = soft_targets.Live(teacher)
    terms = soft_targets.distillation(tiny.LOSSES, live, own, soft_targets.Factors(), torch.ones(width))
    return terms, matched_features.attached(student)


def remember_states() -> list[state.State]:
    """Return the list of states that loops create from now on."""
    made: list[state.State] = []
    begin = state.State.__init__

    def remembered(self: state.State, *arguments: Any) -> None:
        begin(self, *arguments)
        made.append(self)

    state.State.__init__ = remembered  # type: ignore[method-assign]
    return made


class Recorded(TrainingBatches):
    """Batches that record the samples of each requested step; one training run per process."""

    folder: Path
    last = -1

    def micro_batches(self, step: int) -> Any:
        """See TrainingBatches."""
        record(self, step)
        return super().micro_batches(step)


class RecordedInTurns(AlternatingBatches):
    """The same for several tasks."""

    def micro_batches(self, step: int) -> Any:
        """See AlternatingBatches."""
        record(self, step)
        return super().micro_batches(step)


def record(batches: Any, step: int) -> None:
    """Write down the samples of a step."""
    if Recorded.last < 0:
        (Recorded.folder / "first.txt").write_text(str(step))
    Recorded.last = step
    with (Recorded.folder / "order.txt").open("a") as file:
        file.write(f"{step} {' '.join(batches.names(step))}\n")


def in_turns(
    folder: Path, classifier: Any, settings: params.Finetune, machine: resolve.Runtime
) -> tuple[Any, AlternatingBatches, Loss]:
    """Return model, batches and loss of several tasks."""
    own = several.job(folder, machine)
    model = several_tasks.with_heads(classifier, own)
    found: Any = own.batches(settings, 1)
    loss_fn = several_tasks.loss_of(class_losses.cross_entropy(0.1, None), settings, own)
    return model, RecordedInTurns(found.tasks, found.shares, found.seed), loss_fn


class Settled(checkpoint.Checkpoints):
    """Checkpoints that are on disk before the next step begins."""

    def save(self, *arguments: Any, **options: Any) -> None:
        """See Checkpoints."""
        super().save(*arguments, **options)
        self.wait()


class Slow(checkpoint.Checkpoints):
    """Checkpoints written during the second step after them, or when waited for: after steps 1, 3, 5."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.begun, self.hurry = 0, threading.Event()

    def due(self) -> bool:
        """See Checkpoints."""
        if self._pending and Recorded.last >= self.begun + 2:
            self.wait()
        return super().due()

    def save(self, *arguments: Any, **options: Any) -> None:
        """See Checkpoints."""
        self.wait()
        self.begun = Recorded.last
        super().save(*arguments, **options)

    def wait(self) -> None:
        """See Checkpoints."""
        self.hurry.set()
        super().wait()
        self.hurry.clear()

    def _write(self, *arguments: Any) -> None:
        on_its_own = threading.current_thread() is not threading.main_thread()
        while on_its_own and Recorded.last < self.begun + 2 and not self.hurry.wait(0.001):
            pass
        super()._write(*arguments)


def kill() -> None:
    """Kill the whole process group at once, as the kernel does when memory runs out."""
    os.killpg(os.getpgid(0), signal.SIGKILL)


def watch_operations(folder: Path, fatal: int, power: bool) -> None:
    """Die before file operation `fatal` below `folder`: opening, writing, flushing, renaming, removing.

    Without `power`, files that were not flushed by then are empty, as after a power cut. A `fatal` of -1 only
    counts operations, in operations.txt.
    """
    count, unflushed = 0, set[int]()  # inodes: a rename does not flush a file

    def operation() -> None:
        nonlocal count
        count += 1
        if count == fatal:
            for path in (
                ()
                if power
                else [
                    path for path in folder.rglob("*") if path.is_file() and path.stat().st_ino in unflushed
                ]
            ):
                os.truncate(path, 0)
            kill()
        elif fatal < 0:
            (folder.parent / "operations.txt").write_text(str(count))

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event in {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"} and str(
            arguments[0]
        ).startswith(str(folder)):
            operation()

    fsync, put = os.fsync, checkpoint_folders.put

    def flush(handle: int) -> None:
        operation()
        fsync(handle)
        unflushed.discard(os.fstat(handle).st_ino)

    def in_two(path: Path, pieces: Iterable[bytes | memoryview]) -> dict[str, object]:
        content = b"".join(pieces)
        path.write_bytes(content[: len(content) // 2])
        unflushed.add(path.stat().st_ino)
        operation()  # in the middle of writing the file
        return put(path, [content])

    checkpoint_folders.put = in_two
    os.fsync = flush
    sys.addaudithook(audit)


def spoil(what: str) -> None:
    """Negative controls: break one part of the guarantee."""
    facts, restore = state.State.facts, state.State.restore

    def spoiled(self: state.State, saved: checkpoint.Checkpoint) -> None:
        optimizer = what == "optimizer"
        parts = {
            part: tensors
            for part, tensors in saved.parts.items()
            if not (optimizer and part.startswith(state.OPTIMIZER))
        }
        restore(self, checkpoint.Checkpoint(parts, saved.state))
        if what == "average" and self.average:  # it restarts at the current weights
            self.average.restore(self.model.state_dict())
        for name, buffer in self.model.named_buffers():
            if what == "statistics" and name.endswith("running_mean"):
                buffer.zero_()

    if what in {"optimizer", "average", "statistics"}:
        state.State.restore = spoiled  # type: ignore[method-assign]
    if what == "position":
        state.State.facts = lambda self: facts(self) | {"step": max(0, self.step - 1)}  # type: ignore[method-assign]
    if what == "augmentation":  # drawn from the process's generator, not (seed, epoch, sample id)
        from baton.batches.augmentation import pipeline, text_variation
        from baton.batches.augmentation.random_streams import Generators

        own, drawn = np.random.default_rng(), pipeline.draw
        text_variation.Generators = lambda seed, epoch, stream: Generators(  # type: ignore[misc,assignment]
            int(own.integers(2**31)), epoch, stream
        )
        pipeline.draw = lambda keys, seed, epoch, settings: drawn(
            keys, int(own.integers(2**31)), epoch, settings
        )
    for name, module, function, broken in (
        (
            "rng",
            loop,
            "seed_step",
            lambda seed, step, rank: None,
        ),  # dropout continues from torch's current generator state
        (
            "layout",
            state,
            "_laid_out",
            lambda value, like: value.to(like.device),
        ),  # of Adam's state, if weights are channels_last
        ("order", os, "fsync", lambda handle: None),  # renamed without being flushed before
        (
            "snapshot",
            snapshot.Snapshot,
            "take",
            lambda self, parts: (parts, lambda: None),
        ),  # written while training changes the tensors
    ):
        if what == name:
            setattr(module, function, broken)
