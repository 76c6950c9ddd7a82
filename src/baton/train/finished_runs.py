"""Finished trainings, kept outside of DVC's outs: where a seed is added, the others are not trained again.

One folder per experiment, `.baton/finished/STAGE/FINGERPRINT/`, with the fingerprint of checkpoints (`train.resume`): params but for the
list of seeds, data, code and environment. In it `seeds.json`, the list that the stage last had, and per model and seed the last checkpoint:
the best weights and the points, verified when read.
"""

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from baton import console, storage
from baton.train.state import FINISHED

SEEDS = "seeds.json"
KEEP = 3  # experiments of a stage


def usable(folder: Path, seeds: Sequence[int]) -> None:
    """Leave in an experiment's folder what a run over `seeds` may use.

    With the very list of the last time nothing was added: the run was forced, or its outputs were lost, and is to compute them. Then all
    that was kept goes.
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
            f"seeds: {names} of {len(seeds)} finished before with these params, data, code and environment: used again"
        )


def keep(trainings: Path, folder: Path, seeds: Sequence[int]) -> None:
    """Move the last checkpoints below `trainings` to an experiment's folder; experiments that were not used for long go.

    What cannot be kept is said, and only costs time when a seed is added.
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
            f"what was trained is not kept for when a seed is added ({error.strerror}: {error.filename})",
        )
