"""Compare our image training with a tutorial's loop and timm's own loader.

All sides have the same ViT, images, batch size, optimizer and augmentation.

- tutorial: a dataset of files, decoded by Pillow and transformed by torchvision per sample and epoch, fp32
- timm: `timm.data.create_loader` on the same files (its collation of uint8 batches, normalization on the
  batch), bf16 if ours has it
- ours: pixels decoded once and memory-mapped; augmentation on the batch; the loop of `finetune`, in bf16 and,
  for orientation, in fp32

Every side has its own process; they take turns. Each peer loads its batches in the training process and, in a
second measurement, with two worker processes; the faster one counts. The files are the images of data/clean,
written to a temporary folder. With --photographs they are JPEG photographs of 500x375 pixels, which the
recipe's model reads at the given size; the time to decode them once is printed as well.

    python -m benchmarks.image_speed [--project FOLDER | --photographs SIZE] [--params RECIPE]
        [--steps N] [--repeats N]
"""

import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from baton import console, params, storage
from baton.batches import array_splits
from baton.contracts.input_spec import ImageInput
from baton.errors import DataError
from benchmarks import _project, _sides

WARM_UP = 4  # steps
WORKERS = (0, 2)
PICTURES = 4096  # training images, as files


@dataclass(frozen=True)
class Work:
    """The inputs of all sides."""

    project: Path
    files: Path  # one folder per class
    settings: params.Finetune
    runtime: params.Runtime
    steps: int  # timed steps


@dataclass(frozen=True)
class Measured:
    """One run of one side."""

    rate: float  # samples per second
    peak: int  # bytes, peak so far, including mapped files
    grown: int  # bytes that the process itself gained while the clock ran


