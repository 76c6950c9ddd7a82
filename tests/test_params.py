"""params.yaml and the recipes: shipped files are valid; all problems are reported with their YAML paths."""

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from ruamel.yaml import YAML

from baton import params
from baton.contracts.task_spec import Classes, Labels, Numbers, Spans, TaskSpec, Tokens
from baton.errors import ParamsError
from baton.params.applicable_keys import KEYS
from baton.params.fields import Section
from baton.tasks import task_figures

ROOT = Path(__file__).parent.parent
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
SAMPLE = ROOT / "recipes/reuters-r8-minilm.yaml"
ACTIVE = ROOT / "params.yaml"


def edited(tmp_path: Path, *edits: Callable[[dict[str, Any]], object]) -> Path:
    """Write a recipe with edits to a file."""
    raw = params.read_raw(SAMPLE)
    for edit in edits:
        edit(raw)
    path = tmp_path / "params.yaml"
    YAML(typ="safe", pure=True).dump(raw, path)
    return path


def problems(path: Path) -> str:
    with pytest.raises(ParamsError) as caught:
        params.read(path)
    return str(caught.value)


def test_the_recipes_are_there() -> None:
    wanted = {
        "reuters-r8-minilm",
        "quick",
        "20newsgroups-minilm",
        "20newsgroups-bert",
        "imdb-bert",
        "csv",
        "reuters-r52-minilm",
    }
    assert wanted <= {path.stem for path in RECIPES}


@pytest.mark.parametrize("path", [ACTIVE, *RECIPES], ids=lambda path: path.name)
def test_every_shipped_file_is_valid(path: Path) -> None:
    read = params.read(path)
    assert path.read_text(encoding="utf-8").startswith("# ")
    assert read.description.endswith(".")
    assert "\n" not in read.description
    assert read.source.licence
    assert read.base.licence


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_a_recipe_logs_to_its_own_experiment(path: Path) -> None:
    tracking = params.read(path).tracking
    assert isinstance(tracking, params.MlflowTracking)
    assert tracking.experiment == path.stem


def of_the_hub(*names: str) -> Callable[[dict[str, Any]], object]:
    source = {
        "kind": "hub",
        "repository": "a/b",
        "revision": "",
        "files": {"train": list(names)},
        "licence": "MIT",
    }
    return lambda raw: raw.update(source=source)


def test_a_split_of_the_hub_is_one_file_or_several_of_parquet(tmp_path: Path) -> None:
    source = params.read(edited(tmp_path, of_the_hub("a.parquet", "b.parquet"))).source
    assert isinstance(source, params.HubSource)
    assert source.files.named() == {"train": ("a.parquet", "b.parquet")}
    assert "source.files.train" in (message := problems(edited(tmp_path, of_the_hub("a.csv", "b.csv"))))
    assert "Parquet" in message
    assert "source.files.train" in problems(edited(tmp_path, of_the_hub()))
    assert "source.files.train" in problems(edited(tmp_path, of_the_hub("../a.parquet")))


def of_rows_without_labels(recipe: str, names: Any, **source: Any) -> dict[str, Any]:
    raw = params.read_raw(ROOT / f"recipes/{recipe}.yaml")
    raw["source"] |= {"unlabelled": names} | source
    return raw


@pytest.mark.parametrize(
    ("recipe", "names", "read"),
    [
        ("csv", "inbox/more.csv", ("inbox/more.csv",)),
        ("csv", ["inbox/a.csv", "inbox/b"], ("inbox/a.csv", "inbox/b")),
        ("labels-csv", "inbox/more.csv", ("inbox/more.csv",)),
        ("numbers-csv", "inbox/more.csv", ("inbox/more.csv",)),
        ("reuters-r8-minilm", ["a.tab", "b.tab"], ("a.tab", "b.tab")),
        ("imdb-bert", ["a.parquet", "b.parquet"], ("a.parquet", "b.parquet")),
        ("spam-assassin", "mails/*", ("mails/*",)),
        ("csv", None, None),
    ],
)
def test_a_source_may_have_rows_without_labels(recipe: str, names: Any, read: tuple[str, ...] | None) -> None:
    source: Any = params.checked(of_rows_without_labels(recipe, names), params.PATH).source
    assert source.unlabelled == read
    without = params.read_raw(ROOT / f"recipes/{recipe}.yaml")
    source = params.checked(without, params.PATH).source
    assert source.unlabelled is None


