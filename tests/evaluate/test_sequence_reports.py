"""Texts as targets: intervals and tests, baselines, tables, and the choice between models."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.significance import PairedTest

from baton import params
from baton.contracts.task_spec import Sequence
from baton.contracts.written_texts import Texts
from baton.errors import DataError, ParamsError
from baton.evaluate import (
    baselines,
    evaluation,
    proportions,
    results,
    sequence_baselines,
    sequence_outputs,
    sequence_significance,
)
from baton.evaluate.evaluation import Evaluation
from baton.evaluate.inputs import Rows
from baton.evaluate.report import csv_tables
from baton.evaluate.sequence_outputs import SequenceOutputs
from baton.evaluate.sequence_reports import SequenceReports
from baton.tasks import figure_scale, text_scores
from tests.tasks.test_text_scores import corpus

TASK = SequenceReports(Sequence(24, 1, 10, vocabulary=50))
SETTINGS = params.Bootstrap(resamples=400, confidence=0.95, seed=0)


def references(rows: int = 120, seed: int = 0) -> Any:
    found, _ = corpus(seed, rows, 0.0)
    return np.array([f"{text} end" for text in found], dtype=object)


def spoilt(texts: Any, share: float, seed: int) -> SequenceOutputs:
    draw = random.Random(seed)

    def fewer(text: str) -> str:
        if draw.random() >= share:
            return text
        return " ".join(word for word in text.split() if draw.random() > share / 2)

    return SequenceOutputs(tuple(map(fewer, texts)))


def boot(outputs: dict[str, SequenceOutputs], texts: Any) -> sequence_significance.SequenceBootstrap:
    return TASK.bootstrap(texts, outputs, 15, SETTINGS)


def test_figures_and_their_sums_are_those_of_sacrebleu() -> None:
    texts = references()
    own = spoilt(texts, 0.5, 1)
    found = TASK.of_model(boot({"m": own}, texts), "m")
    assert 100 * found["chrf"] == pytest.approx(
        CHRF().corpus_score(own.texts, [texts.tolist()]).score, abs=1e-9
    )
    assert 100 * found["bleu"] == pytest.approx(
        BLEU().corpus_score(own.texts, [texts.tolist()]).score, abs=1e-9
    )
    for figure in ("chrf", "bleu", "exact_match"):
        low, high = found[f"{figure}_interval"]
        assert 0 <= low < found[figure] < high <= 1
    sentences = [
        CHRF().sentence_score(text, [own]).score / 100 for text, own in zip(own.texts, texts, strict=True)
    ]
    np.testing.assert_allclose(sequence_outputs.scores(own.statistics(texts)), sentences, atol=1e-9)


def test_what_rows_contribute_is_what_chrf_loses_without_them() -> None:
    """The infinitesimal jackknife has the jackknife's standard error; a long row contributes more."""
    texts = references(200)
    own = spoilt(texts, 0.5, 1).statistics(texts)
    scores, rows = sequence_outputs.pseudo_values(own), np.arange(200)
    left = np.array([text_scores.chrf(own[rows != row].sum(axis=0)) for row in rows])
    jackknife = np.sqrt(199 / 200 * ((left - left.mean()) ** 2).sum())
    assert scores.std() / np.sqrt(200) == pytest.approx(jackknife, rel=0.05)
    np.testing.assert_allclose(scores - scores.mean(), 199 * (left.mean() - left), atol=0.02)


def test_a_table_without_mistakes_still_has_an_interval() -> None:
    texts = references(50)
    found = TASK.of_model(boot({"m": SequenceOutputs(tuple(texts))}, texts), "m")
    assert found["chrf"] == found["exact_match"] == 1
    low, high = found["chrf_interval"]
    assert high == pytest.approx(1)
    # Wilson's for 50 of 50, a closed form: n / (n + z^2).
    assert low == pytest.approx(50 / (50 + 1.959964**2), rel=1e-6)


def test_the_interval_of_a_part_of_the_rows_is_about_the_bootstrap_s() -> None:
    texts = references(400)
    own = spoilt(texts, 0.6, 2)
    value, low, high = TASK.of_rows(texts, own, np.arange(400) < 300, 0.95)
    part = boot({"m": SequenceOutputs(own.texts[:300])}, texts[:300])
    assert value == pytest.approx(float(part.points["m"]["chrf"]))
    drawn = np.percentile(part.drawn["m"]["chrf"], [2.5, 97.5])
    narrow = proportions.around_mean(part.scores("m"), 0.95)
    assert high - low == pytest.approx(max(drawn[1] - drawn[0], narrow[1] - narrow[0]), rel=0.15)


