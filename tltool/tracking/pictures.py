"""Pictures of a run: its curves, and some of its predictions."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from PIL import Image

from tltool._atomic_write import save_figure

# Blue and vermilion of Okabe & Ito (2008), told apart by the color-blind and in greyscale.
TRAIN_COLOR, VAL_COLOR = "#0072B2", "#D55E00"


def read_metrics(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Return (epoch, value) pairs of each metric in a ``metrics.csv``."""
    metrics: dict[str, list[tuple[int, float]]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for name, value in row.items():
                if value and row["epoch"] and name not in {"epoch", "step"}:
                    metrics.setdefault(name, []).append((int(row["epoch"]), float(value)))
    return metrics


def read_steps(path: Path) -> dict[int, int]:
    """Return the last optimizer step, from 0, of each epoch in a ``metrics.csv``."""
    with path.open(newline="", encoding="utf-8") as file:
        return {int(row["epoch"]): int(row["step"]) for row in csv.DictReader(file) if row["epoch"]}


def draw_curves(metrics: dict[str, list[tuple[int, float]]], output: Path, title: str) -> None:
    """Draw loss and accuracy against epochs, training and validation."""
    figure = new_figure(8, 3.2)
    for position, name in enumerate(("loss", "accuracy")):
        axes = figure.add_subplot(1, 2, position + 1)
        for stage, color, style in (("train", TRAIN_COLOR, "o--"), ("val", VAL_COLOR, "s-")):
            points = metrics.get(f"{stage}/{name}", [])
            axes.plot(
                [epoch + 1 for epoch, _ in points],
                [v for _, v in points],
                style,
                color=color,
                label=stage,
            )
        axes.set(xlabel="epoch", ylabel=f"cross-entropy {name}" if name == "loss" else name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(title, parse_math=False)
    save_figure(figure, output, dpi=110)


def draw_predictions(
    photos: Sequence[Image.Image], captions: Sequence[str], right: Sequence[bool], output: Path
) -> None:
    """Draw photos in a grid, the caption of a wrong prediction marked by color and by a cross."""
    columns = 6
    rows = -(-len(photos) // columns)
    figure = new_figure(1.9 * columns, 2.25 * rows)
    for position, (photo, caption, is_right) in enumerate(
        zip(photos, captions, right, strict=True)
    ):
        axes = figure.add_subplot(rows, columns, position + 1)
        axes.imshow(photo, cmap="gray" if photo.mode == "L" else None)
        axes.set_axis_off()
        mark = "\N{CHECK MARK}" if is_right else "\N{MULTIPLICATION X}"
        axes.set_title(
            f"{mark} {caption}",
            fontsize=8,
            color=TRAIN_COLOR if is_right else VAL_COLOR,
            parse_math=False,  # Names of classes may hold dollars.
        )
    save_figure(figure, output, dpi=110)


def new_figure(width: float, height: float) -> Any:
    """Return an empty figure, its size in inches."""
    mpl.rcParams["font.family"] = "DejaVu Sans"
    return Figure(figsize=(width, height), layout="constrained")
