"""Read raw tables of sound into rows for the checks; the two passes are those of `encoded_rows`.

The digest of a clip is that of its samples, so copies in other lossless formats are found. Near-duplicates
are found by the clip's spectrogram, as those of images are by their pixels: copies in lossy formats, at other
rates and with another gain look the same in it.
"""

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from baton import params
from baton.contracts.input_spec import AudioInput
from baton.errors import UndecodableError
from baton.sounds import audio_containers, audio_decoding, log_mel
from baton.sounds.audio_decoding import CLIPPED, DecodedClip
from baton.tables import encoded_rows
from baton.tables.encoded_rows import EncodedTable, Seen
from baton.tables.image_samples import Sample
from baton.tables.near_images import Print, fingerprint
from baton.tables.rows import Cell, one_name

CHECKS = ("unreadable", "enormous", "misnamed", "silent", "clipped")  # of single clips, in this order
PRINT_RATE, PRINT_BANDS, PRINT_WINDOW = 8000, 32, 256  # of the spectrogram that is compared
PRINT_HOP, PRINT_FRAMES = 64, 512  # samples between windows of a short clip; the most windows, about


def read_all(
    paths: Mapping[str, Path],
    settings: params.AudioPreprocess,
    read_label: Callable[[Any], Cell | str] = one_name,
) -> list[EncodedTable]:
    """Decode every clip of the raw files, {split: path}; `read_label` is as in `RawTable`.

    Raises:
        DataError: A file is not a Parquet table, is damaged, has no rows, or lacks a column.
    """
    # Threads that first import two parts of scipy at a time, as `log_mel` and imagehash do, get half of it.
    for module in ("scipy.signal", "scipy.fftpack"):
        importlib.import_module(module)
    tables = [EncodedTable(split, path, read_label) for split, path in paths.items()]
    for table in tables:
        encoded_rows.fill(table, settings, partial(_look, max_seconds=settings.max_seconds), "clips")
    return tables


def _look(sample: Sample, max_seconds: float) -> Seen:
    try:
        clip = audio_decoding.decode(sample.image, max_seconds)
    except UndecodableError as error:
        return Seen(found={error.check: str(error)})
    found = {"misnamed": audio_containers.misnamed(sample.name, clip.format)}
    if clip.silent:
        found["silent"] = f"nothing can be heard in its {clip.seconds:.2f} s"
    if clip.clipped > CLIPPED:
        found["clipped"] = f"{clip.clipped:.1%} of its samples are cut off at full scale"
    reasons = {check: reason for check, reason in found.items() if reason}
    shape = None if clip.silent else _print(clip)
    return Seen(audio_decoding.digest(clip), clip.format, clip.notes, reasons, print=shape)


def _print(clip: DecodedClip) -> Print:
    """Return the print of the spectrogram of a whole clip, of its loudest 40 decibels.

    Lossy formats change what is quieter.
    """
    seconds = max(clip.seconds, PRINT_WINDOW / PRINT_RATE)
    hop = max(PRINT_HOP, round(seconds * PRINT_RATE / PRINT_FRAMES))
    window = max(PRINT_WINDOW, hop)
    reads = AudioInput(PRINT_RATE, max(seconds, window / PRINT_RATE), "head", PRINT_BANDS, window, hop)
    pixels = log_mel.spectrogram(clip.samples, clip.rate, reads)  # of 80 decibels
    return fingerprint(np.maximum(2 * pixels.astype(np.int64) - log_mel.WHITE, 0).astype(np.uint8))
