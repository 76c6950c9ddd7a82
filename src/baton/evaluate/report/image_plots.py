"""Plots of images: robustness, galleries of mistakes, the sheet of augmented samples.

Pixels are drawn without smoothing.

Inputs: contents from `robustness` and `image_galleries` -> reports/figures/*.png, if there is something to
draw.
"""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from baton.evaluate.evaluation import Evaluation
from baton.evaluate.report.canvas import canvas, colour, legend, short
from baton.evaluate.report.image_galleries import Gallery, Sheet
from baton.evaluate.robustness import Robustness

# Of the gallery: mistakes per row; side of an image and gap between two, in inches.
PAIRS, SIDE, GAP = 4, 1.4, 0.06
ABOVE, BELOW, MARGIN = 0.36, 0.3, 0.12  # inches: text above and below a mistake, margin of the figure
SMOOTHING = 1 / 64  # of an image's side: removes single-pixel noise from the attributions of large images
LUMA = np.array([0.299, 0.587, 0.114])


def draw(folder: Path, evaluation: Evaluation) -> None:
    """Draw every plot for which the evaluation has images."""
    if evaluation.robustness:
        robustness(folder / "robustness.png", evaluation.robustness)
    for name, one in evaluation.galleries.items():
        gallery(folder / f"gallery_{name}.png", name, one)
    if evaluation.sheet:
        sheet(folder / "augmentation.png", evaluation.sheet)


def robustness(path: Path, measured: Robustness) -> None:
    """Draw accuracy with interval against severity, one panel per corruption.

    Below each severity stands a test image corrupted that much.
    """
    hits, examples = measured.measured.hits, measured.measured.examples
    with canvas(path, 3.9 * len(hits) + 0.4, 4.5) as figure:
        layout = figure.get_layout_engine()
        assert layout
        layout.set(rect=(0, 0.23, 1, 0.77))  # type: ignore[call-arg] # leaves room for the images
        panels = figure.subplots(1, len(hits), sharey=True, squeeze=False)[0]
        for kind, axes in zip(hits, panels, strict=True):
            levels = len(examples[kind])
            for index, model in enumerate(hits[kind]):
                values, bounds = measured.accuracies(kind, model)
                x = np.arange(levels) + 0.06 * (index - (len(hits[kind]) - 1) / 2)  # intervals side by side
                axes.plot(x, values, "o-", color=colour(model), markersize=4, label=model)
                axes.vlines(x, *np.array(bounds).T, color=colour(model), linewidth=1.5)
            axes.set_title(kind.replace("_", " "), loc="left", fontsize=10)
            axes.set_xticks(range(levels), ["none", *map(str, range(1, levels))])
            axes.set(xlabel="severity", xlim=(-0.5, levels - 0.5))
            axes.grid()
            for level, image in enumerate(examples[kind]):
                below = axes.inset_axes((level - 0.45, -0.6, 0.9, 0.36), transform=axes.get_xaxis_transform())
                _show(below, image)
                below.set_anchor("N")
                below.set_in_layout(False)
        panels[0].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        panels[0].set_ylabel(f"accuracy on {measured.rows:,} test rows")
        legend(figure, panels[0])


