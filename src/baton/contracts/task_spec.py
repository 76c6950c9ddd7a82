"""What a model predicts: the kind of task and the names of its outputs.

It is written to task.json, meta.json and baton.json.

`preprocess` makes the description from params `task` and the data; every later stage, the gate and served
models read it. It is a union tagged by `kind`. `match` chooses what each package does for a kind:
`tables.target_cells`, `losses.task_losses`, `tasks.task_figures` and `evaluate.task_reports`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

from baton import storage
from baton.errors import DataError

FILE = "task.json"  # next to the clean tables
Outputs = Literal["row", "unit", "text"]  # what a model gives for a row: logits, those of its units, a text
EARLIER = "labels.json"  # what earlier versions wrote there: the names of the classes


@dataclass(frozen=True)
class Named:
    """A task with one output of the model for each name."""

    names: tuple[str, ...]

    @property
    def width(self) -> int:
        """The number of a model's outputs."""
        return len(self.names)


@dataclass(frozen=True)
class Classes(Named):
    """One class per row; a target is a class (an index into `names`)."""

    kind: Literal["classes"] = "classes"

    word: ClassVar[str] = "class"  # what a name denotes, for messages
    column: ClassVar[str] = "label"  # of a clean table: int32
    ragged: ClassVar[bool] = False
    outputs: ClassVar[Outputs] = "row"


@dataclass(frozen=True)
class Labels(Named):
    """Any number of labels per row, none included; a target is a label (an index into `names`)."""

    kind: Literal["labels"] = "labels"

    word: ClassVar[str] = "label"
    column: ClassVar[str] = "labels"  # of a clean table: list<int32>, ascending
    ragged: ClassVar[bool] = True
    outputs: ClassVar[Outputs] = "row"


@dataclass(frozen=True)
class Sequence:
    """One text per row; a target is a text, in arrays its tokens.

    `tokenize` adds what depends on the tokenizer: `vocabulary`, `start`, `end` and `unknown`.
    """

    target_length: int  # the most tokens of a target or a generated text, special ones included
    beams: int  # of beam search; 1: greedy
    validation_rows: int  # the most rows of val for which texts are generated during training
    vocabulary: int = 0  # the number of tokens that a model chooses from; 0: not known yet
    start: int = 0  # the token with which a decoder's input begins
    end: int = 0  # the token with which every text ends
    unknown: int | None = (
        None  # the token of all text that the tokenizer does not know, which is never written
    )
    kind: Literal["sequence"] = "sequence"

    names: ClassVar[tuple[str, ...]] = ()
    word: ClassVar[str] = "text"
    column: ClassVar[str] = "target"  # of a clean table: string
    ragged: ClassVar[bool] = True
    outputs: ClassVar[Outputs] = "text"

    @property
    def width(self) -> int:
        """The number of a model's outputs for each token of a text."""
        return self.vocabulary


@dataclass(frozen=True)
class Numbers(Named):
    """One or several numbers per row.

    A model's outputs are standardised: output i stands for `centre[i]` + `scale[i]` * output, with the mean
    and deviation of train. The loss is the mean over a row's numbers of its kind on standardised numbers.
    """

    centre: tuple[float, ...]
    scale: tuple[float, ...]  # positive
    loss: Literal["smooth_l1", "mse"]
    coverage: float  # of prediction intervals, between 0 and 1
    kind: Literal["numbers"] = "numbers"

    outputs: ClassVar[Outputs] = "row"
    word: ClassVar[str] = "number"
    column: ClassVar[str] = "numbers"  # of a clean table: a fixed-size list of float64, in the names' order
    ragged: ClassVar[bool] = False

    @property
    def units(self) -> tuple[float, ...]:
        """By what errors are divided before their mean over numbers is taken.

        Several numbers may have different units: their errors count in deviations of train.
        """
        return self.scale if self.width > 1 else (1.0,)


