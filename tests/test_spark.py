"""The script of docs/spark.md, in Spark's local mode and on a standalone cluster of two executors.

`make test-slow` installs the extra `spark`.
"""

import contextlib
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests import doc_code
from tests.cluster_inputs import Cluster, same
from tests.serve import test_pyfunc_image as photos
from tests.serve import test_pyfunc_pairs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.alone,
    pytest.mark.usefixtures("quiet_mlflow"),
    pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs java (17), which is not in PATH"),
]
PAGE = "spark.md"
QUIET = "--conf spark.ui.enabled=false --conf spark.driver.memory=700m --conf spark.executor.memory=600m"
NEAR = "--conf spark.driver.host=127.0.0.1 --conf spark.driver.bindAddress=127.0.0.1"
START_SECONDS = 120.0

# What else the page says, in the session of its script: `more` is a folder, `models` the logged models.
MORE = """
from pathlib import Path
models = Path("/shared/models")

def loaded(kind, **others):
    return mlflow.pyfunc.spark_udf(spark, str(models / kind), env_manager="local", **others)

def keep(frame, name):
    frame.coalesce(1).write.parquet(f"/shared/more/{name}")

graph = loaded("graph", params={"batch_size": 7})
keep(rows.where(visible).repartition(3).withColumn("answer", graph("text")).select("id", "answer.*"), "graph")
keep(rows.where(visible).select("id", loaded("text", result_type="string")("text").alias("label")), "part")
for name, own in (("bf16", {"model_config": {"precision": "bf16"}}), ("edited", {})):
    bf16 = loaded("text" if own else "edited", **own)
    keep(rows.where(visible).select("id", bf16("text").alias("answer")).select("id", "answer.*"), name)
images = spark.read.format("binaryFile").load("/shared/images")
keep(images.select("path", loaded("image")("content").alias("answer")).select("path", "answer.*"), "image")
pairs = spark.read.parquet("/shared/pairs.parquet")
keep(pairs.select("id", loaded("pair")("text", "text_pair").alias("answer")).select("id", "answer.*"), "pair")
threads = spark.range(1).select(F.udf(lambda row: os.environ.get("OMP_NUM_THREADS", ""))("id"))
print("THREADS", threads.first()[0])
for name, bad in (("null", rows.where("text is null")), ("path", images.select("path"))):
    try:
        bad.select(loaded("text" if name == "null" else "image")(bad.columns[-1])).collect()
        print("ANSWERED", name)
    except Exception as error:
        print("REFUSED", name, " ".join(str(error).split()))
"""


@pytest.fixture
def shared(cluster: Cluster, tmp_path: Path) -> Path:
    """Return the folder that stands for /shared in the page."""
    shutil.copytree(cluster.models["text"], tmp_path / "model")
    (tmp_path / "rows.parquet").mkdir()
    for part, first in enumerate(range(0, len(cluster.rows), 25)):
        cluster.rows[first : first + 25].to_parquet(tmp_path / f"rows.parquet/part-{part}.parquet")
    return tmp_path


def spark(master: str) -> dict[str, str]:
    """Return the environment of a script that runs on a master."""
    return {
        "PYSPARK_SUBMIT_ARGS": f"--master {master} {QUIET} {NEAR} pyspark-shell",
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYTHONWARNINGS": "ignore",
    }


def read(folder: Path) -> pd.DataFrame:
    """Return what Spark wrote, by id."""
    found = pd.read_parquet(folder)
    return found.sort_values(str(found.columns[0]), ignore_index=True)


def check_scores(folder: Path, cluster: Cluster) -> None:
    found = read(folder / "scores")
    assert found["id"].tolist() == cluster.rows["id"].tolist(), "one row out for each row in"
    good = cluster.readable()
    same(found[good.to_numpy()].reset_index(drop=True), cluster.expected("text"))
    assert found["error"].fillna("").tolist() == ["" if own else "no text" for own in good]
    assert found.loc[~good.to_numpy(), "label"].isna().all()


