"""What the tests of Spark and Ray begin with: logged models, rows with and without texts, the answers."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.exported import Exported, write_folder

READABLE = [
    "wheat exports rose",
    "port workers strike " * 9,
    "ship",
    "éclair ÜBER 東京 !",
    "trade talks failed",
]
EMPTY = [None, "", " \t", "\u200b"]
COUNT = 60


@dataclass(frozen=True)
class Cluster:
    """Logged models, and the table that they answer."""

    models: dict[str, Path]  # text, graph, image, pair
    rows: pd.DataFrame  # id, text: every seventh is empty

    def expected(self, kind: str, config: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return what `predict` answers in this process to the rows with a text, with their ids."""
        import mlflow.pyfunc

        model = mlflow.pyfunc.load_model(str(self.models[kind]), model_config=config)
        good = self.rows[self.readable()].reset_index(drop=True)
        return good[["id"]].join(model.predict(good[["text"]]))

    def readable(self) -> pd.Series:
        """Return which rows have a text, (rows,)."""
        return ~self.rows["text"].isin(EMPTY) & self.rows["text"].notna()


@pytest.fixture(scope="session")
def cluster(text_export: Exported, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """Log a model of texts, its graph, one of images and one of pairs."""
    from tests.serve import test_pyfunc_graph, test_pyfunc_image, test_pyfunc_pairs

    work = tmp_path_factory.mktemp("cluster")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.chdir(work)
        folders: dict[str, tuple[Path, list[Any]]] = {
            "text": (text_export.model, ["wheat"]),
            "graph": (write_folder(text_export, work / "graph/export", "onnxruntime"), ["wheat"]),
            "image": (
                test_pyfunc_image.write_model(work / "image"),
                [test_pyfunc_image.text(test_pyfunc_image.photo(8, 8))],
            ),
            "pair": (test_pyfunc_pairs.write_model(work / "pair"), [["wheat", "port"]]),
        }
        models = {
            name: test_pyfunc_graph.log(folder, work, example) for name, (folder, example) in folders.items()
        }
    chosen = np.random.default_rng(0).integers(0, len(READABLE), COUNT)
    texts = [
        EMPTY[row // 7 % len(EMPTY)] if row % 7 == 3 else f"{READABLE[place]} {row}"
        for row, place in enumerate(chosen)
    ]
    return Cluster(models, pd.DataFrame({"id": [f"r{row:03}" for row in range(COUNT)], "text": texts}))


def same(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    """Compare answers by their columns, in order."""
    assert found["id"].tolist() == wanted["id"].tolist()
    assert found["label"].tolist() == wanted["label"].tolist() and wanted["label"].nunique() > 1
    columns = [name for name in wanted if name.startswith("probability_")]
    np.testing.assert_allclose(found[columns].to_numpy(), wanted[columns].to_numpy(), atol=1e-5)
