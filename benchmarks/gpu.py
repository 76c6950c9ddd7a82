"""Everything that only a GPU can show, in one command: speed beside the best peers, MFU, exact resume, the tests that want a GPU.

Nothing is fetched: base models are random in the real sizes, texts have R8's lengths (or are R8's, with --project), pictures are parts of
the photographs that come with scikit-learn. Each piece is a process with a time limit, so that one failure does not lose the rest; the JSON
file is written after each. Pieces are named `GROUP` or `GROUP-VARIANT`; --only takes either. A piece for which no time is left is named.

    python -m benchmarks.gpu [--only versions tests bert …] [--json FILE] [--seconds N] [--project FOLDER] [--list]
    python -m benchmarks.gpu --tiny        # the same code on tiny sizes, on the CPU too

MFU is of the card's published dense bf16 peak (`_flops`), with the tokens of the texts alone and with the padding that was computed, and
beside it the share of the measured ceiling. `waiting` is the share of time that the loop's host waits for a batch; meanwhile the device may
be at work. `recompiled` counts graphs after the warm-up, `first step` is all that happens until its numbers are there, compilation too.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baton import console
from baton.errors import DataError
from benchmarks import _gpu_table
from benchmarks._gpu_work import FULL, ROOT, TINY, Work, prepare, with_root

LIMIT = 240.0  # seconds of a piece that compiles: on an H100 a cold graph of BERT-base was not done after 90
LEAST_SECONDS = 8.0  # with less left, a piece is not begun
RESULTS = Path("reports/gpu.json")


@dataclass(frozen=True)
class Piece:
    """One measurement or check."""

    group: str
    variant: str
    limit: float  # seconds
    run: Callable[[Work, Path], dict[str, Any]]
    model: str = "minilm"  # whose project it works in

    @property
    def name(self) -> str:
        """What --only and the table call it."""
        return f"{self.group}-{self.variant}" if self.variant else self.group


def pieces() -> list[Piece]:
    """All; what takes longest, the compiled ones, comes late, and what comes last is lost when time runs out."""
    first = [Piece("versions", "", 30, _versions), Piece("ceiling", "", 30, _ceiling)]
    eager = [_ours(name, "eager") for name in ("bert", "vit", "minilm")]
    eager += [_trainer("bert", "trainer"), _trainer("minilm", "trainer")]
    checks = [
        Piece("resume", "eager", 60, lambda work, _: _checks().resume(_short(work), compiled=False)),
        Piece("overflow", "", 45, lambda work, _: _checks().overflow(_short(work))),
    ]
    data = [Piece("data", "texts", 40, _data), Piece("data", "pictures", 60, _data, "vit")]
    bert = [_ours("bert", "compiled"), _ours("bert", "packed"), _trainer("bert", "trainer-compiled")]
    vit = [_ours("vit", "compiled"), _ours("vit", "step"), Piece("vit", "timm", LIMIT, _timm, "vit")]
    minilm = [_ours("minilm", "compiled"), _ours("minilm", "packed"), _trainer("minilm", "trainer-compiled")]
    last = [
        Piece("sigterm", "", LIMIT, lambda work, _: _checks().stopped_in_compiler(work)),
        Piece("resume", "compiled", LIMIT, lambda work, _: _checks().resume(_short(work), compiled=not work.sizes.tiny)),
    ]
    return [*first, *eager, *checks, *data, Piece("tests", "", 120, _tests), *bert, *vit, *minilm, *last]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure; print the tables, write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="PIECE", help="pieces or groups of pieces (default: all)")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, all in this process and not compiled: a rehearsal on any machine")
    parser.add_argument("--json", type=Path, default=RESULTS, help=f"where results go (default {RESULTS})")
    parser.add_argument("--seconds", type=float, default=460.0, help="for all pieces together (default 460)")
    parser.add_argument("--project", type=Path, help="a project with data/arrays of texts, which are trained on in place of random tokens")
    parser.add_argument("--folder", type=Path, help="where projects are made (default: a temporary folder, removed at the end)")
    parser.add_argument("--list", action="store_true", help="print the names of all pieces")
    parser.add_argument("--piece", help=argparse.SUPPRESS)  # in a process of its own
    options = parser.parse_args(arguments)
    if options.list:
        print("\n".join(piece.name for piece in pieces()))
    elif options.piece:
        signal.signal(signal.SIGUSR1, lambda _, frame: print("at the limit:\n" + "".join(traceback.format_stack(frame)[-15:]), flush=True))
        write(options.json, inside(chosen([options.piece])[0], options))
    else:
        with tempfile.TemporaryDirectory() as name:
            options.folder = (options.folder or Path(name)).resolve()
            measure(chosen(options.only), options)


def chosen(only: Sequence[str] | None) -> list[Piece]:
    """The pieces of these names or groups.

    Raises:
        DataError: a name is not known.
    """
    found = pieces()
    known = {piece.name for piece in found} | {piece.group for piece in found}
    if unknown := sorted(set(only or ()) - known):
        raise DataError(
            "--only names no piece", got=", ".join(unknown), expected="names of --list", hint=f"one of {', '.join(sorted(known))}"
        )
    return [piece for piece in found if only is None or piece.name in only or piece.group in only]


def measure(wanted: Sequence[Piece], options: argparse.Namespace) -> None:
    """One piece after the other."""
    end = time.monotonic() + options.seconds
    results: dict[str, dict[str, Any]] = {}
    for piece in wanted:
        left, began = end - time.monotonic(), time.monotonic()
        if left < LEAST_SECONDS:
            found = {"ok": False, "found": "not begun: no time was left"}
        else:
            run = inside if options.tiny else outside
            found = run(piece, options, min(piece.limit, left))
        results[piece.name] = {**found, "seconds": round(time.monotonic() - began, 1)}
        _gpu_table.add_shares(results)
        write(options.json, results)
        console.say(f"{piece.name}: {_gpu_table.line(results[piece.name])}")
    _gpu_table.show(results)
    console.say(f"\n{options.json}")


def outside(piece: Piece, options: argparse.Namespace, limit: float) -> dict[str, Any]:
    """Run a piece in a process group of its own, which is killed at its limit."""
    folder = options.folder / "pieces" / piece.name
    folder.mkdir(parents=True, exist_ok=True)
    result, log = folder / "result.json", folder / "log"
    command = [sys.executable, "-m", "benchmarks.gpu", "--piece", piece.name, "--json", str(result), "--folder", str(options.folder)]
    command += ["--project", str(options.project.resolve())] if options.project else []
    # A cold compilation takes a minute or two, so pieces share what they compile: the first of a model tells what it costs.
    caches = {"TORCHINDUCTOR_CACHE_DIR": str(options.folder / "inductor"), "TRITON_CACHE_DIR": str(options.folder / "triton")}
    with log.open("w") as file:
        child = subprocess.Popen(command, env=with_root() | caches, stdout=file, stderr=file, start_new_session=True, cwd=ROOT)
        try:
            code = child.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
            child.send_signal(signal.SIGUSR1)  # it says where it is
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(2)
        finally:
            with contextlib.suppress(ProcessLookupError):  # what it started, too
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    if code == 0 and result.is_file():
        found: dict[str, Any] = json.loads(result.read_text())
        return found
    problem = f"stopped at its limit of {limit:.0f} s" if code is None else f"ended with exit code {code}"
    return {"ok": False, "found": problem, "output": log.read_text(errors="replace")[-4000:]}


def inside(piece: Piece, options: argparse.Namespace, _limit: float = 0.0) -> dict[str, Any]:
    """Run a piece in this process."""
    try:
        sizes = TINY if options.tiny else FULL
        work = prepare(piece.model, options.folder, sizes, options.project.resolve() if options.project else None)
        with contextlib.chdir(work.project), _uncompiled(options.tiny):
            return {"ok": True} | piece.run(work, options.folder)
    except Exception as error:  # noqa: BLE001  of whatever kind: the other pieces go on
        return {"ok": False, "found": f"{type(error).__name__}: {error}"[:500], "output": traceback.format_exc()[-4000:]}


def write(path: Path, results: dict[str, Any]) -> None:
    """As JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(json.dumps(results, indent=1, sort_keys=True, default=str) + "\n")
    temporary.replace(path)