def test_randomisation_agrees_with_sacrebleu_s_own() -> None:
    """`sacrebleu.significance` is an independent implementation of Riezler & Maxwell's test."""
    texts = references(60)
    for seed, share in ((1, 0.45), (2, 0.6), (3, 0.5)):
        one, other = spoilt(texts, 0.5, seed), spoilt(texts, share, seed + 10)
        ours = sequence_significance.randomised_p(
            text_scores.statistics(texts.tolist(), one.texts),
            text_scores.statistics(texts.tolist(), other.texts),
            4000,
            0,
        )
        systems = [("one", list(one.texts)), ("other", list(other.texts))]
        _, scores = PairedTest(systems, {"chrF": CHRF()}, [texts.tolist()], "ar", 4000)()
        (theirs,) = (own for name, own in scores.items() if name.startswith("chrF"))
        assert ours == pytest.approx(theirs[1].p_value, abs=0.03)


def test_equal_models_do_not_differ_and_a_worse_one_does() -> None:
    texts = references()
    outputs = {"a": spoilt(texts, 0.2, 1), "b": spoilt(texts, 0.2, 1), "c": spoilt(texts, 0.9, 3)}
    own = boot(outputs, texts)
    same = TASK.paired(own, "a", "b")
    assert same["chrf_difference"] == 0
    assert same["chrf_p"] == 1
    assert same["discordant"] == [0, 0]
    found = TASK.compared(own, [("a", "b"), ("a", "c")])
    worse = found["a_vs_c"]
    assert worse["holm_p"] < 0.05 < found["a_vs_b"]["holm_p"]
    assert worse["holm_interval"][0] > 0
    assert found["a_vs_b"]["holm_interval"][0] < 0 < found["a_vs_b"]["holm_interval"][1]
    assert worse["holm_p"] == pytest.approx(2 * worse["chrf_p"])
    assert "has exactly the reference of" in TASK.in_words(worse, "a", "c")


def test_p_is_uniform_if_models_are_equally_good() -> None:
    texts = references(80)
    values = []
    for seed in range(60):
        one, other = spoilt(texts, 0.5, 100 + seed), spoilt(texts, 0.5, 500 + seed)
        statistics = [text_scores.statistics(texts.tolist(), own.texts) for own in (one, other)]
        values.append(sequence_significance.randomised_p(*statistics, 200, seed))
    # Binomial(60, 0.05) is at most 8 with a probability above 0.995.
    assert sum(value < 0.05 for value in values) <= 8
    assert 0.35 < np.mean(values) < 0.65


