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
from baton.errors import ModelError, first_line
from baton.export import quantization, running
from baton.export.graphs import Arrays
from baton.export.parity import Reference
from baton.export.quantization import Candidate
from baton.runtime.resolve import Runtime
from baton.tasks import figure_scale
from baton.tasks.figure_scale import Scale


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
    found: list[Tried] = []
    with console.progress("export", len(wanted), "candidates") as advance:
        for place, candidate in enumerate(wanted):
            folder = source.parent / f"candidate_{place}"
            made = next((own.folder for own in found if own.candidate.write is candidate.write), None)
            graph = Graph(candidate.library, candidate.precision, names, candidate.rest)
            try:
                if made is None:
                    folder.mkdir()
                    candidate.write(source, folder / engine.FILES[candidate.library], calibration)
                else:
                    shutil.copytree(made, folder)
                loaded = engine.load(graph, folder, threads)
                logits = running.predicted(loaded, names, split, settings.batch_size)
            except Exception as error:  # the libraries raise whatever an unknown architecture leads to
                raise _failed(candidate, error) from error
            figures = compared(reference, logits, settings)
            size = quantization.size(folder, candidate.library)
            figures = {"name": candidate.name} | figures | {"bytes": size}
            found.append(Tried(candidate, folder, graph, loaded, figures))
            advance(1)
    return found


def _failed(candidate: Candidate, error: Exception) -> ModelError:
    return ModelError(
        f"this model cannot be exported as {candidate.name}",
        got=f"{type(error).__name__}: {first_line(error)}",
        expected=f"a graph that {candidate.library} makes and computes",
        hint=f"remove {candidate.precision} from export.precisions, or {candidate.library} from "
        "export.engines",
    )


def compared(reference: Reference, logits: Predicted, settings: params.Export) -> dict[str, Any]:
    """Return how far logits agree with the model's, and whether that is within the limits."""
    main = figure_scale.of(reference.task.figures)
    logits, sound = reference.finite(logits)
    same, value, before = reference.same(logits), reference.main(logits), reference.main(reference.logits)
    lost = main.gain(before) - main.gain(value)
    return {
        "same": same,
        "largest_difference": reference.difference(logits),
        main.name: value,
        "kept": bool(sound and same >= settings.same and lost <= _allowed(main, before, settings)),
    }


def _allowed(main: Scale, before: float, settings: params.Export) -> float:
    """Return how much worse the main figure may be: a share in points, an error in proportion."""
    return settings.loss if main.share else settings.loss * abs(before)


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
            got=f"{best.candidate.name}: {100 * best.figures['same']:.2f}% of answers are the same",
            expected=f"at least {100 * settings.same:.2f}%, and a loss within export.loss, {settings.loss}",
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
        own = reference.main(reference.logits)
        before, allowed = main.value(own, 2), main.number(_allowed(main, own, settings), 2)
        raise ModelError(
            f"the export is too far from its model on test: {chosen.candidate.name}",
            got=f"{100 * found['same']:.2f}% of answers are the same, {main.name} "
            f"{main.value(found[main.name], 2)} instead of {before}",
            expected=f"at least {100 * settings.same:.2f}%, and at most {allowed}{main.points} lost",
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
