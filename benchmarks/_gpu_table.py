"""The output of `gpu`: a table of training runs, one of checks, and one of targets with the results."""

from collections.abc import Callable
from typing import Any

from benchmarks import _flops, _sides

Results = dict[str, dict[str, Any]]

# Targets for an H100 or a similar card: name, figure, minimum.
TARGETS: tuple[tuple[str, Callable[[Results], float | None], float], ...] = (
    ("MiniLM, MFU of real tokens", lambda found: best(found, "minilm", "mfu"), 0.30),
    ("BERT-base, MFU of real tokens", lambda found: best(found, "bert", "mfu"), 0.45),
    ("ViT-B/16, MFU of the step", lambda found: figure(found, "vit-step", "mfu"), 0.45),
    (
        "ViT-B/16, whole training relative to the step alone",
        lambda found: ratio(found, ("vit-compiled",), ("vit-step",)),
        0.80,
    ),
    ("BERT-base, samples/s relative to Trainer's best", lambda found: to_trainer(found, "bert"), 2.0),
    ("MiniLM, samples/s relative to Trainer's best", lambda found: to_trainer(found, "minilm"), 2.0),
)
OURS, TRAINER = ("compiled", "packed", "eager"), ("trainer", "trainer-compiled")


def add_shares(results: Results) -> None:
    """Add MFU and the share of the measured ceiling to results with known operations."""
    peak = _flops.peak(str(results.get("versions", {}).get("card", "")))
    measured = results.get("ceiling", {}).get("bf16_operations_per_second")
    for found in results.values():
        for key, operations in (
            ("mfu", "operations_per_second"),
            ("padded_mfu", "padded_operations_per_second"),
        ):
            if operations not in found:
                continue
            if peak:
                found[key] = found[operations] / peak
            if measured:
                found[key.replace("mfu", "of_ceiling")] = found[operations] / measured


def figure(results: Results, piece: str, key: str) -> float | None:
    """Return one figure of a piece, if it has one."""
    value = results.get(piece, {}).get(key)
    return None if value is None else float(value)


def best(results: Results, model: str, key: str, variants: tuple[str, ...] = OURS) -> float | None:
    """Return the largest figure among a model's variants."""
    values = [
        value for variant in variants if (value := figure(results, f"{model}-{variant}", key)) is not None
    ]
    return max(values, default=None)


def ratio(results: Results, ours: tuple[str, ...], theirs: tuple[str, ...]) -> float | None:
    """Return the ratio of samples per second between the best of some pieces and the best of others."""
    one, other = (
        max((value for name in names if (value := figure(results, name, "samples_per_second"))), default=None)
        for names in (ours, theirs)
    )
    return one / other if one and other else None


def to_trainer(results: Results, model: str) -> float | None:
    """Return the ratio of our fastest variant to the Trainer's faster one; None until both are known."""
    if any(figure(results, f"{model}-{name}", "samples_per_second") is None for name in TRAINER):
        return None
    return ratio(
        results, tuple(f"{model}-{name}" for name in OURS), tuple(f"{model}-{name}" for name in TRAINER)
    )


def line(found: dict[str, Any]) -> str:
    """Return a piece's result in a line, while others are still running."""
    if "samples_per_second" in found:
        return f"{found['samples_per_second']:,.1f} samples/s"
    if "bf16_operations_per_second" in found:
        return (
            f"{found['bf16_operations_per_second'] / 1e12:,.1f} TFLOP/s in bf16, copies "
            f"{found['copied_bytes_per_second'] / 1e12:.2f} TB/s"
        )
    return str(found.get("found", found.get("card", "done")))


def show(results: Results) -> None:
    """Print all tables."""
    card = results.get("versions", {}).get("card", "card unknown")
    peak = _flops.peak(str(card))
    said = f"{peak / 1e12:,.1f} TFLOP/s ({_flops.SOURCE})" if peak else "unknown: no MFU"
    print(f"\n{card}; bf16 peak {said}")
    for name in ("versions", "ceiling"):
        if name in results:
            print(f"{name}: {line(results[name])}")
    if other := results.get("versions", {}).get("other_than_locked"):
        print(f"NOT the locked versions: {other}")
    trained = {name: found for name, found in results.items() if "samples_per_second" in found}
    if trained:
        _sides.markdown(
            [name for name, _ in COLUMNS],
            [[name, *(form(found) for _, form in COLUMNS[1:])] for name, found in trained.items()],
        )
    checked = {
        name: found
        for name, found in results.items()
        if name not in trained and name not in {"versions", "ceiling"}
    }
    if checked:
        rows = [
            [name, mark(found), found.get("found", ""), f"{found.get('seconds', 0.0):.0f}"]
            for name, found in checked.items()
        ]
        _sides.markdown(["check", "", "found", "took, s"], rows)
    for name, found in checked.items():
        for failed, why in found.get("failed", {}).items():
            print(f"{name}: {failed}: {' '.join(why)[:300]}")
    rows = [
        [what, f"{least:.2f}", "" if (value := get(results)) is None else f"{value:.2f}"]
        for what, get, least in TARGETS
    ]
    if trained:
        _sides.markdown(["wanted", "at least", "found"], rows)


def mark(found: dict[str, Any]) -> str:
    """Return whether the check passed, or why that is unknown."""
    return "ok" if found["ok"] else "CUT OFF" if found.get("cut_off") else "NOT OK"


def _form(key: str, pattern: str, scale: float = 1.0) -> Callable[[dict[str, Any]], str]:
    return lambda found: pattern.format(found[key] / scale) if found.get(key) is not None else ""


COLUMNS: tuple[tuple[str, Callable[[dict[str, Any]], str]], ...] = (
    ("piece", lambda _: ""),
    ("samples/s", _form("samples_per_second", "{:,.0f}")),
    ("slowest", _form("slowest", "{:,.0f}")),
    ("tokens/step", _form("tokens_per_step", "{:,.0f}")),
    ("padding", _form("padding", "{:.0%}")),
    ("MFU", _form("mfu", "{:.1%}")),
    ("with padding", _form("padded_mfu", "{:.1%}")),
    ("of ceiling", _form("of_ceiling", "{:.1%}")),
    ("recompiled", _form("recompiles", "{:.0f}")),
    ("first step, s", _form("first_step_seconds", "{:.1f}")),
    ("waiting", _form("waiting_share", "{:.1%}")),
    ("peak GiB", _form("peak_memory_bytes", "{:.2f}", 2**30)),
    ("took, s", _form("seconds", "{:.0f}")),
)
