"""Answers to questions: figures, intervals and tests, baselines, tables, and the choice between models."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import permutation_test

from baton import params
from baton.contracts.questions import Passages, Questions
from baton.contracts.task_spec import Spans
from baton.evaluate import baselines, evaluation, recommend, results
from baton.evaluate.evaluation import Evaluation
from baton.evaluate.inputs import Rows
from baton.evaluate.report import csv_tables, span_tables
from baton.evaluate.span_outputs import SpanOutputs
from baton.evaluate.span_reports import SpanReports
from baton.evaluate.span_significance import randomised_p
from baton.tasks import figure_scale
from baton.texts import words
from tests.tasks.test_squad_scores import script

TASK = SpanReports(Spans(8))
SETTINGS = params.Bootstrap(resamples=400, confidence=0.95, seed=0)
NAMES = ["Ada", "Bo", "Cy", "Dee", "Eve", "Flo", "Gil", "Hal", "Ida", "Jo"]
PLACES = ["Lima", "Oslo", "Rome", "Bern", "the old port of Kiel", "New York City"]


def asked(rows: int, seed: int = 0, none: float = 0.3) -> tuple[list[tuple[str, str]], Questions]:
    """Return pairs of question and context, and the questions; a share of them has no answer."""
    draw, pairs, answers = np.random.default_rng(seed), [], []
    for _ in range(rows):
        first, second = draw.choice(NAMES, 2, replace=False)
        place = str(draw.choice(PLACES))
        context = f"{first} and {second} met early. {first} lives in {place} with {draw.choice(NAMES)}."
        missing = draw.random() < none
        pairs.append((f"Where does {'nobody' if missing else first} live?", context))
        answers.append(() if missing else (place, f"in {place}"))
    return pairs, questions([context for _, context in pairs], answers)


def questions(contexts: list[str], answers: list[tuple[str, ...]]) -> Questions:
    marks = []
    for context, own in zip(contexts, answers, strict=True):
        places = words.cut(context, "pattern")
        found = np.zeros(1 + len(places), np.int64)
        for answer in own:
            start = context.index(answer)
            found[1 + [begin for begin, _ in places].index(start)] |= Spans.STARTS
            found[1 + [end for _, end in places].index(start + len(answer))] |= Spans.ENDS
        found[0] = 0 if own else Spans.STARTS + Spans.ENDS
        marks.append(found)
    passages = Passages(_objects(contexts), _objects(answers))
    return Questions(np.concatenate(marks), np.cumsum([0, *map(len, marks)]), passages)


def _objects(values: list[Any]) -> Any:
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def model(targets: Questions, wrong: float, seed: int, sure: float = 6.0) -> SpanOutputs:
    """Return a model that knows the marks of all but a share of the questions."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(0, 1, (len(targets.values), 2))
    known = draw.random(len(targets)) >= wrong
    marked = np.stack([targets.values & 1, targets.values // 2], axis=1) * known[targets.owners][:, None]
    from baton.contracts.ragged import Ragged

    return SpanOutputs(TASK.spec, Ragged((logits + sure * marked).astype(np.float32), targets.offsets))


def published(texts: tuple[str, ...], targets: Questions) -> dict[str, float]:
    """Return the figures of SQuAD's evaluate-v2.0.py, whose `make_eval_dict` this follows, of 1."""
    scores = [script(text, list(true)) for text, true in zip(texts, targets.passages.answers, strict=True)]
    has = [place for place, true in enumerate(targets.passages.answers) if true]
    no = [place for place in range(len(scores)) if place not in set(has)]
    return {
        "exact_match": float(np.mean([exact for exact, _ in scores])),
        "f1": float(np.mean([f1 for _, f1 in scores])),
        "has_answer_exact": float(np.mean([scores[place][0] for place in has])),
        "has_answer_f1": float(np.mean([scores[place][1] for place in has])),
        "no_answer_exact": float(np.mean([scores[place][0] for place in no])),
    } | {"no_answer_f1": float(np.mean([scores[place][1] for place in no]))}


def test_figures_are_those_of_squad_s_script() -> None:
    _, targets = asked(200)
    own = model(targets, 0.4, 1, sure=3.0)
    boot = TASK.bootstrap(targets, {"m": own}, 15, SETTINGS)
    found, wanted = TASK.of_model(boot, "m"), published(own.answers(targets).texts, targets)
    assert wanted.pop("no_answer_f1") == wanted["no_answer_exact"], "by definition"
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, abs=1e-9)
        low, high = found[f"{name}_interval"]
        assert 0 <= low < value < high <= 1
    given = np.array([text != "" for text in own.answers(targets).texts])
    assert found["answered"] == given.mean()
    assert 0 < wanted["exact_match"] < wanted["f1"] < 1, "some answers are right in part"
    assert TASK.overall(targets, own) == pytest.approx(wanted["f1"], abs=1e-12)


def test_figures_of_sets_without_unanswerable_questions_are_not_split() -> None:
    _, targets = asked(60, none=0.0)
    boot = TASK.bootstrap(targets, {"m": model(targets, 0.3, 1)}, 15, SETTINGS)
    assert set(boot.points["m"]) == {"f1", "exact_match", "answered"}
    columns, cells = span_tables.summary({"m": TASK.of_model(boot, "m")})
    assert columns == ["F1", "interval", "exact match", "answered"] and len(cells["m"]) == 4


def test_a_table_without_mistakes_still_has_an_interval() -> None:
    _, targets = asked(50)
    found = TASK.of_model(TASK.bootstrap(targets, {"m": model(targets, 0, 1, 60.0)}, 15, SETTINGS), "m")
    for figure in ("f1", "exact_match"):
        low, high = found[f"{figure}_interval"]
        # Wilson's for 50 of 50, a closed form: n / (n + z^2).
        assert (found[figure], high) == (1, pytest.approx(1))
        assert low == pytest.approx(50 / (50 + 1.959964**2), rel=1e-6)


def test_the_interval_of_a_part_of_the_rows_is_about_the_bootstrap_s() -> None:
    _, targets = asked(400)
    own, rows = model(targets, 0.5, 2, sure=3.0), np.arange(400) < 300
    value, low, high = TASK.of_rows(targets, own, rows, 0.95)
    boot = TASK.bootstrap(targets[rows], {"m": own[rows]}, 15, SETTINGS)
    assert value == pytest.approx(float(boot.points["m"]["f1"]))
    assert (low, high) == pytest.approx(boot.figures("m")["f1_interval"], abs=0.01)


def test_p_is_that_of_scipy_s_permutation_test() -> None:
    for seed, share in ((1, 0.5), (2, 0.62), (3, 0.55)):
        _, targets = asked(60)
        first, second = (
            TASK.parts(targets, model(targets, one, seed + k, 3.0)) for k, one in enumerate((0.5, share))
        )
        wanted = permutation_test(
            (first, second), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=9999, rng=0
        )
        assert randomised_p(first, second, 9999, 0) == pytest.approx(float(wanted.pvalue), abs=0.03)


def test_equal_models_do_not_differ_and_a_worse_one_does() -> None:
    _, targets = asked(150)
    outputs = {"a": model(targets, 0.2, 1), "b": model(targets, 0.2, 1), "c": model(targets, 0.9, 3)}
    boot = TASK.bootstrap(targets, outputs, 15, SETTINGS)
    same = TASK.paired(boot, "a", "b")
    assert (same["f1_difference"], same["f1_p"], same["discordant"]) == (0, 1, [0, 0])
    found = TASK.compared(boot, [("a", "b"), ("a", "c")])
    worse = found["a_vs_c"]
    assert worse["holm_p"] < 0.05 < found["a_vs_b"]["holm_p"]
    assert worse["holm_interval"][0] > 0 > found["a_vs_b"]["holm_interval"][0]
    assert worse["holm_p"] == pytest.approx(2 * worse["f1_p"])
    assert "only a answers" in TASK.in_words(worse, "a", "c")


def test_the_majority_is_no_answer_only_if_that_scores_more() -> None:
    majority = params.MajorityBaseline(kind="majority")
    for none, answered in ((0.9, 0.0), (0.0, 1.0)):
        pairs, targets = asked(80, none=none)
        own = TASK.baselines.fit(majority, pairs, targets, None, None).outputs(pairs)
        assert own.answers(targets).given.mean() == answered
    # The most frequent answer has one word, and the context's first word is a name.
    assert set(own.answers(targets).texts) <= set(NAMES)


def slow_window(question: str, own: list[str], contexts: list[str], length: int) -> float:
    """Return how good the best window is, by loops over all windows and words."""
    texts = [{word.lower() for word in text.replace(".", " .").split()} for text in set(contexts)]

    def rarity(word: str) -> float:
        return float(np.log(1 + len(texts) / (1 + sum(word.lower() in text for text in texts))))

    wanted, lower = {word.lower() for word in question.strip("?").split()}, [word.lower() for word in own]
    best = -1.0
    for start in range(len(own) - length + 1):
        window = range(start, start + length)
        if any(lower[place] in wanted or lower[place] == "." for place in window):
            continue
        near = 0.0
        for word in wanted:
            gaps = [min(abs(place - k) for k in window) for place, other in enumerate(lower) if other == word]
            near += rarity(word) / min(gaps) if gaps else 0
        rare = np.mean([rarity(own[place]) for place in window]) / np.log(1 + len(texts))
        best = max(best, near / sum(map(rarity, wanted)) * float(rare))
    return best


@pytest.mark.parametrize("length", [1, 2, 4])
def test_the_sliding_window_is_the_best_of_all(length: int) -> None:
    pairs, targets = asked(60)
    contexts = [context for _, context in pairs]
    window = params.SlidingWindowBaseline(kind="sliding_window", lengths=(length,))
    own = TASK.baselines.fit(window, pairs, targets, None, None).outputs(pairs)
    assert own.logits is not None
    for row, (question, context) in enumerate(pairs):
        logits, cut = (
            own.logits[[row]].values,
            [context[start:end] for start, end in words.cut(context, "pattern")],
        )
        assert logits[1:].max() == pytest.approx(1 + slow_window(question, cut, contexts, length), abs=1e-9)
        answer = own.answers(targets).texts[row]
        assert len(answer.split()) == length and not set(answer.split()) & set(question.split())


def test_validation_chooses_the_length_of_the_window() -> None:
    window = params.SlidingWindowBaseline(kind="sliding_window", lengths=(1,))
    with_choice = params.SlidingWindowBaseline(kind="sliding_window", lengths=(1, 2, 5))
    many, answers = asked(120, none=0.0)
    fitted = TASK.baselines.fit(with_choice, many, answers, (many, answers), None)
    values = {
        length: TASK.overall(
            answers,
            TASK.baselines.fit(
                window.model_copy(update={"lengths": (length,)}), many, answers, None, None
            ).outputs(many),
        )
        for length in (1, 2, 5)
    }
    assert TASK.overall(answers, fitted.outputs(many)) == pytest.approx(max(values.values()))
    own = fitted.outputs(many)
    again = TASK.baselines.of_arrays(TASK.baselines.arrays(own), None)
    assert again.answers(answers).texts == own.answers(answers).texts
    assert baselines.names([window, window, params.MajorityBaseline(kind="majority")]) == [
        "sliding_window",
        "sliding_window_2",
        "majority",
    ]
    empty = [("Who?", "…"), ("", "Ada")]
    assert TASK.baselines.fit(window, empty, answers, None, None).outputs(empty).logits is not None


def test_coverage_is_the_mean_of_the_surest_questions() -> None:
    _, targets = asked(90)
    boot = TASK.bootstrap(targets, {"m": model(targets, 0.4, 2)}, 15, SETTINGS)
    points = span_tables.coverage(boot.statistics["m"], boot.answers["m"])
    assert points[-1] == (1.0, pytest.approx(float(boot.points["m"]["f1"])))
    sure, f1 = boot.answers["m"].sure, boot.scores("m")
    for share, value in points:
        count = round(share * 90)
        assert value == pytest.approx(f1[np.argsort(-sure)[:count]].mean())
    assert points[len(points) // 3][1] > points[-1][1], "a model that knows what it knows"


@pytest.fixture(scope="module")
def whole() -> tuple[Evaluation, dict[str, Any]]:
    """Return an evaluation of three models and a baseline, and the content of metrics.json."""
    parts = {
        split: asked(rows, seed)
        for seed, (split, rows) in enumerate({"train": 60, "val": 80, "test": 120}.items())
    }
    rows = {
        split: Rows(
            [f"{split}:{row}" for row in range(len(targets))],
            [" ".join(pair) for pair in pairs],
            targets,
            pairs=pairs,
        )
        for split, (pairs, targets) in parts.items()
    }
    window = params.SlidingWindowBaseline(kind="sliding_window", lengths=(2,))
    outputs: dict[str, dict[str, SpanOutputs]] = {}
    for split in ("val", "test"):
        pairs, targets = parts[split]
        own = {
            name: model(targets, wrong, 5 + k)
            for k, (name, wrong) in enumerate({"teacher": 0.1, "student": 0.2, "control": 0.3}.items())
        }
        own["sliding_window"] = TASK.baselines.fit(window, *parts["train"], parts["val"], None).outputs(pairs)
        outputs[split] = own
    for name, own in outputs["val"].items():
        fitted = TASK.fitted(parts["val"][1], own)
        for part in outputs.values():
            part[name] = TASK.outputs(part[name].logits, fitted)
    test = rows["test"]
    boot = TASK.bootstrap(test.targets, outputs["test"], 15, SETTINGS)
    more = {name: {"parameters": 10, "bytes": 40} for name in evaluation.TRANSFORMERS}
    for name, own in TASK.calibrations(test, outputs["test"], _settings()).items():
        more[name] = more.get(name, {}) | own
    scores = {
        name: recommend.on_validation(TASK, rows["val"].targets, own) for name, own in outputs["val"].items()
    }
    scores.pop("control")
    figures = results.build(TASK, boot, rows, outputs, more) | {"recommended": recommend.choose(scores, None)}
    shown = Evaluation(
        [], test, outputs["test"], boot, {}, "sliding_window", 15, kept={"part": ["a", "b"] * 60}
    )
    return shown, figures


def _settings() -> Any:
    from types import SimpleNamespace

    return SimpleNamespace(bootstrap=SETTINGS, calibration_bins=5)


def test_the_report_names_every_figure(whole: tuple[Evaluation, dict[str, Any]]) -> None:
    _, figures = whole
    assert figures["recommended"]["model"] in ("teacher", "student")
    assert figures["test"]["task"] == {"kind": "spans", "max_answer_words": 8}
    assert results.task_of(figures["test"]) == TASK.spec
    assert set(figures["retention"]) >= {"f1", "exact_match", "has_answer_f1", "no_answer_exact"}
    assert figures["teacher"]["f1"] > figures["sliding_window"]["f1"]
    assert {"f1", "answered", "threshold", "calibration_error"} <= set(figures["teacher"])
    assert figure_scale.of(TASK.figures).name == TASK.figures.main == "f1"


def test_tables_and_plots_are_written(whole: tuple[Evaluation, dict[str, Any]], tmp_path: Path) -> None:
    shown, figures = whole
    csv_tables.write_tables(tmp_path, TASK, shown)
    strata = [line.split(",") for line in (tmp_path / "strata.csv").read_text().splitlines()]
    assert strata[0] == span_tables.STRATA
    of_teacher = {(row[0], row[1]): row for row in strata if row[3] == "teacher"}
    for value, figure in (("answerable", "has_answer_f1"), ("unanswerable", "no_answer_exact")):
        assert float(of_teacher["answer", value][4]) == pytest.approx(figures["teacher"][figure], rel=1e-5)
    assert {"1 word", "2 words", "3 to 4", "5 to 8", "none"} >= {
        value for stratum, value in of_teacher if stratum == "answer length"
    }
    examples = (tmp_path / "examples.csv").read_text().splitlines()
    assert examples[0].startswith("id,question,true,teacher,teacher_f1,teacher_score,student,")
    assert len(examples) == 51
    errors = (tmp_path / "errors.csv").read_text().splitlines()
    assert {line.partition(",")[0] for line in errors[1:]} == {*evaluation.TRANSFORMERS, "sliding_window"}
    assert (tmp_path / "slices.csv").read_text().startswith("column,value,rows,model,f1,")
    TASK.draw(tmp_path, shown)
    drawn = {path.name: path.read_bytes() for path in tmp_path.glob("*.png")}
    assert set(drawn) == {"f1_by_length.png", "coverage.png"}
    TASK.draw(tmp_path, shown)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.png")} == drawn


def test_errors_show_the_passage_with_the_true_and_the_predicted_answer() -> None:
    pairs, targets = asked(40)
    found = [
        span_tables._marked(targets, row, model(targets, 1.0, 0).answers(targets))
        for row in range(len(pairs))
    ]
    for row, shown in enumerate(found):
        true = "".join(f"[{one}]" for one in targets.passages.answers[row][:1])
        assert true in shown.replace("{", "").replace("}", "") and ("[" in shown) == bool(true), shown
    assert any("{" in shown for shown in found)
