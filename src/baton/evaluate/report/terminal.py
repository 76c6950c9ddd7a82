"""The results on one screen, from reports/metrics.json and reports/timings.json alone.

Shown by the `evaluate` stage and by `baton summary`.
"""

from pathlib import Path
from typing import Any

from baton import console, storage
from baton.errors import DataError
from baton.evaluate import recommend, seeds

COLUMNS = [
    "model",
    "accuracy",
    "interval",
    "top-5",
    "macro F1",
    "log loss",
    "calibration error",
    "params",
    "size MB",
    "samples/s",
    "p50 ms",
    "p95 ms",
]
TRANSFORMERS = ("teacher", "student", "control")
BEYOND = [
    "model",
    "skill",
    "interval",
    "errors removed",
    "interval",
    "balanced accuracy",
    "MCC",
    "AUROC",
    "AP",
    "C",
]
VERDICTS = {
    1: "[bold green]beats[/]",
    0: "does [bold]not differ significantly[/] from",
    -1: "[bold red]loses to[/]",
}
TOP = COLUMNS.index("top-5")  # shown only if measured, that is, with many classes


def show(reports: Path) -> None:
    """Print the tables, a few sentences that explain them, and where to look next.

    Raises:
        DataError: a file is missing or is not of this version.
    """
    metrics, timings = _read(reports / "metrics.json"), _read(reports / "timings.json")
    try:
        test, speeds = metrics["test"], timings["models"]
        models = [name for name in TRANSFORMERS if name in metrics] + list(test["baselines"])
        rows = [_row(name, metrics[name], speeds.get(name, {})) for name in models]
        beyond = [_beyond(name, metrics[name]) for name in models]
        columns = COLUMNS.copy()
        if not any("top5_accuracy" in metrics[name] for name in models):
            for row in (columns, *rows):
                del row[TOP]
        over_seeds = seeds.said(metrics["seeds"], test["confidence"])
        sentences = [
            _retention(metrics, timings),
            f"The student {_against(metrics['comparison']['student_vs_teacher'], test, 'the teacher')}.",
            _distillation(metrics, test),
            *over_seeds,
            _baseline(metrics["comparison"], test),
        ]
        sentences.append(recommend.said(metrics["recommended"]))
        sentences.append(_robustness(metrics["robustness"]) if "robustness" in metrics else "")
    except (KeyError, TypeError) as error:
        got = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f"{reports} has an unexpected layout",
            got=got,
            expected="files written by `evaluate`",
            hint="run `dvc repro evaluate`",
        ) from None
    console.table(
        f"test split: {test['rows']:,} rows, {test['classes']} classes; "
        f"{_percent(test['confidence'], 0)} intervals",
        columns,
        rows,
    )
    console.table(_beyond_title(test), BEYOND, beyond)
    for sentence in filter(None, sentences):
        console.say(f"• {sentence}")
    console.say(f"[dim]{_tests(metrics, test)}[/]")
    console.say(
        "[dim]Log loss and calibration error (interval of the root mean square gap between accuracy and "
        "confidence) are at the temperature that was fitted on validation, for every model; "
        "metrics.json also has those as trained.[/]"
    )
    if speed := _speed(timings):
        console.say(speed)
    console.say(
        "next: `make ui` for curves and models in MLflow, `dvc plots show` for plots, "
        f"{reports}/ for figures and tables"
    )


