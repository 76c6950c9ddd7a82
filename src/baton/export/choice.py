"""Candidates of an export, compared on validation -> the fastest that keeps the model's answers."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baton import console, params
from baton.batches.sampler import Split
from baton.contracts.predictions import Predicted
from baton.engines import engine
from baton.engines.engine import Engine, Graph
from baton.errors import ModelError
from baton.export import quantization, running
from baton.export.graphs import Arrays
from baton.export.parity import Reference
from baton.export.quantization import Candidate
from baton.runtime.resolve import Runtime
from baton.tasks import figure_scale


@dataclass(frozen=True)
class Tried:
    """A candidate, with what it answers on validation."""

    candidate: Candidate
    folder: Path
    graph: Graph
    engine: Engine
    figures: dict[str, Any]  # name, same, largest_difference, the main figure, bytes, kept

    @property
    def kept(self) -> bool:
        """Whether it is within the limits."""
        return bool(self.figures["kept"])


def tried(
    source: Path,
    names: tuple[str, ...],
    wanted: Sequence[Candidate],
    calibration: Sequence[Arrays],
    split: Split,
    reference: Reference,
    settings: params.Export,
    threads: int,
) -> list[Tried]:
    """Write every candidate into a folder beside the fp32 graph, and compare it with the model.

    Args:
        source: the fp32 graph.
        names: its inputs.
        wanted: the candidates.
        calibration: batches of train.
        split: rows of validation.
        reference: the model on the same rows.
        settings: the limits.
        threads: of the engine.
    """
    found = []
    with console.progress("export", len(wanted), "candidates") as advance:
        for place, candidate in enumerate(wanted):
            folder = source.parent / f"candidate_{place}"
            folder.mkdir()
            candidate.write(source, folder / engine.FILES[candidate.library], calibration)
            graph = Graph(candidate.library, candidate.precision, names)
            loaded = engine.load(graph, folder, threads)
            logits = running.predicted(loaded, names, split, settings.batch_size)
            figures = compared(reference, logits, settings)
            size = quantization.size(folder, candidate.library)
            figures = {"name": candidate.name} | figures | {"bytes": size}
            found.append(Tried(candidate, folder, graph, loaded, figures))
            advance(1)
    return found


def compared(reference: Reference, logits: Predicted, settings: params.Export) -> dict[str, Any]:
    """Return how far logits agree with the model's, and whether that is within the limits."""
    main = figure_scale.of(reference.task.figures)
    same, value = reference.same(logits), reference.main(logits)
    lost = main.gain(reference.main(reference.logits)) - main.gain(value)
    return {
        "same": same,
        "largest_difference": reference.difference(logits),
        main.name: value,
        "kept": bool(same >= settings.same and lost <= settings.loss),
    }


def fastest(found: Sequence[Tried], rates: Mapping[str, float], settings: params.Export) -> Tried:
    """Return the fastest candidate that is within the limits.

    Raises:
        ModelError: none is.
    """
    kept = [own for own in found if own.kept]
    if not kept:
        best = max(found, key=lambda own: own.figures["same"])
        raise ModelError(
            "no export is close enough to its model on validation",
            got=f"{best.candidate.name}: {100 * best.figures['same']:.1f}% of answers are the same",
            expected=f"at least {100 * settings.same:.1f}%, and at most {settings.loss} lost",
            hint="add fp32 to export.precisions, or change export.same or export.loss",
        )
    return max(kept, key=lambda own: rates[own.candidate.name])


def agreed(reference: Reference, logits: Predicted, settings: params.Export, chosen: Tried) -> dict[str, Any]:
    """Return how far the chosen candidate agrees with its model on test.

    Raises:
        ModelError: it is beyond the limits there.
    """
    found = compared(reference, logits, settings)
    if not found["kept"]:
        main = figure_scale.of(reference.task.figures)
        before = main.value(reference.main(reference.logits), 2)
        raise ModelError(
            f"the export is too far from its model on test: {chosen.candidate.name}",
            got=f"{100 * found['same']:.2f}% of answers are the same, {main.name} "
            f"{main.value(found[main.name], 2)} instead of {before}",
            expected=f"at least {100 * settings.same:.2f}%, and at most "
            f"{main.number(settings.loss, 2)}{main.points} lost",
            hint="use another precision in export.precisions, or change export.same or export.loss",
        )
    return found


def rates(
    found: Sequence[Tried], split: Split, settings: params.Export, runtime: Runtime
) -> dict[str, float]:
    """Return the samples/s of each candidate that is within the limits."""
    sides = {own.candidate.name: running.exported(own.engine, own.graph.inputs) for own in found if own.kept}
    if len(sides) < 2:
        return dict.fromkeys(sides, 0.0)
    taken = running.timed(sides, split, settings.batch_size, settings.seconds, runtime)
    return {name: running.rate(own, len(split)) for name, own in taken.items()}


def move(chosen: Tried, target: Path) -> None:
    """Put the files of a candidate into a folder."""
    for path in sorted(chosen.folder.iterdir()):
        shutil.move(path, target / path.name)
