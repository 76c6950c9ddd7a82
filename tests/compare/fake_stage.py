"""A stage that makes up its outputs in a second: `python fake_stage.py preprocess` or `finetune`.

It stands for the real stages in tests of everything around them, and has their files.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ruamel.yaml import YAML

WORDS = {"sea": ("ship", "port", "tide"), "land": ("wheat", "tree", "hill")}
TEST = 60


def preprocess(params: dict) -> None:
    clean, generator = Path("data/clean"), np.random.default_rng(params["preprocess"]["seed"])
    clean.mkdir(parents=True)
    limit = params["preprocess"]["limit"]["train"] or 100
    if params["preprocess"]["checks"]["duplicate"] == "keep":
        generator = np.random.default_rng(params["preprocess"]["seed"] + 100)
    (clean / "task.json").write_text(json.dumps({"kind": "classes", "names": sorted(WORDS)}))
    for split, rows in (("train", limit - limit // 5), ("val", limit // 5), ("test", TEST)):
        draw = generator if split != "test" else np.random.default_rng(9)
        labels = np.arange(rows) % 2
        texts = []
        for label in labels:
            own = WORDS[sorted(WORDS)[label if draw.random() < 0.8 else 1 - label]]
            texts.append(" ".join(draw.choice(own, 4)))
        ids = [f"{split}:{row}" for row in range(rows)]
        table = pa.table({"id": ids, "text": texts, "label": pa.array(labels, pa.int32())})
        pq.write_table(table, clean / f"{split}.parquet")


def finetune(params: dict) -> None:
    settings = params["finetune"]
    (seed,) = settings["seeds"]
    if settings["epochs"] == 13:
        sys.exit("error: unlucky number of epochs\n  got:      13")
    state = Path(os.environ["DVC_ROOT"], ".baton")
    if (state / "slow").exists():
        (state / "started").write_text(str(os.getpid()))
        time.sleep(60)
    test = pq.read_table("data/clean/test.parquet")
    labels, draw = test["label"].to_numpy(), np.random.default_rng(seed)
    rows = pq.read_metadata("data/clean/train.parquet").num_rows
    right = draw.random(TEST) < min(0.55 + rows / 400 + 1000 * settings["learning_rate"], 0.99)
    logits = np.where((np.arange(2) == labels[:, None]) == right[:, None], 2, 0).astype(np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(logits.reshape(-1)), 2)
    for folder, name in (("data/predictions/seeds/teacher", str(seed)), ("data/predictions/teacher", "test")):
        Path(folder).mkdir(parents=True)
        pq.write_table(pa.table({"id": test["id"], "logits": column}), f"{folder}/{name}.parquet")
    Path("models/teacher").mkdir(parents=True)
    weights = f"{seed} {rows} {settings['learning_rate']} {settings['head']}"
    Path("models/teacher/model.safetensors").write_text(weights)
    figures = {"val_accuracy": 0.5, "parameters": 1000, "trained_parameters": 10}
    Path("metrics").mkdir(exist_ok=True)
    content = {"teacher": {"seed": seed, **figures}, "seeds": {str(seed): {"teacher": figures}}}
    Path("metrics/finetune.json").write_text(json.dumps(content))
    if os.environ.get("BATON_COSTS"):
        spent = {
            "seconds": 60.0 + seed,
            "peak_memory_bytes": 2e9,
            "trained_parameters": 10,
            "parameters": 1000,
        }
        Path(os.environ["BATON_COSTS"]).write_text(json.dumps(spent))
    sys.stdout.write(f"track {os.environ.get('BATON_TRACKING', 'on')}\n")


if __name__ == "__main__":
    read = YAML(typ="safe", pure=True).load(Path("params.yaml").read_text())
    {"preprocess": preprocess, "finetune": finetune}[sys.argv[1]](read)