@pytest.mark.parametrize(
    ("recipe", "names", "message"),
    [
        ("csv", "more.csv", "source.unlabelled: must be in inbox/"),
        ("csv", [], "source.unlabelled: must name at least one file; null"),
        ("csv", ["inbox/a.csv", "inbox/a.csv"], "source.unlabelled: names a file twice"),
        ("csv", 3, "source.unlabelled: input should be a valid string"),
        ("reuters-r8-minilm", "../a.tab", "source.unlabelled: must be a relative path without '..'"),
        ("imdb-bert", ["a.csv", "b.csv"], "source.unlabelled: several files can be joined"),
        (
            "squad",
            "inbox/more.json",
            "source.unlabelled is [inbox/more.json], but task.kind is spans: set it to null",
        ),
        ("image-folder", "inbox/more", "source.unlabelled: unknown key"),
        ("20newsgroups-bert", "inbox/more", "source.unlabelled: unknown key"),
    ],
)
def test_files_of_rows_without_labels_that_cannot_be_read_are_refused(
    recipe: str, names: Any, message: str
) -> None:
    raw = of_rows_without_labels(recipe, names)
    with pytest.raises(ParamsError) as caught:
        params.checked(raw, params.PATH)
    assert f"1 problem\n  - {message}" in str(caught.value)


def test_images_have_no_rows_without_labels() -> None:
    files = {"kind": "local", "files": {"train": "inbox/a.parquet"}, "licence": "mine"}
    raw = params.read_raw(ROOT / "recipes/image-folder.yaml") | {"source": files}
    params.checked(raw, params.PATH)
    raw["source"] |= {"unlabelled": "inbox/b.parquet"}
    with pytest.raises(
        ParamsError, match=r"source.unlabelled is \[.*but preprocess.kind is images: set it to"
    ):
        params.checked(raw, params.PATH)


@pytest.mark.parametrize(
    ("recipe", "name", "read"),
    [
        ("csv", "inbox/soft.csv", "inbox/soft.csv"),
        ("reuters-r8-minilm", "data/soft.JSONL", "data/soft.JSONL"),
        ("imdb-bert", "soft.parquet", "soft.parquet"),
        ("spam-assassin", "soft.tsv", "soft.tsv"),
        ("csv", None, None),
    ],
)
def test_a_source_may_have_soft_labels(recipe: str, name: Any, read: str | None) -> None:
    raw = params.read_raw(ROOT / f"recipes/{recipe}.yaml")
    source: Any = params.checked(raw, params.PATH).source
    assert source.soft_labels is None
    raw["source"]["soft_labels"] = name
    source = params.checked(raw, params.PATH).source
    assert source.soft_labels == read


@pytest.mark.parametrize(
    ("recipe", "name", "message"),
    [
        ("csv", "soft.csv", "source.soft_labels: must be in inbox/"),
        (
            "csv",
            "inbox/soft.xlsx",
            "source.soft_labels: must be a file named *.csv, *.tsv, *.jsonl or *.parq",
        ),
        ("csv", "inbox/soft", "source.soft_labels: must be a file named *.csv"),
        ("csv", ["inbox/soft.csv"], "source.soft_labels: input should be a valid string"),
        ("imdb-bert", "../soft.csv", "source.soft_labels: must be a relative path without '..'"),
        (
            "labels-csv",
            "inbox/soft.csv",
            "source.soft_labels is inbox/soft.csv, but task.kind is labels: set",
        ),
        ("numbers-csv", "inbox/a.csv", "source.soft_labels is inbox/a.csv, but task.kind is numbers: set it"),
        ("image-folder", "inbox/soft.csv", "source.soft_labels: unknown key"),
        ("20newsgroups-bert", "inbox/soft.csv", "source.soft_labels: unknown key"),
    ],
)
def test_soft_labels_that_cannot_be_read_are_refused(recipe: str, name: Any, message: str) -> None:
    raw = params.read_raw(ROOT / f"recipes/{recipe}.yaml")
    raw["source"]["soft_labels"] = name
    with pytest.raises(ParamsError) as caught:
        params.checked(raw, params.PATH)
    assert f"1 problem\n  - {message}" in str(caught.value)


