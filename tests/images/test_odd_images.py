"""Intact images of unusual layouts: long PNG chunks, scientific TIFFs, zero alpha, HEIC, unused bits."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, PngImagePlugin

from baton.errors import UndecodableError
from baton.images import bit_depth, decoding, opening
from tests.image_files import bmp, noise, png, saved, smooth, tiff
from tests.images.test_decoding import COLOURS, GREY, TURNED, decode, exif, refused

HORIZON = 3 * 2**20  # bytes of a long text, unpacked; Pillow rejects a PNG with more than 2**20
RAMP = np.linspace(0, 4095, 54).round().astype(np.uint16).reshape(6, 9)


# ---- long chunks of a PNG ----


def with_chunk(kind: bytes, content: bytes, *, behind: bool = False) -> bytes:
    """Return COLOURS as PNG with a chunk of this kind before or after the pixels."""
    whole = saved(COLOURS)
    chunk = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    place = len(whole) - 12 if behind else 33
    return whole[:place] + chunk + whole[place:]


LONG = {
    "zTXt": b"prompt\0\0" + zlib.compress(b"a" * HORIZON),
    "iTXt": b"prompt\0\1\0en\0Eingabe\0" + zlib.compress(b"b" * HORIZON),
    "iCCP": b"profile\0\0" + zlib.compress(b"c" * HORIZON),
    "tEXt": b"prompt\0" + b"d" * 65 * 2**20,  # more than Pillow accepts for all texts together
}


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("kind", LONG)
def test_a_png_is_read_regardless_of_the_length_of_its_texts(kind: str, behind: bool) -> None:
    content = with_chunk(kind.encode(), LONG[kind], behind=behind)
    if kind != "iCCP" or not behind:
        with (
            pytest.raises(ValueError, match=r"too large|Too much memory"),
            Image.open(decoding.io.BytesIO(content)) as image,
        ):
            image.load()  # Pillow alone does reject it
    picture = decode(content)
    assert np.array_equal(picture.pixels, COLOURS)
    assert picture.notes == (f"long {kind} left out",)
    assert opening.size(content) == (9, 6)


def test_short_texts_are_kept_since_they_may_hold_the_orientation() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>', zip=True)
    info.add_text("prompt", "a cat" * 1000, zip=True)
    turned = decode(saved(COLOURS, pnginfo=info))
    assert np.array_equal(turned.pixels, TURNED[6])
    assert turned.notes == ("turned (EXIF)",)


def test_many_texts_that_are_long_together() -> None:
    info = PngImagePlugin.PngInfo()
    for number in range(66):  # each is as long as Pillow accepts, all together are not
        info.add_text(f"text{number}", "e" * 2**20, zip=True)
    assert decode(saved(COLOURS, pnginfo=info)).notes == ("long zTXt left out",)


def test_a_bomb_is_rejected_regardless_of_its_texts() -> None:
    huge = png(50_000, 50_000, 8, 2, bytes(1000), (b"zTXt", LONG["zTXt"]))
    assert refused(huge) == ("enormous", "enormous: 50000 x 50000 pixels, more than 1,000,000")


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:60], lambda content: content[:40] + b"\xff\xff\xff\xff" + content[44:]],
)
def test_a_damaged_png_with_a_long_text_is_rejected(damage: object) -> None:
    assert callable(damage)
    assert refused(damage(with_chunk(b"zTXt", LONG["zTXt"])))[0] == "unreadable"


# ---- TIFF ----


def test_twelve_bits_are_scaled_from_4095() -> None:
    picture = decode(tiff(RAMP, bits=12))
    assert np.array_equal(picture.pixels[:, :, 0], np.rint(RAMP * (255 / 4095)))
    assert picture.notes == ("greyscale", "12 bits")


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (np.zeros((6, 9, 5), np.float32), "5 bands of 32 bits (floating point)"),
        (np.zeros((6, 9, 3), np.float32), "3 bands of 32 bits (floating point)"),
        (np.zeros((6, 9, 7), np.uint8), "7 bands of 8 bits (unsigned integers)"),
        (np.zeros((6, 9), np.float64), "1 band of 64 bits (floating point)"),
        (np.zeros((6, 9, 2), np.int16), "2 bands of 16 bits (signed integers)"),
    ],
)
def test_a_layout_that_is_not_read_is_named(pixels: np.ndarray, words: str) -> None:  # type: ignore[type-arg]
    check, reason = refused(tiff(pixels))
    assert check == "unreadable"
    assert reason.startswith("unsupported layout: a TIFF with ")
    assert words in reason


def test_a_jpeg_of_twelve_bits_is_not_called_broken() -> None:
    content = bytearray(saved(smooth(0), "JPEG"))
    place = content.index(b"\xff\xc0")
    content[place + 4] = 12  # the precision in the frame's header
    assert (
        refused(bytes(content))[1]
        == "unsupported layout: JPEG: cannot handle 12-bit layers; save it as grey or RGB of 8 bits"
    )


MEASURED = np.linspace(-40, 60, 54).astype(np.float32).reshape(6, 9)
SCALED = np.rint((MEASURED.astype(float) + 40) * 2.55)


@pytest.mark.parametrize("value", [np.finfo(np.float32).min, np.finfo(np.float32).max, -np.inf])
def test_floats_that_are_not_measurements_are_no_data(value: float) -> None:
    holed = MEASURED.copy()
    holed[2, 3] = value
    picture = decode(tiff(holed))
    assert np.abs(np.delete(picture.pixels.ravel() - SCALED.ravel(), 2 * 9 + 3)).max() <= 1
    assert picture.pixels[2, 3] == 255
    assert picture.notes == ("greyscale", "32 bits", "no data on white")


@pytest.mark.parametrize(
    ("kind", "value", "tag"),
    [
        (np.float32, -9999, b"-9999\0"),
        (np.float32, np.nan, b"nan\0"),
        (np.int16, -32768, b"-32768\0"),
        (np.int32, -9999, b"-9999 \0"),
    ],
)
def test_gdals_no_data_value_is_honoured(kind: type, value: float, tag: bytes) -> None:
    holed = MEASURED.astype(kind)
    whole = decode(tiff(holed)).pixels.copy()
    holed[2, 3] = value
    picture = decode(tiff(holed, nodata=(bit_depth.NO_DATA, 2, tag)))
    whole[2, 3] = 255
    assert np.array_equal(picture.pixels, whole)
    assert "no data on white" in picture.notes
    if not np.isnan(value):
        assert "few levels left by extremes" in decode(tiff(holed)).notes, (
            "without the tag, the lack of levels is noted"
        )


def test_a_tiff_without_any_value_is_rejected() -> None:
    assert refused(tiff(np.full((6, 9), -3.4e38, np.float32))) == (
        "unreadable",
        "broken: all pixels are without data",
    )


def test_white_may_be_zero() -> None:
    deeper = RAMP * 16
    assert np.array_equal(decode(tiff(deeper, photometric=0)).pixels, 255 - decode(tiff(deeper)).pixels)
    shares = (MEASURED + 40) / 100
    assert np.array_equal(decode(tiff(shares, photometric=0)).pixels, 255 - decode(tiff(shares)).pixels)


def test_unsigned_values_of_32_bits() -> None:
    values = np.array([[0, 2**31], [2**32 - 1, 2**30]], np.uint32)
    assert decode(tiff(values)).pixels[:, :, 0].tolist() == [[0, 128], [255, 64]]


def test_bands_without_a_meaning_are_left_out() -> None:
    assert np.array_equal(decode(tiff(np.dstack([COLOURS, GREY]))).pixels, COLOURS)
    assert np.array_equal(decode(tiff(np.dstack([GREY, GREY ^ 255]))).pixels, GREY)


# ---- alpha of zeros ----


def test_an_alpha_of_zeros_in_a_bmp_means_none() -> None:
    picture = decode(bmp(COLOURS, alpha=0))
    assert np.array_equal(picture.pixels, COLOURS)
    assert (picture.notes, picture.transparent) == (("alpha of zeros left out",), False)
    assert np.array_equal(decode(bmp(COLOURS, alpha=255)).pixels, COLOURS)
    assert (decode(bmp(COLOURS, alpha=128)).pixels > COLOURS // 2).all(), "any other alpha is used"


def test_fully_transparent_images_are_distinguished_from_white_ones() -> None:
    clear = np.dstack([COLOURS, np.zeros_like(GREY)])
    for kind in ("PNG", "WEBP", "TIFF"):
        assert decode(saved(clear, kind)).transparent, kind
    assert decode(saved(np.zeros((6, 9, 1), np.uint8), transparency=0)).transparent
    assert decode(saved(Image.fromarray(np.full((6, 9), 9, np.uint16)), transparency=9)).transparent
    clear[2, 3, 3] = 1
    assert not decode(saved(clear)).transparent
    assert not decode(saved(np.full((6, 9, 3), 255, np.uint8))).transparent
    partly = np.full((6, 9), 65535, np.uint16)
    partly[0, 0] = 9
    assert not decode(saved(Image.fromarray(partly), transparency=9)).transparent


# ---- HEIC ----


def test_heic() -> None:
    picture = decode(saved(smooth(0), "HEIF", quality=95))
    assert (picture.format, picture.notes, picture.frames) == ("HEIF", (), 1)
    assert np.abs(picture.pixels.astype(int) - smooth(0)).mean() < 3
    grey = decode(saved(smooth(0)[:, :, :1], "HEIF", quality=95))
    assert grey.pixels.shape == (48, 64, 1)
    clear = decode(saved(np.dstack([smooth(0), np.zeros((48, 64), np.uint8)]), "HEIF"))
    assert clear.transparent
    assert decoding.misnamed("a.heic", "HEIF") == decoding.misnamed("a.HEIF", "HEIF") == ""
    assert decoding.misnamed("a.jpg", "HEIF") == "HEIF, but named .jpg"


@pytest.mark.parametrize("orientation", TURNED)
def test_heic_is_turned_once(orientation: int) -> None:
    turned = decode(saved(smooth(0), "HEIF", quality=95, exif=exif(orientation).tobytes())).pixels
    wanted = decode(saved(smooth(0), "PNG", exif=exif(orientation))).pixels
    assert turned.shape == wanted.shape
    assert np.abs(turned.astype(int) - wanted).mean() < 3


def test_the_main_image_of_several_in_a_heic_is_used() -> None:
    file = pillow_heif.HeifFile()
    for seed in range(3):
        file.add_from_pillow(Image.fromarray(smooth(seed)))
    target = decoding.io.BytesIO()
    file.save(target, primary_index=1, quality=95)
    picture = decode(target.getvalue())
    assert np.abs(picture.pixels.astype(int) - smooth(1)).mean() < 3
    assert (picture.frames, picture.notes) == (1, ("main picture of several (HEIF)",))


def test_half_a_heic_is_rejected() -> None:
    content = saved(smooth(0), "HEIF")
    for length in (10, 30, len(content) // 2, len(content) - 5):
        check, reason = refused(content[:length])
        assert check == "unreadable" and reason.startswith(("broken", "truncated", "not an image")), reason


# ---- fewer bits than stored ----


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_of_which_a_camera_used_twelve(kind: str) -> None:
    content = saved(Image.fromarray(RAMP), kind, exif=exif(6))
    assert len(np.unique(decode(content).pixels)) == 17
    assert (
        "16 grey levels or fewer of 16 bits" in decode(saved(Image.fromarray(RAMP - RAMP // 16), kind)).notes
    )
    picture = decoding.decode(content, 1000, bits=12)
    assert set(picture.notes) == {"greyscale", "16 bits", "turned (EXIF)"}
    assert np.array_equal(picture.pixels[:, :, 0], np.rot90(np.rint(RAMP * (255 / 4095)), -1))
    assert picture.greatest == decode(content).greatest == 4095
    assert decoding.decode(saved(Image.fromarray(RAMP * 16), kind), 1000, bits=12).pixels.max() == 255, (
        "brighter values are white"
    )


def test_formats_that_say_how_many_bits_they_use_are_not_scaled_again() -> None:
    for content in (
        b"P5 9 6 4095\n" + RAMP.astype(">u2").tobytes(),
        saved(Image.fromarray(RAMP * 16), "JPEG2000"),
        tiff(RAMP, bits=12),
    ):
        picture = decoding.decode(content, 1000, bits=12)
        assert np.array_equal(picture.pixels, decode(content).pixels)
        assert picture.greatest == 0


def test_colours_of_twelve_bits_keep_their_brightness() -> None:
    colours = np.random.default_rng(0).integers(0, 4096, (6, 9, 3)).astype(">u2")
    content = png(9, 6, 16, 2, b"".join(b"\0" + row.tobytes() for row in colours))
    picture = decoding.decode(content, 1000, bits=12)
    assert np.abs(picture.pixels.astype(float) - colours * (255 / 4095)).max() <= 17, (
        "the upper 4 of 12 bits remain"
    )
    assert picture.greatest == colours.max() | 255
    assert refused_bits(content, 8) == "broken: colours of 16 bits that use only 8: save them with 8 bits"


def refused_bits(content: bytes, bits: int) -> str:
    with pytest.raises(UndecodableError) as caught:
        decoding.decode(content, 1000, bits)
    return str(caught.value)


# ---- others ----


def test_other_layouts(tmp_path: Path) -> None:
    lights = Image.fromarray(np.dstack([GREY, np.full_like(GREY, 255)]), "LA")
    assert np.array_equal(decode(saved(lights)).pixels, GREY)
    assert np.array_equal(decode(saved(COLOURS, exif=exif(99))).pixels, COLOURS)
    assert np.array_equal(decode(saved(COLOURS, exif=exif(0))).pixels, COLOURS)
    pages = decode(saved(noise(0), "TIFF", save_all=True, append_images=[Image.fromarray(noise(1, 12, 3))]))
    assert np.array_equal(pages.pixels, noise(0)) and pages.frames == 2
    assert refused(b"<!DOCTYPE html><html></html>")[1].startswith("not an image")
