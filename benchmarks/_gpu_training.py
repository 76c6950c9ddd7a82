"""Our sides of `gpu`: training with the loop and the batches that `finetune` uses, with a clock on them.

A course has one epoch of a given number of steps, the warm-up first. Each reading of the loop waits for the
device; between two readings nothing here does. The loop's wait for data is measured on the host, around each
batch it asks for: the device may still be computing at that time, so the share is an upper bound on the
device's wait.
"""

import contextlib
import functools
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from baton.batches import array_splits
from baton.batches.sampler import TrainingBatches
from baton.errors import DataError
from baton.losses import class_losses
from baton.models import model_folder, packing
from baton.models.model_folder import Classifier
from baton.runtime import memory, resolve
from baton.train import loader, loop
from benchmarks import _flops
from benchmarks._gpu_work import PICTURES, Sizes, Work
from benchmarks._training import now

Parts = list[tuple[Any, float]]
FED_SECONDS = 8.0  # the longest time for one way of feeding
PADDED: dict[str, Any] = {"packing": False}
PACKED: dict[str, Any] = {"packing": True}


@dataclass
class Course:
    """An epoch of `steps` steps from batches that may have more or fewer; all else is taken from them."""

    batches: Any
    steps_per_epoch: int

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the batches."""
        if name.startswith("__") or name == "batches":
            raise AttributeError(name)
        return getattr(self.batches, name)


@dataclass
class Watch:
    """An iterator between the loop and its batches that measures the waits."""

    parts: Iterator[Parts]
    asked: list[float] = field(default_factory=list)  # when each step asked for its batch
    waited: list[float] = field(default_factory=list)  # seconds
    shapes: list[list[tuple[int, int]]] = field(default_factory=list)
    first_done: float = 0.0  # including the device

    def __iter__(self) -> Iterator[Parts]:
        """Return itself."""
        return self

    def __next__(self) -> Parts:
        """Return the next step's batch."""
        if len(self.asked) == 1:
            self.first_done = now()
        began = time.perf_counter()
        found = next(self.parts)
        self.asked.append(began)
        self.waited.append(time.perf_counter() - began)
        self.shapes.append(
            [part.input_ids.shape if hasattr(part, "input_ids") else part.shape for part, _ in found]
        )
        return found


@dataclass(frozen=True)
class Job:
    """The inputs of a training run besides its model and batches."""

    runtime: resolve.Runtime
    packs: bool  # documents without padding
    reason: str


def setup(work: Work, **changes: Any) -> tuple[Job, Classifier, TrainingBatches]:
    """Make the job, the model and its batches as `finetune` does, and change to the work's project."""
    settings, folder = work.settings, Path("data/arrays")
    meta, splits = array_splits.read_meta(folder), array_splits.open_splits(folder, settings.augmentation)
    computed = model_folder.work(Path("data/base"), meta.input)
    machine = resolve.resolve(work.runtime.model_copy(update=changes), work=computed)
    resolve.seed_everything(settings.seed)
    model = model_folder.create(
        Path("data/base"), settings.head, meta.task.width, settings, machine.attention, meta.input
    )
    model = model.to(machine.device)
    if work.name in PICTURES:
        from baton.batches import placement  # torchvision, which text does not need

        splits = placement.placed(splits, machine.device, machine.data_on_device)[0]
        if machine.compile:
            splits["train"] = placement.of_one_size(splits["train"], work.settings.batch_size)
    packs, reason = packing.settled(machine, model, settings.attention_dropout)
    split = splits["train"].packed() if packs else splits["train"]
    ids = functools.partial(array_splits.read_ids, folder, "train")
    batches = TrainingBatches(
        split,
        settings.batch_size,
        settings.accumulation,
        settings.seed,
        ids,
        smallest=model.smallest_part,
        tokens=settings.tokens,
    )
    return Job(machine, packs, reason), model, batches


def ours(work: Work, compiled: bool, resident: bool = False, **changes: Any) -> dict[str, Any]:
    """Train; return figures of the timed steps.

    Args:
        work: what to train.
        compiled: runtime.compile.
        resident: repeat the first batch, already on the device: the step alone, without its data.
        changes: changed params of `runtime`.
    """
    job, model, batches = setup(work, compile=compiled, **changes)
    machine, sizes = job.runtime, work.sizes
    course, watch = Course(batches, sizes.all_steps), Watch(iter(()))
    loss_fn = class_losses.cross_entropy(work.settings.label_smoothing, None)
    readings: list[tuple[int, float, int]] = []  # steps, the time and the graphs compiled so far
    losses_read: list[float] = []
    memory.reset_peak()
    with watched(watch, repeated(batches, machine) if resident else None):
        began = now()
        for point in loop.train(model, course, loss_fn, no_validation, work.settings, machine):
            if isinstance(point, loop.TrainPoint):
                readings.append((point.step, now(), graphs()))
                losses_read.append(point.loss)
    timed = [reading for reading in readings if reading[0] >= sizes.warm_up]
    figures = rates(work, batches, timed, resident)
    seconds = timed[-1][1] - timed[0][1]
    figures |= {
        "first_step_seconds": watch.first_done - began,
        "waiting_share": sum(watch.waited[sizes.warm_up :]) / seconds,
        "graphs": timed[-1][2],
        "recompiles": timed[-1][2] - timed[0][2],
        "peak_memory_bytes": memory.peak_memory(),
        "loss": losses_read[-1],
        "runtime": machine.reasons,
        "packing": job.reason,
    }
    return figures | operations(work, model, batches, watch, seconds, resident)