def test_only_classes_have_shots_and_at_least_two(tmp_path: Path) -> None:
    for recipe in ("csv", "image-folder", "audio-folder", "image-text-csv"):
        raw = params.read_raw(ROOT / f"recipes/{recipe}.yaml")
        raw["preprocess"]["shots"] = 8
        assert params.checked(raw, params.PATH).preprocess.shots == 8
    for recipe, kind in (("labels-csv", "labels"), ("numbers-csv", "numbers"), ("tokens-conll", "tokens")):
        raw = params.read_raw(ROOT / f"recipes/{recipe}.yaml")
        raw["preprocess"]["shots"] = 8
        with pytest.raises(ParamsError, match=f"preprocess.shots is 8, but task.kind is {kind}: set it to"):
            params.checked(raw, params.PATH)
    for wrong in (1, 0, 2.5):
        found = problems(edited(tmp_path, lambda raw, wrong=wrong: raw["preprocess"].update(shots=wrong)))
        assert "preprocess.shots" in found


def test_baselines_that_the_data_do_not_have_are_refused(tmp_path: Path) -> None:
    tfidf = {"kind": "tfidf", "model": "svm", "min_df": 1, "max_ngram": 1, "stop_words": None, "C": [1.0]}
    features = {"kind": "features", "model": "linear", "neighbours": 5, "C": [1.0]}
    for recipe, wanted, message in (
        (
            "digits-vit",
            tfidf,
            "evaluate.baselines.1.kind is tfidf, but preprocess.kind is images: remove it, or set",
        ),
        (
            "quick",
            {"kind": "pixels", "side": 8, "C": [1.0]},
            "evaluate.baselines.1.kind is pixels, but preprocess.kind is text: remove it, or set",
        ),
        (
            "digits-vit",
            features,
            "evaluate.baselines.1 (features) needs a pretrained base model, but base.weights is null",
        ),
    ):
        raw = params.read_raw(ROOT / "recipes" / f"{recipe}.yaml")
        path = edited(tmp_path, lambda new, raw=raw, wanted=wanted: new.update(of(raw, wanted)))
        assert message in problems(path)
    raw = params.read_raw(ROOT / "recipes/digits-vit.yaml")
    raw["evaluate"]["baselines"] = [tfidf, features]
    raw["tokenize"] = params.read_raw(ROOT / "recipes/quick.yaml")["tokenize"]
    found = problems(edited(tmp_path, lambda new: new.update(raw)))
    assert (
        "tokenize.kind is text" in found
        and "baselines.0.kind is tfidf" in found
        and "baselines.1 (features)" in found
    )


def test_values_of_c_rise(tmp_path: Path) -> None:
    for grid in ([1.0, 1.0], [3.0, 1.0], [], [0.0, 1.0]):
        path = edited(tmp_path, lambda raw, grid=grid: raw["evaluate"]["baselines"][1].update({"C": grid}))
        assert "evaluate.baselines.1.C" in problems(path)


def of(raw: dict[str, Any], baseline: dict[str, Any]) -> dict[str, Any]:
    raw["evaluate"]["baselines"] = [{"kind": "majority"}, baseline]
    return raw


def test_all_problems_at_once_with_their_paths(tmp_path: Path) -> None:
    path = edited(
        tmp_path,
        lambda raw: raw["finetune"].update(learning_rat=0.1, epochs="two"),
        lambda raw: raw["finetune"].pop("seeds"),
        lambda raw: raw["source"].update(sha256="abc"),
        lambda raw: raw["preprocess"]["validation"].update(share=1.5),
        lambda raw: raw["evaluate"]["baselines"][1].update(model="tree"),
        lambda raw: raw.update(extra=1),
    )
    message = problems(path)
    assert "7 problems" in message
    for line in (
        "finetune.learning_rat: unknown key; did you mean `learning_rate`?",
        "finetune.epochs: input should be a valid integer; got 'two'",
        "finetune.seeds: missing",
        "source.sha256: must be a sha256",
        "preprocess.validation.share: input should be less than 1; got 1.5",
        "evaluate.baselines.1.model: input should be 'svm', 'logistic' or 'ridge'; got 'tree'",
        "extra: unknown key",
    ):
        assert f"  - {line}" in message
    assert "next:" in message


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("precision", "fp8"),
        ("compile", "yes"),
        ("processes", 0),
        ("processes", "all"),
        ("sharding", "half"),
        ("sharding", True),
        ("threads", True),
        ("loader_workers", -1),
        ("deterministic", "auto"),
        ("gradient_checkpointing", 1),
        ("checkpoint_seconds", 0),
    ],
)
def test_a_wrong_runtime_is_told(tmp_path: Path, key: str, wrong: object) -> None:
    message = problems(edited(tmp_path, lambda raw: raw["runtime"].update({key: wrong})))
    assert f"  - runtime.{key}: " in message and f"got {wrong!r}" in message


