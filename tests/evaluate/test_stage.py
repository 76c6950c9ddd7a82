"""The whole stage on real text: its outputs, reproducible bytes, and its summary."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from baton import params, storage
from baton.contracts import input_spec, predictions, task_spec
from baton.errors import DataError
from baton.evaluate import seeds
from baton.evaluate.report import plots, terminal, terminal_validation
from baton.measure import speed
from baton.tasks import metrics
from stages import evaluate
from tests import tiny
from tests.evaluate.conftest import NAMES, TEMPERATURES, Split, shown_plots

SPEEDS = {"teacher": 100.0, "student": 190.0, "control": 191.0}
RATIOS = {
    "student_vs_teacher": {"throughput": 1.9, "throughput_interval": [1.85, 1.96]},
    "control_vs_student": {"throughput": 1.0, "throughput_interval": [0.99, 1.02]},
}
UNTIMED = ["cards", "figures", "metrics.json", "plots", "tables"]


@pytest.fixture
def ready(
    project: Path, splits: dict[str, Split], root: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[str]]:
    """Complete the project and return `run`.

    `run(draw=False, **changes of evaluate)` returns the models whose speed was measured.
    """
    (project / "requirements.lock").write_text("")
    (project / "data/arrays").mkdir()
    for split, (texts, labels) in splits.items():
        count = len(texts)
        for name, values in (
            ("tokens", np.zeros(4 * count, np.int32)),
            ("offsets", 4 * np.arange(count + 1)),
            ("targets", labels),
        ):
            np.save(project / f"data/arrays/{split}.{name}.npy", values)
    storage.write_json(
        project / "data/arrays/meta.json",
        {
            "task": task_spec.described(tiny.task(*NAMES)),
            "input": input_spec.described(tiny.TEXT_INPUT),
        },
    )
    measured: list[str] = []

    def measure(folders: dict[str, Path], *_: Any) -> dict[str, Any]:
        measured.extend(folders)
        models = {
            name: {
                "parameters": 1,
                "bytes": 4,
                "samples_per_second": rate,
                "runs": [rate],
                "latency_p50_ms": 5.0,
                "latency_p95_ms": 7.0,
            }
            for name, rate in SPEEDS.items()
        }
        return {"models": models, "ratios": RATIOS, "rounds": 9, "seconds": 1.0, "precise": True}

    monkeypatch.setattr(speed, "measure", measure)
    real = {name: getattr(plots, name) for name in ("draw", "speed_accuracy")}
    recipe = params.read_raw(root / "params.yaml") | {"tracking": {"kind": "off"}}
    recipe["evaluate"]["attributions"] = None  # the models have no weights

    def run(draw: bool = False, **changes: Any) -> list[str]:
        for name, function in real.items():  # drawing takes seconds, and most tests do not need it
            monkeypatch.setattr(plots, name, function if draw else lambda *_: None)
        recipe["evaluate"] |= {"bootstrap": {"resamples": 200, "confidence": 0.95, "seed": 0}} | changes
        (project / "params.yaml").write_text(json.dumps(recipe))
        measured.clear()
        evaluate.main()
        return measured.copy()

    return run


def digests(names: list[str]) -> dict[str, str]:
    paths = {name: Path("reports") / name for name in names}
    return {
        name: storage.sha256_tree(path) if path.is_dir() else storage.sha256(path)
        for name, path in paths.items()
    }


def test_reports_are_complete_and_right(
    ready: Callable[..., list[str]],
    splits: dict[str, Split],
    root: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ready(draw=True)
    report = json.loads(Path("reports/metrics.json").read_text())
    _, logits = predictions.read_predictions(Path("data/predictions/student/test.parquet"))
    for name, value in metrics.scores(logits, splits["test"][1]).items():
        assert report["student"][name] == pytest.approx(value, rel=1e-5)
        if name != "ece":  # biased, and a bootstrap increases the bias
            low, high = report["student"][f"{name}_interval"]
            assert low < high
    assert report["test"] == {
        "rows": len(splits["test"][0]),
        "classes": len(NAMES),
        "confidence": 0.95,
        "baselines": ["majority", "tfidf_svm", "tfidf_logistic"],
        "strongest_baseline": report["test"]["strongest_baseline"],
        "near_duplicates": 2,
    }
    hits = np.delete(logits.argmax(axis=1) == splits["test"][1], [1, 4])
    assert report["student"]["accuracy_without_near_duplicates"] == pytest.approx(hits.mean(), rel=1e-5)
    best = report["test"]["strongest_baseline"]
    assert set(report["comparison"]) == {
        "student_vs_control",
        "student_vs_teacher",
        f"student_vs_{best}",
        f"teacher_vs_{best}",
    }
    assert report["retention"]["accuracy"] == pytest.approx(
        report["student"]["accuracy"] / report["teacher"]["accuracy"], rel=1e-5
    )
    majority = (splits["test"][1] == np.bincount(splits["train"][1]).argmax()).mean()
    for name in ("teacher", "student", "control", best):
        skill = (report[name]["accuracy"] - majority) / (1 - majority)
        assert report[name]["skill"] == pytest.approx(skill, rel=1e-4)
        assert report[name]["skill_interval"][0] < skill < report[name]["skill_interval"][1]
    assert report["majority"]["skill"] == 0
    removed = 1 - (1 - report["student"]["accuracy"]) / (1 - report[best]["accuracy"])
    assert report["student"]["errors_removed"] == pytest.approx(removed, abs=1e-4)
    assert report["student"]["auroc"] == pytest.approx(
        roc_auc_score(
            splits["test"][1], softmax(logits / TEMPERATURES["student"], axis=1), multi_class="ovr"
        ),
        rel=1e-5,
    )
    for pair, own in report["comparison"].items():
        first, second = pair.split("_vs_", 1)
        told = own["holm_p"] < 0.05
        if second == best and not told:
            low, high = report[first]["errors_removed_interval"]
            assert low <= 0 <= high
        if pair == "student_vs_teacher" and not told:
            assert all(
                report["retention"][f"{figure}_interval"][0]
                <= 1
                <= report["retention"][f"{figure}_interval"][1]
                for figure in ("accuracy", "skill")
            )
    assert report["retention"]["skill"] == pytest.approx(
        report["student"]["skill"] / report["teacher"]["skill"], rel=1e-4
    )
    assert json.loads(Path("reports/timings.json").read_text())["ratios"] == RATIOS
    terminal.show(Path("reports"))
    shown = " ".join(capsys.readouterr().out.split())
    assert "The student keeps" in shown
    assert "of its skill, at" in shown
    change = report["student"]["log_loss_scaled"] - report["control"]["log_loss_scaled"]
    assert report["comparison"]["student_vs_control"]["log_loss_scaled_difference"] == pytest.approx(
        change, abs=1e-5
    )
    assert f"errors removed: of {best}'s" in shown
    assert "1.90 times its throughput (1.85 to 1.96)" in shown
    assert (
        "9 rounds; the control, the same network as the student, is 0.99 to 1.02 times as fast as it."
        in shown
    )
    assert f"{100 * report['student']['accuracy']:.1f}%" in shown
    for folder, names in {
        "figures": [
            "confusion_control.png",
            "confusion_student.png",
            "confusion_teacher.png",
            "learning_curves.png",
            "reliability.png",
        ],
        "plots": [
            "calibration_student.csv",
            "confusion_teacher.csv",
            "per_class_control.csv",
            "training_student.csv",
        ],
        "speed": ["speed_accuracy.png"],
        "tables": [
            "confusion.csv",
            "errors.csv",
            "groups.csv",
            "per_class.csv",
            "risk_coverage.csv",
            "slices.csv",
            "thresholds.csv",
        ],
    }.items():
        assert set(names) <= {path.name for path in Path("reports", folder).iterdir()}
    drawn, empty = shown_plots(root)
    assert {"main_control.csv", "per_class_teacher.csv", "confusion_student.csv"} <= drawn
    models = ("teacher", "student", "control")
    assert empty == {
        f"{kind}_{name}.csv" for kind in ("per_label", "per_type", "predicted") for name in models
    }
    curve = [line.split(",") for line in Path("reports/plots/validation_student.csv").read_text().split()]
    place = curve[0].index("val_accuracy")
    main = [line.split(",") for line in Path("reports/plots/main_student.csv").read_text().split()]
    assert main[1:] == [[line[curve[0].index("epoch")], line[place]] for line in curve[1:]]
    assert main[0] == ["epoch", "value"] and len(main) > 2


def test_every_model_has_its_own_temperature_and_figures_as_trained_and_at_it(
    ready: Callable[..., list[str]], splits: dict[str, Split]
) -> None:
    """Transformers use the temperature in their folder, at which they are served.

    That of the baselines is fitted on val.
    """
    ready()
    report = json.loads(Path("reports/metrics.json").read_text())
    for name, wanted in TEMPERATURES.items():
        _, logits = predictions.read_predictions(Path(f"data/predictions/{name}/test.parquet"))
        assert report[name]["temperature"] == wanted
        assert json.loads(Path(f"models/{name}/baton.json").read_text())["fitted"] == {"temperature": wanted}
        for ending, scaled in (("", logits), ("_scaled", logits / wanted)):
            expected = metrics.scores(scaled, splits["test"][1])
            for figure in ("log_loss", "brier", "ece"):
                assert report[name][f"{figure}{ending}"] == pytest.approx(expected[figure], rel=1e-5)
            low, high = report[name][f"calibration_error{ending}_interval"]
            assert 0 <= low <= report[name][f"calibration_error{ending}"] <= high
        assert expected["accuracy"] == pytest.approx(report[name]["accuracy"])
    for name in ("tfidf_svm", "tfidf_logistic"):
        assert report[name]["temperature"] not in (0, 1)
        # Both are badly calibrated as trained.
        assert report[name]["log_loss_scaled"] < report[name]["log_loss"]
    Path("models/student/baton.json").write_text('{"labels": []}')
    with pytest.raises(DataError, match=r"models/student/baton\.json has no fitted values"):
        ready()


def test_the_html_report_shows_this_run(ready: Callable[..., list[str]]) -> None:
    ready()
    page, report = (
        Path("reports/report.html").read_text(),
        json.loads(Path("reports/metrics.json").read_text()),
    )
    assert f"<title>{params.read_raw()['promotion']['name']}: evaluation</title>" in page
    accuracy = f"{100 * report['student']['accuracy']:.1f}%"
    for words in (accuracy, "site 1", "finetune.epochs", "length of the text", "column “site”", *NAMES):
        assert words in page, words
    with Path("reports/tables/confusion.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == "student"]
    right = sum(int(row["rows"]) for row in rows if row["actual"] == row["predicted"])
    total = sum(int(row["rows"]) for row in rows)
    assert right / total == pytest.approx(report["student"]["accuracy"], rel=1e-5)
    wrong = [int(row["rows"]) for row in rows if row["actual"] != row["predicted"]]
    assert wrong == sorted(wrong, reverse=True)


def test_errors_are_the_wrong_rows_most_confident_first(
    ready: Callable[..., list[str]], splits: dict[str, Split]
) -> None:
    ready()
    with Path("reports/tables/errors.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == "control"]
    ids, logits = predictions.read_predictions(Path("data/predictions/control/test.parquet"))
    wrong = logits.argmax(axis=1) != splits["test"][1]
    assert {row["id"] for row in rows} == {name for name, miss in zip(ids, wrong, strict=True) if miss}
    probabilities = [float(row["probability"]) for row in rows]
    assert probabilities == sorted(probabilities, reverse=True)
    first = int(rows[0]["id"].removeprefix("test:")) - 1
    assert rows[0]["actual"] == NAMES[splits["test"][1][first]]
    assert rows[0]["predicted"] == NAMES[logits[first].argmax()]
    assert rows[0]["text"][:80] == splits["test"][0][first][:80]
    assert all(len(row["text"]) <= 200 for row in rows)


def test_a_rerun_writes_the_same_bytes(ready: Callable[..., list[str]]) -> None:
    ready(draw=True)
    before = digests(UNTIMED)
    shutil.rmtree("reports")
    ready(draw=True)
    assert digests(UNTIMED) == before
    # Negative control: another setting changes the bytes of the outputs it affects (nothing is drawn here).
    ready(calibration_bins=7)
    changed = {name for name, digest in digests(UNTIMED).items() if digest != before[name]}
    assert changed == {"cards", "metrics.json", "plots", "figures"}


def test_speed_is_measured_once_per_model(ready: Callable[..., list[str]]) -> None:
    assert ready(baselines=[]) == ["teacher", "student", "control"]
    kept = Path("reports/timings.json").read_bytes()
    assert ready(calibration_bins=7) == []
    assert Path("reports/timings.json").read_bytes() == kept
    assert (
        ready(
            speed={
                "repeats": 3,
                "precision": 0.5,
                "max_seconds": 1.0,
                "batch_size": 32,
                "samples": 512,
                "latency_samples": 100,
            }
        )
        != []
    )
    assert ready() == []
    Path("models/student/extra.json").write_text("{}")
    assert ready() != []


def test_without_speed_nothing_is_timed(
    ready: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        ready(
            speed={
                "repeats": 0,
                "precision": 0.5,
                "max_seconds": 1.0,
                "batch_size": 32,
                "samples": 512,
                "latency_samples": 100,
            }
        )
        == []
    )
    assert json.loads(Path("reports/timings.json").read_text()) == {"models": {}}
    assert list(Path("reports/speed").iterdir()) == []
    terminal.show(Path("reports"))
    assert "speed was not measured" in " ".join(capsys.readouterr().out.split())


def test_without_baselines(ready: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    ready(baselines=[], draw=True)
    report = json.loads(Path("reports/metrics.json").read_text())
    assert report["test"]["strongest_baseline"] is None
    assert set(report["comparison"]) == {"student_vs_control", "student_vs_teacher"}
    terminal.show(Path("reports"))
    assert "There is no baseline to compare with" in capsys.readouterr().out


def test_test_rows_choose_nothing(
    ready: Callable[..., list[str]], splits: dict[str, Split], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other test labels change the figures, but neither the strongest baseline nor fitted models."""
    ready()
    before = json.loads(Path("reports/metrics.json").read_text())
    from tests.evaluate.conftest import write_clean

    shutil.rmtree("data/clean")
    texts, labels = splits["test"]
    write_clean(Path(), NAMES, splits | {"test": (texts, (labels + 1) % len(NAMES))})
    ready()
    after = json.loads(Path("reports/metrics.json").read_text())
    assert after["test"]["strongest_baseline"] == before["test"]["strongest_baseline"]
    for name in before["test"]["baselines"]:
        assert after[name]["val_accuracy"] == before[name]["val_accuracy"]
    assert after["tfidf_svm"]["accuracy"] < before["tfidf_svm"]["accuracy"] - 0.3


