"""Clips of every format, depth, rate and number of channels decode to their samples, or are named."""

import io
import struct
import wave

import numpy as np
import pytest
import soundfile

from baton.errors import UndecodableError
from baton.sounds import audio_containers, audio_decoding
from baton.sounds.audio_decoding import decode, digest
from tests.audio_files import (
    RATE,
    bomb,
    melody,
    noise,
    pages,
    saved,
    summed,
    tagged,
    tone,
    without_count,
)

LOSSLESS = [  # format, subtype, the largest error of a sample
    ("WAV", "PCM_U8", 2**-7),
    ("WAV", "PCM_16", 2**-15),
    ("WAV", "PCM_24", 2**-23),
    ("WAV", "PCM_32", 2**-23),
    ("WAV", "FLOAT", 0.0),
    ("WAV", "DOUBLE", 0.0),
    ("WAVEX", "PCM_24", 2**-23),
    ("RF64", "PCM_16", 2**-15),
    ("AIFF", "PCM_16", 2**-15),
    ("AIFF", "PCM_24", 2**-23),
    ("FLAC", "PCM_16", 2**-15),
    ("FLAC", "PCM_24", 2**-23),
]
LOSSY = [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("WAV", "ULAW")]
EVERY = [form[:2] for form in LOSSLESS] + LOSSY


def refused(content: bytes, seconds: float = 10.0) -> UndecodableError:
    with pytest.raises(UndecodableError) as caught:
        decode(content, seconds)
    return caught.value


@pytest.mark.parametrize(("form", "subtype", "error"), LOSSLESS)
def test_lossless_formats_give_the_samples(form: str, subtype: str, error: float) -> None:
    sound = tone() + noise(0, 1.0)
    clip = decode(saved(sound, form, subtype), 10)
    assert clip.rate == RATE and clip.samples.dtype == np.float32
    np.testing.assert_allclose(clip.samples, sound, atol=error)


@pytest.mark.parametrize(("form", "subtype"), LOSSY)
def test_lossy_formats_give_about_the_samples(form: str, subtype: str) -> None:
    sound = tone()
    clip = decode(saved(sound, form, subtype), 10)
    assert clip.samples.shape == sound.shape
    middle = slice(2000, -2000)
    assert np.abs(clip.samples[middle] - sound[middle]).max() < 0.05


@pytest.mark.parametrize(("form", "subtype"), LOSSY)
def test_blocks_have_the_samples_of_the_whole(form: str, subtype: str) -> None:
    """Seeking between blocks would make samples of an MP3 wrong."""
    rate, sound = 48_000, np.concatenate([melody(8, 1.0, 48_000), noise(8, 3.0, 48_000, level=0.5)])
    content = saved(sound, form, subtype, rate)
    assert len(sound) > 2 * audio_decoding.BLOCK
    expected, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    np.testing.assert_array_equal(decode(content, 10).samples, expected)


def test_the_standard_library_agrees_about_a_wav() -> None:
    content = saved(noise(1), "WAV", "PCM_16")
    with wave.open(io.BytesIO(content)) as file:
        expected = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 2**15
    np.testing.assert_array_equal(decode(content, 10).samples, expected.astype(np.float32))


@pytest.mark.parametrize("rate", [4000, 11_025, 44_100, 192_000])
def test_rates_are_kept(rate: int) -> None:
    clip = decode(saved(tone(rate=rate), rate=rate), 10)
    assert (clip.rate, len(clip.samples), clip.seconds) == (rate, rate, 1.0)
    assert f"{rate} Hz" in clip.notes


@pytest.mark.parametrize("rate", [1000, 200_000])
def test_other_rates_are_named(rate: int) -> None:
    assert "unsupported" in str(refused(saved(tone(100, rate=rate), rate=rate)))


def test_channels_are_averaged() -> None:
    left, right = tone(300), tone(500)
    clip = decode(saved(np.stack([left, right], 1), "WAV", "FLOAT"), 10)
    np.testing.assert_allclose(clip.samples, (left + right) / 2, atol=1e-7)
    assert "2 channels mixed" in clip.notes
    same = decode(saved(np.stack([left] * 6, 1), "WAV", "FLOAT"), 10)
    np.testing.assert_array_equal(same.samples, left)