@pytest.mark.parametrize("wrong", ["2", 2.5, True, None])
def test_types_are_strict(tmp_path: Path, wrong: object) -> None:
    assert "finetune.epochs: " in problems(edited(tmp_path, lambda raw: raw["finetune"].update(epochs=wrong)))


def test_numbers_are_yaml_1_2(tmp_path: Path) -> None:
    text = SAMPLE.read_text(encoding="utf-8")
    assert "learning_rate: 1e-4" in text  # YAML 1.1 reads this as a string
    assert params.read(SAMPLE).finetune.learning_rate == 1e-4
    path = tmp_path / "off.yaml"
    # In YAML 1.1, `off` is a boolean.
    off = re.sub(r"^tracking:.*?\n\n", "tracking: {kind: off}\n\n", text, flags=re.MULTILINE | re.DOTALL)
    path.write_text(off, encoding="utf-8")
    assert params.read(path).tracking == params.NoTracking(kind="off")


@pytest.mark.parametrize("name", ["main", "latest", "v1.0", "86b5e09", "@champion"])
def test_moving_names_are_refused(tmp_path: Path, name: str) -> None:
    hub = {"kind": "hub", "repository": "a/b", "revision": name, "files": ["config.json"], "licence": "MIT"}
    message = problems(edited(tmp_path, lambda raw: raw.update(base=hub)))
    assert "base.revision: must be a commit of 40 hexadecimal digits" in message
    assert repr(name) in message


def test_paths_stay_inside(tmp_path: Path) -> None:
    local = {"kind": "local", "licence": "mine"}
    for name, complaint in (
        ("inbox/../../x.csv", "without '..'"),
        ("/etc/passwd", "relative path"),
        ("data/x.csv", "must be in inbox/"),
    ):
        source = local | {"files": {"train": name}}
        assert complaint in problems(edited(tmp_path, lambda raw, source=source: raw.update(source=source)))


AUGMENTATION = {
    "crop": None,
    "flip": 0.5,
    "rotation": 0.0,
    "colour": None,
    "randaugment": None,
    "erasing": 0.0,
    "mixup": 0.0,
    "cutmix": 0.0,
}
WINDOWS = {"kind": "windows", "most": 8, "overlap": 0}
AUTO = {"kind": "auto", "whole": 0.95, "least": 128, "most": 256, "tokens": 4000000}
IMAGES = {"kind": "images", "size": 8, "crop_fraction": 1.0, "channels": 1, "chunk_size": 100}