def gallery(path: Path, model: str, shown: Gallery) -> None:
    """Draw each mistake as the image, and next to it the image under its attributions."""
    count = len(shown.mistakes)
    rows, columns = -(-count // PAIRS), min(count, PAIRS)
    cell = 2 * SIDE + 3 * GAP, ABOVE + SIDE + BELOW
    head = 0.62 if count else 0.45
    with canvas(
        path, max(columns * cell[0], 6.2) + 2 * MARGIN, head + rows * cell[1] + MARGIN, arranged=False
    ) as figure:
        _text(figure, MARGIN, 0.08, _headline(model, shown), 11)
        if count:
            _text(
                figure,
                MARGIN,
                0.32,
                "On the right of each: red speaks for the predicted class, blue for the actual one.",
                9,
            )
        for place, mistake in enumerate(shown.mistakes):
            left, top = MARGIN + place % columns * cell[0], head + place // columns * cell[1]
            _text(
                figure,
                left,
                top,
                _said("predicted", mistake.predicted) + "\n" + _said("actual", mistake.actual),
                8.5,
            )
            _text(figure, left, top + ABOVE + SIDE + 0.03, _end(mistake.name, 52), 6.5, "#666666")
            _show(_axes(figure, left, top + ABOVE, SIDE), shown.pixels[place])
            _attributed(
                _axes(figure, left + SIDE + GAP, top + ABOVE, SIDE),
                shown.pixels[place],
                shown.attributions[place],
            )


def sheet(path: Path, shown: Sheet) -> None:
    """Draw one row per sample: as evaluation sees it, then as training sees it in successive epochs."""
    samples, views = shown.pixels.shape[:2]
    side, named, head = 0.95, 1.5, 0.65
    with canvas(
        path, named + views * (side + GAP) + MARGIN, head + samples * (side + GAP) + MARGIN, arranged=False
    ) as figure:
        _text(
            figure, MARGIN, 0.08, "Training samples as they are, and as the teacher's training sees them", 11
        )
        for view in range(views):
            left = named + view * (side + GAP)
            _text(figure, left, head - 0.19, "as it is" if view == 0 else f"epoch {view}", 8.5)
            for row, name in enumerate(short(shown.classes, 18)):
                top = head + row * (side + GAP)
                _show(_axes(figure, left, top, side), shown.pixels[row, view])
                if view == 0:
                    _text(figure, named - 0.1, top + side / 2 - 0.07, name, 9, align="right")


def _headline(model: str, shown: Gallery) -> str:
    if not shown.count:
        return f"{model}: no mistake on {shown.rows:,} test rows"
    some = f"the {len(shown.mistakes):,} most confident of {shown.count:,} mistakes"
    if shown.count == len(shown.mistakes):
        some = "its only mistake" if shown.count == 1 else f"all {shown.count:,} mistakes"
    return f"{model}: {some} on {shown.rows:,} test rows"


def _said(kind: str, answer: tuple[str, float]) -> str:
    name, p = answer
    share = "<1%" if p < 0.01 else ">99%" if p > 0.99 else f"{100 * p:.0f}%"
    return f"{kind} {short([name], 22)[0]} ({share})"


def _end(name: str, longest: int) -> str:
    # The end of a path says more than its beginning.
    return name if len(name) <= longest else f"…{name[1 - longest :]}"


def _text(
    figure: Figure, left: float, top: float, text: str, size: float, ink: str = "black", align: str = "left"
) -> None:
    """Draw text whose upper left (or right) corner is `left` and `top` inches from the figure's."""
    width, height = figure.get_size_inches()
    figure.text(left / width, 1 - top / height, text, ha=align, va="top", fontsize=size, color=ink)


def _axes(figure: Figure, left: float, top: float, side: float) -> Axes:
    """Return square axes of `side` inches, `left` and `top` inches from the figure's upper left corner."""
    width, height = figure.get_size_inches()
    return figure.add_axes((left / width, 1 - (top + side) / height, side / width, side / height))


def _show(axes: Axes, pixels: NDArray[np.uint8]) -> None:
    """Draw an image (height, width, 1 or 3)."""
    if pixels.shape[2] == 1:
        axes.imshow(pixels[..., 0], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    else:
        axes.imshow(pixels, interpolation="nearest")
    _bare(axes)


def _attributed(axes: Axes, pixels: NDArray[np.uint8], attribution: NDArray[np.float32]) -> None:
    """Draw the image, pale and grey, under its attributions.

    The stronger the attribution, the more it hides the image.
    """
    luma = pixels[..., 0] if pixels.shape[2] == 1 else pixels @ LUMA  # (height, width)
    axes.imshow(195 + luma * (60 / 255), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    smooth = gaussian_filter(attribution.astype(np.float64), min(attribution.shape) * SMOOTHING)
    scaled = np.clip(smooth / max(float(np.percentile(np.abs(smooth), 99)), 1e-12), -1, 1)
    axes.imshow(scaled, cmap="RdBu_r", vmin=-1, vmax=1, alpha=np.abs(scaled) ** 0.7, interpolation="nearest")
    _bare(axes)


def _bare(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=True, color="#bbbbbb", linewidth=0.5)
