"""Every kind of image is decoded to the pixels it shows, or rejected with a reason."""

import random
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from baton.errors import UndecodableError
from baton.images import decoding, pillow
from tests import image_files
from tests.image_files import noise, png, saved, smooth

COLOURS = noise(0)
GREY = noise(1, channels=1)
MOST = 1_000_000


def decode(content: bytes) -> decoding.DecodedImage:
    return decoding.decode(content, MOST)


def refused(content: bytes, most: int = MOST) -> tuple[str, str]:
    with pytest.raises(UndecodableError) as caught:
        decoding.decode(content, most)
    return caught.value.check, str(caught.value)


def exif(orientation: int) -> Image.Exif:
    made = Image.Exif()
    made[pillow.ORIENTATION] = orientation
    return made


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_colours_and_greys_are_kept_to_the_bit(kind: str) -> None:
    assert np.array_equal(decode(saved(COLOURS, kind)).pixels, COLOURS)
    grey = decode(saved(GREY, kind))
    assert np.array_equal(grey.pixels, GREY)
    assert grey.pixels.shape == (6, 9, 1)
    assert "greyscale" in grey.notes
    assert (grey.format, grey.frames, grey.warnings) == (kind, 1, ())


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "JPEG2000"])
def test_lossy_formats_come_close(kind: str) -> None:
    picture = decode(saved(smooth(0), kind, quality=95))
    assert picture.format == kind
    assert np.abs(picture.pixels.astype(int) - smooth(0)).mean() < 3


def test_decoding_reverses_encoding() -> None:
    for pixels in (COLOURS, GREY):
        assert np.array_equal(decode(decoding.encode(pixels)).pixels, pixels)
        assert decoding.encode(pixels) == decoding.encode(pixels.copy())


def test_palette() -> None:
    few = Image.fromarray(COLOURS).quantize(16)
    for kind in ("PNG", "GIF"):
        picture = decode(saved(few, kind))
        assert np.array_equal(picture.pixels, np.asarray(few.convert("RGB")))
        assert "palette" in picture.notes


def over_white(pixels: image_files.Pixels, alpha: image_files.Pixels) -> image_files.Pixels:
    share = alpha.astype(float) / 255
    return np.rint(pixels * share + 255 * (1 - share)).astype(np.uint8)


def test_alpha_is_put_on_white() -> None:
    alpha = noise(2, channels=1)
    picture = decode(saved(np.concatenate([COLOURS, alpha], axis=2)))
    assert np.abs(picture.pixels.astype(int) - over_white(COLOURS, alpha)).max() <= 1
    assert picture.notes == ("alpha on white",)
    opaque = decode(saved(np.concatenate([COLOURS, np.full_like(alpha, 255)], axis=2)))
    assert np.array_equal(opaque.pixels, COLOURS)


def test_grey_with_alpha_stays_grey() -> None:
    alpha = noise(2, channels=1)
    for content in (
        saved(np.concatenate([GREY, alpha], axis=2)),
        saved(Image.merge("LA", [Image.fromarray(a[:, :, 0]) for a in (GREY, alpha)])),
    ):
        picture = decode(content)
        assert picture.pixels.shape == (6, 9, 1)
        assert np.abs(picture.pixels.astype(int) - over_white(GREY, alpha)).max() <= 1


def test_transparent_colours_become_white() -> None:
    few = Image.fromarray(COLOURS).quantize(4)
    places = np.asarray(few)
    one = decode(saved(few, transparency=2))
    assert (one.pixels[places == 2] == 255).all()
    assert np.array_equal(one.pixels[places != 2], np.asarray(few.convert("RGB"))[places != 2])
    degrees = decode(saved(few, transparency=bytes([0, 128, 255, 255])))
    assert (degrees.pixels[places == 0] == 255).all()
    assert np.array_equal(degrees.pixels[places == 3], np.asarray(few.convert("RGB"))[places == 3])
    for pixels, colour in ((COLOURS, tuple(map(int, COLOURS[0, 0]))), (GREY, int(GREY[0, 0, 0]))):
        picture = decode(saved(pixels, transparency=colour))
        assert (picture.pixels[0, 0] == 255).all()
        assert np.array_equal(picture.pixels[1:3], pixels[1:3])


def test_cmyk() -> None:
    inks = Image.fromarray(smooth(0)).convert("CMYK")
    tiff = decode(saved(inks, "TIFF"))
    assert np.array_equal(tiff.pixels, smooth(0))
    assert tiff.notes == ("CMYK",)
    jpeg = decode(saved(inks, "JPEG", quality=95))
    assert np.abs(jpeg.pixels.astype(int) - smooth(0)).mean() < 4


def test_sixteen_bits_are_scaled() -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (6, 9), dtype=np.uint16)
    for kind in ("PNG", "TIFF", "PPM"):
        picture = decode(saved(Image.fromarray(deep), kind))
        assert np.array_equal(picture.pixels[:, :, 0], np.rint(deep / 257).astype(np.uint8)), kind
        assert set(picture.notes) == {"greyscale", "16 bits"}
    rows = b"\0" + np.array([[0, 257 * 7, 65535, 257 * 200, 1, 65534]], ">u2").tobytes()
    colours = decode(png(2, 1, 16, 2, rows))
    assert colours.pixels.tolist() == [[[0, 7, 255], [200, 0, 255]]]
    assert colours.notes == ("16 bits",)