def test_an_unknown_kind_is_told(tmp_path: Path) -> None:
    message = problems(edited(tmp_path, lambda raw: raw["finetune"]["head"].update(kind="cnn")))
    assert "finetune.head" in message
    assert "'linear', 'mlp'" in message


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (
            lambda raw: raw["finetune"].update(accumulation=5),
            "finetune: batch_size 32 must be a multiple of accumulation 5",
        ),
        (
            lambda raw: raw["finetune"].update(tokens=4096),
            "finetune: set either batch_size (samples per step) or tokens (the most per step)",
        ),
        (lambda raw: raw["finetune"].pop("batch_size"), "(the most per step), not neither"),
        (
            lambda raw: raw["distill"]["student"].update(layers=[2, 0]),
            "distill.student.layers: [2, 0] must name",
        ),
        (
            lambda raw: raw["preprocess"].update(text_pair_column="label"),
            "preprocess: label_column: label is also a text that the model reads",
        ),
        (
            lambda raw: raw["preprocess"].update(text_pair_column="text"),
            "preprocess: text_column and text_pair_column name a column twice: text, text",
        ),
        (lambda raw: raw["distill"]["student"].update(layers=[]), "distill.student.layers: [] must name"),
        (
            lambda raw: raw["distill"].update(student={"kind": "base", "layers": None}),
            "student_base is null, but distill.student.kind is base: set both",
        ),
        (
            lambda raw: (
                raw.update(
                    student_base={
                        "kind": "timm",
                        "architecture": "resnet10t",
                        "arguments": {},
                        "weights": None,
                        "licence": "none",
                    }
                ),
                raw["distill"].update(student={"kind": "base", "layers": None}),
            ),
            "student_base: input tag 'timm' found using 'kind' does not match any of the expected",
        ),
        (lambda raw: raw.update(corrections="labels.csv"), "corrections: must be in inbox/"),
        (
            lambda raw: raw.update(student_base=raw["base"]),
            "student_base is set, but distill.student.kind is teacher_layers: set both",
        ),
        (
            lambda raw: (
                raw.update(student_base=raw["base"]),
                raw["distill"].update(student={"kind": "base", "layers": [0]}, teacher="live"),
            ),
            "distill.teacher: a live teacher reads the student's tokens",
        ),
        (
            lambda raw: raw["distill"].update(augmentation=AUGMENTATION),
            "distill: the teacher's cached logits are of samples without",
        ),
        (lambda raw: raw.update(tokenize=IMAGES), "tokenize.kind is images, but preprocess.kind is text"),
        (
            lambda raw: raw["distill"].update(metric="micro_f1"),
            "distill.metric is micro_f1, but task.kind is classes: set it to one of loss, accuracy, macro_f1",
        ),
        (
            lambda raw: raw["promotion"].update(metric="micro_f1"),
            "promotion.metric is micro_f1, but task.kind is classes: set it to one of accuracy, macro_f1",
        ),
        (
            lambda raw: raw["finetune"].update(drop_path=0.1, augmentation=AUGMENTATION),
            "finetune.drop_path is 0.1, but preprocess.kind is text: set it to 0.0; finetune.augmentation",
        ),
        (
            lambda raw: raw["evaluate"].update(gallery={"errors": 3, "steps": 8}),
            "evaluate.gallery is set, but preprocess.kind is text: set it to null",
        ),
        (
            lambda raw: raw["tokenize"].update(truncation=WINDOWS | {"overlap": 65}),
            "tokenize: truncation.overlap 65 must be at most 64, half of max_length",
        ),
        (
            lambda raw: (
                raw["preprocess"].update(text_pair_column="answer"),
                raw["tokenize"].update(truncation=WINDOWS | {"overlap": 33}),
            ),
            "tokenize.truncation.overlap 33 must be at most 32 for pairs of texts with max_length 128",
        ),
        (
            lambda raw: (
                raw["preprocess"].update(text_pair_column="answer"),
                raw["tokenize"].update(max_length=8, truncation=WINDOWS | {"overlap": 2}),
            ),
            "tokenize.truncation.overlap 2 must be at most 1 for pairs of texts with max_length 8",
        ),
        (
            lambda raw: raw["tokenize"].update(truncation=WINDOWS | {"most": 1}),
            "tokenize.truncation.most: input should be greater than",
        ),
        (
            lambda raw: raw["tokenize"].update(truncation={"kind": "ends"}),
            "'head', 'tail', 'head_tail', 'windows'",
        ),
        (
            lambda raw: raw["tokenize"].update(max_length="auto"),
            "1 problem\n  - tokenize.max_length: input should be a valid integer",
        ),
        (
            lambda raw: raw["tokenize"].update(max_length=AUTO | {"least": 512}),
            "tokenize.max_length: least (512) must not be more than most (256)",
        ),
        (
            lambda raw: raw["tokenize"].update(max_length=AUTO | {"whole": 95}),
            "tokenize.max_length.whole: input should be less",
        ),
    ],
)
def test_values_that_do_not_fit_together(
    tmp_path: Path, edit: Callable[[dict[str, Any]], object], complaint: str
) -> None:
    assert complaint in problems(edited(tmp_path, edit))


