"""What params may not ask of several tasks on one encoder; one line per problem.

Input: the whole of params -> problems, each with its YAML path and the way out. A further task must be one
that could be the main task, with the same kind of input.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from baton.params import applicable_keys, combinations, input_checks, number_checks, task_checks, token_checks

if TYPE_CHECKING:
    from baton.params.reading import Params
    from baton.params.task_set import OtherTask

MAIN = "main"  # what the main task is called beside the others
TASKS = ("classes", "labels", "numbers", "tokens")  # whose heads read an encoder's features or words
STRATEGIES = ("full", "top", "gradual", "lora", "rows")  # that train the encoder in steps
FILES = ("unlabelled", "soft_labels")  # besides those of the splits
OWN = ("source", "task", "preprocess", "finetune.head")  # the sections that a further task has


def problems(asked: "Params") -> Iterator[str]:
    """Yield the problems of `tasks`, of each of them, and of what several tasks need."""
    mixing, kind = asked.finetune.mixing, asked.preprocess.kind
    if not asked.tasks:
        if mixing is not None:
            yield "finetune.mixing is set, but there is one task: set it to null, or add others to tasks"
    elif kind != "text":
        yield f"tasks is set, but preprocess.kind is {kind}: several tasks read texts alone; set it to {{}}"
    else:
        if mixing is None:
            yield "finetune.mixing: missing, since there are tasks; add `mixing: {kind: uniform}`"
        yield from _training(asked)
        for name, task in asked.tasks.items():
            yield from (f"tasks.{name}{line}" for line in _of_task(asked, name, task))


def _training(asked: "Params") -> Iterator[str]:
    """Yield the settings with which an encoder cannot have several heads."""
    strategy, sharding = asked.finetune.strategy.kind, asked.runtime.sharding
    if asked.task.kind not in TASKS:
        yield f"tasks is set, but a model for task.kind {asked.task.kind} has no other heads: set it to {{}}"
    if strategy not in STRATEGIES:
        yield (
            f"finetune.strategy.kind is {strategy}, but several tasks train an encoder together: "
            f"set it to {_one_of(STRATEGIES)}"
        )
    if asked.finetune.augmentation is not None:
        yield "finetune.augmentation is set, but there are tasks, whose texts are not varied: set it to null"
    if sharding != "none":
        yield f"runtime.sharding is {sharding}, but there are tasks: set it to none"


def _of_task(asked: "Params", name: str, task: "OtherTask") -> Iterator[str]:
    """Yield the problems of one task; paths are those below it."""
    if name == MAIN:
        yield ": the task of the pipeline's own sections is called main: choose another name"
    if task.preprocess.kind != "text":
        yield f".preprocess.kind is {task.preprocess.kind}, but several tasks read texts: set it to text"
    elif task.task.kind not in TASKS:
        yield f".task.kind is {task.task.kind}: set it to {_one_of(TASKS)}"
    else:
        if task.head.pooling != asked.finetune.head.pooling:
            yield (
                f".head.pooling is {task.head.pooling}, but all heads read the same features: "
                f"set it to {asked.finetune.head.pooling}, as in finetune.head"
            )
        for key in FILES:
            if getattr(task.source, key, None) is not None:
                yield f".source.{key} is set, but only the main task uses such files: set it to null"
        yield from (f".{line}" for line in _as_main(asked, task))


def _as_main(asked: "Params", task: "OtherTask") -> Iterator[str]:
    """Yield what would be wrong with the task's own sections if it were the main one."""
    source = task.source or asked.source
    source = source.model_copy(update={key: None for key in FILES if hasattr(source, key)})
    head = asked.finetune.model_copy(update={"head": task.head})
    own = asked.model_copy(
        update={"source": source, "task": task.task, "preprocess": task.preprocess, "finetune": head}
    )
    for check in (combinations, applicable_keys, input_checks, task_checks, number_checks, token_checks):
        for line in check.problems(own):
            if line.startswith(OWN):
                yield line.removeprefix("finetune.")


def _one_of(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
