"""Shared by all tests: an isolated environment, and markers that skip tests this machine cannot run."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Before any library is imported: no telemetry, no accidental network access, no user settings or caches.
os.environ |= {
    "DO_NOT_TRACK": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MPLBACKEND": "agg",
    "MPLCONFIGDIR": str(ROOT / ".baton" / "matplotlib"),
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # torch reads it once per process
    # One test file per processor: threads that wait for each other in competition with others cost tenfold.
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",  # stages set their own number; on busy processors waiting actively is waste
}
pytest.register_assert_rewrite("tests.pipeline_checks")
for name in ("DVC_ROOT", "BATON_REPRO_ID", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME"):
    os.environ.pop(name, None)

from tests.cluster_inputs import cluster  # noqa: E402, F401  fixture
from tests.data_fixtures import (  # noqa: E402, F401  fixtures
    audio_settings,
    build_wheel,
    cache,
    image_settings,
    server,
    settings,
    wheelhouse,
    workplace,
)
from tests.exported import image_export, text_export  # noqa: E402, F401  fixtures
from tests.object_store import gate, object_store  # noqa: E402, F401  fixtures


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip `gpu` tests without a GPU; torch is imported only if such a test was collected."""
    wanting = [item for item in items if item.get_closest_marker("gpu")]
    if wanting:
        import torch

        if not torch.cuda.is_available():
            for item in wanting:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture
def root() -> Path:
    """The checkout under test."""
    return ROOT


@pytest.fixture
def quiet_mlflow() -> Iterator[None]:
    """Pydantic and SQLAlchemy deprecations inside mlflow's modules are not errors of this project."""
    with warnings.catch_warnings():
        for module in ("mlflow", "sqlalchemy", "alembic"):
            warnings.filterwarnings("ignore", module=rf"{module}(\..*)?")
        yield


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store, its tables created once for all tests."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.chdir(folder)
        from baton.tracking import store

        store.create_database(folder / store.DATABASE)
    return folder / "mlflow.db"


@pytest.fixture(scope="session")
def tokenized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny project up to its arrays; tests work in copies of it."""
    from tests.test_pipeline import make_project

    made = make_project(tmp_path_factory.mktemp("tokenized") / "project")
    made.repro("tokenize")
    return made.folder