def test_of_opposite_phases_the_first_channel_is_read_and_noted() -> None:
    left = tone()
    clip = decode(saved(np.stack([left, -left], 1), "WAV", "FLOAT"), 10)
    np.testing.assert_array_equal(clip.samples, left)
    assert "opposite phases: first channel" in clip.notes and not clip.silent
    lifted = decode(saved(np.stack([left + 0.1, 0.1 - left], 1), "WAV", "FLOAT"), 10)  # with an offset
    np.testing.assert_array_equal(lifted.samples, left + np.float32(0.1))
    assert not lifted.silent
    nearly = decode(saved(np.stack([left, -0.9 * left], 1), "WAV", "FLOAT"), 10)
    assert "opposite phases: first channel" in nearly.notes
    with pytest.raises(UndecodableError, match="the first is silent"):
        decode(saved(np.stack([0 * left, left, -left], 1), "WAV", "FLOAT"), 10)


@pytest.mark.parametrize(("form", "subtype"), EVERY)
@pytest.mark.parametrize("kept", [0.5, 0.97])
def test_truncated_files_are_named(form: str, subtype: str, kept: float) -> None:
    content = saved(melody(0), form, subtype)
    decode(content, 10)
    error = refused(content[: int(kept * len(content))])
    assert error.check == "unreadable" and "truncated" in str(error)


@pytest.mark.parametrize("form", ["WAV", "AIFF"])
def test_a_single_missing_byte_is_counted(form: str) -> None:
    assert str(refused(saved(tone(), form, "PCM_16")[:-1])).startswith("truncated: 1 of 32,0")


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF])
@pytest.mark.parametrize(("form", "order", "chunk"), [("WAV", "<", b"data"), ("AIFF", ">", b"SSND")])
def test_sizes_that_the_writer_did_not_know_are_filled_in(
    form: str, order: str, chunk: bytes, size: int
) -> None:
    """As programs write to a pipe: 0 or the greatest (ffmpeg), the greatest of 31 bits, or nearly (sox)."""
    content = bytearray(saved(tone(), form, "PCM_16"))
    for place in (4, content.index(chunk) + 4):  # the sizes of the file, and of its samples
        struct.pack_into(f"{order}I", content, place, size)
    np.testing.assert_array_equal(decode(bytes(content), 10).samples, decode(saved(tone(), form), 10).samples)


def test_an_empty_wav_with_other_chunks_stays_empty() -> None:
    content = bytearray(saved(np.zeros(0), "WAV") + b"note" + struct.pack("<I", 40) + bytes(40))
    struct.pack_into("<I", content, 4, len(content) - 8)
    assert str(refused(bytes(content))) == "zero length: no samples"


@pytest.mark.parametrize(("form", "subtype"), EVERY)
def test_tags_before_the_sound_do_not_matter(form: str, subtype: str) -> None:
    content = saved(melody(0), form, subtype)
    clip = decode(tagged(tagged(content), 70_000), 10)
    assert digest(clip) == digest(decode(content, 10))
    if form != "MP3":  # whose header states the frames
        assert "truncated" in str(refused(tagged(content[:-40])))
    assert "no sound follows its ID3 tag" in str(refused(tagged(b"")))


MODES = [
    ("CONSTANT", 1, 16_000),
    ("CONSTANT", 2, 44_100),
    ("AVERAGE", 2, 22_050),
    ("VARIABLE", 1, 44_100),
    ("VARIABLE", 2, 8000),
]


