"""Figures, intervals, tests, tables and baselines of tagged words; and what the gate reads of answers."""

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest
from seqeval.metrics import classification_report, f1_score, precision_score, recall_score

from baton import params
from baton.contracts.ragged import Ragged
from baton.contracts.task_spec import Tokens
from baton.evaluate import token_crf, token_outputs
from baton.evaluate.evaluation import Evaluation
from baton.evaluate.inputs import Rows
from baton.evaluate.report.csv_files import write_csv
from baton.evaluate.report.token_tables import errors
from baton.evaluate.token_baselines import TokenBaselines
from baton.evaluate.token_outputs import TokenOutputs
from baton.evaluate.token_reports import TokenReports
from tests import tiny_tokens

TASK = tiny_tokens.TASK
REPORTS = TokenReports(TASK)
SETTINGS = params.Bootstrap(resamples=300, confidence=0.95, seed=0)
ROWS = tiny_tokens.rows(80, 0, 12)
TEXTS = [text for text, _ in ROWS]
TAGS = Ragged(
    np.array([tag for _, tags in ROWS for tag in tags]), np.cumsum([0, *(len(tags) for _, tags in ROWS)])
)
TEST = Rows([f"test:{n + 1}" for n in range(len(ROWS))], TEXTS, TAGS)