# ---- pieces: imports are lazy, so that a process loads what its piece needs --------------------------------------------------


def _checks() -> Any:
    from benchmarks import _gpu_checks

    return _gpu_checks


def _versions(work: Work, _folder: Path) -> dict[str, Any]:
    return dict(_checks().versions(_checks().device(work)))


def _ceiling(work: Work, _folder: Path) -> dict[str, Any]:
    return dict(_checks().ceiling(_checks().device(work), work.sizes.matrix))


def _tests(work: Work, folder: Path) -> dict[str, Any]:
    return {"ok": True, "found": "left out of a rehearsal"} if work.sizes.tiny else dict(_checks().tests(folder, 110.0))


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

    return Piece(model, variant, LIMIT, run, model)


def _timm(work: Work, _folder: Path) -> dict[str, Any]:
    from benchmarks import _gpu_peers

    return _gpu_peers.timm_step(work)


def _data(work: Work, _folder: Path) -> dict[str, Any]:
    from benchmarks import _gpu_training

    return _gpu_training.data_path(work)


@contextlib.contextmanager
def _uncompiled(tiny: bool) -> Iterator[None]:
    """On tiny sizes torch.compile changes nothing: the compiler would take most of a minute for each."""
    if not tiny:
        yield
        return
    import torch._dynamo

    with torch._dynamo.config.patch(disable=True):
        yield


if __name__ == "__main__":
    console.run(main)