@pytest.mark.parametrize(("mode", "channels", "rate"), MODES)
def test_an_mp3_that_does_not_state_its_length_is_read_to_its_end(
    mode: str, channels: int, rate: int
) -> None:
    """libsndfile reads such files of variable rate to about a third, and refuses tagged ones."""
    loud = np.concatenate([melody(0, 1.0, rate), noise(1, 1.0, rate, level=0.5)])
    sound = np.stack([loud, loud[::-1]][:channels], 1)
    content = saved(sound, "MP3", None, rate, bitrate_mode=mode, compression_level=0.5)
    whole, bare = decode(content, 10), without_count(content)
    delay = 576  # samples that LAME puts before the sound and states in the header
    ends = (b"TAG" + bytes(125), struct.pack("<8sIIII8x", b"APETAGEX", 2000, 32, 0, 0), bytes(500))
    for own in (bare, tagged(bare, 70_000), *(tagged(bare) + end for end in ends)):
        clip = decode(own, 10)
        assert clip.rate == rate and len(clip.samples) >= delay + len(sound)
        read = clip.samples[delay : delay + len(sound)]
        np.testing.assert_allclose(read, whole.samples, atol=1e-4)
    assert str(refused(bare[:-20])).startswith("truncated: the last of ")
    assert str(refused(bare + b"<html>" * 9)).startswith("damaged: 54 bytes that are not frames follow")


def test_mp3_files_that_state_fewer_frames_than_follow_are_named() -> None:
    content = saved(melody(1), "MP3")
    assert str(refused(content + without_count(content))).startswith("damaged: 30 frames follow the 30 it")
    assert "free format" in str(refused(bytes([0xFF, 0xFB, 0x04, 0xC4]) + content[4:]))
    second = bytes([0xFF, 0xFD, 0x84, 0xC4]) + bytes(332)  # of layer II
    assert "not a format that is read" in str(refused(4 * second))


def test_an_ogg_file_of_whole_pages_without_an_end_mark_is_read_and_noted() -> None:
    """As the Arabic and Malayalam clips of KLettres; one that is cut within a page is truncated."""
    content = saved(tone(seconds=3.0) + noise(4, 3.0), "OGG")
    last = content.rindex(b"OggS")
    cut = content[:last]
    assert cut.count(b"OggS") > 2
    clip = decode(cut, 10)
    assert "no end mark" in clip.notes and 1 < clip.seconds < 3
    assert "no end mark" not in decode(content, 10).notes
    for missing in (1, 30, len(content) - last - 10):
        assert str(refused(content[:-missing])) == "truncated: the end of the Ogg stream is missing"


def renumbered(page: bytes, number: int, serial: int | None = None) -> bytes:
    own = page[14:18] if serial is None else struct.pack("<I", serial)
    return summed(page[:14] + own + struct.pack("<I", number) + page[22:])


def test_damaged_ogg_files_are_named() -> None:
    """libsndfile skips pages that are damaged or missing."""
    content = saved(melody(5, 3.0) + noise(5, 3.0), "OGG")
    every = pages(content)
    assert b"".join(map(summed, every)) == content and len(every) > 5
    flipped = bytearray(content)
    flipped[sum(map(len, every[:3])) - 9] ^= 1
    faults = {
        "the checksum of Ogg page 2 is wrong": bytes(flipped),
        "Ogg page 4 follows page 2": b"".join(every[:3] + every[4:]),
        "Ogg page 3 follows page 3": b"".join([*every[:4], *every[3:]]),
        f"Ogg page {len(every)} follows page {len(every) - 1}, the last one": b"".join(
            [*every, renumbered(every[3], len(every))]
        ),
        "what follows Ogg page 2 is not a page": b"".join([*every[:3], b"?", *every[3:]]),
        "several Ogg streams at the same time": b"".join([every[0], renumbered(every[0], 0, 7), *every[1:]]),
    }
    for reason, bad in faults.items():
        assert reason in str(refused(bad))


def test_ogg_streams_one_after_the_other_are_joined() -> None:
    """As in 18 Czech clips of KLettres; libsndfile reads the first alone."""
    first, second = saved(melody(6), "OGG"), saved(np.stack([melody(7)] * 2, 1), "OGG")
    same = b"".join(renumbered(page, n, 7) for n, page in enumerate(pages(first)))
    for files in ((first, second), (same, same)):
        clip, own = decode(b"".join(files), 10), [decode(file, 10).samples for file in files]
        np.testing.assert_array_equal(clip.samples, np.concatenate(own))
        assert "2 streams" in clip.notes
    assert refused(first + second, 1.5).check == "enormous"
    assert "streams of 8,000 and 16,000" in str(refused(first + saved(tone(rate=8000), "OGG", rate=8000)))


