"""Damage of surgery by layer: how far edits move the features of each."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from tltool.diagnostics.surgery_damage import FeatureDrift
from tltool.reporting.figures.axes import new_figure
from tltool.reporting.figures.palette import BLUE, VERMILION


def draw_surgery_damage(drifts: Mapping[str, FeatureDrift]) -> Figure:
    """Draw the drift and the cosine of each layer's features, from the input down.

    Args:
        drifts: By layer, from the input on.
    """
    figure, (left, right) = new_figure(2, width=8, height=1.4 + 0.3 * len(drifts))
    places = range(len(drifts))
    left.barh(places, [drift.length for drift in drifts.values()], color=VERMILION)
    left.set_xlabel("difference / length of the features")
    left.set_yticks(places, list(drifts), fontsize=8, parse_math=False)
    right.barh(places, [drift.cosine for drift in drifts.values()], color=BLUE)
    right.set_xlabel("cosine of the features, before and after")
    right.set_xlim(min(0.0, *(drift.cosine for drift in drifts.values())), 1.0)
    right.set_yticks(places, [])
    for axes in (left, right):
        axes.invert_yaxis()
    return figure