def test_a_file_without_a_task_is_told_the_line_to_add(tmp_path: Path) -> None:
    message = problems(edited(tmp_path, lambda raw: raw.pop("task")))
    assert "1 problem\n  - task: missing; add the line `task: {kind: classes}`\n" in message
    message = problems(edited(tmp_path, lambda raw: raw.update(task={"kind": "boxes"})))
    assert "task: input tag 'boxes' found" in message
    assert "'classes', 'labels', 'numbers'" in message


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"a: [1\nb: 2", "is not valid YAML"),
        (b"a: 1\na: 2", "is not valid YAML"),
        (b"\xff\xfe", "is not valid YAML"),
        (b"- 1\n- 2\n", "is not a mapping"),
        (b"", "is not a mapping"),
        (None, "cannot be read"),
    ],
)
def test_no_params_file(tmp_path: Path, content: bytes | None, complaint: str) -> None:
    path = tmp_path / "params.yaml"
    if content is not None:
        path.write_bytes(content)
    message = problems(path)
    assert complaint in message
    assert {"got", "expected", "next"} == set(re.findall(r"^  (\w+):", message, re.MULTILINE))


def test_load_gives_only_what_was_asked_for() -> None:
    loaded = params.load("tokenize", path=ACTIVE)
    assert loaded.tokenize.max_length
    with pytest.raises(AttributeError):
        _ = loaded.finetune


def test_values_are_frozen() -> None:
    loaded = params.load("tokenize", path=ACTIVE)
    with pytest.raises(ValueError, match="frozen"):
        loaded.tokenize.max_length = 3  # type: ignore[misc]


def test_flatten() -> None:
    assert params.flatten({"a": {"b": [1, {"c": None}], "d": {}}, "e": []}) == {
        "a.b.0": 1,
        "a.b.1.c": None,
        "a.d": {},
        "e": [],
    }
    flat = params.flatten(params.read_raw(ACTIVE))
    assert flat["finetune.head.kind"] in {"linear", "mlp"}
    assert not any(isinstance(value, dict | list) and value for value in flat.values())


# The only keys that a file may leave out, and why; `needed` of `applicable_keys` says where it may not.
OPTIONAL = {
    "Training.batch_size": "either this or tokens",
    "Training.tokens": "either this or batch_size",
    "Training.frozen": "needed for images with texts",
    "TextPreprocess.novel": "of texts with classes alone; null: no class is held out",
    "Finetune.episodes": "needs novel classes; null: there is no test by episodes",
    "Evaluate.attributions": "of texts with classes or labels alone; null: no answer is explained",
    "Finetune.mixing": "there is one task",
    "Augmentation.masks": "needed for audio",
    "FeaturesBaseline.encoder": "needed for images with texts",
    "FolderSource.text": "needed for images with texts",
    "TableSource.text_column": "needed for images with texts",
    "PerSplit.val": "no file: it is cut",
    "PerSplit.test": "no file: it is cut",
    "WheelSource.unlabelled": "no file: all rows have labels",
    "PackageSource.unlabelled": "no file: all rows have labels",
    "HubSource.unlabelled": "no file: all rows have labels",
    "LocalSource.unlabelled": "no file: all rows have labels",
    "WheelSource.soft_labels": "no file",
    "PackageSource.soft_labels": "no file",
    "HubSource.soft_labels": "no file",
    "LocalSource.soft_labels": "no file",
}


def sections(own: type[Section] = Section) -> Iterator[type[Section]]:
    for section in own.__subclasses__():
        if not section.__pydantic_generic_metadata__["args"]:
            yield section
        yield from sections(section)


def test_no_key_has_a_hidden_default() -> None:
    found = {
        f"{section.__name__}.{name}"
        for section in sections()
        for name, field in section.model_fields.items()
        if not field.is_required()
        and not any(name in getattr(base, "model_fields", {}) for base in section.__mro__[1:])
    }
    assert found == set(OPTIONAL)
    needed = {key.path.rpartition(".")[2] for key in KEYS if key.needed}
    assert needed == {key.partition(".")[2] for key, why in OPTIONAL.items() if why.startswith("needed")}