def test_bytes_after_the_end_do_not_matter() -> None:
    for form, subtype in EVERY:
        if form != "MP3":
            content = saved(tone(), form, subtype)
            assert digest(decode(content + bytes(99), 10)) == digest(decode(content, 10)), form


def test_files_without_sound_are_named() -> None:
    empty = np.zeros(0, np.float32)
    for form in ("WAV", "AIFF"):
        assert str(refused(saved(empty, form))) == "zero length: no samples"
    flac = bytearray(saved(tone(), "FLAC"))
    flac[22:26] = bytes(4)  # the low bits of the number of samples
    assert str(refused(bytes(flac))).startswith("unsupported: a FLAC that does not state its length")
    assert str(refused(b"")) == "empty: 0 bytes"
    assert str(refused(b"<html>404</html>")).startswith(
        "not a format that is read (WAV, AIFF, FLAC, OGG, MP3)"
    )
    assert "not a format that is read" in str(refused(saved(tone(), "AU")))


def test_broken_files_are_named() -> None:
    flac = bytearray(saved(melody(1), "FLAC"))
    flac[len(flac) // 2 : len(flac) // 2 + 40] = bytes(40)
    assert "broken or truncated: begins as FLAC" in str(refused(bytes(flac)))
    sound = noise(2)
    sound[7] = np.nan
    assert str(refused(saved(sound, "WAV", "FLOAT"))) == "broken: a sample is not a finite number"


def test_enormous_files_are_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_decoding, "_decoded", None)  # would be called to decode
    for content, seconds in ((bomb(), 600.0), (saved(tone(seconds=3.0)), 2.5)):
        error = refused(content, seconds)
        assert error.check == "enormous"
    assert str(refused(bomb(10), 600.0)) == "enormous: 36,000 s, more than 600"


def test_channels_count_towards_what_is_enormous() -> None:
    """Of 32 channels at 16 kHz, a second has as many samples as 5 1/3 of stereo at 48 kHz."""
    content = saved(np.zeros((RATE, 32)), "WAV")
    assert decode(content, 5.4).seconds == 1.0
    error = refused(content, 5.3)
    assert error.check == "enormous" and "512,000 samples in 32 channels, more than 508,800" in str(error)


def test_silence_and_clipping() -> None:
    assert decode(saved(np.zeros(RATE)), 10).silent
    assert decode(saved(np.full(RATE, 0.25)), 10).silent, "a constant is not heard"
    assert not decode(saved(tone(level=0.002)), 10).silent
    assert "DC offset" in decode(saved(tone() + 0.1), 10).notes
    clip = decode(saved(np.clip(tone(level=2.0), -1, 1)), 10)
    assert clip.clipped == pytest.approx(2 / 3, abs=0.02)  # |sin| > 1/2 in two thirds of a period
    assert decode(saved(tone(level=0.98)), 10).clipped == 0
    assert decode(saved(tone(level=1.0) * 0.999), 10).clipped < audio_decoding.CLIPPED


def test_loudness_is_in_decibels() -> None:
    assert decode(saved(tone(level=1.0) * 0.9999, "WAV", "FLOAT"), 10).loudness == pytest.approx(
        -3.01, abs=0.01
    )
    assert decode(saved(tone(level=0.1), "WAV", "FLOAT"), 10).loudness == pytest.approx(-23.01, abs=0.01)
    assert decode(saved(np.zeros(9)), 10).loudness == -120


def test_equal_samples_have_one_digest_whatever_the_format() -> None:
    sound = np.round(noise(3) * 2**15) / 2**15
    clips = [decode(saved(sound, form, subtype), 10) for form, subtype, error in LOSSLESS if error < 2**-8]
    assert len({digest(clip) for clip in clips}) == 1
    assert digest(clips[0]) != digest(decode(saved(sound, rate=8000), 10))
    stereo = decode(saved(np.stack([sound, sound], 1), "FLAC", "PCM_16"), 10)
    assert digest(stereo) == digest(clips[0])


def test_names_that_contradict_the_content() -> None:
    assert audio_containers.misnamed("a/b.WAV", "MP3") == "MP3, but named .WAV"
    assert audio_containers.misnamed("a/b.oga", "OGG") == ""
    assert audio_containers.misnamed("train/17", "WAV") == ""