def _read(path: Path) -> dict[str, Any]:
    expected, hint = "a JSON file written by `evaluate`", "run `make repro`, or `dvc repro evaluate`"
    try:
        content = storage.read_json(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read", got=error.strerror, expected=expected, hint=hint) from None
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON", got=str(error), expected=expected, hint=hint) from None
    if not isinstance(content, dict):
        raise DataError(
            f"{path} has an unexpected layout", got=type(content).__name__, expected=expected, hint=hint
        )
    return content


def _row(name: str, figures: dict[str, Any], speed: dict[str, Any]) -> list[str]:
    low, high = figures["accuracy_interval"]
    return [
        name,
        _percent(figures["accuracy"]),
        f"{100 * low:.1f} to {_percent(high)}",
        _percent(figures["top5_accuracy"]) if "top5_accuracy" in figures else "–",
        _percent(figures["macro_f1"]),
        f"{figures['log_loss_scaled']:.3f}",
        " to ".join(f"{bound:.3f}".lstrip("0") for bound in figures["calibration_error_scaled_interval"]),
        f"{figures['parameters'] / 1e6:.1f} M" if "parameters" in figures else "–",
        f"{figures['bytes'] / 1e6:.1f}" if "bytes" in figures else "–",
        f"{speed['samples_per_second']:,.0f}" if "samples_per_second" in speed else "–",
        f"{speed['latency_p50_ms']:.1f}" if "latency_p50_ms" in speed else "–",
        f"{speed['latency_p95_ms']:.1f}" if "latency_p95_ms" in speed else "–",
    ]


def _beyond_title(test: dict[str, Any]) -> str:
    best = test["strongest_baseline"]
    removed = f"; errors removed: of {best}'s" if best else ""
    skill = "skill is the share of the majority class's errors avoided"
    return f"beyond accuracy: {skill}{removed}; C was chosen on validation"


def _beyond(name: str, figures: dict[str, Any]) -> list[str]:
    shown = [name]
    for figure in ("skill", "errors_removed"):
        low, high = figures.get(f"{figure}_interval", (0, 0))
        shown += (
            [_percent(figures[figure]), f"{_percent(low)} to {_percent(high)}"]
            if figure in figures
            else ["–", "–"]
        )
    numbers = (
        f"{figures[figure]:.3f}" if figure in figures else "–"
        for figure in ("mcc", "auroc", "average_precision")
    )
    return [
        *shown,
        _percent(figures["balanced_accuracy"]),
        *numbers,
        f"{figures['C']:g}" if "C" in figures else "–",
    ]


def _retention(metrics: dict[str, Any], timings: dict[str, Any]) -> str:
    retention = metrics["retention"]
    kept = "The student's accuracy cannot be compared with the teacher's, which is 0 or close to it"
    if "accuracy" in retention:
        low, high = retention["accuracy_interval"]
        skill = f", {_percent(retention['skill'])} of its skill," if "skill" in retention else ""
        kept = (
            f"The student keeps [bold]{_percent(retention['accuracy'])}[/] of the teacher's accuracy "
            f"({_percent(low)} to {_percent(high)}){skill}"
        )
    size = f"{metrics['student']['parameters'] / metrics['teacher']['parameters']:.0%} of its parameters"
    if "ratios" not in timings:
        return f"{kept} with {size}; speed was not measured (evaluate.speed.repeats is 0)."
    faster = timings["ratios"]["student_vs_teacher"]
    low, high = faster["throughput_interval"]
    throughput = f"[bold]{faster['throughput']:.2f} times[/] its throughput ({low:.2f} to {high:.2f})"
    return f"{kept} at {throughput}, with {size}."


def _speed(timings: dict[str, Any]) -> str:
    """Say how the speeds were measured.

    Student and control are the same network, so their ratio shows how reliable the other ratios are.
    """
    if "ratios" not in timings:
        return ""
    low, high = timings["ratios"]["control_vs_student"]["throughput_interval"]
    narrow = (
        ""
        if timings["precise"]
        else ", wider than evaluate.speed.precision asks for, because evaluate.speed.max_seconds had passed"
    )
    taken = f"Models took turns at each batch, {timings['rounds']} rounds"
    same = "the control, the same network as the student,"
    return f"[dim]{taken}; {same} is {low:.2f} to {high:.2f} times as fast as it{narrow}.[/]"


def _distillation(metrics: dict[str, Any], test: dict[str, Any]) -> str:
    """Compare these two models; a statement about the method needs several seeds."""
    seed = metrics["seeds"]["student"]["chosen"]
    if "comparison" in metrics["seeds"]:
        chosen = f"Student and control are those of seed {seed}, which validation chose as the student's best"
        return f"{chosen}, so these two are not compared with each other."
    figures = metrics["comparison"]["student_vs_control"]
    alone = "One seed says nothing about the method: distill.seeds takes several."
    verdict = _against(figures, test, "the same student trained without the teacher")
    return f"This student (seed {seed}) {verdict}. {alone}"


def _baseline(comparison: dict[str, Any], test: dict[str, Any]) -> str:
    name = test["strongest_baseline"]
    if name is None:
        return "There is no baseline to compare with (evaluate.baselines is empty)."
    parts = [
        f"the {model} {_against(comparison[f'{model}_vs_{name}'], test, name)}"
        for model in ("teacher", "student")
    ]
    return f"Against the baseline that is best on validation: {'; '.join(parts)}."


def _against(figures: dict[str, Any], test: dict[str, Any], other: str) -> str:
    return f"{VERDICTS[_verdict(figures, test)]} {other} ({_evidence(figures, test)})"


def _robustness(figures: dict[str, Any]) -> str:
    """Report means over severities; their intervals are in metrics.json."""
    parts = []
    for kind, own in figures.items():
        if kind != "rows":
            changes = (
                f"{name} {_percent(own[name][0])} to {_percent(own[f'{name}_mean'])}"
                for name in ("teacher", "student")
            )
            parts.append(f"{kind.replace('_', ' ')}, {', '.join(changes)}")
    measured = f"{figures['rows']:,} test rows, unchanged to corrupted (mean over severities)"
    return f"Accuracy on {measured}: {'; '.join(parts)}."


def _verdict(figures: dict[str, Any], test: dict[str, Any]) -> int:
    """Return 1 for better, -1 for worse, 0 for no significant difference among all tests of the page."""
    if figures["holm_p"] >= 1 - test["confidence"]:
        return 0
    return 1 if figures["accuracy_difference"] > 0 else -1


def _evidence(figures: dict[str, Any], test: dict[str, Any]) -> str:
    low, high = figures["holm_interval"]
    p_value = figures["holm_p"]
    shown = (
        "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}" if p_value < 0.1 else f"p = {p_value:.2f}"
    )
    points = f"{100 * figures['accuracy_difference']:+.1f} points"
    more = ""
    if _verdict(figures, test) == 0:
        more = f"; more than {100 * figures['excluded']:.1f} points either way are excluded"
    elif low <= 0 <= high:
        more = "; they differ, but it is not clear by how much"
    return f"{points} of accuracy, interval {100 * low:+.1f} to {100 * high:+.1f}, {shown}{more}"


def _tests(metrics: dict[str, Any], test: dict[str, Any]) -> str:
    """Explain the intervals and p-values of the sentences."""
    pairs = metrics["comparison"]
    family = f"the {len(pairs)} tests above"
    if "comparison" in metrics["seeds"]:
        family = f"{len(pairs)} tests, the {len(pairs) - 1} above and that of this student and its control"
    level = next(iter(pairs.values()))["holm_confidence"]
    return (
        f"p is McNemar's mid-p test, adjusted for {family} by Holm's method; the intervals are Tango's, "
        f"each at {100 * level:.4g}% so that all of them hold together at {_percent(test['confidence'], 0)}, "
        "and excluded differences lie beyond them. "
        "They cover the choice of test rows, not the training seed; "
        "a test over seeds is separate, and covers the seed, not the rows."
    )


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f}%"
