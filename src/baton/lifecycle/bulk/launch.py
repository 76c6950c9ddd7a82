"""`baton predict [MODEL] INPUT`: find the model's files, and become the process that predicts.

As with `baton serve`, that process knows no store and gets no credentials. It gets as many threads as there
are processors for it, also in a container with a quota, and its tensors in huge pages.
"""

import os
import shutil
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path

from baton import params, processors, storage
from baton.errors import ModelError
from baton.lifecycle.bulk.settings import Options
from baton.lifecycle.serving.launch import SERVED
from baton.processes import clean_environment

TERMINAL = ("TERM", "COLUMNS", "LINES", "NO_COLOR")
THREADS = ("OMP_NUM_THREADS", "RAYON_NUM_THREADS")  # of torch, and of tokenizers
MLMODEL = "MLmodel"
CREATED = "1970-01-01 00:00:00"


def given(folder: Path) -> Path:
    """Return the folder of a logged model that the user names.

    Raises:
        ModelError: it is none.
    """
    if not (folder / MLMODEL).is_file():
        expected = f"models:/NAME@champion, or a folder with {MLMODEL}"
        hint = "without a model, `baton predict` takes that in models/"
        raise ModelError(f"{folder} is no logged model", got=f"no {MLMODEL}", expected=expected, hint=hint)
    return folder


def trained(active: params.Params) -> Path:
    """Return the model of `promotion.model` in models/ as a logged model, made in the project's state.

    The same files give the same bytes, so that a job can go on with it.

    Raises:
        ModelError: it is not there.
        TrackingError: requirements.lock does not pin what it needs.
    """
    source = Path("models", active.promotion.model)
    if not (source / "baton.json").is_file():
        hint = "run `baton repro` or `dvc checkout`, or name a model: models:/NAME@champion"
        raise ModelError(f"{source} is missing", expected="a trained model", hint=hint)
    from mlflow.models import Model

    from baton.tracking import logged_models, model_files, served_entry

    entry = served_entry.of_folder(source, served_entry.known_settings(active.preprocess))
    with storage.atomic_folder(storage.state(SERVED) / "trained") as temporary:
        made = Model(artifact_path="model", model_uuid=storage.sha256_tree(source), utc_time_created=CREATED)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there is no example
            logged_models.save(temporary / "model", made, entry, source)
        # MLflow keeps the path of the code as it was; nothing reads it.
        record = temporary / "model" / MLMODEL
        record.write_text(record.read_text(encoding="utf-8").replace(str(temporary), "."), encoding="utf-8")
        shutil.rmtree(temporary / "code")
        folder = storage.state(SERVED) / model_files.digest(temporary / "model")
        if not folder.is_dir():
            with storage.atomic_folder(folder) as target:
                shutil.copytree(temporary / "model", target, dirs_exist_ok=True)
    shutil.rmtree(storage.state(SERVED) / "trained", ignore_errors=True)  # another job may have
    return folder


def command(options: Options) -> list[str]:
    """Return the command of the job's process."""
    return [sys.executable, "-B", "-m", "baton.lifecycle.bulk.job", options.written()]


def environment(existing: Mapping[str, str], home: Path, threads: int | None) -> dict[str, str]:
    """Return the environment of the process: without credentials, with its threads and memory.

    Args:
        existing: the variables of this process; a number of threads among them counts.
        home: a folder in place of the user's own.
        threads: how many are wanted; None: as many as there are processors.
    """
    own = {name: existing[name] for name in TERMINAL if name in existing}
    for name in THREADS:
        own[name] = str(threads or existing.get(name) or processors.available())
    own |= {
        "MALLOC_ARENA_MAX": "2",
        "MALLOC_TRIM_THRESHOLD_": "1048576",
        "TOKENIZERS_PARALLELISM": "true",
        "PYTHONHASHSEED": "0",
    }
    own["GLIBC_TUNABLES"] = existing.get("GLIBC_TUNABLES") or "glibc.malloc.hugetlb=1"
    return clean_environment.scrubbed(existing, home) | own


def become(options: Options, threads: int | None) -> None:
    """Replace this process by the job's."""
    line = command(options)
    home = storage.state(SERVED)
    home.mkdir(parents=True, exist_ok=True)
    os.execve(line[0], line, environment(os.environ, home, threads))  # noqa: S606  no shell
