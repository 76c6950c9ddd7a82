"""A served model of questions: answers as by transformers alone, places in the context, and over HTTP."""

import json
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
from baton.contracts import saved_weights
from baton.models import model_folder
from baton.tasks import span_answers
from baton.texts import words
from tests import tiny, tiny_questions
from tests.serve import test_pyfunc

pytestmark = pytest.mark.usefixtures("quiet_mlflow")
READS = tiny_questions.IN_WINDOWS
ROWS = [
    (asked["question"], own["context"]) for own in tiny_questions.paragraphs(30, 3) for asked in own["qas"]
]
FITTED = {"temperature": 1.7, "threshold": -5.0}


def write_model(folder: Path) -> Path:
    head = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
    base = tiny.write_base(folder / "base")
    torch.manual_seed(1)
    model = model_folder.create(base, head, 2, tiny.training(), "matmul", READS)
    for parameter in (*model.backbone.embeddings.parameters(), *model.head.parameters()):
        torch.nn.init.normal_(parameter, std=1.0)
    info = model_folder.ModelInfo(tiny_questions.TASK, head, READS, FITTED)
    model_folder.save(model, info, base, folder / "model")
    return folder / "model"


def opened(folder: Path) -> Any:
    from baton.serve.pyfunc import TextClassifier

    model = TextClassifier()
    model.load_context(SimpleNamespace(artifacts={"model": str(folder)}, model_config={}))
    return model


def expected(folder: Path, question: str, context: str) -> dict[str, Any]:
    """Return the answer by transformers' BERT alone, to a pair that fits into one window.

    All pairs of first and last word are tried; tokens and types are the tokenizers library's own.
    """
    weights, head = saved_weights.read(folder, torch.device("cpu"))
    encoder = BertModel.from_pretrained(folder.parent / "base", add_pooling_layer=False)
    encoder.load_state_dict(weights)
    made = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(question, context)
    with torch.no_grad():
        kinds = torch.tensor([made.type_ids])
        logits = head(encoder.eval()(torch.tensor([made.ids]), token_type_ids=kinds).last_hidden_state[0])
    places = words.cut(context, "pattern")
    firsts = [
        next(
            token
            for token, (side, (start, end)) in enumerate(zip(made.sequence_ids, made.offsets, strict=True))
            if side == 1 and start <= place[0] < end
        )
        for place in places
    ]
    log_p = torch.log_softmax(logits[[0, *firsts]].double() / FITTED["temperature"], 0).numpy()
    spans = {
        (first, last): log_p[1 + first, 0] + log_p[1 + last, 1]
        for first in range(len(places))
        for last in range(first, min(len(places), first + tiny_questions.TASK.max_answer_words))
    }
    (first, last), score = max(spans.items(), key=lambda item: item[1])
    none = float(log_p[0].sum())
    start, end = (places[first][0], places[last][1]) if none - score <= FITTED["threshold"] else (-1, -1)
    return {
        "answer": context[start:end] if start >= 0 else "",
        "start": start,
        "end": end,
        "score": np.exp(score),
        "no_answer": np.exp(none),
    }


def test_answers_are_those_of_transformers_and_tokenizers(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    reference = Tokenizer.from_file(str(folder / "tokenizer.json"))
    whole = [pair for pair in ROWS if len(reference.encode(*pair)) <= READS.max_length]
    assert len(whole) > 5
    found = opened(folder).predict(whole).to_dict("records")
    wanted = [expected(folder, *pair) for pair in whole]
    for own, one in zip(found, wanted, strict=True):
        assert {key: own[key] for key in ("answer", "start", "end")} == {
            key: one[key] for key in ("answer", "start", "end")
        }
        assert own["score"] == pytest.approx(one["score"], abs=1e-5)
        assert own["no_answer"] == pytest.approx(one["no_answer"], abs=1e-5)
    assert {own["answer"] == "" for own in found} == {True, False}


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the folder of a model, and the same model logged and loaded by MLflow."""
    folder = tmp_path_factory.mktemp("spans")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        model = write_model(folder)
        example = [list(pair) for pair in ROWS[:2]]
        return model, test_pyfunc.load(test_pyfunc.log(model, "spans", example=example))


def test_every_form_of_input_gives_the_same_answer_at_its_place(logged: Any) -> None:
    folder, model = logged
    frame = pd.DataFrame(ROWS, columns=["text", "text_pair"], index=range(7, 7 + len(ROWS)))
    answer = model.predict(frame)
    assert list(answer) == list(span_answers.COLUMNS) and answer.index.tolist() == frame.index.tolist()
    for (_, context), own in zip(ROWS, answer.to_dict("records"), strict=True):
        there = context[own["start"] : own["end"]] if own["answer"] else ""
        assert own["answer"] == there and (own["start"] >= 0) == bool(own["answer"])
    pd.testing.assert_frame_equal(model.predict(ROWS), answer.reset_index(drop=True), atol=1e-6)
    pd.testing.assert_frame_equal(opened(folder).predict(ROWS), answer.reset_index(drop=True), atol=1e-6)
    types = [(one.name, one.type.name) for one in model.metadata.get_output_schema()]
    assert types == [
        ("answer", "string"),
        ("start", "long"),
        ("end", "long"),
        ("score", "double"),
        ("no_answer", "double"),
    ]
    with pytest.raises(TypeError, match="row 1 is not a pair of texts"):
        model.predict([ROWS[0], ("the goods", None)])


@pytest.mark.parametrize(
    "request_",
    [
        {"dataframe_split": {"columns": ["text", "text_pair"], "data": ROWS}},
        {"dataframe_records": [{"text": question, "text_pair": context} for question, context in ROWS]},
        {"inputs": ROWS},
    ],
    ids=lambda one: next(iter(one)),
)
def test_the_scoring_server_answers(logged: Any, request_: dict[str, Any]) -> None:
    from mlflow.pyfunc import scoring_server

    _, model = logged
    found = scoring_server.invocations(
        json.dumps(request_), "application/json", model, model.metadata.get_input_schema()
    )
    assert found.status == 200, found.response
    answer, wanted = json.loads(found.response)["predictions"], model.predict(ROWS)
    for name in ("answer", "start", "end"):
        assert [own[name] for own in answer] == wanted[name].tolist()
    for name in ("score", "no_answer"):
        np.testing.assert_allclose([own[name] for own in answer], wanted[name], atol=1e-6)


def test_its_page_says_what_the_columns_are(logged: Any) -> None:
    folder, _ = logged
    from baton.tasks import task_figures

    text = task_figures.of(tiny_questions.TASK).output(storage.read_json(folder / "baton.json")["fitted"])
    assert "T = 1.7" in text and "threshold -5" in text and "`no_answer`" in text
