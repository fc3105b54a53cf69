"""The section about health: alarms with their remedies, and each layer over time."""

import math
from collections.abc import Mapping, Sequence

from tltool.diagnostics.health.alarms import DEAD, FAST, SATURATED
from tltool.reporting.figures import draw_heatmap
from tltool.reporting.html import paragraph, picture, pictures, section, table

Rows = Sequence[Mapping[str, str]]

NUMBERS = {
    "dead": ("share of dead units", DEAD, 1.0),
    # A limit only for activations that saturate on both sides; relu is saturated on half.
    "saturated": ("share of saturated pairs of photo and unit", None, 1.0),
    "largest_update": ("largest update of the weights, as a share of them", FAST, 1.2 * FAST),
}
"""What a column of ``health.csv`` is, the limit of its alarm, and where its scale ends."""
MOST_LAYERS = 40
ALARM_COLUMNS = ("alarm", "where", "when", "what was seen, and what helps")
NO_ALARM = "\N{CHECK MARK} No alarm was raised."


def health_section(rows: Rows | None, alarms: Rows) -> str:
    """Return the section.

    Args:
        rows: Those of ``health.csv``; ``None`` if there is no such file.
        alarms: Those of ``alarms.csv``.
    """
    title = "How healthy the network was"
    said = [table(ALARM_COLUMNS, alarm_rows(alarms))] if alarms else []
    if rows is None:
        missing = (
            "There is no health.csv: the run was stopped before the first rows, or trained with "
            "--health.enabled false."
        )
        return section(title, *said, paragraph(missing))
    if not alarms:
        said = [paragraph(NO_ALARM)]
    images = [_image(rows, column) for column in NUMBERS]
    legend = (
        "A ! or a cross marks what is beyond the limit of an alarm: "
        f"{DEAD:.0%} dead, {FAST:.0%} of the weights in one step. Saturation alarms from "
        f"{SATURATED:.0%} on, for activations that saturate on both sides, such as tanh; relu is "
        "saturated on about half."
    )
    return section(title, *said, pictures(*filter(None, images)), paragraph(legend, "small"))


def alarm_rows(alarms: Rows) -> list[tuple[str, ...]]:
    """Return one row for each alarm, see ``ALARM_COLUMNS``."""
    return [
        (
            f"\N{WARNING SIGN} {alarm['cause']}",
            alarm["layer"],
            f"epoch {int(alarm['epoch']) + 1}, step {int(alarm['step']) + 1}",
            alarm["message"],
        )
        for alarm in alarms
    ]


def _image(rows: Rows, column: str) -> str:
    """Return a heatmap; of more than ``MOST_LAYERS`` layers the worst."""
    title, limit, most = NUMBERS[column]
    seen = {(row["layer"], int(row["step"])): float(row[column]) for row in rows if row[column]}
    if not seen:
        return ""
    layers = list(dict.fromkeys(layer for layer, _ in seen))
    steps = sorted({step for _, step in seen})
    if len(layers) > MOST_LAYERS:
        # From the lowest to the highest, so that each layer is left with its own.
        highest = dict(sorted(((n, v) for (n, _), v in seen.items()), key=lambda pair: pair[1]))
        worst = sorted(layers, key=highest.__getitem__, reverse=True)[:MOST_LAYERS]
        layers = [layer for layer in layers if layer in worst]
    values = [[seen.get((layer, step)) for step in steps] for layer in layers]
    (layer, step), value = max(seen.items(), key=lambda item: (not math.isnan(item[1]), item[1]))
    caption = f"The highest {title}: {value:.3g} in {layer}, at step {step + 1}."
    figure = draw_heatmap(values, layers, steps, title=title, limit=limit, most=most)
    image = picture(figure, caption)
    return f"<figure>{image}<figcaption>{paragraph(caption, 'small')}</figcaption></figure>"
