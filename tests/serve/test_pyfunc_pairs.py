"""A served model of pairs: two columns or a list of pairs in, answers as by the tokenizers library."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer
from transformers import BertModel

from baton import params, storage
from baton.contracts import input_spec, saved_weights
from baton.models import model_folder
from tests import tiny
from tests.serve import test_pyfunc

pytestmark = pytest.mark.usefixtures("quiet_mlflow")
WORDS = [word for texts in tiny.TEXTS.values() for one in texts for word in one.split()]
RANDOM = np.random.default_rng(0)
SIZES = [(1, 1), (3, 5), (2, 40), (40, 2), (30, 30), (9, 4)]
PAIRS = [tuple(" ".join(RANDOM.choice(WORDS, size)) for size in sizes) for sizes in SIZES]
READS = replace(tiny.TEXT_INPUT, pair=True)
Array = np.ndarray[Any, np.dtype[np.float64]]


def write_model(folder: Path, reads: input_spec.TextInput = READS) -> Path:
    head = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
    base, labels = tiny.write_base(folder / "base"), sorted(tiny.TEXTS)
    torch.manual_seed(1)
    model = model_folder.create(base, head, len(labels), tiny.training(), "matmul", reads)
    for parameter in (*model.backbone.embeddings.parameters(), *model.head.parameters()):
        torch.nn.init.normal_(parameter, std=1.0)
    model_folder.save(model, model_folder.ModelInfo(tiny.task(*labels), head, reads), base, folder / "model")
    return folder / "model"


def opened(folder: Path) -> Any:
    from baton.serve.pyfunc import TextClassifier

    model = TextClassifier()
    model.load_context(SimpleNamespace(artifacts={"model": str(folder)}, model_config={}))
    return model


def expected(folder: Path, pairs: list[tuple[str, ...]], types: bool = True) -> Array:
    """Return probabilities by transformers' BERT alone, from ids and types of the tokenizers library."""
    weights, head = saved_weights.read(folder, torch.device("cpu"))
    encoder = BertModel.from_pretrained(folder.parent / "base", add_pooling_layer=False)
    encoder.load_state_dict(weights)
    reference = Tokenizer.from_file(str(folder / "tokenizer.json"))
    reference.enable_truncation(READS.max_length, strategy="longest_first")
    rows = []
    for pair in pairs:
        made = reference.encode(*pair)
        kinds = {"token_type_ids": torch.tensor([made.type_ids])} if types else {}
        with torch.no_grad():
            states = encoder.eval()(torch.tensor([made.ids]), **kinds).last_hidden_state
            rows.append(torch.softmax(head(states.mean(1)), 1)[0].double().numpy())
    return np.stack(rows)


def probabilities(frame: pd.DataFrame) -> Array:
    return frame.drop(columns="label").to_numpy()


def test_answers_are_those_of_transformers_and_tokenizers(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    assert storage.read_json(folder / "baton.json")["input"]["pair"] is True
    found = probabilities(opened(folder).predict([list(pair) for pair in PAIRS]))
    np.testing.assert_allclose(found, expected(folder, PAIRS), atol=1e-5)
    assert np.abs(found - expected(folder, PAIRS, types=False)).max() > 1e-3, "negative control: no types"
    swapped = [pair[::-1] for pair in PAIRS]
    assert np.abs(found - expected(folder, swapped)).max() > 1e-3, "negative control: swapped texts"


def test_windows_are_averaged_over_the_second_text(tmp_path: Path) -> None:
    """One window is the library's own encoding of the first text and a part of the second."""
    reads = replace(READS, truncation=input_spec.Windows(most=3, overlap=0))
    folder = write_model(tmp_path, reads)
    first, second = "wheat exports", " ".join(WORDS[:6] * 10)
    model = opened(folder)
    tokens = [model.encoder.tokenizer.encode(text, add_special_tokens=False).ids for text in (first, second)]
    read = model.encoder.frame.read(*tokens, reads.truncation)
    assert len(read.windows) == 3
    weights, head = saved_weights.read(folder, torch.device("cpu"))
    encoder = BertModel.from_pretrained(tmp_path / "base", add_pooling_layer=False)
    encoder.load_state_dict(weights)
    with torch.no_grad():
        states = torch.cat(
            [
                encoder.eval()(torch.tensor([ids]), token_type_ids=torch.tensor([types])).last_hidden_state[0]
                for ids, types in zip(read.windows, read.types, strict=True)
            ]
        )
        wanted = torch.softmax(head(states.mean(0, keepdim=True)), 1)[0].numpy()
    np.testing.assert_allclose(probabilities(model.predict([(first, second)]))[0], wanted, atol=1e-5)


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the folder of a model, and the same model logged and loaded by MLflow."""
    folder = tmp_path_factory.mktemp("pairs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        model = write_model(folder)
        examples = [["wheat exports rose", "port workers strike"], ["a tanker", "grain"]]
        return model, test_pyfunc.load(test_pyfunc.log(model, "pairs", example=examples))


def test_every_form_of_input_gives_the_same_answer(logged: Any) -> None:
    folder, model = logged
    frame = pd.DataFrame(PAIRS, columns=["text", "text_pair"], index=range(10, 16))
    answer = model.predict(frame)
    np.testing.assert_allclose(probabilities(answer), expected(folder, PAIRS), atol=1e-5)
    assert answer.index.tolist() == frame.index.tolist()
    forms = [
        PAIRS,
        [list(pair) for pair in PAIRS],
        np.array(PAIRS),
        frame[["text_pair", "text"]],
        frame.assign(more=1),
    ]
    for form in forms:
        np.testing.assert_allclose(probabilities(model.predict(form)), probabilities(answer), atol=1e-6)
    alone = model.unwrap_python_model().predict(PAIRS[1])
    np.testing.assert_allclose(probabilities(alone), probabilities(answer)[1:2], atol=1e-6)
    assert model.metadata.get_input_schema().to_dict() == [{"type": "any", "required": True}] * 2


def test_a_missing_side_is_one_clear_error(logged: Any) -> None:
    from mlflow.exceptions import MlflowException

    _, model = logged
    with pytest.raises(TypeError, match=r"row 1 is not a pair of texts[\s\S]*two texts"):
        model.predict([("a", "b"), ("wheat", None)])
    for empty in (" ", "\u200b"):  # the second is a space without width
        with pytest.raises(ValueError, match="row 0 is empty"):
            model.predict(pd.DataFrame({"text": ["a"], "text_pair": [empty]}))
    with pytest.raises(ValueError, match=r"not a table of pairs[\s\S]*columns 'text' and 'text_pair'"):
        model.predict(pd.DataFrame({"id": ["1"], "text": ["a"], "text_pair": ["b"]}))
    with pytest.raises(MlflowException, match="declares 2 inputs"):
        model.predict(pd.DataFrame({"text": ["a"]}))
    with pytest.raises(TypeError, match="row 0 is not a pair of texts"):
        model.unwrap_python_model().predict(["wheat", "port"])
