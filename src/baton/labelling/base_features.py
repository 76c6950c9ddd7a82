"""Features of the base model on data/arrays, for commands that fit probes; kept as those of training are.

Input: params.yaml, data/arrays, data/base -> features of splits, from `.baton/features` if they are there.
"""

from pathlib import Path

from baton import params, tracking
from baton.batches import array_splits
from baton.contracts.task_spec import Classes
from baton.errors import ParamsError
from baton.fitting import features, jobs
from baton.fitting.features import Features
from baton.models import model_folder
from baton.runtime import resolve, sharding
from baton.runtime.resolve import Runtime
from baton.train import resume

ARRAYS, BASE = Path("data/arrays"), Path("data/base")


def opened(command: str, asked: params.Params) -> Features:
    """Return the features of the splits, which are computed when they are first asked for.

    Args:
        command: who asks, for messages.
        asked: the params; seed, pooling and machine are those of `finetune`, so that its features are shared.

    Raises:
        DataError: `tokenize` has not run.
        ParamsError: rows do not have one class each.
    """
    meta = array_splits.read_meta(ARRAYS)
    if not isinstance(meta.task, Classes):
        raise ParamsError(
            f"`{command}` is not for this task yet",
            got=f"task.kind {asked.task.kind}",
            expected="classes, of texts, images or sound: one class per row",
        )
    settings = asked.finetune.of(asked.finetune.seeds[0])
    alone = asked.runtime.model_copy(update={"processes": 1, "launcher": None, "sharding": "none"})
    machine = resolve.resolve(alone, work=model_folder.work(BASE, meta.input))
    data = jobs.placed(jobs.open_data(None, ARRAYS), machine)
    resolve.seed_everything(settings.seed)
    made = model_folder.create(BASE, settings.head, meta.task.width, settings, machine.attention, meta.input)
    checkpoints = resume.StageCheckpoints(
        Path(), machine.checkpoint_seconds, None, _marks(asked, alone, machine)
    )
    job = jobs.Job(data, machine, tracking.Run(), checkpoints)
    return features.Features(sharding.place(made, machine), settings, job)


def _marks(asked: params.Params, runtime: params.Runtime, machine: Runtime) -> dict[str, str]:
    """Return what features depend on, as `finetune` does."""
    sections = {
        "finetune": asked.finetune.model_dump(mode="json", exclude={"seeds"}),
        "runtime": runtime.model_dump(mode="json"),
    }
    if asked.tasks:
        sections["tasks"] = {name: own.model_dump(mode="json") for name, own in asked.tasks.items()}
    return resume.fingerprint("finetune", sections, machine)