def test_texts_are_scored_once_for_rows_slices_and_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scores are kept with the texts and not beyond, since they are large."""
    scored: list[int] = []
    real = text_scores.statistics

    def counted(references: Any, texts: Any) -> Any:
        scored.append(len(texts))
        return real(references, texts)

    monkeypatch.setattr(text_scores, "statistics", counted)
    texts = references(30)
    one = spoilt(texts, 0.4, 1)
    whole = TASK.overall(texts, one)
    assert TASK.of_rows(texts, one, np.ones(30, bool), 0.95)[0] == whole
    assert TASK.bootstrap(texts, {"one": one}, 10, SETTINGS).points["one"]["chrf"] == whole
    assert len(TASK.parts(texts, one)) == 30 and scored == [30]
    assert TASK.overall(texts[::-1], one) < whole and scored == [30, 30]
    assert replace(one, texts=tuple(texts)).statistics(texts)[:, text_scores.EXACT].all()


def test_baselines_copy_and_answer_with_the_nearest_target(monkeypatch: pytest.MonkeyPatch) -> None:
    sources, targets = ["red ship", "blue ship", "corn"], np.array(["rot", "blau", "Mais"], dtype=object)
    copy = params.CopyBaseline(kind="copy")
    fitted = TASK.baselines.fit(copy, sources, targets, None, None)
    assert fitted.outputs(["new"]).texts == ("new",)
    nearest = params.NearestBaseline(kind="nearest", analyzer="word", min_df=1, max_ngram=1)
    fitted = TASK.baselines.fit(nearest, sources, targets, None, None)
    outputs = fitted.outputs(["a blue one", "corn ship corn", "unknown"])
    assert outputs.texts == ("blau", "Mais", "rot")
    monkeypatch.setattr(sequence_baselines, "CELLS", 1)
    one_by_one = TASK.baselines.fit(nearest, sources, targets, None, None)
    assert one_by_one.outputs(["a blue one", "corn ship corn", "unknown"]) == outputs
    again = TASK.baselines.of_arrays(TASK.baselines.arrays(outputs), None)
    assert again == outputs
    by_character = nearest.model_copy(update={"analyzer": "char", "max_ngram": 2})
    assert TASK.baselines.fit(by_character, sources, targets, None, None).outputs(["korn"]).texts == ("Mais",)
    assert baselines.names([copy, nearest, by_character]) == ["copy", "nearest_word", "nearest_char"]
    with pytest.raises(ParamsError, match="writes no texts"):
        TASK.baselines.fit(params.MajorityBaseline(kind="majority"), sources, targets, None, None)
    with pytest.raises(DataError, match="no term to count"):
        rare = nearest.model_copy(update={"min_df": 3})
        TASK.baselines.fit(rare, sources, targets, None, None)


@pytest.fixture
def shown() -> Evaluation:
    texts = references()
    outputs = {
        name: spoilt(texts, share, place)
        for place, (name, share) in enumerate(
            {"teacher": 0.2, "student": 0.3, "control": 0.5, "copy": 0.9}.items()
        )
    }
    test = Rows(
        [f"test:{row}" for row in range(len(texts))], [f"source {row}" for row in range(len(texts))], texts
    )
    return Evaluation([], test, outputs, boot(outputs, texts), {}, "copy", 15)


def test_metrics_have_comparisons_retention_and_signatures(shown: Evaluation) -> None:
    splits = {"train": shown.test, "val": shown.test, "test": shown.test}
    more = TASK.calibrations(shown.test, shown.outputs, _settings())
    own = {"val": shown.outputs, "test": shown.outputs}
    found = results.build(TASK, shown.bootstrap, splits, own, more)
    assert set(found["comparison"]) == {
        "student_vs_control",
        "student_vs_teacher",
        "teacher_vs_copy",
        "student_vs_copy",
    }
    kept = found["student"]["chrf"] / found["teacher"]["chrf"]
    assert found["retention"]["chrf"] == pytest.approx(kept, rel=1e-4)
    assert found["test"]["task"]["kind"] == "sequence"
    assert results.task_of(found["test"]) == TASK.spec
    assert found["signatures"]["bleu"].startswith("nrefs:1|case:mixed")
    assert found["teacher"]["length_ratio"] < 1
    columns, cells = TASK.summary({name: found[name] for name in shown.outputs})
    assert len(columns) == len(cells["teacher"])


def test_tables_show_the_same_rows_for_every_model_and_the_worst_of_each(
    shown: Evaluation, tmp_path: Path
) -> None:
    tables = TASK.tables(shown)
    columns, rows = tables["examples.csv"]
    assert list(columns)[:5] == ["id", "source", "reference", "teacher", "teacher_chrf"]
    first, *_, last = list(rows)
    assert (first[0], last[0]) == ("test:0", "test:119")
    columns, rows = tables["errors.csv"]
    worst = [row[2] for row in rows if row[0] == "student"]
    assert worst == sorted(worst)
    csv_tables.write_tables(tmp_path, TASK, shown)
    TASK.draw(tmp_path, shown)
    assert (tmp_path / "chrf_by_length.png").stat().st_size > 1000
    assert set(evaluation.TRANSFORMERS) <= set(shown.drawn)


def test_outputs_come_from_texts_of_predictions_and_of_answers() -> None:
    outputs = TASK.outputs(Texts(("a", "b")), {})
    answers = TASK.figures.answer(["a", "b"], {}, None)
    assert TASK.served(answers) == outputs
    assert TASK.figures.misfit(answers) is None
    assert TASK.figures.misfit(pd.DataFrame(columns=["label", "probability_a"])) is not None
    assert TASK.calibration(None, outputs, 15, 0.95) is None
    assert figure_scale.of(TASK.figures).value(0.5) == "50.0%"
    with pytest.raises(DataError, match="do not match the references"):
        TASK.figures.scores(["a"], ["a", "b"])


def _settings() -> params.Evaluate:
    return params.read(Path(__file__).parents[2] / "recipes/sequence-csv.yaml").evaluate
