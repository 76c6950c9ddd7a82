"""Small images with texts, whose class only both together tell: a digit and what is shipped."""

import csv
from pathlib import Path

import numpy as np

from baton.images import decoding
from tests import tiny

TEXTS = {"grain": tiny.TEXTS["grain"], "ship": tiny.TEXTS["ship"]}


def write_table(folder: Path, rows: int = 160, name: str = "images.csv") -> None:
    """Write digits 0 and 1 as PNG files of 16 x 16 pixels, and a table `path, text, label`.

    The label is the digit and the topic of the text, such as `0 grain`: four classes of equal size. Texts
    have numbers, so that no two are equal.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = {digit: digits.images[digits.target == digit] for digit in (0, 1)}
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "text", "label"])
        for number in range(rows):
            digit, topic = number % 2, ["grain", "ship"][number // 2 % 2]
            image = np.rint(images[digit][number // 2] * (255 / 16)).astype(np.uint8)
            path = f"{number}.png"
            pixels = image.repeat(2, 0).repeat(2, 1)[..., None]
            (folder / "images" / path).write_bytes(decoding.encode(pixels))
            text = f"{TEXTS[topic][number // 4 % 4]} {number}"
            writer.writerow([path, text, f"{digit} {topic}"])
