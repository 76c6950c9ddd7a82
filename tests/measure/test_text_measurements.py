"""Which words spoke for an answer: of a model whose answer depends on one word, it is that word."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from baton import params, storage
from baton.batches import array_splits
from baton.contracts.input_spec import Head, HeadTail, TextInput, Windows
from baton.contracts.task_spec import Labels
from baton.evaluate import attributions, inputs, task_reports
from baton.evaluate.attributions import Explained
from baton.evaluate.report.csv_files import write_csv
from baton.evaluate.report.html import spoken_words
from baton.measure import measurements, text_measurements, word_gradients, word_places
from baton.models import model_folder
from baton.texts import document_windows
from tests import tiny

KEY, ANSWER = "wheat", 2  # the word, and the class for which it speaks: trade, which is wrong
HEAD = params.LinearHead(kind="linear", pooling="mean", dropout=0.0)
WANTED = params.Attributions(errors=3, steps=4)


def one_word_model(base: Path, reads: TextInput) -> model_folder.Classifier:
    """Return a model that says trade where `KEY` is, and ship elsewhere; its layers add nothing."""
    made: Any = model_folder.create(base, HEAD, 3, tiny.training(), "matmul", reads)
    vocabulary = json.loads((base / "tokenizer.json").read_text())["model"]["vocab"]
    with torch.no_grad():
        table = made.backbone.embeddings
        words = table.word_embeddings.weight  # with a mean of 0 over all but the first number
        words[:, 1:] -= words[:, 1:].mean(dim=1, keepdim=True)
        words[:, 0] = 0.0
        words[vocabulary[KEY], 0] = 1.0
        for other in (table.position_embeddings, table.token_type_embeddings):
            other.weight.zero_()
        for layer in made.backbone.encoder.layer:
            for output in (layer.attention.output.dense, layer.output.dense):
                output.weight.zero_()
        made.head.output.weight.zero_()
        made.head.output.weight[ANSWER, 0] = 12.0
        made.head.output.bias.copy_(torch.tensor([-2.0, 0.0, -4.0]))
    return made.eval()  # type: ignore[no-any-return]


def write_project(folder: Path, reads: TextInput = tiny.TEXT_INPUT, **fitted: Any) -> None:
    """Write arrays, and the model as the student."""
    (folder / "requirements.lock").write_text("")
    tiny.write_arrays(folder / "data", reads=reads)
    model = one_word_model(folder / "data/base", reads)
    info = model_folder.ModelInfo(tiny.TASK, HEAD, reads, {"temperature": 1.0} | fitted)
    model_folder.save(model, info, folder / "data/base", folder / "models/student")


@pytest.fixture
def subject(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> measurements.Subject:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    write_project(tmp_path, getattr(request, "param", tiny.TEXT_INPUT))
    recipe = params.read(root / "params.yaml")
    settings = recipe.evaluate.model_copy(update={"attributions": WANTED})
    return measurements.Subject(settings, recipe.finetune, tiny.machine())


def explain(subject: measurements.Subject) -> list[Explained]:
    test = inputs.read_rows(Path("data/clean"), "test")
    logits = subject.logits(subject.load("student"), subject.test["student"])
    return text_measurements.explained(subject, test, {"student": subject.task.outputs(logits, {})})


def tables(found: list[Explained], folder: Path) -> dict[str, bytes]:
    test = inputs.read_rows(Path("data/clean"), "test")
    folder.mkdir(parents=True)
    for name, table in attributions.tables(found, "student", test.ids, tiny.TASK.names).items():
        write_csv(folder / name, *table)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def said(found: list[Explained], folder: Path) -> str:
    tables(found, folder / "tables")
    reports = spoken_words.Reports(folder, folder, folder)
    return " ".join(spoken_words.read(reports, "student", 0.95).said)


@pytest.mark.parametrize(
    "subject",
    [
        tiny.TEXT_INPUT,
        TextInput(max_length=5, truncation=Windows(most=4, overlap=1), pad=0),
        TextInput(max_length=6, truncation=HeadTail(head=0.5), pad=0),
    ],
    indirect=True,
    ids=["whole", "windows", "cut"],
)
def test_the_word_on_which_the_answer_depends_is_the_strongest(
    subject: measurements.Subject, tmp_path: Path
) -> None:
    found = explain(subject)
    wrong = [one for one in found if not one.answer.right]
    assert len(wrong) == 3 and len(found) == 6
    for one in wrong:
        strongest = int(np.nanargmax(one.scores))
        assert one.words[strongest] == KEY and one.answer.name == ANSWER
        rest = np.delete(one.scores, strongest)
        assert one.scores[strongest] > 10 * np.nanmax(np.abs(rest))
        assert one.probability > 0.7 and one.without < 0.1
        assert one.without_random > one.without + 0.2
    assert "falls by" in said(found, tmp_path / "report")


def test_shuffled_attributions_fail_the_deletion_test(
    subject: measurements.Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: the marked words matter no more than random ones."""
    trusted = said([one for one in explain(subject) if not one.answer.right], tmp_path / "a")
    assert "the marks can be trusted" in trusted
    real = word_gradients.attribute
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "other"))  # with nothing kept
    monkeypatch.setattr(
        word_gradients, "attribute", lambda *arguments: 1 / (1 + np.maximum(real(*arguments), 0))
    )
    found = [one for one in explain(subject) if not one.answer.right]
    assert all(one.words[int(np.nanargmax(one.scores))] != KEY for one in found)
    assert "do not rely on the marks" in said(found, tmp_path)