def test_sixteen_bits_with_a_transparent_colour() -> None:
    rows = b"\0" + np.array([0x1234, 0x5678, 0x9ABC, 0xFFF0, 0x1010, 0], ">u2").tobytes()
    picture = decode(png(2, 1, 16, 2, rows, (b"tRNS", rows[1:7])))
    assert picture.pixels.tolist() == [[[255, 255, 255], [255, 16, 0]]]
    rows = b"\0" + np.array([0x1234, 0x8080], ">u2").tobytes()
    assert decode(png(2, 1, 16, 0, rows, (b"tRNS", rows[1:3]))).pixels.tolist() == [[[255], [128]]]


def test_thirty_two_bits_are_scaled() -> None:
    whole = np.array([[-5, 0], [1_000_000, 999_995]], np.int32)
    assert decode(saved(Image.fromarray(whole), "TIFF")).pixels[:, :, 0].tolist() == [[0, 0], [255, 255]]
    share = np.array([[0.0, 0.5], [0.25, 0.75]], np.float32)
    picture = decode(saved(Image.fromarray(share), "TIFF"))
    assert picture.pixels[:, :, 0].tolist() == [[0, 128], [64, 191]]
    assert picture.notes == ("greyscale", "32 bits")
    assert decode(saved(Image.fromarray(share * 4 - 1), "TIFF")).pixels[:, :, 0].tolist() == [
        [0, 170],
        [85, 255],
    ]
    check, reason = refused(saved(Image.fromarray(share * np.float32("nan")), "TIFF"))
    assert (check, reason) == ("unreadable", "broken: pixels are no finite numbers")


def test_one_bit() -> None:
    bits = Image.fromarray(GREY[:, :, 0]).convert("1")
    for kind in ("PNG", "TIFF", "BMP"):
        picture = decode(saved(bits, kind))
        assert np.array_equal(picture.pixels[:, :, 0], np.asarray(bits.convert("L")))
        assert set(picture.notes) >= {"greyscale"}


TURNED = {
    1: COLOURS,
    2: COLOURS[:, ::-1],
    3: COLOURS[::-1, ::-1],
    4: COLOURS[::-1],
    5: COLOURS.transpose(1, 0, 2),
    6: np.rot90(COLOURS, -1),
    7: np.rot90(COLOURS, 2).transpose(1, 0, 2),
    8: np.rot90(COLOURS, 1),
}


@pytest.mark.parametrize("orientation", TURNED)
def test_exif_orientation(orientation: int) -> None:
    shown = TURNED[orientation]
    for kind in ("PNG", "TIFF"):
        picture = decode(saved(COLOURS, kind, exif=exif(orientation)))
        assert np.array_equal(picture.pixels, shown), kind
        assert ("turned (EXIF)" in picture.notes) == (orientation > 1)
    compressed = decode(
        saved(COLOURS, "TIFF", tiffinfo={pillow.ORIENTATION: orientation}, compression="tiff_deflate")
    )
    assert np.array_equal(compressed.pixels, shown)
    jpeg = decode(saved(smooth(0), "JPEG", exif=exif(orientation)))
    assert jpeg.pixels.shape == ((64, 48, 3) if orientation > 4 else (48, 64, 3))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_the_first_frame_of_several(kind: str) -> None:
    first, second = smooth(0), 255 - smooth(0)
    content = saved(
        first, kind, save_all=True, append_images=[Image.fromarray(second), Image.fromarray(first)]
    )
    picture = decode(content)
    assert picture.frames == 3
    assert "first frame of several" in picture.notes
    assert (
        np.abs(picture.pixels.astype(int) - first).mean()
        < np.abs(picture.pixels.astype(int) - second).mean() / 5
    )


def test_a_photograph_with_a_preview_is_not_an_animation() -> None:
    picture = decode(saved(smooth(0), "MPO", save_all=True, append_images=[Image.fromarray(smooth(1))]))
    assert (picture.format, picture.frames, picture.notes) == ("MPO", 1, ("first picture of several (MPO)",))


