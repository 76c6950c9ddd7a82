"""DVC for a long job: a remote that cannot be reached is not taken for one that lacks a file.

    python -m baton.workspace.patient_dvc repro --pull

`dvc repro --pull` runs a stage again if its outputs cannot be fetched, whatever the reason. Here the three
methods by which it fetches wait until the remote answers (`remote.fetched`), and DVC ends with an error if it
does not.
"""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

from dvc.cli import main
from dvc.data_cloud import DataCloud
from dvc.repo import Repo
from dvc.stage.cache import RunCacheNotSupported, StageCache

from baton import console
from baton.errors import BatonError
from baton.workspace import remote

T = TypeVar("T")


def _patient(call: Callable[[], T], complete: Callable[[T], bool]) -> T:
    """Return what `call` returns or raises when it is `complete`, or the remote lacks what it fetches."""
    ended: list[T] = []
    raised: list[Exception] = []

    def attempt() -> bool:
        ended.clear()
        raised.clear()
        try:
            ended.append(call())
        except RunCacheNotSupported:
            raise
        except Exception as error:  # noqa: BLE001  DVC's, or that of any kind of remote
            raised.append(error)
            return False
        return complete(ended[0])

    try:
        remote.fetched(attempt)
    except BatonError as error:
        console.warn("dvc", error)
        raise SystemExit(1) from None  # which DVC does not take for a stage to run
    if raised:
        raise raised[0]
    return ended[0]


def _install() -> None:
    pull_objects, pull_runs, pull_outputs = DataCloud.pull, StageCache.pull, Repo.pull

    def objects(cloud: Any, objs: Any, *args: Any, **options: Any) -> Any:
        wanted = set(objs)
        caches = cloud.repo.cache.local, cloud.repo.cache.legacy

        def here(_: object) -> bool:
            return all(any(cache.exists(one.value) for cache in caches) for one in wanted)

        return _patient(lambda: pull_objects(cloud, wanted, *args, **options), here)

    def runs(cache: Any, name: Any, odb: Any = None) -> Any:
        def here(_: object) -> bool:
            there = odb or cache.repo.cloud.get_remote_odb(
                name, "fetch --run-cache", hash_name="md5-dos2unix"
            )
            folder = there.fs.join(there.path, "runs")
            if not there.fs.exists(folder):  # False also if it cannot be asked
                return False
            own = cache.repo.cache.legacy
            paths = (there.fs.relpath(path, there.path) for path in there.fs.find(folder))
            return all(own.fs.exists(own.fs.join(own.path, *there.fs.parts(path))) for path in paths)

        return _patient(lambda: pull_runs(cache, name, odb), here)

    def outputs(repo: Any, *args: Any, **options: Any) -> Any:
        return _patient(lambda: pull_outputs(repo, *args, **options), lambda _: True)

    DataCloud.pull, StageCache.pull, Repo.pull = objects, runs, outputs


if __name__ == "__main__":
    _install()
    sys.exit(main(sys.argv[1:]))
