"""`baton repro`, which `make repro` calls: the pipeline, in any project."""

import os
from collections.abc import Sequence

from baton.sources import inbox
from baton.workspace import commands


def repro(targets: Sequence[str]) -> None:
    """Run the stages that are out of date.

    Raises:
        SourceError: a file in inbox/ cannot be read.
        OutputError: a stage failed.
    """
    inbox.check()
    os.environ["BATON_SUMMARY"] = "later"
    commands.dvc("repro", *targets)
