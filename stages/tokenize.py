"""Clean text to token arrays, clean images to pixel arrays, both, or clean sound to spectrograms.

Read data/clean and data/base; write data/arrays: memory-mapped arrays of each split, meta.json (the task, and
what a model must know about its input) and report.json. If there are rows without labels, a further split,
`transfer`, has the rows of train and these. Splits of novel classes have a task of their own. If the student
has its own base model (data/base/student), write the same for it to data/arrays/student; arrays of further
tasks (data/clean/tasks/NAME) are in data/arrays/tasks/NAME. DVC runs it as `sh stages/run tokenize`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape
from tokenizers import Tokenizer

from baton import console, params, storage
from baton.arrays import (
    audio_arrays,
    audio_input,
    disk_space,
    image_arrays,
    image_input,
    image_text_arrays,
    length_choice,
    sequence_targets,
    split_rows,
    text_arrays,
    tokenizer_training,
    unknown_tokens,
)
from baton.contracts import input_spec, novel_classes, row_attributes, task_spec, text_pairs, transfer_set
from baton.texts import document_windows

CLEAN, BASE, ARRAYS = Path("data/clean"), Path("data/base"), Path("data/arrays")
NO_TASKS: Mapping[str, task_spec.TaskSpec] = {}
Report = dict[str, dict[str, Any]]  # by split
Summary = tuple[str, dict[str, str], Report]  # title and columns of the table, and its figures
# Figures of the report -> the columns of the summary table.
IMAGE_COLUMNS = {
    "images": "images",
    "bytes": "bytes",
    "resized_share": "resized",
    "height": "source height",
    "width": "source width",
}
QUANTILES = (("p50", "median"), ("p95", "95th percentile"), ("max", "maximum"))
TEXT_COLUMNS = {
    "documents": "documents",
    "windows": "windows",
    "tokens": "tokens read",
    "lengths": "length",
    "truncated_share": "documents cut",
    "left_out_share": "tokens left out",
}


def tables(clean: Path) -> list[Path]:
    """Return the tables of the splits in a folder, train first."""
    return [clean / f"{split}.parquet" for split in text_arrays.SPLITS]


def main() -> None:
    """Write the arrays of every split and print a summary."""
    settings, own = params.load("tokenize").tokenize, BASE / storage.STUDENT
    with storage.atomic_folder(ARRAYS) as folder:
        show(*arrays(settings, BASE, folder))
        if own.is_dir():
            (folder / storage.STUDENT).mkdir()
            title, *rest = arrays(settings, own, folder / storage.STUDENT)
            show(f"student: {title}", *rest)
        for name in storage.tasks(CLEAN):
            assert isinstance(settings, params.TextTokenize), "params refuse tasks that do not read texts"
            target = storage.of_task(folder, name)
            target.mkdir(parents=True)
            title, *rest = texts(settings, BASE, target, storage.of_task(CLEAN, name))
            show(f"tasks.{name}: {title}", *rest)


def arrays(settings: params.Tokenize, base: Path, target: Path) -> Summary:
    """Write the arrays for a base model; return title and columns of the summary table, and the report."""
    match settings:
        case params.TextTokenize():
            return texts(settings, base, target)
        case params.ImageTokenize():
            return images(settings, base, target)
        case params.AudioTokenize():
            return sounds(settings, base, target)
        case params.ImageTextTokenize():
            return images_with_texts(settings, base, target)


def show(title: str, columns: Mapping[str, str], report: Report) -> None:
    """Print the summary table: a column for each split."""
    rows = []
    for name, said in columns.items():
        figures = [part[name] for part in report.values()]
        if isinstance(figures[0], dict):
            rows += [(f"{said}, {way}", *(shown(own[key]) for own in figures)) for key, way in QUANTILES]
        else:
            rows.append((said, *map(shown, figures)))
    console.table(title, ("", *report), rows)


def images(settings: params.ImageTokenize, base: Path, target: Path) -> Summary:
    """Write pixels."""
    reads, task = pixels(settings, base, target), task_spec.read_file(CLEAN)

    def tokenize(table: Path, folder: Path, advance: Callable[[int], object]) -> dict[str, Any]:
        row_attributes.write(table, folder)
        return image_arrays.tokenize(table, reads, folder, settings.chunk_size, advance, task)

    report = write(task, reads, "images", tokenize, target)
    return f"pixels ({' x '.join(map(str, reads.size))})", IMAGE_COLUMNS, report


def sounds(settings: params.AudioTokenize, base: Path, target: Path) -> Summary:
    """Write spectrograms."""
    reads = audio_input.describe(storage.read_json(base / "config.json"), settings)
    disk_space.check(tables(CLEAN), reads, target)
    task = task_spec.read_file(CLEAN)

    def tokenize(table: Path, folder: Path, advance: Callable[[int], object]) -> dict[str, Any]:
        row_attributes.write(table, folder)
        return audio_arrays.tokenize(table, reads, folder, settings.chunk_size, advance, task)

    report = write(task, reads, "clips", tokenize, target)
    columns = {
        "clips": "clips",
        "bytes": "bytes",
        "cut_share": "longer",
        "padded_share": "shorter",
        "resampled_share": "resampled",
        "milliseconds": "length (ms)",
    }
    return f"spectrograms ({reads.bands} x {reads.frames})", columns, report


def pixels(settings: params.ImageTokenize, base: Path, target: Path) -> input_spec.ImageInput:
    """Return the input of a model of images on this base, if the disk has room for its arrays."""
    bits = image_arrays.significant_bits(tables(CLEAN)[0])
    reads = image_input.describe(storage.read_json(base / "config.json"), settings)
    reads = dataclasses.replace(reads, significant_bits=bits)
    disk_space.check(tables(CLEAN), reads, target)
    return reads


def texts(settings: params.TextTokenize, base: Path, target: Path, clean: Path = CLEAN) -> Summary:
    """Write tokens of the tables in `clean`, and print those that the tokenizer does not know."""
    config, task, train = (
        storage.read_json(base / "config.json"),
        task_spec.read_file(clean),
        tables(clean)[0],
    )
    source = tokenizer_training.provided(base, train, ("text", task.column), target)
    chosen = length_choice.resolve(settings, source, config, train)
    if chosen.reason:
        console.say(f"max_length: {chosen.max_length} ({escape(chosen.reason)})")
    tokenizer = document_windows.open_tokenizer(source, chosen.max_length)
    encoder = None
    if isinstance(task, task_spec.Sequence):
        text_arrays.check_length(config, task.target_length, "task.target_length")
        task = sequence_targets.completed(task, tokenizer, config)
        encoder = sequence_targets.Encoder(task, source)

    novel = novel_classes.read(clean)

    def tokenize(
        table: Path, folder: Path, advance: Callable[[int], object], more: Path | None = None
    ) -> dict[str, Any]:
        own = novel.get(table.stem, task)
        found = text_arrays.tokenize(
            table, tokenizer, folder, settings.chunk_size, advance, own, chosen.truncation, encoder, more
        )
        split = split_rows.SplitRows(table, more).split
        unknown_tokens.check(split, found["unknown"], settings.unknown)
        if "targets" in found:
            unknown_tokens.check(f"{split}, targets", found["targets"]["unknown"], settings.unknown)
        if more is None:
            row_attributes.write(table, folder)
        else:
            row_attributes.write_transfer(table, split_rows.count(more), folder)
        return found

    pair = len(text_pairs.columns(train)) == 2
    reads = input_spec.TextInput(chosen.max_length, chosen.truncation, config.get("pad_token_id") or 0, pair)
    report = write(task, reads, "documents", tokenize, target, chosen.reason, novel, clean)
    name_unknown(report, task, settings.unknown, novel)
    for split, part in report.items():
        if "targets" in part:
            show_targets(split, part["targets"])
    return f"tokens (at most {chosen.max_length}; {chosen.truncation.kind})", TEXT_COLUMNS, report


def images_with_texts(settings: params.ImageTextTokenize, base: Path, target: Path) -> Summary:
    """Write pixels and tokens."""
    image = pixels(settings.image, base / "image", target)
    chosen, text, tokenizer = length(settings.text, base / "text")
    reads, task = input_spec.ImageTextInput(image, text), task_spec.read_file(CLEAN)
    sizes = settings.image.chunk_size, settings.text.chunk_size

    def tokenize(table: Path, folder: Path, advance: Callable[[int], object]) -> dict[str, Any]:
        found = image_text_arrays.tokenize(table, tokenizer, reads, folder, sizes, advance, task)
        unknown_tokens.check(table.stem, found["unknown"], settings.text.unknown)
        row_attributes.write(table, folder)
        return found

    report = write(task, reads, "images with texts", tokenize, target, chosen.reason)
    name_unknown(report, task, settings.text.unknown)
    title = f"pixels ({' x '.join(map(str, image.size))}) and tokens (at most {chosen.max_length})"
    return title, IMAGE_COLUMNS | TEXT_COLUMNS, report


def length(
    settings: params.TextTokenize, base: Path
) -> tuple[length_choice.Choice, input_spec.TextInput, Tokenizer]:
    """Return how much of a text is read, the input of a model of texts on this base, and its tokenizer."""
    config = storage.read_json(base / "config.json")
    chosen = length_choice.resolve(settings, base, config, CLEAN / "train.parquet")
    if chosen.reason:
        console.say(f"max_length: {chosen.max_length} ({escape(chosen.reason)})")
    reads = input_spec.TextInput(chosen.max_length, chosen.truncation, config.get("pad_token_id") or 0)
    return chosen, reads, document_windows.open_tokenizer(base, chosen.max_length)


def name_unknown(
    report: Report,
    task: task_spec.TaskSpec,
    limits: params.Unknown,
    novel: Mapping[str, task_spec.TaskSpec] = NO_TASKS,
) -> None:
    """Print the splits and names with many tokens that the tokenizer does not know."""
    for split, part in report.items():
        names = novel.get(split, task).names
        if warning := unknown_tokens.named(split, part["unknown"], names, limits):
            console.say(f"[yellow]unknown tokens:[/] {escape(warning)}")


def show_targets(split: str, found: Mapping[str, Any]) -> None:
    """Print the lengths of a split's target texts, and how many are cut or hold unknown tokens."""
    console.say(
        f"{split}, targets: {found['tokens']:,} tokens, length {shown(found['lengths'])}; "
        f"{found['truncated']:,} cut ({found['truncated_share']:.1%}) to task.target_length"
        + (f", first {', '.join(found['first_truncated'])}" if found["truncated"] else "")
    )
    if (unknown := found["unknown"])["tokens"]:
        console.say(
            f"[yellow]unknown tokens:[/] {split}: {unknown['rows']:,} targets hold {unknown['tokens']:,} "
            f"tokens ({unknown['share']:.2%}) that the tokenizer does not know and no model can write, first "
            f"{escape(', '.join(unknown['first']))}: {unknown_tokens.HINT}"
        )


