"""Page of suspicious labels: each image, the class that it has, and the one that is suggested."""

from collections.abc import Callable, Sequence

from PIL import Image

from tltool.diagnostics.checks.label_review import Suspect
from tltool.evaluation.verdict import Mark
from tltool.reporting.html.images import thumbnail
from tltool.reporting.report import Report, Section
from tltool.reporting.run_verdict import Verdict
from tltool.reporting.tables import FactTable

MOST_IMAGES = 200
"""So many are on the page; the table has all."""


def label_report(
    suspects: Sequence[Suspect],
    decode: Callable[[str], Image.Image],
    *,
    names: Sequence[str],
    found: str,
    command: str,
) -> Report:
    """Return the page of suspicious labels, the most suspicious first.

    Args:
        suspects: The images.
        decode: Reads one by its path.
        names: What each is called on the page.
        found: How many there are, in a sentence.
        command: What to type when the table is filled in.
    """
    shown = list(zip(suspects, names, strict=True))[:MOST_IMAGES]
    pictures = [
        thumbnail(
            decode(suspect.path),
            f"{number}: is {suspect.label} ({suspect.of_label:.1%}), rather {suspect.suggested} "
            f"({suspect.of_suggested:.1%}): {name}".replace("%", " %"),
        )
        for number, (suspect, name) in enumerate(shown, 1)
    ]
    left = len(suspects) - len(shown)
    note = f"{left:,} more are in the table." if left else ""
    step = "Look at each image, and fill in the column decision of the table: suggested, another "
    step += "class, drop or keep. Then type:"
    verdict = Verdict(Mark.UNKNOWN, found, step, [command])
    section = Section("Suspicious labels", pictures=pictures, note=note, is_private=True)
    return Report("Suspicious labels", verdict, [section])


def suspect_table(suspects: Sequence[Suspect], names: Sequence[str], most: int) -> FactTable:
    """Return one row for each of the most suspicious images."""
    rows = [
        (name, each.label, f"{each.of_label:.3f}", each.suggested, f"{each.of_suggested:.3f}")
        for each, name in zip(suspects[:most], names[:most], strict=True)
    ]
    left = len(suspects) - len(rows)
    note = f"{left:,} more are in the table." if left else ""
    columns = ("image", "label", "probability", "suggested", "its probability")
    return FactTable(columns, rows, (2, 4), note)
