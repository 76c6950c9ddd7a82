"""Prediction jobs of the tests: models, tables, and processes that are killed."""

import json
import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from baton.lifecycle.bulk import job
from baton.lifecycle.bulk.settings import Options
from tests import tiny

TEXTS = [text for texts in tiny.TEXTS.values() for text in texts]
CHUNK = 4


def logged(folder: Path, target: Path) -> Path:
    """Write a model folder as a logged model."""
    from mlflow.models import Model

    from baton.tracking import logged_models, served_code, served_inputs

    how = served_inputs.of_folder(folder)
    info = json.loads((folder / "baton.json").read_text())
    entry = {
        "info": info,
        "requirements": ["mlflow"],
        "code": served_code.served(how.main),
        "config": served_inputs.settings(info, {}),
    }
    target.parent.mkdir(parents=True)
    logged_models.save(target, Model(artifact_path="model"), entry, folder)
    return target


def options(model: Path, source: Path, out: Path, **changed: Any) -> Options:
    return Options(str(model), str(source), str(out), **({"chunk": CHUNK, "precision": "fp32"} | changed))


def texts(count: int) -> list[str]:
    return [f"{TEXTS[row % len(TEXTS)]} {row} " * (1 + row % 3) for row in range(count)]


def write_table(path: Path, count: int = 30) -> Path:
    """Write a table of texts with ids, in the format of its suffix."""
    frame = pd.DataFrame({"id": [f"d{row}" for row in range(count)], "text": texts(count)})
    match path.suffix:
        case ".parquet":
            frame.to_parquet(path, index=False)
        case ".jsonl":
            frame.to_json(path, orient="records", lines=True)
        case suffix:
            frame.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    return path


def read(path: Path) -> pd.DataFrame:
    match path.suffix:
        case ".parquet":
            return pd.read_parquet(path)
        case ".jsonl":
            return pd.DataFrame([json.loads(line) for line in path.read_text().splitlines()])
        case _:
            return pd.read_csv(path, keep_default_na=False)


def killed(options: Options, prepare: Callable[[], None]) -> int:
    """Run a job in a child process after `prepare`, which arranges its death; return the signal, or 0.

    It shares the models that this process has loaded.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            prepare()
            job.predict(options)
            code = 0
        except BaseException:  # noqa: BLE001  the child must not go on with the tests
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
