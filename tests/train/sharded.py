"""Run a small real training of a tiny BERT on 1, 2 or 4 processes (gloo), whose model may be split over them.

`rank` is one of these processes, in the folder that `training.prepare` filled. Its options: `runtime` and
`settings` (changes), `out` (a name), `checkpoints` (another) with `seconds` between two, `stop` (the step
after which it is asked to stop) and `where` ("caller", "validation", or "pass", whose number is `stop`),
`uncompiled` (torch.compile does nothing), `early` (how a checkpoint in the first steps is written, see
`write_early`). It writes OUT.json (points), OUT.safetensors (all weights, as in a model folder, and the
logits of val) and OUT.txt (the output).
"""

import contextlib
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch.distributed import distributed_c10d

from baton import console, params
from baton.batches import array_splits
from baton.batches.sampler import TrainingBatches
from baton.contracts.batch import Batch
from baton.contracts.input_spec import ImageInput
from baton.losses import class_losses
from baton.models import model_folder
from baton.predict import predict
from baton.runtime import distributed, kernels, resolve, sharding
from baton.tasks import metrics
from baton.train import checkpoint, loop, sharded_checkpoint, shards, snapshot
from tests import tiny

HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
CHANGES = {
    "batch_size": 8,
    "accumulation": 2,
    "learning_rate": 3e-3,
    "layer_decay": 0.8,
    "ema": {"decay": 0.9},
    "epochs": 6,
    "head": None,
}


def unpickled(*_: Any) -> None:
    raise AssertionError("processes exchange a pickle")


def rank(folder: Path, options: dict[str, Any], number: int, size: int, port: int) -> None:
    """Train, or resume, as process `number` of `size`, as torchrun would start it."""
    own = {"RANK": number, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "LOCAL_RANK": number}
    os.environ |= {name: str(value) for name, value in own.items()} if size > 1 else {}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    said = os.open(folder / f"{options['out']}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(said, stream)
    # By these torch sends objects, in its own checkpoints too.
    distributed_c10d._object_to_tensor = distributed_c10d._tensor_to_object = unpickled
    wanted = tiny.SETTINGS | {"processes": size, "sharding": "full"} | options.get("runtime", {})

    def main() -> None:
        reads = array_splits.read_meta(folder / "arrays").input
        with distributed.started(
            params.Runtime.model_validate(wanted), kernels.Work(fixed_shapes=isinstance(reads, ImageInput))
        ) as machine:
            train(folder, options, machine)

    console.run_stage(main)


def train(folder: Path, options: dict[str, Any], machine: resolve.Runtime) -> None:
    """Train, and write the points and the results."""
    settings = tiny.training(
        **{key: value for key, value in (CHANGES | options.get("settings", {})).items() if key != "head"}
    )
    meta, splits = (
        array_splits.read_meta(folder / "arrays"),
        array_splits.open_splits(folder / "arrays", settings.augmentation, folder / "base"),
    )
    resolve.seed_everything(settings.seed)
    model = model_folder.create(
        folder / "base", HEAD, meta.task.width, settings, machine.attention, meta.input
    )
    if machine.gradient_checkpointing:
        model.checkpoint_activations()
    model = sharding.place(model, machine)
    held, whole = (
        sum(each.numel() for each in found)
        for found in (map(sharding.own, model.parameters()), model.parameters())
    )
    assert held < 1.1 * whole / (machine.processes if machine.sharding == "full" else 1), (
        "a process holds only its part"
    )
    assert sharding.is_split(model) == (machine.sharding == "full" and machine.processes > 1)
    place = (machine.rank, machine.processes)
    batches = TrainingBatches(
        splits["train"], settings.batch_size, settings.accumulation, settings.seed, tuple, *place
    )

    points: list[dict[str, Any]] = []

    def ask(where: str, step: int) -> None:
        if machine.is_main and (where, step) == (options.get("where", "caller"), options.get("stop")):
            os.kill(os.getpid(), signal.SIGTERM)

    def validate() -> dict[str, float]:
        ask("validation", points[-1]["step"])
        found = metrics.scores(
            predict(model, splits["val"], machine, 5), splits["val"].targets.all
        )  # the size of parts does not divide the number of rows
        return {"loss": found["log_loss"], "accuracy": found["accuracy"], "macro_f1": found["macro_f1"]}

    saved = (
        checkpoint.Checkpoints(folder / options["checkpoints"], options.get("seconds", 1000.0), {})
        if options.get("checkpoints")
        else None
    )
    if options.get("uncompiled"):
        torch.compile = lambda model, **_: model  # type: ignore[assignment]
    if options.get("early"):
        write_early(options["early"])
    cross_entropy, passes = class_losses.cross_entropy(0.1, None), iter(range(1_000_000))

    def loss_fn(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        ask("pass", next(passes))
        return cross_entropy(model, batch)

    with contextlib.closing(loop.train(model, batches, loss_fn, validate, settings, machine, saved)) as new:
        for point in new:
            points.append({**vars(point), "time": 0, "samples_per_second": 0})
            ask("caller", point.step)
    logits = predict(model, splits["val"], machine, 5)
    state = sharding.gather(model)
    if machine.is_main:
        save_file({**state, "logits": torch.from_numpy(logits)}, folder / f"{options['out']}.safetensors")
        (folder / f"{options['out']}.json").write_text(json.dumps(points))


def write_early(how: str) -> None:
    """Let a checkpoint be due before the fourth pass, and no other.

    `waiting`: training waits. `late`: the copy is written steps later, when training stops. `uncopied`: so
    are the tensors themselves. `full`: the disk is full, once, for process 1. `faulty`: its device fails,
    which shows when waiting for the copy. `gone`: the process is killed then.
    """
    kind, asked, go = sharded_checkpoint.ShardedCheckpoints, iter(range(1_000_000)), threading.Event()
    save, write, wait, put = kind.save, kind._write, kind.wait, shards.put

    def late(self: Any, *arguments: Any) -> None:
        assert threading.current_thread() is threading.main_thread() or go.wait(60)
        write(self, *arguments)

    def hurried(self: Any) -> None:
        if self._pending:
            go.set()
        wait(self)

    def fail(*arguments: Any) -> Any:
        if threading.current_thread() is not threading.main_thread() and torch.distributed.get_rank() == 1:
            if how == "gone":
                os.kill(os.getpid(), signal.SIGKILL)
            raise (
                OSError(28, "No space left on device", "shard-00002")
                if how == "full"
                else RuntimeError("CUDA error: [/unknown]\nmore")
            )
        return put(*arguments)

    kind.due = lambda self: next(asked) == 3  # type: ignore[method-assign]
    if how == "waiting":
        kind.save = lambda self, *arguments: save(self, *arguments[:3])  # type: ignore[method-assign, misc]
    else:
        kind._write, kind.wait = late, hurried  # type: ignore[method-assign]
    if how in {"full", "faulty", "gone"}:
        shards.put = fail
    if how == "uncopied":
        snapshot.Snapshot.take = lambda self, parts: (parts, lambda: None)  # type: ignore[method-assign]
