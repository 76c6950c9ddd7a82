"""A tiny prepared project, as `dvc repro finetune` would leave it."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from baton import params
from baton.models import model_folder
from tests import tiny

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with params.yaml, data/base, data/clean, data/arrays and models/teacher."""
    folder = tmp_path_factory.mktemp("project")
    tiny.write_arrays(folder / "data")
    base = folder / "data/base"
    raw: dict[str, Any] = params.read_raw(ROOT / "recipes/reuters-r8-minilm.yaml")
    raw["tokenize"] |= {"max_length": tiny.TEXT_INPUT.max_length, "chunk_size": 10}
    raw["finetune"] |= {
        "batch_size": 4,
        "epochs": 1,
        "min_steps": 0,
        "strategy": {"kind": "full"},
        "evaluations_per_epoch": 1,
        "log_every": 2,
    }
    raw["runtime"] |= {"precision": "fp32", "threads": 1}
    YAML(typ="safe", pure=True).dump(raw, folder / "params.yaml")
    settings = params.load("finetune", path=folder / "params.yaml").finetune
    model = model_folder.create(base, settings.head, len(tiny.TEXTS), settings, "matmul", tiny.TEXT_INPUT)
    model_folder.save(
        model,
        model_folder.ModelInfo(tiny.task(*sorted(tiny.TEXTS)), settings.head, tiny.TEXT_INPUT),
        base,
        folder / "models/teacher",
    )
    return folder
