"""Which kinds go together: one table of tasks, sources, formats, base models, heads, students, baselines.

Input: the whole of params -> problems, each with its YAML path, what was found, and what it may be. A new
kind needs its row here, and nothing else of params: `tests/test_combinations.py` compares the table with the
unions of the sections, and tries every combination.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from baton.params.reading import Params

INPUT, TASK, SOURCE = "preprocess.kind", "task.kind", "source.kind"  # what a row may depend on

# Kinds of input.
IMAGES, PICTURES, FILES = "images", "images audio", "images audio image_text"
INPUTS = f"text {FILES}"
# Kinds of task: those of rows have an answer of a fixed width for each row.
NAMES, ROWS = "classes labels", "classes labels numbers"
ENCODED = f"{ROWS} tokens spans"  # all that an encoder with a head can do
TASKS = f"{ENCODED} sequence"
# Kinds of source whose files are stored as they are.
ONE_FILE, SEVERAL = "wheel hub", "local package"


class Row(NamedTuple):
    """The kinds of input, of task and of source with which a kind goes, each separated by spaces."""

    inputs: str = INPUTS
    tasks: str = TASKS
    sources: str = ""  # any

    def allowed(self) -> dict[str, list[str]]:
        """Map each key on which the kind depends to the values that it may have."""
        found = {INPUT: self.inputs, TASK: self.tasks, SOURCE: self.sources}
        return {key: value.split() for key, value in found.items() if value}

    def limits(self) -> list[str]:
        """Return the keys of which only some values go with the kind."""
        every = {INPUT: INPUTS, TASK: TASKS}
        return [key for key, values in self.allowed().items() if values != every.get(key, "").split()]


FORMATS = {
    "delimited": Row(sources=f"{ONE_FILE} {SEVERAL} table"),
    "parquet": Row(sources=f"{ONE_FILE} {SEVERAL} table apt"),
    "jsonl": Row(sources=f"{ONE_FILE} {SEVERAL} table sklearn"),
    "lines": Row(sources=f"{ONE_FILE} {SEVERAL} table"),
    "documents": Row("text", f"{ROWS} sequence", SEVERAL),  # one text per file, with names at most
    "conll": Row("text", "tokens", f"{ONE_FILE} {SEVERAL}"),
    "token_xml": Row("text", "tokens", f"{ONE_FILE} {SEVERAL}"),
    "squad": Row("text", "spans", f"{ONE_FILE} {SEVERAL}"),
}
ENCODERS = {name: Row(f"text {PICTURES}") for name in ("wheel", "joined", "hub", "local")}
STRATEGIES = {
    "full": Row(),
    "head": Row(tasks=ENCODED),
    "top": Row(),
    "gradual": Row(),
    "lora": Row(),
    "rows": Row(),
    "probe": Row(tasks=NAMES),
    "prototypes": Row(tasks="classes"),
    "pairs": Row("text", "classes"),
    "episodes": Row("text", "classes"),
}
# Section -> kind -> the kinds with which it goes. Order matters: what is refused limits nothing after it.
TABLE: Mapping[str, Mapping[str, Row]] = {
    "task": {
        "classes": Row(INPUTS),
        "labels": Row(INPUTS),
        "numbers": Row(INPUTS),
        "tokens": Row("text"),
        "spans": Row("text"),
        "sequence": Row("text"),
    },
    "tokenize": {
        "text": Row("text"),
        "images": Row(IMAGES),
        "audio": Row("audio"),
        "image_text": Row("image_text"),
    },
    "source": {
        "wheel": Row(),
        "package": Row(),
        "hub": Row(),
        "local": Row(),
        "apt": Row("text", f"{NAMES} sequence"),  # has neither numbers nor tagged words
        "sklearn": Row("text", f"{NAMES} sequence"),
        "table": Row(FILES, ROWS),
        "folder": Row(FILES, "classes"),  # each image has one class
        "idx": Row(IMAGES, "classes"),
        "digits": Row(IMAGES, "classes"),
        "torchvision": Row(IMAGES, "classes"),
    },
    "preprocess.format": FORMATS,
    "source.format": FORMATS,
    "base": ENCODERS
    | {
        "registered": Row(),
        "run": Row(),
        "timm": Row(PICTURES),
        "whisper": Row("audio"),
        "image_text": Row("image_text"),
        "encoder_decoder": Row("text", "sequence"),
    },
    "finetune.head": {
        "linear": Row(tasks=ENCODED),
        "mlp": Row(tasks=ENCODED),
        "decoder": Row(tasks="sequence"),
    },
    "finetune.strategy": STRATEGIES | {"auto": Row(tasks=NAMES)},
    "finetune.strategy.among": STRATEGIES,
    "distill.student": {
        "teacher_layers": Row(f"text {PICTURES}", ENCODED),
        "timm": Row(PICTURES, ROWS),
        "base": Row("text", ENCODED),
        "image_text": Row("image_text", ROWS),
        "encoder_decoder_layers": Row("text", "sequence"),
    },
    "evaluate.baselines": {
        "majority": Row(INPUTS, f"{NAMES} tokens spans"),
        "mean": Row(INPUTS, "numbers"),
        "median": Row(INPUTS, "numbers"),
        "tfidf": Row("text image_text", ROWS),
        "pixels": Row("images image_text", ROWS),
        "bands": Row("audio", ROWS),
        "features": Row(INPUTS, ROWS),
        "crf": Row("text", "tokens"),
        "sliding_window": Row("text", "spans"),
        "copy": Row("text", "sequence"),
        "nearest": Row("text", "sequence"),
    },
}


def problems(asked: "Params") -> Iterator[str]:
    """Yield a line for each kind that does not go with the kinds of input, task and source."""
    given = {INPUT: asked.preprocess.kind, TASK: asked.task.kind, SOURCE: asked.source.kind}
    for path, kind in _kinds(asked):
        section = path if path in TABLE else path.rpartition(".")[0]  # a list has numbers
        if line := refusal(section, kind, given, path):
            yield line
            given.pop(f"{path}.kind", None)


def refusal(section: str, kind: str, given: Mapping[str, str], path: str) -> str | None:
    """Return why a section of this kind does not go with the `given` kinds; None if it does.

    Args:
        section: a key of `TABLE`.
        kind: a kind that it has.
        given: the keys on which kinds depend -> their values.
        path: the section's place in params.
    """
    own = {key: value for key, value in given.items() if key != f"{section}.kind"}
    against = wrong(TABLE[section][kind], own)
    if not against:
        return None
    fitting = [name for name, row in TABLE[section].items() if not wrong(row, own)]
    ways = [f"{path}.kind to {_one_of(fitting)}"] if fitting else []
    ways += [f"{key} to {_one_of(fits)}" for key, fits in against.items() if len(against) == 1]
    found = " and ".join(f"{key} is {own[key]}" for key in against)
    if path != section:  # in a list
        ways = ["remove it", *(f"set {way}" for way in ways[:1])]
    else:
        ways = [f"set {way}" for way in ways]
    return f"{path}.kind is {kind}, but {found}: {', or '.join(ways)}"


def tasks(kind: str, source: str, form: str | None) -> list[str]:
    """Return the kinds of task that go with a kind of input, of source and, if it is text, of format."""
    given = {INPUT: kind, SOURCE: source}
    rows = [TABLE["source"][source], *([FORMATS[form]] if form else [])]
    return [
        task
        for task, row in TABLE["task"].items()
        if not wrong(row, given) and not any(wrong(one, {TASK: task}) for one in rows)
    ]


def wrong(row: Row, given: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the keys whose values do not go with a row, and the values that do."""
    return {key: values for key, values in row.allowed().items() if key in given and given[key] not in values}


def _kinds(asked: "Params") -> Iterator[tuple[str, str]]:
    """Yield the path and the kind of each section of the table that params have."""
    for section in TABLE:
        node = asked
        for step in section.split("."):
            node = getattr(node, step, None)  # type: ignore[assignment]
        if isinstance(node, tuple):
            yield from ((f"{section}.{place}", one.kind) for place, one in enumerate(node))
        elif node is not None:
            yield section, node.kind  # type: ignore[attr-defined]


def _one_of(names: list[str]) -> str:
    *most, last = sorted(names)
    return f"{', '.join(most)} or {last}" if most else last
