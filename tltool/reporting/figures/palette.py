"""Colors, line styles and markers of all figures, told apart by all eyes and on gray paper."""

from typing import Any

#: Okabe & Ito (2008, https://jfly.uni-koeln.de/color/), each with a line and a marker of its own.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("solid", "dashed", "dotted", "dashdot", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
COLORMAP = "cividis"
"""Dark to bright for the color-blind and in gray too."""
BLUE, VERMILION = COLORS[:2]
SPLITS = {"train": 0, "val": 1, "test": 2}
"""Which series a split is in every picture, and so its color, line style and marker."""


def series_style(number: int, *, markers: bool = True) -> dict[str, Any]:
    """Return color, line style and marker of a series, as arguments of ``Axes.plot``.

    The first seven differ in all three; 49 differ in color or line style.

    Example:
        >>> series_style(8, markers=False)
        {'color': '#D55E00', 'linestyle': 'dotted', 'marker': None}
    """
    round_, place = divmod(number, len(COLORS))
    return {
        "color": COLORS[place],
        "linestyle": STYLES[(place + round_) % len(STYLES)],
        "marker": MARKERS[place] if markers else None,
    }