@pytest.mark.parametrize(
    ("recipe", "place", "line"),
    [
        (
            "image-text-csv",
            "finetune.frozen",
            "finetune.frozen: missing, since preprocess.kind is image_text; add `frozen: []`",
        ),
        (
            "image-text-csv",
            "source.text_column",
            "source.text_column: missing, since preprocess.kind is image_text; add",
        ),
        (
            "image-text-stamps",
            "source.text",
            "source.text: missing, since preprocess.kind is image_text; add `text: {",
        ),
        (
            "image-text-csv",
            "evaluate.baselines.3.encoder",
            "evaluate.baselines.3.encoder: missing, since preprocess.kind",
        ),
        (
            "audio-folder",
            "distill.augmentation.masks",
            "distill.augmentation.masks: missing, since preprocess.kind is audio",
        ),
        (
            "csv",
            "preprocess.max_dropped",
            "preprocess.max_dropped: missing; add the line `max_dropped: {rows: 0.01,",
        ),
        ("csv", "preprocess.format.escape", "preprocess.format.escape: missing; add the line `escape: null`"),
        ("image-folder", "source.only", "source.only: missing; add the line `only: '*'`"),
        ("csv", "preprocess.shots", "preprocess.shots: missing; add the line `shots: null`"),
        ("csv", "finetune.epochs", "finetune.epochs: missing\n"),
    ],
)
def test_a_key_that_is_left_out_is_named_with_what_to_add(recipe: str, place: str, line: str) -> None:
    raw = params.read_raw(ROOT / f"recipes/{recipe}.yaml")
    node: Any = raw
    *steps, key = place.split(".")
    for step in steps:
        node = node[int(step) if isinstance(node, list) else step]
    del node[key]
    with pytest.raises(ParamsError) as caught:
        params.checked(raw, params.PATH)
    assert f"1 problem\n  - {line}" in str(caught.value)


def test_keys_of_label_names_are_text_whatever_yaml_reads(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(
        (ROOT / "params.yaml")
        .read_text()
        .replace("label_names: {}", "label_names: {2024-01-31: a, 01: b, null: c, 2.5: d}")
    )
    assert params.read(path).preprocess.label_names == {"2024-01-31": "a", "1": "b", "null": "c", "2.5": "d"}


@pytest.mark.parametrize(
    ("section", "task"),
    [
        (params.ClassesTask, Classes(("a", "b"))),
        (params.LabelsTask, Labels(("a", "b"))),
        (params.NumbersTask, Numbers(("a",), (0.0,), (1.0,), "mse", 0.9)),
        (params.SpansTask, Spans(30)),
        (params.TokensTask, Tokens(("a", "b"), "space")),
    ],
)
def test_params_know_the_metrics_of_tasks(section: Any, task: TaskSpec) -> None:
    figures = task_figures.of(task)
    assert section.metrics == tuple(figures.directions) and section.gated == figures.gated
    assert section.model_fields["kind"].annotation == Literal[task.kind]


def numbers_with(tmp_path: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    raw = params.read_raw(ROOT / "recipes/numbers-csv.yaml")
    edit(raw)
    path = tmp_path / "params.yaml"
    YAML(typ="safe", pure=True).dump(raw, path)
    return path


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (
            lambda raw: raw["preprocess"].update(label_column=["a", "a_low"]),
            "preprocess.label_column: a_low would be two columns of a model's answer",
        ),
        (lambda raw: raw["preprocess"].update(label_column=["a", "a"]), "a would be two columns"),
        (
            lambda raw: raw["preprocess"].update(label_names={"1": "one"}),
            "preprocess.label_names is set, but task.kind is numbers: set it to {}",
        ),
        (lambda raw: raw["preprocess"].update(keep_columns=["numbers"]), "numbers is already a column"),
        (
            lambda raw: raw["finetune"].update(class_weights="balanced"),
            "finetune.class_weights is balanced, but task.kind is numbers: set it to none",
        ),
        (
            lambda raw: raw["distill"].update(label_smoothing=0.1),
            "distill.label_smoothing is 0.1, but task.kind is numbers: set it to 0.0",
        ),
        (
            lambda raw: raw["finetune"].update(strategy={"kind": "probe"}),
            "finetune.strategy.kind is probe, but task.kind is numbers: set finetune.strategy.kind to",
        ),
        (
            lambda raw: raw["distill"].update(temperature=2.0),
            "distill.temperature is 2.0, but task.kind is numbers: set it to 1.0",
        ),
        (
            lambda raw: raw["promotion"].update(class_floor={"recall": 0.3, "rows": 30, "loss": 0.05}),
            "promotion.class_floor is set, but task.kind is numbers: set it to null",
        ),
        (
            lambda raw: raw["evaluate"].update(baselines=[{"kind": "majority"}]),
            "evaluate.baselines.0.kind is majority, but task.kind is numbers: remove it, or set",
        ),
        (
            lambda raw: raw["evaluate"]["baselines"][2].update(model="svm"),
            "svm is not for numbers: set its model to ridge",
        ),
        (lambda raw: raw["promotion"].update(first_minimum=2), "r2 is at most 1: set it to at most 1; got 2"),
        (
            lambda raw: raw["promotion"].update(rule={"kind": "gain", "minimum": 1.5}),
            "promotion.rule.minimum: r2 is at most 1: set it to less than 1; got 1.5",
        ),
        (lambda raw: raw["task"].update(coverage=90), "task.coverage: input should be less than 1; got 90"),
    ],
)
def test_what_numbers_do_not_have_is_refused(
    tmp_path: Path, edit: Callable[[dict[str, Any]], object], complaint: str
) -> None:
    assert complaint in problems(numbers_with(tmp_path, edit))