def main(arguments: Sequence[str] | None = None) -> None:
    """Print rates, ratios and memory."""
    parser = _sides.parser(__doc__, 3)
    parser.add_argument("--params", type=Path, help="a recipe (default: the project's params.yaml)")
    parser.add_argument(
        "--photographs",
        type=int,
        metavar="SIZE",
        help="use JPEG photographs, read at SIZE pixels, instead of a project's images",
    )
    parser.add_argument("--steps", type=int, default=24, help="timed steps per repeat (default 24)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        project, recipe = options.project.resolve(), options.params or options.project / "params.yaml"
        if options.photographs:
            began = time.monotonic()
            project = _project.photographs(
                Path(name) / "project", params.read_raw(recipe), PICTURES, options.photographs
            )
            console.say(
                f"{PICTURES:,} photographs were written, checked, decoded and stored in "
                f"{time.monotonic() - began:.0f} s"
            )
        measure(project, recipe, Path(name) / "files", options)


def measure(project: Path, recipe: Path, files: Path, options: Any) -> None:
    """Measure all sides on a prepared project."""
    _sides.require(project, "data/arrays/meta.json", "data/base/config.json", "data/clean/train.parquet")

    loaded = params.load("finetune", "runtime", path=recipe)
    meta = array_splits.read_meta(project / "data/arrays")
    reads = meta.input
    if not isinstance(reads, ImageInput):
        hint = "run `baton use digits-vit`, then `dvc repro tokenize`"
        raise DataError(
            "this benchmark needs images",
            got=reads.kind,
            expected="data/arrays of images",
            hint=hint,
        )
    write_files(project / "data/clean/train.parquet", files, meta.task.names)
    settings = loaded.finetune.of(options.seed).model_copy(update={"accumulation": 1, "ema": None})
    report(Work(project, files, settings, loaded.runtime, options.steps), options.repeats)
    size, channels = reads.size, reads.channels
    print(
        f"\n{_sides.machine('torch', 'torchvision', 'timm')}; batches of {settings.batch_size}; "
        f"{size[0]}x{size[1]}x{channels}"
    )


def report(work: Work, repeats: int) -> None:
    """Measure and print."""
    whole = replace(work, runtime=work.runtime.model_copy(update={"precision": "fp32"}))
    sides: dict[str, Callable[[], Measured]] = {
        "ours": functools.partial(ours, work),
        "ours, fp32": functools.partial(ours, whole),
    }
    for workers in WORKERS:
        how = "in the process" if not workers else f"{workers} workers"
        sides[f"tutorial, {how}"] = functools.partial(tutorial, work, workers)
        sides[f"timm, {how}"] = functools.partial(timm_loader, work, workers)
    with _sides.processes(sides) as measures:
        results = _sides.take_turns(measures, repeats, lambda run: f"{run.rate:,.1f} samples/s")
    rows = []
    for name, runs in results.items():
        ratio = (
            ""
            if name == "ours"
            else _sides.ratio([run.rate for run in results["ours"]], [run.rate for run in runs])
        )
        growth = statistics.median(run.grown for run in runs) / 2**20
        held = max(run.peak for run in runs) / 2**20
        rows.append(
            [name, _sides.spread([run.rate for run in runs]), ratio, f"{held:,.0f}", f"{growth:+,.0f}"]
        )
    _sides.markdown(
        [
            "side",
            "samples/s",
            "ours is faster by",
            "peak MiB",
            "growth after the warm-up, MiB, without mapped files",
        ],
        rows,
    )


def write_files(table: Path, folder: Path, labels: Sequence[str]) -> None:
    """Write the original images of a clean table as `folder/CLASS/ROW.png`."""
    written = 0
    for batch in pq.ParquetFile(table).iter_batches(batch_size=512, columns=["image", "label"]):
        for image, label in zip(batch["image"], batch["label"], strict=True):
            path = folder / f"{label.as_py():03d}" / f"{written:06d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image.as_py())
            written += 1
            if written == PICTURES:
                return
    for index in range(len(labels)):  # ImageFolder numbers the folders it finds
        (folder / f"{index:03d}").mkdir(exist_ok=True)


# ---- the sides -----------------------------------------------------------------------------------------


def ours(work: Work) -> Measured:
    """Run Baton's loop as `finetune` calls it."""
    from baton.batches.sampler import TrainingBatches
    from baton.losses import class_losses
    from baton.runtime import resolve
    from baton.train import compiling, loop
    from benchmarks import _training

    machine = resolve.resolve(work.runtime, work=resolve.Work(fixed_shapes=True))
    settings = work.settings.model_copy(update={"log_every": WARM_UP})
    split = array_splits.open_splits(work.project / "data/arrays", settings.augmentation)["train"]
    model = our_model(work, machine)
    batches = TrainingBatches(
        split, settings.batch_size, settings.accumulation, settings.seed, smallest=model.smallest_part
    )
    full = [step for step in range(batches.steps_per_epoch) if batches.size(step) == settings.batch_size][
        : WARM_UP + work.steps
    ]
    chosen = _training.Chosen(batches, full)
    settings = settings.model_copy(update={"epochs": 1, "evaluations_per_epoch": 1, "early_stopping": None})
    clock, early = _training.Clock((len(full) - WARM_UP) * settings.batch_size), 0

    def validate() -> dict[str, float]:
        clock.stop()
        return {"loss": 0.0, "accuracy": 0.0, "macro_f1": 0.0}

    loss_fn = class_losses.cross_entropy(settings.label_smoothing, None)
    choice = compiling.settled(model, chosen, loss_fn, machine, len(full), settings)
    machine = replace(machine, compile=choice.compile)
    for point in loop.train(model, chosen, loss_fn, validate, settings, machine):
        if point.step == WARM_UP and isinstance(point, loop.TrainPoint):
            early = _sides.own_memory()
            clock.go()
    return Measured(clock.rate(), _sides.peak_memory(), _sides.own_memory() - early)


def tutorial(work: Work, workers: int) -> Measured:
    """Train as tutorials do: `ImageFolder`, transforms on Pillow images, `DataLoader`, fp32, AdamW."""
    import torch
    from torchvision import datasets, transforms

    size, channels, mean, std = described(work)
    own = work.settings.augmentation
    steps: list[Any] = [transforms.Resize(size)]
    if own and isinstance(own.crop, params.PaddedCrop):
        steps.append(transforms.RandomCrop(size, padding=own.crop.padding))
    if own and isinstance(own.crop, params.ResizedCrop):
        steps = [transforms.RandomResizedCrop(size, own.crop.scale, own.crop.ratio)]
    if own and own.flip:
        steps.append(transforms.RandomHorizontalFlip(own.flip))
    if own and own.rotation:
        steps.append(transforms.RandomRotation(own.rotation))
    steps += [transforms.ToTensor(), transforms.Normalize(mean, std)]

    found = datasets.ImageFolder(
        work.files, transforms.Compose(steps), loader=functools.partial(read, "L" if channels == 1 else "RGB")
    )
    loader = torch.utils.data.DataLoader(
        found, work.settings.batch_size, shuffle=True, num_workers=workers, drop_last=True
    )
    return _loop(work, loader, bf16=False)


def read(mode: str, path: str) -> Any:
    """Read an image as tutorials do; workers need a module-level function."""
    from PIL import Image

    with Image.open(path) as image:
        return image.convert(mode)


def timm_loader(work: Work, workers: int) -> Measured:
    """Train with timm's dataset and loader, with its options for the same augmentation where it has them."""
    from timm.data import ImageDataset, create_loader

    size, channels, mean, std = described(work)
    own = work.settings.augmentation
    resized = own.crop if own and isinstance(own.crop, params.ResizedCrop) else None
    loader = create_loader(
        ImageDataset(str(work.files), input_img_mode="L" if channels == 1 else "RGB"),
        input_size=(channels, *size),
        batch_size=work.settings.batch_size,
        is_training=True,
        scale=resized.scale if resized else (0.7, 1.0),
        ratio=resized.ratio if resized else (1.0, 1.0),
        hflip=own.flip if own else 0.0,
        color_jitter=None,
        mean=tuple(mean),
        std=tuple(std),
        num_workers=workers,
        use_prefetcher=False,
        persistent_workers=False,
    )
    return _loop(work, loader, bf16=True)


def _loop(work: Work, loader: Any, bf16: bool) -> Measured:
    """Run the plain loop of both peers."""
    import torch

    from baton.runtime import resolve
    from benchmarks import _training

    machine = resolve.resolve(work.runtime, work=resolve.Work(fixed_shapes=True))
    model = timm_model(work, machine).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=work.settings.learning_rate, weight_decay=work.settings.weight_decay
    )
    clock, early, step = _training.Clock(work.steps * work.settings.batch_size), 0, 0
    while True:
        for pixels, labels in loader:
            if step == WARM_UP:
                early = _sides.own_memory()
                clock.go()
            with torch.autocast(
                machine.device.type, torch.bfloat16, enabled=bf16 and machine.precision == "bf16"
            ):
                loss = torch.nn.functional.cross_entropy(
                    model(pixels.to(machine.device)), labels.to(machine.device)
                )
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            if step == WARM_UP + work.steps:
                clock.stop()
                return Measured(clock.rate(), _sides.peak_memory(), _sides.own_memory() - early)