@dataclass(frozen=True)
class Tokens:
    """A tag for each word of a text: outside of entities, or the first or a later word of one (BIO).

    A target is a tag, an index into `tags`; a row has one per word.
    """

    names: tuple[str, ...]  # the types of entities
    words: Literal["space", "pattern"]  # how a text is cut into words, see `texts.words`
    kind: Literal["tokens"] = "tokens"

    word: ClassVar[str] = "entity type"
    column: ClassVar[str] = "tags"  # of a clean table: list<int32>, one per word
    ragged: ClassVar[bool] = True
    outputs: ClassVar[Outputs] = "unit"

    @property
    def tags(self) -> tuple[str, ...]:
        """The names of a model's outputs: O, and B-TYPE and I-TYPE of each type."""
        return ("O", *(f"{part}-{name}" for name in self.names for part in "BI"))

    @property
    def width(self) -> int:
        """The number of a model's outputs for each word."""
        return 1 + 2 * len(self.names)


@dataclass(frozen=True)
class Spans:
    """The answer to a question: words of its context that follow each other, or none.

    A row is a pair of texts, the question and the context. Its units are "no answer" and the words of the
    context; a model has two outputs for each, whether the answer starts and ends there. A target is a unit's
    mark: the sum of `STARTS` and `ENDS` of a true answer.
    """

    max_answer_words: int
    kind: Literal["spans"] = "spans"

    STARTS: ClassVar[int] = 1
    ENDS: ClassVar[int] = 2
    names: ClassVar[tuple[str, ...]] = ()
    words: ClassVar[Literal["pattern"]] = "pattern"  # how a context is cut into words, see `texts.words`
    word: ClassVar[str] = "answer"
    column: ClassVar[str] = "answers"  # of a clean table: struct of `text`, `answer_start` and `marks`
    ragged: ClassVar[bool] = True
    outputs: ClassVar[Outputs] = "unit"
    width: ClassVar[int] = 2


TaskSpec = Classes | Labels | Numbers | Sequence | Spans | Tokens


def described(spec: TaskSpec) -> dict[str, Any]:
    """Return a description as it is written to JSON files."""
    raw = asdict(spec)
    return {"kind": raw.pop("kind")} | {
        key: list(value) if isinstance(value, tuple) else value for key, value in raw.items()
    }


def read(raw: Mapping[str, Any]) -> TaskSpec:
    """Return the task of meta.json or baton.json; earlier versions wrote the names of the classes, `labels`.

    Raises:
        DataError: the kind is unknown.
        KeyError, TypeError: there is no task.
    """
    own = raw["task"] if "task" in raw else {"kind": "classes", "names": raw["labels"]}
    match own["kind"]:
        case "classes":
            return Classes(tuple(own["names"]))
        case "labels":
            return Labels(tuple(own["names"]))
        case "numbers":
            names, centre, scale = (tuple(own[key]) for key in ("names", "centre", "scale"))
            return Numbers(names, centre, scale, own["loss"], own["coverage"])
        case "sequence":
            whole: dict[str, Any] = {"unknown": None, **own}  # earlier versions did not write it
            return Sequence(**{field.name: whole[field.name] for field in fields(Sequence)})
        case "spans":
            return Spans(own["max_answer_words"])
        case "tokens":
            return Tokens(tuple(own["names"]), own["words"])
        case kind:
            hint = "update Baton: a later version wrote this"
            known = "classes, labels, numbers, sequence, spans or tokens"
            raise DataError("unknown kind of task", got=kind, expected=known, hint=hint)


def read_file(folder: Path, hint: str = "run `dvc repro preprocess`") -> TaskSpec:
    """Read the task of the clean tables in `folder`.

    Raises:
        DataError: task.json is missing or is not valid; `hint` says what to do.
    """
    path, key = folder / FILE, "task"
    if not path.is_file() and (folder / EARLIER).is_file():
        path, key = folder / EARLIER, "labels"
    try:
        return read({key: storage.read_json(path)})
    except (OSError, ValueError, KeyError, TypeError) as error:
        got = getattr(error, "strerror", None) or repr(error)
        expected = "the kind of the task and its names"
        raise DataError(f"{path} cannot be read", got=got, expected=expected, hint=hint) from None
