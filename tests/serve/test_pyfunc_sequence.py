"""A logged model that writes texts writes what `predict.py` wrote, in a process without Baton."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from baton import params, storage
from baton.arrays import tokenizer_training
from baton.contracts.task_spec import Sequence
from baton.contracts.written_texts import Texts
from baton.models import model_folder
from baton.predict import predict
from baton.tracking import served_code, served_inputs
from tests import tiny, tiny_sequences

HEAD = params.DecoderHead(kind="decoder")
RUN = """
import json, pathlib, runpy, sys, types, warnings
warnings.simplefilter("ignore")
sys.path[:] = [path for path in sys.path if not path.endswith("src")] + [sys.argv[1]]
import mlflow.models
kept = []
mlflow.models.set_model = kept.append
runpy.run_path(sys.argv[1] + "/pyfunc.py")
assert "baton" not in sys.modules
model = kept[0]
model.load_context(types.SimpleNamespace(artifacts={"model": sys.argv[2]}, model_config={}))
texts = json.loads(pathlib.Path(sys.argv[3]).read_text())
import pandas as pd
frame = model.predict(pd.DataFrame({"text": texts}, index=range(5, 5 + len(texts))), {"batch_size": 3})
none = model.predict([])["text"].tolist()
print(json.dumps([list(frame.index), list(frame.columns), frame["text"].tolist(), none]))
"""


@pytest.mark.parametrize("beams", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_process_without_baton_writes_the_same_texts(tmp_path: Path, beams: int) -> None:
    task = Sequence(target_length=12, beams=beams, validation_rows=4)
    split = tiny_sequences.split(tmp_path, "test", task=task)
    model = tiny_sequences.model(tmp_path)
    expected = predict(model, split, tiny.machine(), 4)
    assert isinstance(expected, Texts)
    info = model_folder.ModelInfo(model.spec, HEAD, tiny_sequences.READS)
    source = tokenizer_training.folder(tmp_path / "base", tmp_path / "arrays")
    model_folder.save(model, info, source, tmp_path / "model")
    how = served_inputs.of_model(storage.read_json(tmp_path / "model/baton.json"))
    assert (how.main, how.model_type) == ("serve/pyfunc_sequence.py", "sequence model")
    for name, text in served_code.served(how.main).items():
        (tmp_path / "code" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "code" / name).write_text(text, encoding="utf-8")
    (tmp_path / "texts.json").write_text(json.dumps(tiny_sequences.SOURCES))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    arguments = [str(tmp_path / name) for name in ("code", "model", "texts.json")]
    made = subprocess.run(
        [sys.executable, "-c", RUN, *arguments], capture_output=True, text=True, env=environment, check=False
    )
    assert made.returncode == 0, made.stderr
    index, columns, texts, none = json.loads(made.stdout.splitlines()[-1])
    assert index == list(range(5, 5 + len(texts)))
    assert columns == ["text"]
    assert texts == list(expected.values)
    assert none == []
