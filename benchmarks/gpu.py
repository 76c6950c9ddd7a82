"""Measure everything that needs a GPU: speed against the best peers, MFU, exact resume, and the GPU tests.

Nothing is downloaded: base models are random in the real sizes, texts have R8's lengths (or are R8's, with
--project), images are crops of scikit-learn's sample photographs. Each piece has a time limit, at which its
process is ended, so that one failure does not lose the rest; the JSON file is written after each piece.
Checks that are not timed (tests, resume, overflow, SIGTERM) run first, in parallel. Pieces are named `GROUP`
or `GROUP-VARIANT`; --only takes either. Pieces that were cut off, or not started for lack of time, are named.

    python -m benchmarks.gpu [--only versions tests bert …] [--json FILE] [--seconds N]
        [--project FOLDER] [--list]
    python -m benchmarks.gpu --tiny        # the same code on tiny sizes, also on the CPU

MFU refers to the card's published dense bf16 peak (`_flops`), with the tokens of the texts alone and with the
computed padding, and is shown next to the share of the measured ceiling. `waiting` is the share of time that
the loop's host waits for a batch; the device may be computing meanwhile. `recompiled` counts graphs after the
warm-up; `first step` is the time until its numbers are available, including compilation.
"""

import argparse
import contextlib
import json
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baton import console
from baton.errors import DataError
from benchmarks import _gpu_process, _gpu_table
from benchmarks._gpu_work import FULL, TINY, Work, prepare

# Seconds for a piece that compiles. A layer of text is one graph; a whole BERT-base, as Trainer compiles it,
# was not finished after 90 s on an H100.
LIMIT, WHOLE_LIMIT = 120.0, 180.0
RESULTS = Path("reports/gpu.json")


@dataclass(frozen=True)
class Piece:
    """One measurement or check."""

    group: str
    variant: str
    limit: float  # seconds
    run: Callable[[Work, Path], dict[str, Any]]
    model: str = "minilm"  # the model whose project it works in
    timed: bool = True  # alone on the machine; otherwise in parallel with other untimed pieces
    fresh: bool = False  # in a process that has run nothing before

    @property
    def name(self) -> str:
        """Return the name used by --only and the table."""
        return f"{self.group}-{self.variant}" if self.variant else self.group