def test_the_page_s_script_answers_as_predict_does(cluster: Cluster, shared: Path) -> None:
    (shared / "models").mkdir()
    for name, folder in cluster.models.items():
        shutil.copytree(folder, shared / "models" / name)
    edited = shared / "models/edited/MLmodel"
    shutil.copytree(cluster.models["text"], edited.parent)
    about = edited.read_text()
    assert about.count("precision: fp32") == 1
    edited.write_text(about.replace("precision: fp32", "precision: bf16"))
    (shared / "images").mkdir()
    for place, content in enumerate(photos.PHOTOS):
        (shared / f"images/{place}.png").write_bytes(content)
    pairs = pd.DataFrame(test_pyfunc_pairs.PAIRS, columns=["text", "text_pair"])
    pairs.insert(0, "id", [f"p{place}" for place in range(len(pairs))])
    pairs.to_parquet(shared / "pairs.parquet")
    said = doc_code.run(doc_code.script(PAGE) + MORE, shared, spark("local[2]"))
    check_scores(shared, cluster)
    more = {path.name: read(path) for path in (shared / "more").iterdir()}
    same(more["graph"], cluster.expected("graph"))
    wanted = cluster.expected("text")
    assert more["part"]["label"].tolist() == wanted["label"].tolist()
    names = [name for name in wanted if name.startswith("probability_")]
    off = (more["bf16"][names] - wanted[names]).abs().to_numpy().max()
    assert 1e-5 < off < 0.1, "the precision of model_config is that of the computation"
    assert more["edited"][names].to_numpy() == pytest.approx(more["bf16"][names].to_numpy(), abs=1e-5)
    import mlflow.pyfunc

    for name, given in (("image", photos.PHOTOS), ("pair", pairs[["text", "text_pair"]])):
        own = mlflow.pyfunc.load_model(str(cluster.models[name])).predict(given)
        assert more[name]["label"].tolist() == own["label"].tolist()
        (column, *_) = [each for each in own if each.startswith("probability_")]
        assert more[name][column].tolist() == pytest.approx(own[column].tolist(), abs=1e-5)
    assert "THREADS 1\n" in said
    assert re.search(r"REFUSED null .*TypeError: row \d+ is not text", said), said[-3000:]
    assert re.search(r"REFUSED path .*ValueError: row 0 is not an image in base64", said), said[-3000:]


@contextlib.contextmanager
def standalone(folder: Path) -> Iterator[str]:
    """Start a master and a worker of two processors; yield the master's address."""
    import pyspark

    home = Path(pyspark.__file__).parent
    environment = doc_code.environment({"SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1"})
    common = ["--host", "127.0.0.1", "--port", "0", "--webui-port", "0"]

    def start(name: str, *words: str) -> tuple["subprocess.Popen[bytes]", Path]:
        log = folder / f"{name}.log"
        command = [
            str(home / "bin/spark-class"),
            f"org.apache.spark.deploy.{name.lower()}.{name}",
            *common,
            *words,
        ]
        with log.open("wb") as file:
            return subprocess.Popen(command, env=environment, cwd=folder, stdout=file, stderr=file), log

    started = [start("Master")]
    try:
        address = found(started[0][1], r"Starting Spark master at (spark://\S+)")
        started.append(
            start("Worker", "--cores", "2", "--memory", "1500m", "--work-dir", str(folder), address)
        )
        found(started[1][1], r"(Successfully registered with master)")
        yield address
    finally:
        for process, _ in reversed(started):
            process.terminate()
            process.wait(60)


def found(log: Path, pattern: str) -> str:
    """Wait for a line of a log; return its part."""
    until = time.monotonic() + START_SECONDS
    while not (hit := re.search(pattern, log.read_text())):
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.2)
    return hit[1]


def test_a_cluster_s_executors_get_the_model_and_answer_alike(cluster: Cluster, shared: Path) -> None:
    with standalone(shared) as address:
        said = doc_code.run(
            doc_code.script(PAGE).replace('"fp32"', '"bf16"'),  # which MLflow drops on a cluster
            shared,
            spark(f"{address} --conf spark.executor.cores=1"),
        )
    check_scores(shared, cluster)
    assert "Traceback" not in said
    assert len([*shared.glob("app-*/*/stderr")]) == 2, "two executors"
