"""Keep finished training runs outside DVC's outs, so that adding a seed does not retrain the others.

There is one folder per experiment, `.baton/finished/STAGE/FINGERPRINT/`, with the fingerprint of checkpoints
(`train.resume`): params except for the list of seeds, data, code and environment. It contains `seeds.json`,
the stage's most recent list, and the last checkpoint per model and seed: the best weights and the points,
verified when read.
"""

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from baton import console, storage
from baton.train.state import FINISHED

SEEDS = "seeds.json"
KEEP = 3  # experiments per stage


def usable(folder: Path, seeds: Sequence[int]) -> None:
    """Leave in an experiment's folder only the training runs that a run over `seeds` may reuse.

    If the list is the same as last time, no seed was added: the run was forced, or its outputs were lost, so
    it must compute them again. In that case everything is deleted.
    """
    with contextlib.suppress(OSError, ValueError):
        if storage.read_json(folder / SEEDS) == list(seeds):
            shutil.rmtree(folder)
    found = sorted(
        {int(path.parent.name.rpartition("-")[2]) for path in folder.glob(f"*/*{FINISHED}")} & set(seeds)
    )
    if found:
        names = ", ".join(map(str, found))
        console.say(
            f"seeds: reusing {names} of {len(seeds)}, "
            "finished earlier with the same params, data, code and environment"
        )


def keep(trainings: Path, folder: Path, seeds: Sequence[int]) -> None:
    """Move the last checkpoints below `trainings` to an experiment's folder; remove the oldest experiments.

    A failure is only reported, since it costs nothing but time when a seed is added.
    """
    try:
        for last in sorted(trainings.glob(f"*/*{FINISHED}")):
            target = folder / last.parent.name
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(parents=True)
            last.rename(target / last.name)
        storage.write_json(folder / SEEDS, list(seeds))
        for old in sorted(folder.parent.glob(f"*/{SEEDS}"), key=lambda path: path.stat().st_mtime)[:-KEEP]:
            shutil.rmtree(old.parent)
    except OSError as error:
        console.warn(
            "seeds",
            f"these training runs cannot be reused when a seed is added ({error.strerror}: {error.filename})",
        )
