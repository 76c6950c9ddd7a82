"""Few-shot figures of a trained backbone on classes that it never saw: `finetune.episodes`.

Inputs: a classifier, whose head does not count, the splits of novel classes -> mean accuracy of episodes, and
its interval. The episodes depend on `finetune.episodes` and the rows alone: those of two models are paired.
"""

from collections.abc import Mapping

from baton import console, params
from baton.batches import array_splits, episodes
from baton.batches.sampler import Split
from baton.contracts import novel_classes
from baton.fitting import features, jobs
from baton.fitting.seed_choice import Figures
from baton.models.model_folder import Classifier
from baton.tasks import episode_figures
from baton.tasks.episode_figures import Scores

VALIDATION = novel_classes.SPLITS["validation"]


def figures(model: Classifier, settings: params.Finetune, job: jobs.Job) -> Figures:
    """Return `episodes_SPLIT`, the mean accuracy, and `episodes_SPLIT_half_width` of its 95% interval.

    SPLIT is `validation` or `test`. Without `settings.episodes` there are none.

    Raises:
        TrainingError: a class has too few rows for an episode.
    """
    wanted, found = settings.episodes, Figures()
    if wanted is None:
        return found
    splits = array_splits.open_novel(job.arrays)
    for key, split in novel_classes.SPLITS.items():
        if split in splits:
            own = scored(model, split, splits, wanted, settings, job).accuracies
            mean, half = float(own.mean()), episode_figures.half_width(own)
            found |= {f"episodes_{key}": mean, f"episodes_{key}_half_width": half}
            console.say(
                f"{split}: {wanted.way}-way {wanted.shots}-shot accuracy {mean:.1%} ± {half:.1%} "
                f"in {wanted.count:,} episodes"
            )
    return found


def scored(
    model: Classifier,
    name: str,
    splits: Mapping[str, Split],
    wanted: params.Episodes,
    settings: params.Finetune,
    job: jobs.Job,
) -> Scores:
    """Return the figures of all episodes on the split called `name`; the model is in eval mode afterwards."""
    split, each = splits[name], wanted.shots + wanted.queries
    classes = episodes.rows_of_classes(split.targets, wanted.way, each, name, "finetune.episodes")
    read = features.of(model, split, settings, job, f"features of {name}")
    drawn = (
        episodes.draw(classes, wanted.way, each, (wanted.seed, number)) for number in range(wanted.count)
    )
    return episode_figures.scores(read, drawn, wanted.shots)
