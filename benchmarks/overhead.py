"""Measure the overhead of a run: start-up, imports, tracking and exit of six stages, and a no-op repro.

A tiny random BERT on a small table makes the work of each stage negligible, so a stage's wall time is its
overhead (an upper bound). Stages run through the launcher as DVC runs them, with their own MLflow store, in a
temporary project.

    python -m benchmarks.overhead [--repeats N]
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests import test_pipeline

STAGES = ("download", "preprocess", "tokenize", "finetune", "distill", "evaluate")


def main() -> None:
    """Print median seconds per stage, their sum, and a no-op repro."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3, help="forced runs of every stage (default 3)")
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        project = test_pipeline.make_project(Path(folder) / "project")
        first = timed(project, sys.executable, "-m", "dvc", "repro")
        seconds = {
            stage: [timed(project, "sh", "stages/run", stage) for _ in range(repeats)] for stage in STAGES
        }
        noop = [timed(project, sys.executable, "-m", "dvc", "repro") for _ in range(repeats)]
    medians = {stage: statistics.median(values) for stage, values in seconds.items()}
    for stage, values in seconds.items():
        print(f"{stage:<12}{medians[stage]:6.1f} s   ({min(values):.1f} to {max(values):.1f})")
    print(f"{'six stages':<12}{sum(medians.values()):6.1f} s")
    print(f"{'no-op repro':<12}{statistics.median(noop):6.1f} s   ({min(noop):.1f} to {max(noop):.1f})")
    print(f"{'first repro':<12}{first:6.1f} s   (including DVC and a new MLflow store)")


def timed(project: test_pipeline.Project, *command: str) -> float:
    """Return the wall seconds of a command that must succeed."""
    start = time.perf_counter()
    result: subprocess.CompletedProcess[str] = project.run(*command)
    if result.returncode:
        raise SystemExit(result.stdout + result.stderr)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