def pieces() -> list[Piece]:
    """Return all pieces, the most important first.

    Those that may be lost when time runs out come last: Trainer's compiled runs, one graph for a whole model.
    """
    checks = [
        Piece("tests", "", 130, _tests, timed=False),
        Piece(
            "resume",
            "compiled",
            130,
            lambda work, _: _checks().resume(_short(work), "compiled", not work.sizes.tiny),
            timed=False,
        ),
        Piece(
            "resume",
            "eager",
            130,
            lambda work, _: _checks().resume(_short(work), "eager", compiled=False),
            timed=False,
        ),
        Piece("overflow", "", 90, lambda work, _: _checks().overflow(_short(work)), timed=False),
        Piece("sigterm", "", 130, lambda work, _: _checks().stopped_in_compiler(work), timed=False),
    ]
    first = [Piece("versions", "", 60, _versions), Piece("ceiling", "", 30, _ceiling)]
    bert = [_ours("bert", "compiled"), _ours("bert", "packed"), _trainer("bert", "trainer")]
    vit = [_ours("vit", "compiled"), _ours("vit", "step"), Piece("vit", "timm", LIMIT, _timm, "vit")]
    minilm = [_ours("minilm", "compiled"), _ours("minilm", "packed"), _trainer("minilm", "trainer")]
    data = [Piece("data", "texts", 40, _data), Piece("data", "pictures", 60, _data, "vit")]
    eager = [_ours(name, "eager") for name in ("bert", "vit", "minilm")]
    last = [_trainer("bert", "trainer-compiled"), _trainer("minilm", "trainer-compiled")]
    return [*checks, *first, *bert, *vit, *minilm, *data, *eager, *last]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, and write the JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", nargs="+", metavar="PIECE", help="pieces or groups of pieces (default: all)"
    )
    parser.add_argument(
        "--tiny",
        action="store_true",
        help="tiny sizes, all in this process and not compiled: a rehearsal on any machine",
    )
    parser.add_argument(
        "--apart", action="store_true", help="with --tiny: in separate processes, as without it"
    )
    parser.add_argument(
        "--json", type=Path, default=RESULTS, help=f"file for the results (default {RESULTS})"
    )
    parser.add_argument("--seconds", type=float, default=460.0, help="for all pieces together (default 460)")
    parser.add_argument(
        "--project",
        type=Path,
        help="a project with data/arrays of texts to train on instead of random tokens",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        help="a folder for the projects (default: a temporary folder, removed at the end)",
    )
    parser.add_argument("--list", action="store_true", help="print the names of all pieces")
    # Run in this process; the results are next to --json.
    parser.add_argument("--piece", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.list:
        print("\n".join(piece.name for piece in pieces()))
    elif options.piece:
        signal.signal(
            signal.SIGUSR1,
            lambda _, frame: print(
                "at the limit:\n" + "".join(traceback.format_stack(frame)[-15:]), flush=True
            ),
        )
        for name in options.piece:
            write(_gpu_process.result_of(options.json, name), inside(chosen([name])[0], options))
            _gpu_process.forget()
    else:
        with tempfile.TemporaryDirectory() as name:
            options.folder = (options.folder or Path(name)).resolve()
            measure(chosen(options.only), options)


def chosen(only: Sequence[str] | None) -> list[Piece]:
    """Return the pieces with these names or groups.

    Raises:
        DataError: a name is unknown.
    """
    found = pieces()
    known = {piece.name for piece in found} | {piece.group for piece in found}
    if unknown := sorted(set(only or ()) - known):
        raise DataError(
            "--only does not name a piece",
            got=", ".join(unknown),
            expected="names from --list",
            hint=f"one of {', '.join(sorted(known))}",
        )
    return [piece for piece in found if only is None or piece.name in only or piece.group in only]


def measure(wanted: Sequence[Piece], options: argparse.Namespace) -> None:
    """Run the untimed pieces in parallel, then one piece after the other."""
    end = time.monotonic() + options.seconds
    results: dict[str, dict[str, Any]] = {}
    if options.tiny and not options.apart:
        _take(here(wanted, options, end), results, options)
    else:
        aside, timed = ([piece for piece in wanted if piece.timed is sort] for sort in (False, True))
        with ThreadPoolExecutor(max(len(aside), 1), "pieces") as threads:
            for found in threads.map(lambda piece: list(_gpu_process.results([piece], options, end)), aside):
                _take(found, results, options)
        _take(_gpu_process.results(timed, options, end), results, options)
    _gpu_table.show(results)
    console.say(f"\n{options.json}")


def here(
    wanted: Sequence[Piece], options: argparse.Namespace, end: float
) -> Iterator[tuple[Piece, dict[str, Any], float]]:
    """Yield results like `_gpu_process.results`, in this process and without limits."""
    for piece in wanted:
        began = time.monotonic()
        left = end - began >= _gpu_process.LEAST_SECONDS
        yield (
            piece,
            inside(piece, options) if left else dict(_gpu_process.NOT_BEGUN),
            time.monotonic() - began,
        )


def _take(
    found: Iterable[tuple[Any, dict[str, Any], float]],
    results: dict[str, dict[str, Any]],
    options: argparse.Namespace,
) -> None:
    """Write and print the results of pieces as they finish."""
    for piece, figures, seconds in found:
        results[piece.name] = {**figures, "seconds": round(seconds, 1)}
        _gpu_table.add_shares(results)
        write(options.json, results)
        console.say(f"{piece.name}: {_gpu_table.line(results[piece.name])} ({seconds:.0f} s)")


def inside(piece: Piece, options: argparse.Namespace) -> dict[str, Any]:
    """Run a piece in this process."""
    try:
        sizes = TINY if options.tiny else FULL
        work = prepare(
            piece.model, options.folder, sizes, options.project.resolve() if options.project else None
        )
        with contextlib.chdir(work.project), _uncompiled(options.tiny):
            return {"ok": True} | piece.run(work, options.folder)
    except Exception as error:  # noqa: BLE001  any error: the other pieces still run
        return {
            "ok": False,
            "found": " ".join(f"{type(error).__name__}: {error}".split())[:500],
            "output": traceback.format_exc()[-4000:],
        }


def write(path: Path, results: dict[str, Any]) -> None:
    """Write the results as JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(json.dumps(results, indent=1, sort_keys=True, default=str) + "\n")
    temporary.replace(path)


# ---- pieces: imports are lazy, so that a process loads only what its piece needs -----------------------


def _checks() -> Any:
    from benchmarks import _gpu_checks

    return _gpu_checks


def _versions(work: Work, _folder: Path) -> dict[str, Any]:
    return dict(_checks().versions(_checks().device(work)))


def _ceiling(work: Work, _folder: Path) -> dict[str, Any]:
    return dict(_checks().ceiling(_checks().device(work), work.sizes.matrix))


def _tests(work: Work, folder: Path) -> dict[str, Any]:
    return (
        {"ok": True, "found": "skipped in a rehearsal"}
        if work.sizes.tiny
        else dict(_checks().tests(folder, 115.0))
    )


def _short(work: Work) -> Work:
    from benchmarks import _gpu_training

    return work if work.sizes.tiny else _gpu_training.with_steps(work, 10, 30)


def _ours(model: str, variant: str) -> Piece:
    def run(work: Work, _folder: Path) -> dict[str, Any]:
        from benchmarks import _gpu_training

        return _gpu_training.variant(work, variant)

    return Piece(model, variant, LIMIT, run, model)


def _trainer(model: str, variant: str) -> Piece:
    def run(work: Work, _folder: Path) -> dict[str, Any]:
        from benchmarks import _gpu_peers

        return _gpu_peers.trainer(work, compiled=variant.endswith("compiled"))

    # Trainer's compiler settings stay in the environment and in accelerate's state.
    return (
        Piece(model, variant, WHOLE_LIMIT, run, model, fresh=True)
        if variant.endswith("compiled")
        else Piece(model, variant, LIMIT, run, model)
    )


def _timm(work: Work, _folder: Path) -> dict[str, Any]:
    from benchmarks import _gpu_peers

    return _gpu_peers.timm_step(work)


def _data(work: Work, _folder: Path) -> dict[str, Any]:
    from benchmarks import _gpu_training

    return _gpu_training.data_path(work)


@contextlib.contextmanager
def _uncompiled(tiny: bool) -> Iterator[None]:
    """Disable torch.compile: on tiny sizes it changes nothing but takes most of a minute for each piece."""
    if not tiny:
        yield
        return
    import torch._dynamo

    with torch._dynamo.config.patch(disable=True):
        yield


if __name__ == "__main__":
    console.run(main)