def our_model(work: Work, machine: Any) -> Any:
    """Return the recipe's model as `finetune` builds it."""
    from baton.models import model_folder
    from baton.runtime import resolve

    meta = array_splits.read_meta(work.project / "data/arrays")
    resolve.seed_everything(work.settings.seed)
    base = work.project / "data/base"
    return model_folder.create(
        base, work.settings.head, meta.task.width, work.settings, machine.attention, meta.input
    ).to(machine.device)


def timm_model(work: Work, machine: Any) -> Any:
    """Return the same architecture as timm's users have it, with its own head, attention and dropout."""
    import timm

    from baton.runtime import resolve

    resolve.seed_everything(work.settings.seed)
    config = storage.read_json(work.project / "data/base/config.json")
    meta = array_splits.read_meta(work.project / "data/arrays")
    pool = {"cls": {"global_pool": "token"}, "mean": {"global_pool": "avg"}, "pooler": {}}[
        work.settings.head.pooling
    ]
    size = {"img_size": meta.input.size} if config["pretrained_cfg"].get("fixed_input_size") else {}
    shape = {
        "num_classes": meta.task.width,
        "in_chans": meta.input.channels,
        "drop_path_rate": work.settings.drop_path,
    }
    made = timm.create_model(
        config["architecture"], pretrained=False, **config.get("model_args", {}) | pool | size | shape
    )
    return made.to(machine.device)


def described(work: Work) -> tuple[tuple[int, int], int, list[float], list[float]]:
    """Return size, channels, mean and deviation of the model's input."""
    own: ImageInput = array_splits.read_meta(work.project / "data/arrays").input
    return own.size, own.channels, list(own.mean), list(own.std)


if __name__ == "__main__":
    console.run(main)