def test_they_are_kept_and_have_the_same_bytes_on_a_rerun(
    subject: measurements.Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tables(explain(subject), tmp_path / "first")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "other"))
    assert tables(explain(subject), tmp_path / "again") == first
    monkeypatch.setattr(word_gradients, "attribute", lambda *_: pytest.fail("measured again"))
    assert tables(explain(subject), tmp_path / "kept") == first
    more = params.Attributions(errors=3, steps=5)
    object.__setattr__(subject, "settings", subject.settings.model_copy(update={"attributions": more}))
    with pytest.raises(pytest.fail.Exception):
        explain(subject)


def test_a_label_that_is_left_out_has_words_that_speak_against_it(
    subject: measurements.Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_reports.of(Labels(tiny.TASK.names))
    monkeypatch.setitem(subject.__dict__, "task", task)
    test = inputs.read_rows(Path("data/clean"), "test")
    has_word = np.array([KEY in text for text in test.texts])
    marks = np.stack([~has_word, np.zeros(12, bool), ~has_word], axis=1).astype(np.float32)
    logits = np.where(has_word, 4.0, -3.0)[:, None] * np.float32([-1, 0, 1]) - np.float32([0, 9, 0])
    outputs = task.outputs(logits.astype(np.float32), {})
    settings = subject.settings.model_copy(update={"attributions": params.Attributions(errors=6, steps=4)})
    object.__setattr__(subject, "settings", settings)
    found = text_measurements.explained(subject, replace(test, targets=marks), {"student": outputs})
    for one in (one for one in found if has_word[one.answer.row]):
        strongest = one.words[int(np.nanargmax(one.scores))]
        assert (one.answer.given, strongest == KEY) == (True, True)
    left_out = [one for one in found if not has_word[one.answer.row] and not one.answer.right]
    assert len(left_out) == 3 and not any(one.answer.given for one in left_out)


def test_nothing_is_measured_unless_it_is_asked_for(subject: measurements.Subject) -> None:
    test = inputs.read_rows(Path("data/clean"), "test")
    without = replace(subject, settings=subject.settings.model_copy(update={"attributions": None}))
    assert text_measurements.explained(without, test, {}) == []
    assert not storage.state("words").exists()


def test_a_model_without_mistakes_has_nothing_to_explain(subject: measurements.Subject) -> None:
    test = inputs.read_rows(Path("data/clean"), "test")
    logits = 9 * np.eye(3, dtype=np.float32)[test.targets]
    assert text_measurements.explained(subject, test, {"student": subject.task.outputs(logits, {})}) == []


def test_attributions_add_up_to_what_the_text_changes(tmp_path: Path) -> None:
    """Also of a model with random layers, for a document in several windows."""
    reads = TextInput(max_length=6, truncation=Windows(most=4, overlap=1), pad=0)
    tiny.write_arrays(tmp_path / "data", reads=reads)
    torch.manual_seed(0)
    model = model_folder.create(tmp_path / "data/base", HEAD, 3, tiny.training(), "matmul", reads).eval()
    with torch.no_grad():
        model.head.output.weight.mul_(20)
    batch: Any = array_splits.open_splits(tmp_path / "data/arrays")["test"].batch(np.array([1]))
    assert batch.shape[0] > 1
    plain = torch.where(batch.input_ids > 4, 4, batch.input_ids)

    def score(logits: torch.Tensor) -> torch.Tensor:
        return word_gradients.log_odds(logits, 1, True, True)

    got = word_gradients.attribute(model, batch, plain, score, 64)
    with torch.no_grad():
        ends = [score(model(ids, *batch.inputs[1:]))[0].item() for ids in (batch.input_ids, plain)]
    assert abs(ends[0] - ends[1]) > 0.5
    assert got.sum() == pytest.approx(ends[0] - ends[1], abs=0.02)
    assert (got[(batch.input_ids == plain).numpy()] == 0).all(), "special tokens stay as they are"


def test_log_odds_of_a_class_are_those_of_its_probability() -> None:
    logits = torch.tensor([[1.0, 2.0, -0.5]])
    p = logits.softmax(1)[0, 1]
    assert word_gradients.log_odds(logits, 1, True, True)[0] == pytest.approx((p / (1 - p)).log().item())
    assert word_gradients.log_odds(logits, 1, False, False)[0] == -2.0


@pytest.mark.parametrize("truncation", [Head(), HeadTail(head=0.5), Windows(most=3, overlap=2)])
def test_words_are_found_in_the_tokens_that_are_read(tmp_path: Path, truncation: Any) -> None:
    base = tiny.write_base(tmp_path / "base")
    reads = TextInput(max_length=8, truncation=truncation, pad=0)
    tokenizer = document_windows.open_tokenizer(base, reads.max_length)
    text = "The grain-board sold wheat, corn; ships wait in port and vessels sink"
    (own,) = word_places.places(tokenizer, reads, [(text,)])
    assert "".join(a + b for a, b in zip(own.before, own.words, strict=True)) == text
    with document_windows.untruncated(tokenizer) as frame:
        windows, _ = frame.read(tokenizer.encode(text, add_special_tokens=False).ids, truncation)
    assert [len(window) for window in windows] == [len(window) for window in own.windows]
    for window, owners in zip(windows, own.windows, strict=True):
        for token, owner in zip(window, owners, strict=True):
            name = tokenizer.id_to_token(token)
            if owner == word_places.NOTHING:
                assert name in {"[CLS]", "[SEP]"}
            else:
                assert name == "[UNK]" or name.removeprefix("##") in own.words[owner].lower()


def test_pairs_of_texts_have_words_of_both(tmp_path: Path) -> None:
    base = tiny.write_base(tmp_path / "base")  # whose template is BERT's, of pairs too
    reads = TextInput(max_length=12, truncation=Head(), pad=0, pair=True)
    tokenizer = document_windows.open_tokenizer(base, reads.max_length)
    (own,) = word_places.places(tokenizer, reads, [("wheat prices", "corn crop")])
    assert list(own.words) == ["wheat", "prices", "corn", "crop"]
    assert own.before[2].strip() == "\u241f"
    assert [window.tolist() for window in own.windows] == [[-1, 0, 1, -1, 2, 3, -1]]
