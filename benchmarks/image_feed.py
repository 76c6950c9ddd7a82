"""Measure how many images per second reach a model, with each way of preparing them.

    python -m benchmarks.image_feed [--tiny] [--output FILE]

Input: nothing; noise images are written to a temporary folder as `tokenize` would. Output: a table, and with
`--output` JSON. Each side builds the batches of the same steps and turns them into model inputs: augmented on
the host by 0, 1, 2, … worker processes, or on the device, from images that are copied there or kept there. No
model takes part: training is as fast as the slower of the two.
"""

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from baton import console, params, storage
from baton.arrays.image_arrays import open_arrays
from baton.batches import placement
from baton.batches.image_batches import ImageSplit
from baton.batches.sampler import TrainingBatches
from baton.contracts.input_spec import ImageInput
from baton.contracts.task_spec import Classes
from baton.runtime import resolve
from baton.train import loader
from benchmarks import _sides

TASK = Classes(tuple(map(str, range(10))))

WARM_UP = 3  # steps
# The usual augmentation for a ViT (Touvron et al. 2021), except for repeated draws.
AUGMENTATION = {
    "crop": {"kind": "resized", "scale": [0.08, 1.0], "ratio": [0.75, 1.3333]},
    "flip": 0.5,
    "rotation": 0.0,
    "colour": None,
    "randaugment": {"operations": 2, "magnitude": 9},
    "erasing": 0.25,
    "mixup": 0.8,
    "cutmix": 1.0,
}
MACHINE = {
    "precision": "auto",
    "attention": "auto",
    "compile": False,
    "threads": "auto",
    "processes": 1,
    "loader_workers": 0,
    "data_on_device": True,
    "deterministic": False,
    "gradient_checkpointing": False,
}


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The sizes of the measurement."""

    pictures: int = 4096
    stored: int = 256  # height and width of a stored image
    size: int = 224  # of the model's input
    batch_size: int = 256
    steps: int = 20
    workers: tuple[int, ...] = (0, 1, 2, 4, 8)


TINY = Sizes(pictures=32, stored=20, size=16, batch_size=8, steps=4, workers=(0, 1))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all sides."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--tiny", action="store_true", help="a rehearsal of a few seconds")
    parser.add_argument("--output", type=Path, help="file for the JSON results")
    given = parser.parse_args(arguments)
    rows = measure(TINY if given.tiny else Sizes(), given.device)
    shown = [[row["side"], f"{row['pictures_per_second']:,.0f}", f"{row['slowest_ms']:,.1f}"] for row in rows]
    _sides.markdown(["side", "images/s", "slowest step, ms"], shown)
    if given.output:
        storage.write_json(given.output, rows)


def measure(sizes: Sizes, device: str) -> list[dict[str, Any]]:
    """Return `side`, `pictures_per_second` and `slowest_ms` of each; `device` is as in params `runtime`."""
    base = params.read(Path(__file__).parents[1] / "params.yaml").runtime
    machine = resolve.resolve(base.model_copy(update=MACHINE | {"device": device}))
    with tempfile.TemporaryDirectory() as folder:
        split = written(Path(folder), sizes)
        found = []
        for count in sizes.workers:
            own = dataclasses.replace(machine, loader_workers=count)
            found.append({"side": f"augmented on the host, {count} workers"} | rate(split, own, sizes))
        thread = dataclasses.replace(machine, loader_workers=None)
        travelling = dataclasses.replace(split, device=True)
        found.append({"side": "augmented on the device, images copied"} | rate(travelling, thread, sizes))
        free = 1 << 40 if machine.device.type == "cpu" else None
        kept, _ = placement.placed({"train": split, "val": split, "test": split}, machine.device, True, free)
        found.append(
            {"side": "augmented on the device, images kept there"} | rate(kept["train"], thread, sizes)
        )
    return found


def written(folder: Path, sizes: Sizes) -> ImageSplit:
    """Write arrays of noise; return a split of them."""
    count, side = sizes.pictures, sizes.stored
    values = side * side * 3
    pixels = np.lib.format.open_memmap(
        folder / "train.pixels.npy", mode="w+", dtype=np.uint8, shape=(count * values,)
    )
    draw = np.random.default_rng(0)
    for row in range(count):
        pixels[row * values : (row + 1) * values] = draw.integers(0, 256, values, dtype=np.uint8)
    pixels.flush()
    np.save(folder / "train.shapes.npy", np.full((count, 2), side, np.int32))
    np.save(folder / "train.offsets.npy", np.arange(count + 1, dtype=np.int64) * values)
    np.save(folder / "train.targets.npy", np.arange(count, dtype=np.int64) % 10)
    reads = ImageInput(
        size=(sizes.size, sizes.size),
        channels=3,
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        interpolation="bicubic",
        crop_fraction=sizes.size / sizes.stored,
        crop_mode="center",
    )
    varied = params.Augmentation.model_validate(AUGMENTATION, strict=False)
    return ImageSplit(
        open_arrays(folder, "train", TASK),
        lambda: [f"train:{row}" for row in range(count)],
        reads,
        varied,
    )


def rate(split: Any, machine: resolve.Runtime, sizes: Sizes) -> dict[str, float]:
    """Return images per second after the warm-up, and the longest step."""
    batches = TrainingBatches(split, sizes.batch_size, 1, 0)
    times, count = [now(machine)], WARM_UP + sizes.steps
    for parts in loader.parts(batches, 0, count, machine):
        for part, _ in parts:
            part.to(machine.device).inputs  # noqa: B018
        times.append(now(machine))
    samples = sum(batches.size(step) for step in range(WARM_UP, count))
    timed = times[WARM_UP:]
    return {
        "pictures_per_second": samples / (timed[-1] - timed[0]),
        "slowest_ms": 1000 * float(np.diff(timed).max()),
    }


def now(machine: resolve.Runtime) -> float:
    """Return the time in seconds once the device has finished its work."""
    if machine.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    console.run(main)
