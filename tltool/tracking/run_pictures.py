"""Pictures of a run for the dashboard: confusion, reliability, and the health of its layers."""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image
from torch import Tensor

from tltool.diagnosis.calibration import NUM_BINS, Bin
from tltool.tracking.pictures import TRAIN_COLOR, VAL_COLOR, new_figure

_WITH_NUMBERS = 20  # classes in whose matrix numbers can be read
_WITH_NAMES = 60
_HEALTH = {  # column of health.csv: title, whether its powers of ten matter, limits
    "dead": ("dead units", False, (0.0, 1.0)),
    "saturated": ("saturated units", False, (0.0, 1.0)),
    "gradient": ("gradient, log10", True, None),
    "update": ("update / weight, log10", True, None),
}


def draw_confusion(counts: Tensor, class_names: Sequence[str]) -> Image.Image:
    """Draw a confusion matrix ``(num_classes, num_classes)``, rows are labels.

    Colors are shares of a row, so that rare classes can be seen; the numbers are photos.
    """
    number = len(class_names)
    size = min(max(3.2, 0.45 * number + 1.8), 12)
    figure = new_figure(size, size)
    axes = figure.add_subplot()
    shares = counts / counts.sum(dim=1, keepdim=True).clamp_min(1)
    axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    if number <= _WITH_NAMES:
        axes.set_xticks(range(number), class_names, rotation=90)
        axes.set_yticks(range(number), class_names)
    if number <= _WITH_NUMBERS:
        for row in range(number):
            for column in range(number):
                color = "white" if shares[row, column] > 0.5 else "black"
                text = str(int(counts[row, column]))
                axes.text(column, row, text, ha="center", va="center", color=color)
    axes.set(xlabel="predicted", ylabel="label")
    axes.set_title("photos; color: share of the label", fontsize=9)
    return _to_image(figure)


def draw_reliability(bins: Sequence[Bin]) -> Image.Image:
    """Draw accuracy against confidence; on the diagonal, confidence can be taken at its word.

    Guo et al., 2017, https://arxiv.org/abs/1706.04599, figure 1.
    """
    figure = new_figure(4.2, 4.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], "--", color="gray")
    confidence = [each.confidence for each in bins]
    upper.plot(confidence, [each.accuracy for each in bins], "o-", color=TRAIN_COLOR)
    upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02))
    photos = [each.num_photos for each in bins]
    lower.bar(confidence, photos, width=0.6 / NUM_BINS, color=VAL_COLOR)
    lower.set(xlabel="confidence", ylabel="photos")
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    return _to_image(figure)


def draw_health(rows: Sequence[Mapping[str, str]]) -> Image.Image | None:
    """Draw the rows of a ``health.csv``: layers from the input down, time to the right.

    Returns:
        The picture, or ``None`` where there is nothing to show.
    """
    columns = [name for name in _HEALTH if any(row[name] for row in rows)]
    if not columns:
        return None
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    steps = list(dict.fromkeys(row["step"] for row in rows))
    figure = new_figure(4.4 * len(columns), 1.4 + 0.28 * len(layers))
    all_axes = figure.subplots(1, len(columns), squeeze=False, sharey=True)[0]
    for axes, name in zip(all_axes, columns, strict=True):
        title, is_logarithmic, limits = _HEALTH[name]
        values = {(row["layer"], row["step"]): row[name] for row in rows}
        grid = [
            [_number(values.get((layer, step), ""), is_logarithmic) for step in steps]
            for layer in layers
        ]
        low, high = limits or (None, None)
        shown = axes.imshow(
            grid, aspect="auto", interpolation="nearest", cmap="cividis", vmin=low, vmax=high
        )
        figure.colorbar(shown, ax=axes)
        marked = range(0, len(steps), max(1, len(steps) // 6))
        axes.set_xticks(marked, [steps[i] for i in marked])
        axes.set_yticks(range(len(layers)), layers)
        axes.set(title=title, xlabel="step")
    return _to_image(figure)


def _number(text: str, is_logarithmic: bool) -> float:
    value = float(text) if text else math.nan
    if not is_logarithmic:
        return value
    return math.log10(value) if value > 0 else math.nan


def _to_image(figure: Any) -> Image.Image:
    file = io.BytesIO()
    figure.savefig(file, dpi=110, format="png")
    with Image.open(file) as image:
        return image.convert("RGB")
