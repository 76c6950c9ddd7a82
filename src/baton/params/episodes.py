"""Few-shot learning in episodes: classes held out for tests, how they are tested, and training by episodes.

An episode is a small classification task: `way` classes are drawn, and of each `shots` labelled rows, its
support, and `queries` rows to classify (n-way k-shot; Vinyals et al. 2016, arXiv:1606.04080).
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from baton.params.fields import Count, Section, Seed

Several = Annotated[int, Field(ge=2)]
Rate = Annotated[float, Field(gt=0)]


class NovelClasses(Section):
    """`preprocess.novel`: labels whose rows, of all files, are only for episodes.

    Those of `validation` may choose between checkpoints; those of `test` choose nothing. Either may be empty.
    """

    validation: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def splits(self) -> dict[str, tuple[str, ...]]:
        """The labels of each split that has any, by its key."""
        return {
            key: labels for key, labels in (("validation", self.validation), ("test", self.test)) if labels
        }

    @model_validator(mode="after")
    def _distinct(self) -> "NovelClasses":
        named = [*self.validation, *self.test]
        if repeated := [label for place, label in enumerate(named) if label in named[:place]]:
            raise ValueError(f"{repeated[0]!r} is named twice; a label is for validation or for test")
        if not named:
            raise ValueError("names no label; null: no class is held out")
        for key, labels in self.splits.items():
            if len(labels) < 2:
                raise ValueError(f"{key} names only {labels[0]!r}; an episode needs at least 2 classes")
        return self


class Episodes(Section):
    """`finetune.episodes`: `count` episodes on each split of novel classes; the same ones for every model."""

    way: Several
    shots: Count
    queries: Count
    count: Several
    seed: Seed


class PrototypicalEpisodes(Section):
    """Queries are classified by the nearest class mean of the support (prototypical networks).

    Snell et al. 2017, arXiv:1703.05175. Each class of an episode has `queries` of them.
    """

    kind: Literal["prototypes"]
    queries: Count


class ReptileEpisodes(Section):
    """Weights move towards those that `steps` of SGD on an episode lead to (Reptile).

    Nichol et al. 2018, arXiv:1803.02999. Each step reads `shots` other rows of each class; its rate is
    `learning_rate`.
    """

    kind: Literal["reptile"]
    steps: Several  # a single one would be training on all classes jointly, as the paper says
    learning_rate: Rate


Method = Annotated[PrototypicalEpisodes | ReptileEpisodes, Field(discriminator="kind")]


class EpisodesStrategy(Section):
    """The backbone is trained on episodes of train's classes, then a probe is fitted to all of them.

    Each of `steps` optimizer steps has `batch_size` episodes of `way` classes and `shots` rows of each, at
    `learning_rate`, which replaces that of `finetune`. After each of `evaluations` equal parts,
    `finetune.episodes` on the novel classes for validation choose the checkpoint; without them the last
    weights count.
    """

    kind: Literal["episodes"]
    method: Method
    way: Several
    shots: Count
    batch_size: Count  # episodes, not rows
    steps: Count
    learning_rate: Rate
    evaluations: Count