def write(
    task: task_spec.TaskSpec,
    reads: input_spec.InputSpec,
    unit: str,
    tokenize: Callable[..., dict[str, Any]],
    target: Path,
    reason: str | None = None,
    novel: Mapping[str, task_spec.TaskSpec] = NO_TASKS,
    clean: Path = CLEAN,
) -> Report:
    """Write the folder `target`: arrays by `tokenize(table, folder, advance)`, and the JSON files.

    If there are rows of the main task without labels, `tokenize` also gets their table. `reason` is that of
    the length, if it was chosen from the data; `novel` are the tasks of further splits. Return the report.
    """
    unlabelled = CLEAN / transfer_set.TABLE
    read = [*tables(clean), *(clean / f"{split}.parquet" for split in novel)]
    more = unlabelled if clean == CLEAN and unlabelled.is_file() else None
    total = sum(map(split_rows.count, [*read, *([read[0], more] if more else [])]))
    meta = {"task": task_spec.described(task), "input": input_spec.described(reads)} | (
        {"reasons": {"max_length": reason}} if reason else {}
    )
    with console.progress("tokenize", total, unit) as advance:
        report = {table.stem: tokenize(table, target, advance) for table in read}
        if more:
            report[transfer_set.TRANSFER] = tokenize(read[0], target, advance, more)
    for split, own in novel.items():
        novel_classes.write(target, split, own)
    storage.write_json(target / "meta.json", meta)
    storage.write_json(target / "report.json", report)
    return report


def shown(figure: Any) -> str:
    """Format a count or a share."""
    return f"{figure:.1%}" if isinstance(figure, float) else f"{figure:,}"


if __name__ == "__main__":
    console.run_stage(main)