def no_validation() -> dict[str, float]:
    """Return the figures that the loop asks for at the end."""
    return {"loss": 0.0, "accuracy": 0.0, "macro_f1": 0.0}


@contextlib.contextmanager
def watched(watch: Watch, instead: Iterator[Parts] | None = None) -> Iterator[None]:
    """Pass the loop's batches, or `instead`, through `watch`."""
    real = loader.parts

    def parts(*arguments: Any, **options: Any) -> Watch:
        watch.parts = instead or real(*arguments, **options)
        return watch

    loader.parts = parts  # type: ignore[assignment]
    try:
        yield
    finally:
        loader.parts = real


def repeated(batches: Any, machine: resolve.Runtime) -> Iterator[Parts]:
    """Yield the first step's batch, on the device, without end."""
    parts = [(part.to(machine.device), share) for part, share in batches.micro_batches(0)]
    while True:
        yield parts


def rates(work: Work, batches: Any, timed: list[tuple[int, float, int]], resident: bool) -> dict[str, float]:
    """Return samples per second: overall, and in the slowest and fastest stretch between two readings."""

    def rate(first: tuple[int, float, int], last: tuple[int, float, int]) -> float:
        steps = range(first[0], last[0])
        return sum(batches.size(0 if resident else step) for step in steps) / (last[1] - first[1])

    stretches = [rate(first, last) for first, last in itertools.pairwise(timed)]
    return {
        "samples_per_second": rate(timed[0], timed[-1]),
        "slowest": min(stretches),
        "median": statistics.median(stretches),
        "fastest": max(stretches),
        "batch_size": work.settings.batch_size,
    }


def operations(
    work: Work, model: Classifier, batches: Any, watch: Watch, seconds: float, resident: bool
) -> dict[str, float]:
    """Return operations and tokens per second: of the texts alone, and including the computed padding."""
    timed = range(work.sizes.warm_up, work.sizes.all_steps)
    if work.name in PICTURES:
        costs = _flops.of_image(model)
        samples = sum(batches.size(0 if resident else step) for step in timed)
        done = costs.operations([costs.own_tokens] * samples) / seconds
        return {"operations_per_second": done, "padded_operations_per_second": done}
    costs = _flops.of_text(model)
    lengths = [int(length) for step in timed for length in batches.split.lengths[batches.rows(step)]]
    shapes = [shape for step in timed for shape in watch.shapes[step]]
    padded = [length for count, length in shapes for _ in range(count)]
    packed = len(padded) != len(lengths)  # documents are concatenated, without padding
    return {
        "operations_per_second": costs.operations(lengths) / seconds,
        "padded_operations_per_second": costs.operations(lengths if packed else padded) / seconds,
        "tokens_per_second": sum(lengths) / seconds,
        "tokens_per_step": sum(lengths) / len(timed),
        "padding": 1 - sum(lengths) / sum(padded),
    }


def data_path(work: Work) -> dict[str, Any]:
    """Measure the batches alone: built, copied to the device and turned into model inputs at full speed.

    They are fed by a thread, as in most training runs, and by the largest possible number of worker
    processes. `loader_workers: auto` would show nothing: it decides by the time of a step, and there is none
    here.
    """
    job, _, batches = setup(work, compile=False)
    machine, course = job.runtime, Course(batches, work.sizes.all_steps)
    most = loader.with_room(
        max(machine.threads - 1, 1), loader.nbytes(batches.micro_batches(0)), loader.room()
    )
    ways = {"a thread": lambda end: loader._threaded(course, 0, end, machine)}
    if most:
        ways[f"{most} processes"] = lambda end: loader._loaded(course, 0, end, machine, most)
    rates = {way: fed_rate(batches, feeding, machine, work.sizes) for way, feeding in ways.items()}
    found = ", ".join(f"{rate:,.0f} samples/s by {way}" for way, rate in rates.items())
    return {"found": found, "samples_per_second_by": rates}


def fed_rate(
    batches: Any, feeding: Callable[[int], Iterator[Parts]], machine: resolve.Runtime, sizes: Sizes
) -> float:
    """Return samples per second of batches that `feeding` builds; the warm-up uses up the prefetched ones."""
    began, samples, end = 0.0, 0, float("inf")
    for step, parts in enumerate(feeding(sizes.all_steps)):
        if step == sizes.warm_up:
            began, end = now(), time.monotonic() + FED_SECONDS
        for part, _ in parts:
            part.to(machine.device).inputs  # noqa: B018
        samples += batches.size(step) if step >= sizes.warm_up else 0
        if time.monotonic() > end:
            break
    return samples / (now() - began)


def graphs() -> int:
    """Return the number of graphs that torch has compiled in this process."""
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


def with_steps(work: Work, warm_up: int, steps: int, **settings: Any) -> Work:
    """Return the same work with fewer steps and other settings."""
    changed = work.settings.model_copy(update={"log_every": warm_up, **settings})
    return replace(work, sizes=replace(work.sizes, warm_up=warm_up, steps=steps), settings=changed)


def variant(work: Work, name: str) -> dict[str, Any]:
    """Run `ours` for a piece of `gpu`.

    Raises:
        DataError: there is no such variant.
    """
    match name:
        case "eager":
            return ours(work, compiled=False, **PADDED)
        case "compiled":
            return ours(work, compiled=True, **PADDED)
        case "step":
            return ours(work, compiled=True, resident=True, **PADDED)
        case "packed":
            return ours(work, compiled=True, **PACKED)
    raise DataError("no such variant", got=name, expected="eager, compiled, packed or step")
