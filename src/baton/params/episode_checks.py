"""What params may not ask of episodes besides what the tables say; one line per problem.

Input: the whole of params -> problems, each with its YAML path and the way out.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from baton.params.strategy import strategies

if TYPE_CHECKING:
    from baton.params.reading import Params


def problems(asked: "Params") -> Iterator[str]:
    """Yield the problems of novel classes, of episodes on them, and of training by episodes."""
    novel, episodes = getattr(asked.preprocess, "novel", None), asked.finetune.episodes
    if novel is not None and getattr(asked.preprocess, "time_column", None) is not None:
        yield (
            "preprocess.novel is set, but preprocess.time_column cuts splits by the times of all classes: "
            "set one of them to null"
        )
    if episodes is not None and novel is None:
        yield (
            "finetune.episodes is set, but preprocess.novel is null, so no classes are held out: name some "
            "there, or set finetune.episodes to null"
        )
    if episodes is not None and novel is not None:
        for key, labels in novel.splits.items():
            if len(labels) < episodes.way:
                yield (
                    f"finetune.episodes.way is {episodes.way}, but preprocess.novel.{key} has "
                    f"{len(labels)} classes: lower way, or name more"
                )
    if asked.runtime.sharding == "full" and any(
        own.kind == "episodes" for own in strategies(asked.finetune.strategy)
    ):
        yield (
            "finetune.strategy.kind is episodes, but runtime.sharding is full: an episode needs the whole "
            "model; set sharding to none"
        )
