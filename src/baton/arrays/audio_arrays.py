"""Clean clips of sound -> memory-mapped log-mel spectrograms, in the layout of `image_arrays`.

Input: `{split}.parquet` (`id`, `audio`, and the targets). Output: the arrays of grey images of `bands` x
`frames` pixels (see `sounds.log_mel`); of val and test the parts of a clip are side by side. Memory does not
grow with the number of clips.
"""

import dataclasses
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from baton.arrays import image_arrays
from baton.arrays.image_arrays import QUANTILES, Prepared
from baton.contracts.input_spec import AudioInput
from baton.contracts.task_spec import TaskSpec
from baton.errors import DataError
from baton.sounds import audio_decoding, log_mel

ANY_LENGTH = float(sys.maxsize)  # preprocess has already checked it
MILLISECONDS = 1000


def tokenize(
    table: Path,
    reads: AudioInput,
    target: Path,
    chunk_size: int,
    advance: Callable[[int], object],
    task: TaskSpec,
    workers: int | None = None,
) -> dict[str, Any]:
    """Write the arrays of one split into `target` and return its statistics; arguments as for images.

    Returns:
        `clips`, `bytes`, `cut` (clips longer than what is read) and `cut_share`, `padded_share` (shorter
        ones), `resampled_share`, `milliseconds` (quantiles of the clips' lengths), and `parts` (of all
        clips) if clips may have several.

    Raises:
        DataError: If a clip cannot be decoded, which `preprocess` should have found.
    """
    if table.stem == "train":
        reads = dataclasses.replace(reads, parts=1)
    prepare = partial(_prepare, reads=reads)
    sources, size = image_arrays.write(table, target, prepare, "audio", chunk_size, advance, task, workers)
    lengths, rates = sources.T
    wanted = reads.seconds * MILLISECONDS
    cut = int((lengths > reads.parts * wanted).sum())
    figures = {
        "clips": len(sources),
        "bytes": size,
        "cut": cut,
        "cut_share": cut / len(sources),
        "padded_share": float((lengths < wanted).mean()),
        "resampled_share": float((rates != reads.sample_rate).mean()),
        "milliseconds": {
            name: int(np.percentile(lengths, share, method="nearest")) for name, share in QUANTILES.items()
        },
    }
    return figures if reads.parts == 1 else figures | {"parts": size // (reads.bands * reads.frames)}


def _prepare(batch: pa.RecordBatch, reads: AudioInput) -> tuple[pa.RecordBatch, Prepared]:
    chunk: Prepared = []
    for name, content in zip(batch["id"], batch["audio"], strict=True):
        try:
            clip = audio_decoding.decode(content.as_py(), ANY_LENGTH)
        except DataError as error:
            hint = "run `dvc repro --force preprocess`, which checks that every clip can be decoded"
            raise DataError(
                f"clip {name.as_py()} cannot be decoded", got=error, expected="a clip of sound", hint=hint
            ) from error
        pixels = np.concatenate(log_mel.spectrograms(clip.samples, clip.rate, reads), axis=1)
        chunk.append((pixels, (round(MILLISECONDS * clip.seconds), clip.rate)))
    return batch.drop_columns(["audio"]), chunk
