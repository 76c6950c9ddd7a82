"""The verdict in words: which model to use, whether the student may be shipped, where it fails.

Inputs: metrics.json, timings.json, the differences between models, the worst names -> `Point`s, each a
question with its answer.
"""

from baton.evaluate.evaluation import TRANSFORMERS
from baton.evaluate.report import differences
from baton.evaluate.report.differences import Difference, figure_name, model_name, sentence
from baton.evaluate.report.html.known import Known, Point
from baton.evaluate.report.wording import amount, percent

LOSS = 0.02  # of a share, or a part of a figure that is none: a student that loses less may be shipped
GOOD = 0.05  # a calibration error that lies below it, with its whole interval, is called small


def headline(known: Known) -> str:
    """Return which model to use."""
    name = known.recommended
    return f"Use the {name}." if name in TRANSFORMERS else f"Use the baseline {name}."


def points(known: Known) -> list[Point]:
    """Return the answers, in the order in which a reader asks."""
    return [
        _choice(known),
        _student(known),
        *_baseline(known),
        *_calibration(known),
        _basis(known),
    ]


def _choice(known: Known) -> Point:
    section, main = known.metrics["recommended"], known.main
    own = section["scores"][known.recommended]
    others = ", ".join(
        f"{name} {main.value(main.gain(value))}"
        for name, value in sorted(section["scores"].items(), key=lambda item: -item[1])
        if name != known.recommended
    )
    rows = amount(section["rows"], "rows")
    how = f"{rows} of validation"
    if "folds" in section:
        how = f"{section['folds']}-fold cross-validation on {rows} of train"
    answer = f"On test, {model_name(known.recommended)} has {known.figure(known.recommended)}."
    if (skill := known.metrics[known.recommended].get("skill")) is not None:
        answer += f" It avoids {percent(skill)} of the mistakes of always saying the most frequent class."
    more = f"It was chosen by {figure_name(main.name)} on {how}: {main.value(main.gain(own))}"
    more += f"; {others}. " if others else ". "
    more += "A transformer is chosen only if it beats the best baseline by more than one standard error, "
    more += "since it costs more. Test took no part in the choice."
    return Point("Is the model good enough?", answer, more)


def _student(known: Known) -> Point:
    own = differences.of_pair(known.found, "student", "teacher")
    better = any(one.differs and one.better for one in own)
    worse = any(one.differs and not one.better for one in own)
    if worse:
        lead = "It depends on the figure that counts" if better else "Not without a loss"
    elif _excluded(known, own[0]):
        lead = "Yes, in place of the teacher"
    else:
        lead = "Not settled: the test rows are too few to exclude a loss"
    if known.recommended not in TRANSFORMERS:
        lead += f"; {known.recommended} is recommended, and costs less"
    return Point("May the student be shipped?", f"{lead}. {known.said('student', 'teacher')}", costs(known))


def _excluded(known: Known, main: Difference) -> bool:
    """Return whether the student's loss in the main figure is certainly a small one."""
    if main.interval is None:
        return False
    loss = -known.main.worst(main.interval)
    most = LOSS if known.main.share else LOSS * abs(known.metrics["teacher"][known.main.name])
    return loss <= most


def costs(known: Known) -> str:
    """Return what the student saves in size and speed."""
    student, teacher = (known.metrics[name] for name in ("student", "teacher"))
    share = student["parameters"] / teacher["parameters"]
    size = f"It has {share:.0%} of the teacher's parameters"
    size += f" ({student['bytes'] / 1e6:,.1f} MB instead of {teacher['bytes'] / 1e6:,.1f} MB)"
    if "ratios" not in known.timings:
        return f"{size}. Speed was not measured."
    own = known.timings["ratios"]["student_vs_teacher"]
    low, high = own["throughput_interval"]
    return f"{size} and {own['throughput']:.2f} times its throughput ({low:.2f} to {high:.2f})."


def _baseline(known: Known) -> list[Point]:
    best = known.best
    if best is None:
        return [Point("Is a baseline as good?", "No baseline was evaluated.")]
    told = [known.said(model, best) for model in ("student", "teacher")]
    asked = [differences.of_pair(known.found, model, best) for model in ("student", "teacher")]
    beaten = any(one.differs and one.better for own in asked for one in own)
    lost = any(one.differs and not one.better for own in asked for one in own)
    lead = f"No test shows that {best} is worse." if not beaten else f"No: {best} is worse in some figure."
    if lost:
        lead = f"{best} is better in some figure" + (", and worse in another." if beaten else ".")
    return [Point("Is a baseline as good?", lead, " ".join(filter(None, told)))]


def _calibration(known: Known) -> list[Point]:
    """Answer for the models that are shipped: the one recommended and the student."""
    told = []
    for name in dict.fromkeys((known.recommended, "student")):
        own = known.metrics[name]
        key = next((key for key in ("calibration_error_scaled", "calibration_error") if key in own), None)
        if key is not None:
            low, high = own[f"{key}_interval"]
            word = "small" if high <= GOOD else "large" if low > GOOD else "not known well enough"
            about = f"calibration error is {word}: {own[key]:.3f} ({low:.3f} to {high:.3f})."
            told.append(f"{sentence(model_name(name))}’s {about}")
        elif "coverage" in own:
            wanted = known.metrics["test"]["task"]["coverage"]
            low, high = own.get("coverage_interval", (float("nan"),) * 2)
            held = f"{sentence(model_name(name))}’s prediction intervals hold {percent(own['coverage'])}"
            held += f" ({100 * low:.1f} to {percent(high)})" if low == low else ""  # noqa: PLR0124  not NaN
            told.append(f"{held} of the numbers; {percent(wanted, 0)} were wanted.")
    if not told:
        return []
    more = (
        f"It is called small if its whole interval is at most {GOOD}, and large if all of it is above."
        if any("calibration" in one for one in told)
        else ""
    )
    return [Point("Can its probabilities be trusted?", " ".join(told), more)]


def _basis(known: Known) -> Point:
    test, seeds = known.metrics["test"], known.metrics["seeds"]
    answer = f"On {amount(test['rows'], 'test rows')}; intervals are at {percent(test['confidence'], 0)}"
    counts = {name: len(own["all"]) for name, own in seeds.items() if "all" in own}
    if max(counts.values(), default=1) == 1:
        answer += ". Each model was trained once, so nothing here says how much another seed would change"
    else:
        each = ", ".join(f"{name} {count}" for name, count in counts.items())
        answer += f". Seeds trained: {each}; validation chose the one that is used"
    more = ""
    if near := test.get("near_duplicates"):
        key, own = f"{known.main.name}_without_near_duplicates", known.metrics[known.recommended]
        more = f"{amount(near, 'test rows')} {'is a near-duplicate' if near == 1 else 'are near-duplicates'}"
        more += " of rows in train or validation"
        more += (
            f"; without them {model_name(known.recommended)} has {known.main.value(own[key])}"
            if key in own
            else ""
        )
        more += "."
    return Point("What does this rest on?", f"{answer}.", more)
