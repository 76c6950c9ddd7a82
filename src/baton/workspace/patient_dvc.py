"""DVC for a long job: a remote that cannot be reached is not taken for one that lacks a file.

    python -m baton.workspace.patient_dvc repro --pull

`dvc repro --pull` runs a stage again if its outputs cannot be fetched, whatever the reason. Here the three
methods by which it fetches wait until the remote answers (`remote.fetched`), and DVC ends with an error if it
does not. Lines of DVC's that ask for nothing, or for what `baton` does itself, are left out.
"""

import logging
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from dvc.cli import main
from dvc.config import Config
from dvc.data_cloud import DataCloud
from dvc.repo import Repo
from dvc.stage.cache import RunCacheNotSupported, StageCache
from dvc.ui import ui

from baton import console
from baton.errors import BatonError
from baton.workspace import held_objects, remote

T = TypeVar("T")

# By the part of DVC that says it: the lock is written; the command of a stage; advice about git; an output of
# `export` that has nothing to say.
NEEDLESS = {
    "dvc.dvcfile": ("Generating lock file", "Updating lock file"),
    "dvc.stage.run": ("> ",),
    "dvc.repo.scm_context": ("\nTo track the changes", "\nTo enable auto staging"),
    "dvc.output": ("'models/export' is empty", "'reports/export' is empty"),
}
PUSH = "Use `dvc push`"  # left out where there is no remote


def _patient(call: Callable[[], T], complete: Callable[[T], bool], held: Callable[[], str | None]) -> T:
    """Return what `call` returns or raises when it is `complete`, or the remote lacks what it fetches.

    `held` says what the remote has of what could not be fetched.
    """
    ended: list[T] = []
    raised: list[Exception] = []

    def attempt() -> bool:
        ended.clear()
        raised.clear()
        try:
            ended.append(call())
            return complete(ended[0])
        except RunCacheNotSupported:
            raise
        except Exception as error:  # noqa: BLE001  DVC's, or that of any kind of remote
            raised.append(error)
            return False

    try:
        remote.fetched(attempt, held)
    except BatonError as error:
        console.warn("dvc", error)
        raise SystemExit(1) from None  # which DVC does not take for a stage to run
    if raised:
        raise raised[0]
    return ended[0]


def _install() -> None:
    pull_objects, pull_runs, pull_outputs = DataCloud.pull, StageCache.pull, Repo.pull

    def objects(cloud: Any, objs: Any, *args: Any, **options: Any) -> Any:
        wanted, repo = set(objs), cloud.repo
        return _patient(
            lambda: pull_objects(cloud, wanted, *args, **options),
            lambda _: not held_objects.lacking(repo, wanted),
            lambda: held_objects.trouble(repo, wanted),
        )

    def runs(cache: Any, name: Any, odb: Any = None) -> Any:
        there = odb or cache.repo.cloud.get_remote_odb(name, "fetch --run-cache", hash_name="md5-dos2unix")
        folder, own = there.fs.join(there.path, "runs"), cache.repo.cache.legacy

        def missing() -> list[str]:
            paths = (there.fs.relpath(path, there.path) for path in there.fs.find(folder))
            return [path for path in paths if not own.fs.exists(own.fs.join(own.path, *there.fs.parts(path)))]

        def here(_: object) -> bool:
            return there.fs.exists(folder) and not missing()  # the first is False also if it cannot be asked

        def held() -> str | None:
            return held_objects.told(missing() if there.fs.exists(folder) else [])

        return _patient(lambda: pull_runs(cache, name, odb), here, held)

    def outputs(repo: Any, targets: Any = None, *args: Any, **options: Any) -> Any:
        return _patient(
            lambda: pull_outputs(repo, targets, *args, **options),
            lambda _: True,
            lambda: held_objects.trouble(repo, held_objects.of_outputs(repo, targets)),
        )

    DataCloud.pull, StageCache.pull, Repo.pull = objects, runs, outputs


def _quieten() -> None:
    """Leave out DVC's needless lines."""

    def said(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(NEEDLESS[record.name])

    for part in NEEDLESS:
        logging.getLogger(part).addFilter(said)
    write = ui.write

    def needed(*objects: Any, **options: Any) -> None:
        if not str(next(iter(objects), "")).startswith(PUSH) or Config()["core"].get("remote"):
            write(*objects, **options)

    ui.write = needed


if __name__ == "__main__":
    _install()
    _quieten()
    sys.exit(main(sys.argv[1:]))
