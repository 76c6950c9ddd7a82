"""The command that compares strategies of transfer."""

from pathlib import Path

from baton.compare import compare as job
from baton.compare import strategies as files


def compare(
    here: Path,
    strategies: str | None,
    labels: str,
    seeds: str,
    file: Path | None,
    baseline: bool,
    output: Path | None,
    dry_run: bool,
    track: bool,
    models: bool,
) -> None:
    """Run `baton compare`; paths that were given are relative to `here`."""
    job.compare(
        job.Options(
            file=here / file if file is not None else files.PATH,
            strategies=strategies,
            labels=labels,
            seeds=seeds,
            baseline=baseline,
            output=here / output if output is not None else job.OUTPUT,
            dry_run=dry_run,
            track=track,
            models=models,
        )
    )