def test_limits_of_an_error_are_in_its_unit(tmp_path: Path) -> None:
    limits = {"metric": "mae", "first_minimum": 25, "rule": {"kind": "gain", "minimum": 1.5}}
    floor = {"below_best": 2.0, "below_baseline": 0.0}
    read = params.read(
        numbers_with(tmp_path, lambda raw: raw["promotion"].update(**limits, permanent_floor=floor))
    )
    assert read.promotion.first_minimum == 25


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (
            lambda raw: raw["preprocess"].update(label_column=["a", "b"]),
            "preprocess.label_column: only numbers have several, task.kind is classes",
        ),
        (
            lambda raw: raw["evaluate"].update(baselines=[{"kind": "mean"}]),
            "evaluate.baselines.0.kind is mean, but task.kind is classes: remove it, or set",
        ),
        (
            lambda raw: raw["evaluate"]["baselines"][1].update(model="ridge"),
            "ridge is not for classes: set its model to svm or logistic",
        ),
        (
            lambda raw: raw["promotion"].update(first_minimum=1.5),
            "accuracy is at most 1: set it to at most 1",
        ),
    ],
)
def test_what_only_numbers_have_is_refused_of_classes(
    tmp_path: Path, edit: Callable[[dict[str, Any]], object], complaint: str
) -> None:
    assert complaint in problems(edited(tmp_path, edit))


STRATEGIES: dict[str, dict[str, Any]] = {
    "head": {},
    "top": {"layers": 1},
    "gradual": {"decay": 2.6, "until": 0.5},
    "lora": {"rank": 8, "alpha": 16, "dropout": 0.0},
    "rows": {"rows": [{"layers": "head", "rate": 1.0, "unfreeze": 0.0}]},
    "probe": {},
    "prototypes": {},
    "pairs": {"steps": 60, "learning_rate": 2e-5},
    "auto": {"rows": 1000, "folds": 3, "among": [{"kind": "head"}, {"kind": "full"}]},
}


OFFER = re.compile(r"strategy: \{kind: full\} # or ([\w, ]+): docs/transfer\.md")
OFFERING = [recipe for recipe in RECIPES if OFFER.search(recipe.read_text(encoding="utf-8"))]


def test_recipes_offer_strategies() -> None:
    assert len(OFFERING) == 20


@pytest.mark.parametrize("recipe", OFFERING, ids=lambda recipe: recipe.stem)
def test_the_strategies_that_a_comment_offers_are_those_that_the_recipe_may_have(recipe: Path) -> None:
    said = OFFER.search(recipe.read_text(encoding="utf-8"))
    raw = params.read_raw(recipe)
    possible = []
    for kind, settings in STRATEGIES.items():
        raw["finetune"]["strategy"] = {"kind": kind, **settings}
        with contextlib.suppress(ParamsError):
            params.checked(raw, recipe)
            possible.append(kind)
    assert said and said[1].split(", ") == possible
