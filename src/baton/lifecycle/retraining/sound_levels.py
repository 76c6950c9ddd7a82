"""How long clips of sound last and how loud they are: the measures by which `drift` compares them.

A new microphone, room or way of cutting shows in them first.
"""

from pathlib import Path

from baton.arrays.audio_arrays import ANY_LENGTH
from baton.lifecycle import test_table
from baton.sounds import audio_decoding
from baton.sounds.audio_decoding import DecodedClip


def measure(clean: Path, places: set[int]) -> list[tuple[float, float]]:
    """Measure the seconds and the loudness, in decibels below full scale, of clips.

    `places` are indices into train and val, train first; the results are in their order. One portion of
    clips is in memory at a time.

    Raises:
        UndecodableError: a clip cannot be decoded, which preprocess rules out.
    """
    found, place = [], 0
    for split in test_table.TRAINED_ON:
        for some in test_table.inputs(clean / f"{split}.parquet", "audio"):
            found += [
                of(audio_decoding.decode(content, ANY_LENGTH))
                for own, content in enumerate(some, place)
                if own in places
            ]
            place += len(some)
    return found


def of(clip: DecodedClip) -> tuple[float, float]:
    """Return the seconds and the loudness of a clip, rounded to hundredths and to decibels."""
    return round(clip.seconds, 2), float(round(clip.loudness))
