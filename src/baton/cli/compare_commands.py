"""The command that compares strategies of transfer, or two revisions."""

from collections.abc import Sequence
from pathlib import Path

from baton import params
from baton.compare import compare as job
from baton.compare import strategies as files
from baton.errors import ParamsError


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


def compare_revisions(
    here: Path, revisions: Sequence[str], model: str | None, split: str | None, output: Path | None
) -> None:
    """Run `baton compare REV [REV]`; `output` is relative to `here`."""
    from baton.compare.revisions import job as of_revisions

    if len(revisions) > 2:
        raise ParamsError(
            "too many revisions",
            got=", ".join(revisions),
            expected="one, which is compared with the working tree, or two",
            hint="`baton compare HEAD~1 HEAD`",
        )
    before, after = (*revisions, None)[:2]
    of_revisions.compare(
        of_revisions.Options(
            before=str(before),
            after=after,
            model=str(model or params.read().promotion.model),
            split=str(split or "val"),
            output=here / output if output is not None else of_revisions.OUTPUT,
        )
    )