# ---- files that cannot be decoded ----


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty: 0 bytes"),
        (b"<html>not found</html>", "not an image"),
        (bytes(100), "not an image"),
        (saved(COLOURS, "EPS"), "begins with b'%!PS-Adobe-3'"),
        (saved(COLOURS, "ICO"), "not an image"),
        (saved(COLOURS)[:12], "broken or truncated: begins as PNG"),
        (saved(COLOURS, "JPEG")[:5], "broken or truncated: begins as JPEG"),
        (saved(COLOURS, "JPEG")[:30], "truncated: "),
    ],
)
def test_files_that_are_not_images_are_rejected(content: bytes, reason: str) -> None:
    check, got = refused(content)
    assert check == "unreadable"
    assert reason in got


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "PPM"])
def test_half_a_file_is_rejected(kind: str) -> None:
    content = saved(smooth(0), kind)
    check, reason = refused(content[: len(content) // 2])
    assert check == "unreadable"
    assert reason.startswith(("truncated: ", "broken: ", "broken or truncated: "))


def test_a_png_that_lost_its_last_byte_is_truncated() -> None:
    assert refused(saved(COLOURS)[:-1]) == ("unreadable", "truncated: the end of the PNG is missing")
    assert decode(saved(COLOURS) + b"more").format == "PNG"


def test_damage_inside_a_png_is_found() -> None:
    content = bytearray(saved(noise(0, 60, 90)))
    content[len(content) // 2] ^= 255
    assert refused(bytes(content))[1].startswith("broken: ")


def test_bombs_are_rejected_by_their_header() -> None:
    assert refused(image_files.bomb()) == ("enormous", "enormous: 50000 x 50000 pixels, more than 1,000,000")
    content = saved(COLOURS)
    assert refused(content, 6 * 9 - 1)[0] == "enormous"
    assert decoding.decode(content, 6 * 9).pixels.shape == (6, 9, 3)


def test_our_limit_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert np.array_equal(decode(saved(COLOURS)).pixels, COLOURS)
    assert Image.MAX_IMAGE_PIXELS == 10, "unchanged for other code"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "JPEG2000", "PPM"])
def test_damaged_files_raise_no_other_error(kind: str) -> None:
    content, chance = saved(smooth(0), kind), random.Random(0)
    outcomes = set()
    for _ in range(150):
        broken = bytearray(content)
        for _ in range(chance.choice([1, 4, 16])):
            broken[chance.randrange(chance.choice([40, len(content)]))] = chance.randrange(256)
        try:
            outcomes.add(decode(bytes(broken)).pixels.dtype)
        except UndecodableError as error:
            outcomes.add(error.check)
    assert "unreadable" in outcomes


# ---- warnings, names, digests ----

CORRUPT_EXIF = b"Exif\0\0II*\0\xff\xff\xff\xff"


def test_warnings_of_pillow_are_kept_and_leak_nowhere() -> None:
    content = saved(smooth(0), "JPEG", exif=CORRUPT_EXIF)
    with (
        pytest.warns(UserWarning, match="Corrupt EXIF"),
        Image.open(image_files.io.BytesIO(content)) as image,
    ):
        image.getexif()  # the file does cause the warning
    before = list(warnings.filters)
    picture = decode(content)
    assert picture.warnings == ("Corrupt EXIF data. Expecting to read 2 bytes but only got 0.",)
    assert warnings.filters == before
    assert decode(saved(COLOURS)).warnings == ()


def test_threads_get_only_their_own_warnings() -> None:
    contents = [saved(smooth(0), "JPEG", exif=CORRUPT_EXIF), saved(smooth(1), "JPEG")] * 40
    before, shown = list(warnings.filters), warnings.showwarning
    with ThreadPoolExecutor(8) as pool:
        heard = [len(picture.warnings) for picture in pool.map(decode, contents)]
    assert heard == [1, 0] * 40
    assert (warnings.filters, warnings.showwarning) == (before, shown)


def test_other_warnings_are_still_shown_while_a_thread_decodes() -> None:
    with (
        warnings.catch_warnings(record=True, action="always") as others,
        ThreadPoolExecutor(1) as pool,
        pillow.listening() as heard,
    ):
        done = pool.submit(decode, saved(COLOURS))
        warnings.warn("mine", UserWarning, stacklevel=1)
        done.result()
    assert heard == []
    assert [str(warning.message) for warning in others] == ["mine"]


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("a/b.png", "PNG", ""),
        ("a/b.PNG", "JPEG", "JPEG, but named .PNG"),
        ("a/b.jpg", "JPEG", ""),
        ("a/b.jpeg", "MPO", ""),
        ("a/b.bmp", "DIB", ""),
        ("a/b.jpg", "PNG", "PNG, but named .jpg"),
        ("train/17", "PNG", ""),
        ("a/b.final", "PNG", ""),
        ("a/b.tif", "TIFF", ""),
        ("a/b.gif", "WEBP", "WEBP, but named .gif"),
    ],
)
def test_wrong_names(name: str, kind: str, reason: str) -> None:
    assert decoding.misnamed(name, kind) == reason


def test_a_digest_is_of_size_and_colours() -> None:
    assert decoding.digest(GREY) == decoding.digest(np.repeat(GREY, 3, axis=2))
    assert decoding.digest(COLOURS) == decoding.digest(decode(saved(COLOURS, "BMP")).pixels)
    others = [
        COLOURS[::-1],
        COLOURS.reshape(9, 6, 3),
        COLOURS ^ 1,
        np.ascontiguousarray(COLOURS.transpose(1, 0, 2)),
    ]
    assert len({decoding.digest(pixels) for pixels in (COLOURS, *others)}) == 5
