"""The script of docs/ray.md in a cluster of one machine, with two actors.

`make test-slow` installs the extra `ray`.
"""

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests import doc_code
from tests.cluster_inputs import Cluster, same
from tests.serve import test_pyfunc_image as photos

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.usefixtures("quiet_mlflow")]
PAGE = "ray.md"
ROWS = 13  # of a file
START_SECONDS = 300.0

# What else the page says, in the session of its script.
MORE = """
class Images(Predictor):
    def __init__(self, folder):
        import os
        self.model = mlflow.pyfunc.load_model(folder)
        names = ("OMP_NUM_THREADS", "MLFLOW_DISABLE_TELEMETRY")
        self.environment = {name: os.environ.get(name, "") for name in names}

    def __call__(self, rows):
        return rows[["path"]].join(self.model.predict(list(rows["bytes"]))).assign(**self.environment)

images = ray.data.read_binary_files("/shared/images", include_paths=True)
images.map_batches(Images, fn_constructor_args=["/shared/image"], concurrency=1, num_cpus=2,
                   batch_size=256, batch_format="pandas").write_parquet("/shared/answers")
"""


@pytest.fixture(scope="module")
def ray() -> Iterator[dict[str, str]]:
    """Start Ray on this machine, with four processors; return the environment of a script that uses it."""
    with tempfile.TemporaryDirectory(prefix="ray") as short, socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = str(chosen.getsockname()[1])
        chosen.close()
        own = {
            "HOME": short,
            "RAY_TMPDIR": short,  # short, since the path of a socket has at most 107 bytes
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",  # 15 by default: on a busy machine nothing would be left
            "PYTHONWARNINGS": "ignore",
        }
        words = f"--head --block --include-dashboard=false --node-ip-address=127.0.0.1 --port={port}"
        words += " --num-cpus=4 --object-store-memory=200000000"
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", *words.split()]
        log = Path(short) / "head.log"
        with (
            log.open("wb") as file,
            subprocess.Popen(command, env=doc_code.environment(own), stdout=file, stderr=file) as head,
        ):
            try:
                until = time.monotonic() + START_SECONDS
                while b"--block" not in log.read_bytes():
                    assert head.poll() is None and time.monotonic() < until, log.read_text()
                    time.sleep(0.5)
                yield own | {"RAY_ADDRESS": f"127.0.0.1:{port}"}
            finally:
                head.terminate()
                head.wait(120)


def read(folder: Path) -> pd.DataFrame:
    """Return what Ray wrote, in the order of the files' names."""
    return pd.concat([pd.read_parquet(path) for path in sorted(folder.iterdir())], ignore_index=True)


@pytest.mark.parametrize("kind", ["text", "graph"])
def test_the_page_s_script_answers_as_predict_does(
    cluster: Cluster, kind: str, ray: dict[str, str], tmp_path: Path
) -> None:
    shutil.copytree(cluster.models[kind], tmp_path / "model")
    (tmp_path / "rows").mkdir()
    for part, first in enumerate(range(0, len(cluster.rows), ROWS)):
        cluster.rows[first : first + ROWS].to_parquet(tmp_path / f"rows/{part:03}.parquet")
    code = doc_code.script(PAGE).replace("1024", "8").replace("4096", "8")
    if kind == "text":
        shutil.copytree(cluster.models["image"], tmp_path / "image")
        (tmp_path / "images").mkdir()
        for place, content in enumerate(photos.PHOTOS):
            (tmp_path / f"images/{place}.png").write_bytes(content)
        code += MORE
    doc_code.run(code, tmp_path, ray)
    assert len([*(tmp_path / "scores").iterdir()]) > 2, "several blocks"
    found = read(tmp_path / "scores")
    assert found["id"].tolist() == cluster.rows["id"].tolist(), "one row out for each row in, in order"
    good = cluster.readable().to_numpy()
    same(found[good].reset_index(drop=True), cluster.expected(kind))
    assert (found["error"] == "").tolist() == good.tolist()
    said = found.loc[~good, "error"]
    assert found.loc[~good, "label"].isna().all() and said.str.match(r"row 0 is (not text|empty)\n").all()
    if kind == "text":
        import mlflow.pyfunc

        own = mlflow.pyfunc.load_model(str(cluster.models["image"])).predict(photos.PHOTOS)
        answers = read(tmp_path / "answers").sort_values("path")
        assert answers["label"].tolist() == own["label"].tolist()
        assert {*answers["OMP_NUM_THREADS"]} == {"2"}, "threads of an actor are its num_cpus"
        assert {*answers["MLFLOW_DISABLE_TELEMETRY"]} == {"true"}