def outputs(seed: int, skill: float, sure: float = 5.0) -> TokenOutputs:
    """Return a model that prefers the right tag of a share `skill` of the words."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(len(TAGS.values), TASK.width))
    right = random.random(len(values)) < skill
    values[right, TAGS.values[right]] += sure
    return TokenOutputs(Ragged(values.astype(np.float32), TAGS.offsets), temperature=1.5)


MODELS = {"teacher": outputs(0, 0.9), "student": outputs(1, 0.85), "control": outputs(2, 0.5)}


def named(tags: np.ndarray) -> list[list[str]]:
    return [[TASK.tags[tag] for tag in tags[a:b]] for a, b in itertools.pairwise(TAGS.offsets)]


def test_the_figures_are_those_of_seqeval() -> None:
    boot = REPORTS.bootstrap(TAGS, MODELS, 15, SETTINGS)
    truth = named(TAGS.values)
    for name, own in MODELS.items():
        answer, found = named(own.chosen), REPORTS.of_model(boot, name)
        expected = {
            "entity_f1": f1_score(truth, answer),
            "entity_precision": precision_score(truth, answer),
            "entity_recall": recall_score(truth, answer),
            "macro_f1": f1_score(truth, answer, average="macro"),
            "token_accuracy": (own.chosen == TAGS.values).mean(),
            "exact": np.mean([one == other for one, other in zip(truth, answer, strict=True)]),
        }
        for figure, value in expected.items():
            low, high = found[f"{figure}_interval"]
            assert found[figure] == pytest.approx(value, abs=1e-9) and low <= value <= high, figure
        report = classification_report(truth, answer, output_dict=True)
        per_type = boot.per_class(name)
        for place, kind in enumerate(TASK.names):
            for figure in ("precision", "recall", "f1"):
                own_value = per_type[figure][0][place]
                assert own_value == pytest.approx(
                    report[kind][f"{figure}-score" if figure == "f1" else figure]
                )
            assert per_type["support"][0][place] == report[kind]["support"]
        assert REPORTS.overall(TAGS, own) == pytest.approx(expected["entity_f1"], abs=1e-9)
        every = np.ones(len(TAGS), bool)
        value, low, high = REPORTS.of_rows(TAGS, own, every, 0.95)
        assert value == pytest.approx(expected["entity_f1"], abs=1e-9) and low < value < high
        names, hits = REPORTS.found(TAGS, own)
        assert hits.mean() == pytest.approx(expected["entity_recall"], abs=1e-9)
        assert np.array_equal(np.bincount(names), per_type["support"][0])
        parts = REPORTS.parts(TAGS, own)
        nothing = parts[:, 1] == 0
        np.testing.assert_allclose(REPORTS.score(parts)[nothing], expected["entity_f1"], atol=1e-9)
        assert not REPORTS.score(np.zeros((3, 2))).any()


def test_a_type_that_is_only_predicted_counts_for_macro_f1() -> None:
    """As seqeval counts; where one model predicts it and another does not, too."""
    none = np.where(TAGS.values > 2, 0, TAGS.values)  # no place
    true = Ragged(none, TAGS.offsets)
    careful = TokenOutputs(Ragged(np.eye(TASK.width, dtype=np.float32)[none] * 5, TAGS.offsets))
    models = {"teacher": MODELS["teacher"], "careful": careful}
    boot = REPORTS.bootstrap(true, models, 15, SETTINGS)
    for name, own in models.items():
        found = boot.figures(name)
        low, high = found["macro_f1_interval"]
        expected = f1_score(named(none), named(own.chosen), average="macro", zero_division=0)
        assert found["macro_f1"] == pytest.approx(expected, abs=1e-9) and low <= expected <= high
    assert boot.figures("careful")["macro_f1"] == 1 and boot.figures("teacher")["macro_f1"] < 0.5
    assert boot.difference("careful", "teacher", "macro_f1")[0] > 0.5


def test_the_loss_is_that_of_words_as_trained_and_at_the_temperature() -> None:
    boot = REPORTS.bootstrap(TAGS, MODELS, 15, SETTINGS)
    settings = params.read(Path("params.yaml")).evaluate.model_copy(update={"bootstrap": SETTINGS})
    found = REPORTS.calibrations(TEST, MODELS, settings)
    for name, own in MODELS.items():
        assert own.logits is not None
        for temperature, value in (
            (1.0, found[name]["log_loss"]),
            (1.5, REPORTS.of_model(boot, name)["log_loss_scaled"]),
        ):
            raw = own.logits.values.astype(np.float64) / temperature
            p = np.exp(raw) / np.exp(raw).sum(1, keepdims=True)
            assert value == pytest.approx(-np.log(p[np.arange(len(p)), TAGS.values]).mean())
        low, high = found[name]["log_loss_interval"]
        assert low < found[name]["log_loss"] < high
        assert boot.losses(name)["log_loss"].mean() == pytest.approx(
            REPORTS.of_model(boot, name)["log_loss_scaled"]
        )
        assert 0 <= found[name]["calibration_error"] <= 1


def test_a_better_model_is_told_from_a_worse_one_and_equal_ones_are_not() -> None:
    models = MODELS | {"twin": outputs(3, 0.9)}
    boot = REPORTS.bootstrap(TAGS, models, 15, SETTINGS)
    pairs = [("teacher", "control"), ("teacher", "twin"), ("teacher", "teacher")]
    found = REPORTS.compared(boot, pairs)
    assert found["teacher_vs_control"]["holm_p"] < 0.01
    assert found["teacher_vs_control"]["entity_f1_difference_interval"][0] > 0
    assert found["teacher_vs_twin"]["holm_p"] > 0.05
    low, high = found["teacher_vs_twin"]["holm_interval"]
    assert low <= 0 <= high and found["teacher_vs_twin"]["excluded"] >= high
    assert found["teacher_vs_teacher"]["entity_f1_p"] == 1
    kept = REPORTS.retention(boot, {}, {})
    assert kept["entity_f1"] < 1 and kept["entity_f1_interval"][0] < kept["entity_f1"]
    own = REPORTS.paired(boot, "teacher", "control")
    assert "randomisation test of entity F1" in REPORTS.in_words(own, "challenger", "champion")


def test_the_served_answer_has_the_figures_of_the_predictions() -> None:
    """Entities, precision and recall."""
    own = MODELS["teacher"]
    assert own.logits is not None
    answers = REPORTS.figures.answer(own.logits, {"temperature": 1.5}, None, TEXTS)
    served = REPORTS.served(answers)
    assert np.array_equal(served.entities, own.entities)
    np.testing.assert_allclose(served.scores, own.scores, atol=1e-6)
    boot = REPORTS.bootstrap(TAGS, {"predicted": own, "served": served}, 15, SETTINGS)
    first, second = (boot.figures(name) for name in ("predicted", "served"))
    assert {key: value for key, value in first.items() if "log_loss" not in key} == second
    assert REPORTS.calibration(TAGS, served, 15, 0.95)[0] == pytest.approx(
        REPORTS.calibration(TAGS, own, 15, 0.95)[0], abs=1e-5
    )


def test_errors_mark_the_entity_in_its_text() -> None:
    """One of each kind: other bounds, another type, superfluous, missing."""
    spec = Tokens(("LOC", "PER"), "space")
    text = "Ann Lee saw New York and Bonn"
    true = Ragged(np.array([3, 4, 0, 1, 2, 0, 1]), np.array([0, 7]))
    tags = np.array([3, 4, 0, 0, 3, 0, 0])
    own = TokenOutputs(Ragged(np.log(np.eye(5) + 0.1)[tags], true.offsets))
    found = errors("student", spec, Rows(["a"], [text], true), own)
    assert [row[2:5] + row[6:] for row in found] == [
        ["bounds", "LOC", "PER", "Ann Lee saw [New {York]} and Bonn"],
        ["missing", "LOC", "", "Ann Lee saw New York and [Bonn]"],
    ]
    tags = np.array([1, 2, 3, 1, 2, 0, 3])
    own = TokenOutputs(Ragged(np.log(np.eye(5) + 0.1)[tags], true.offsets))
    found = errors("student", spec, Rows(["a"], [text], true), own)
    assert sorted(row[2] for row in found) == ["superfluous", "type", "type"]


def test_tables_and_plots(tmp_path: Path) -> None:
    boot = REPORTS.bootstrap(TAGS, MODELS, 15, SETTINGS)
    evaluation = Evaluation(list(TASK.names), TEST, MODELS, boot, {}, None, 15)
    for name, (columns, rows) in (REPORTS.tables(evaluation) | REPORTS.plots(evaluation)).items():
        write_csv(tmp_path / name, columns, rows)
    with (tmp_path / "confusion.csv").open() as file:
        counts = list(csv.DictReader(file))
    assert sum(int(row["words"]) for row in counts if row["model"] == "teacher") == len(TAGS.values)
    with (tmp_path / "errors.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == "teacher"]
    true, own = token_outputs.actual(TAGS), MODELS["teacher"].entities
    both = {*map(tuple, true.tolist())} & {*map(tuple, own.tolist())}
    pairs = sum(row["kind"] in ("type", "bounds") for row in rows)
    assert len(rows) + pairs == len(true) + len(own) - 2 * len(both)
    REPORTS.draw(tmp_path, evaluation)
    assert {"per_type_f1.png", "confusion_teacher.png"} <= {path.name for path in tmp_path.iterdir()}
    columns, cells = REPORTS.summary({"teacher": REPORTS.of_model(boot, "teacher")})
    assert len(columns) == len(cells["teacher"])


def test_the_most_frequent_tag_of_each_word() -> None:
    """By hand; a word that train lacks has O, whatever is most frequent there."""
    spec = Tokens(("LOC",), "space")
    train = Ragged(np.array([1, 2, 1, 0, 1, 2]), np.array([0, 2, 4, 6]))
    fitted = TokenBaselines(spec).fit(
        params.MajorityBaseline(kind="majority"), ["New York", "Bonn is", "Bonn York"], train, None, None
    )
    found = fitted.outputs(["Bonn York", "Rome is", ""])
    assert found.chosen.tolist() == [1, 2, 0, 0]
    assert found.logits is not None and found.logits.counts.tolist() == [2, 2, 0]
    shares = np.array([1, 3, 2]) / 6
    own = np.array([[0, 2, 0], [0, 0, 2], [0, 0, 0], [1, 0, 0]])  # bonn, york, rome, is
    expected = (shares + own) / (1 + own.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(np.exp(found.logits.values), expected)
    kept = TokenBaselines(spec).of_arrays(TokenBaselines(spec).arrays(found), None)
    assert np.array_equal(kept.chosen, found.chosen) and np.array_equal(kept.entities, found.entities)


def test_a_crf_learns_from_neighbours_and_is_the_same_each_time() -> None:
    """`left` is a place after `the`: the most frequent tag of a word cannot tell."""
    spec, random = Tokens(("place",), "space"), np.random.default_rng(0)

    def drawn(count: int) -> tuple[list[str], Ragged]:
        rows = []
        for _ in range(count):
            words = random.choice(["the", "left", "rose", "and"], 8).tolist()
            tags = [
                int(place > 0 and words[place - 1] == "the" and word == "left")
                for place, word in enumerate(words)
            ]
            rows.append((" ".join(words), tags))
        return [text for text, _ in rows], Ragged(
            np.array([tags for _, tags in rows]).ravel(), 8 * np.arange(count + 1)
        )

    train, val, test = drawn(60), drawn(30), drawn(30)
    crf = params.CrfBaseline(kind="crf", c1=(0.01, 50.0), c2=(0.01,), iterations=100)
    reports = TokenReports(spec)
    found = [reports.baselines.fit(crf, *train, val, None).outputs(test[0]) for _ in range(2)]
    assert reports.overall(test[1], found[0]) == 1
    assert np.array_equal(found[0].logits.values, found[1].logits.values)  # type: ignore[union-attr]
    p = np.exp(found[0].logits.values)  # type: ignore[union-attr]
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
    majority = reports.baselines.fit(params.MajorityBaseline(kind="majority"), *train, None, None)
    assert reports.overall(test[1], majority.outputs(test[0])) < 0.5


def contradicting(*tags: list[int]) -> tuple[Tokens, list[list[str]], Ragged]:
    """Return the same two words once for each of the tags."""
    flat = np.array([tag for own in tags for tag in own])
    return (
        Tokens(("place",), "space"),
        [["at", "Bonn"]] * len(tags),
        Ragged(flat, 2 * np.arange(len(tags) + 1)),
    )


def probability(model: token_crf.Crf) -> float:
    return float(token_crf.tagged(model, ["at", "Bonn"])[0][1, 1])


def test_a_crf_weighs_rows() -> None:
    """A weight of 3 is a row given three times; the norms keep their share of the loss."""
    crf = params.CrfBaseline(kind="crf", c1=(0.0,), c2=(0.1,), iterations=200)
    spec, texts, true = contradicting([0, 1], [0, 0], [0, 0])
    equal = token_crf.fit(crf, spec, texts, true, None, None)
    weighted = token_crf.fit(crf, spec, texts, true, None, np.array([1.5, 0.5, 0.5], np.float32))
    assert probability(equal) < 0.4 and probability(weighted) > 0.55
    _, texts, true = contradicting(*[[0, 1]] * 3, [0, 0], [0, 0])
    halved = crf.model_copy(update={"c2": (0.2,)})  # as each of these counts twice as much
    assert probability(token_crf.fit(halved, spec, texts, true, None, None)) == pytest.approx(
        probability(weighted), abs=1e-6
    )
    counts, unit = token_crf.copies(np.array([1e-6, 1, 2, 1, 0], np.float32), 5)
    assert counts.tolist() == [0, 5, 10, 5, 0] and unit == pytest.approx(0.2)


def test_a_crf_with_many_tags_is_fitted_on_fewer_texts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    crf = params.CrfBaseline(kind="crf", c1=(0.01, 0.1), c2=(0.01,), iterations=10)
    spec, texts, true = contradicting(*[[0, 1]] * 40)
    whole = token_crf.fit(crf, spec, texts, true, (texts, true), None)
    assert "train texts" not in capsys.readouterr().out
    work = 80 * spec.width**2 * 10  # of one fit on all texts
    for most, lines in (
        (work, ["chosen on 20 of 40"]),
        (work / 4, ["chosen on 5 of 40", "fitted on only 10 of 40"]),
    ):
        monkeypatch.setattr(token_crf, "MOST", most)
        found = token_crf.fit(crf, spec, texts, true, (texts, true), None)
        printed = capsys.readouterr().out
        assert [line in printed for line in lines] == [True] * len(lines)
        assert printed.count("train texts") == len(lines)
        assert (found.content == whole.content) == (len(lines) == 1)


def test_what_a_crf_sees() -> None:
    rows = token_crf.features(["Main", "St.", "12a"])
    assert {"lower=main", "shape=Aaaa", "short=Aa", "begin=mai", "end=ain", "first", "2:lower=12a"} <= set(
        rows[0]
    )
    assert {"-1:lower=main", "1:lower=12a", "last=."} <= set(rows[1]) and "short=da" in rows[2]
