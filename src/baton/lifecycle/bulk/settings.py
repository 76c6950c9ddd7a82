"""What a prediction job is asked to do, as the command line says it and the job's process reads it."""

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

from baton.errors import ParamsError

FORMATS = {".csv": "csv", ".parquet": "parquet", ".jsonl": "jsonl"}  # of the output, by its suffix
PRECISIONS = ("auto", "bf16", "fp32")
SHARD = re.compile(r"([0-9]+)/([0-9]+)")


@dataclass(frozen=True)
class Shard:
    """The share of one job among `count` jobs: every `count`-th chunk, beginning with chunk `number` - 1."""

    number: int = 1
    count: int = 1

    def has(self, chunk: int) -> bool:
        """Return whether a chunk, counted from 0, is this job's."""
        return chunk % self.count == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(frozen=True)
class Options:
    """A prediction job."""

    model: str  # the folder of a logged model
    source: str  # a table, or a folder of files
    out: str
    columns: dict[str, str] = field(default_factory=dict)  # what a model reads -> the column that has it
    id: str | None = None  # a column; None: `id` if there is one
    shard: str = "1/1"
    precision: str = "auto"
    batch_size: int | None = None  # None: the model's
    chunk: int | None = None  # rows; None: by the kind of input

    def __post_init__(self) -> None:
        """Check what can be checked without reading the files.

        Raises:
            ParamsError: an option is invalid.
        """
        _ = self.part, self.format
        if self.precision not in PRECISIONS:
            expected = f"one of {', '.join(PRECISIONS)}"
            raise ParamsError("--precision is unknown", got=self.precision, expected=expected, hint="fix it")
        if Path(self.out).resolve().is_relative_to(Path(self.source).resolve()):
            hint = "its parts would be rows: name a file elsewhere"
            expected = f"a file outside {self.source}"
            raise ParamsError("--out lies in the input", got=self.out, expected=expected, hint=hint)

    @property
    def part(self) -> Shard:
        """The job's share.

        Raises:
            ParamsError: `shard` is no i/n with 1 <= i <= n.
        """
        match = SHARD.fullmatch(self.shard)
        found = Shard(*map(int, match.groups())) if match else None
        if found is None or not 1 <= found.number <= found.count:
            hint = "count from 1; of an index that begins with 0 (Kubernetes), add 1"
            expected = "i/n with 1 <= i <= n, such as 1/8"
            raise ParamsError("--shard is invalid", got=self.shard, expected=expected, hint=hint)
        return found

    @property
    def format(self) -> str:
        """The format of the output.

        Raises:
            ParamsError: its suffix names none.
        """
        found = FORMATS.get(Path(self.out).suffix.lower())
        if found is None:
            expected = f"a name that ends in {', '.join(FORMATS)}"
            hint = "the suffix of --out says in which format answers are written"
            raise ParamsError("--out has no known suffix", got=self.out, expected=expected, hint=hint)
        return found

    def written(self) -> str:
        """Return the job as JSON."""
        return json.dumps(asdict(self))


def read(text: str) -> Options:
    """Return the job that `Options.written` wrote."""
    return Options(**json.loads(text))