def test_bad_predictions_stop_the_stage_before_it_writes(ready: Callable[..., list[str]]) -> None:
    path = Path("data/predictions/student/test.parquet")
    ids, logits = predictions.read_predictions(path)
    predictions.write_predictions(path, ids[::-1], logits)
    with pytest.raises(DataError, match="does not match the rows"):
        ready()
    assert not Path("reports").exists()


def words(report: dict[str, Any], timings: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
    storage.write_json(Path("reports/metrics.json"), report)
    storage.write_json(Path("reports/timings.json"), timings)
    capsys.readouterr()
    terminal.show(Path("reports"))
    return " ".join(capsys.readouterr().out.split())


def test_summary_says_what_the_tests_say(
    ready: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    ready()
    report, timings = (
        json.loads(Path("reports", name).read_text()) for name in ("metrics.json", "timings.json")
    )
    for pair in report["comparison"].values():  # the main figure alone is about to differ
        pair.update({key: [-0.1, 0.1] for key in pair if key.endswith("_difference_interval")})
        pair.update({key: 0.5 for key in pair if key.endswith("_holm_p")})
    own = report["comparison"]["student_vs_control"]
    own |= {
        "holm_p": 0.0312,
        "accuracy_difference": 0.012,
        "holm_interval": [0.001, 0.022],
        "excluded": 0.021,
    }
    said = words(report, timings, capsys)
    assert "This student (seed 0) beats the same student trained without the teacher" in said
    assert "One seed says nothing about the method" in said
    assert "Distillation helps" not in said
    assert "(+1.2 points of accuracy, interval +0.1 to +2.2, p = 0.031)" in said
    own |= {"holm_p": 0.2}
    said = words(report, timings, capsys)
    same = "the same student trained without the teacher"
    assert f"This student (seed 0) does not differ significantly from {same}" in said
    assert "p = 0.20; more than 2.1 points either way are excluded" in said
    worse = own | {"macro_f1_difference": -0.09, "macro_f1_difference_interval": [-0.14, -0.04]}
    said = words(
        report | {"comparison": report["comparison"] | {"student_vs_control": worse}}, timings, capsys
    )
    assert f"This student (seed 0) does not differ significantly in accuracy from {same}" in said
    assert "but is worse in macro F1 (−9.0 points, −14.0 to −4.0). One seed" in said
    assert (
        "adjusted for the 4 tests above by Holm's method; the intervals are Tango's, each at 98.75%" in said
    )
    assert said.count(", interval ") == 4
    own |= {"holm_p": 0.04, "holm_interval": [-0.001, 0.022]}
    assert "interval -0.1 to +2.2, p = 0.040; they differ, but it is not clear by how much)" in words(
        report, timings, capsys
    )
    own |= {"holm_p": 1e-9, "accuracy_difference": -0.012}
    said = words(report, timings, capsys)
    assert "This student (seed 0) loses to the same student" in said
    assert "Distillation hurts" not in said
    assert "p < 0.001" in said
    best = report["test"]["strongest_baseline"]
    report["comparison"][f"teacher_vs_{best}"] |= {"holm_p": 0.9}
    report["comparison"][f"student_vs_{best}"] |= {"holm_p": 0.0001, "accuracy_difference": -0.1}
    said = words(report, timings, capsys)
    assert f"the teacher does not differ significantly from {best}" in said
    assert f"the student loses to {best}" in said


def test_summary_does_not_compare_a_chosen_student_with_its_control(
    ready: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """The best of three on validation has an unfair advantage over one that was not chosen."""
    ready()
    report, timings = (
        json.loads(Path("reports", name).read_text()) for name in ("metrics.json", "timings.json")
    )
    trained = {name: seeds.Seeds(1, (0, 1, 2)) for name in ("teacher", "student", "control")}
    test = {
        name: {
            seed: {"accuracy": value + seed / 100, "macro_f1": value, "log_loss": value} for seed in range(3)
        }
        for name, value in (("teacher", 0.9), ("student", 0.8), ("control", 0.8))
    }
    report["seeds"] = seeds.figures(trained, test, ("accuracy", "macro_f1", "log_loss"), 0.95)
    report["comparison"]["student_vs_control"] |= {"holm_p": 1e-9, "accuracy_difference": 0.2}
    said = words(report, timings, capsys)
    assert (
        "chose as the student's best, so these two are not compared" in said
        and "It is not clear whether distillation helps" in said
    )
    assert "This student" not in said and "beats the same student" not in said
    assert "adjusted for 4 tests, the 3 above and that of this student and its control by Holm's" in said
    assert said.count(", interval ") == 3


def test_summary_says_when_speeds_are_not_as_precise_as_asked_for(
    ready: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    ready(baselines=[])
    report, timings = (
        json.loads(Path("reports", name).read_text()) for name in ("metrics.json", "timings.json")
    )
    assert "wider than" not in words(report, timings, capsys)
    said = words(report, timings | {"precise": False}, capsys)
    assert (
        "wider than evaluate.speed.precision asks for, because evaluate.speed.max_seconds had passed" in said
    )


def test_summary_without_or_with_foreign_files(
    ready: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match=r"reports/metrics.json cannot be read[\s\S]*baton repro"):
        terminal.show(Path("reports"))
    ready()
    Path("reports/timings.json").write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        terminal.show(Path("reports"))
    with pytest.raises(DataError, match="unexpected layout"):
        words({"teacher": {}}, {"models": {}}, capsys)


def test_validation_is_shown_without_test_and_looks_at_test_are_counted(
    ready: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    ready()
    report = json.loads(Path("reports/metrics.json").read_text())
    capsys.readouterr()

    def said() -> str:
        terminal_validation.show(Path("reports"))
        return " ".join(capsys.readouterr().out.split())

    first = said()
    rows = report["recommended"]["rows"]
    assert (
        f"validation split: {rows} rows" in first and "So far no result on these test rows was shown" in first
    )
    for name, score in report["recommended"]["scores"].items():
        assert name in first and f"{100 * score:.1f}%" in first
    assert f"{report['test']['rows']:,} rows" not in first and "test split" not in first
    assert [terminal_validation.looked("a") for _ in range(2)] == [1, 1], "the same result again"
    assert "So far 1 result on these test rows was shown" in said()
    assert terminal_validation.looked("b") == 2
    assert "2 results on these test rows were shown in this project; what is chosen by test looks" in said()
    with Path("data/clean/test.parquet").open("ab") as file:
        file.write(b"other rows")
    assert "So far no result" in said()


def test_summary_shows_the_top_five_where_there_are_many_classes(
    ready: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    ready(baselines=[{"kind": "majority"}])
    report, timings = (
        json.loads(Path("reports", name).read_text()) for name in ("metrics.json", "timings.json")
    )
    assert "top-5" not in words(report, timings, capsys)
    for name, value in (
        ("teacher", 0.9871),
        ("student", 0.9652),
        ("control", 0.9433),
    ):  # the baseline has no probabilities
        report[name]["top5_accuracy"] = value
    said = words(report, timings, capsys)
    assert "top-5" in said
    assert all(share in said for share in ("98.7%", "96.5%", "94.3%"))
