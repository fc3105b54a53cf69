"""What `tltool compare` prints: the sentence that counts, then tables."""

from rich.table import Table

from tltool._plain_text import one_line, plain_console
from tltool.comparison.result import Comparison, HeadResult
from tltool.evaluation.paired_differences import MeanEstimate
from tltool.evaluation.score import Score
from tltool.reporting.tables import FactTable, rich_table


def print_comparison(found: Comparison, data: str) -> None:
    """Print what was found, best score first.

    Args:
        found: The comparison.
        data: What the images are, in one line.
    """
    print(found.summary())
    console = plain_console()
    score, sign = found.score, 1 if found.score.smaller_is_better else -1
    rows = sorted(found.rows, key=lambda row: sign * row.result.mean)
    console.print(_score_table(found, rows))
    console.print(_training_table(rows))
    print(f"data      {one_line(data)}")
    print(f"protocol  {found.protocol}; {len(found.seeds)} seeds")
    print(f"{score.name:<9} +- half of its 95 % interval, over other images and other seeds")
    num_pairs = len(found.differences)
    if num_pairs:
        print(f"p         that of the difference, after Holm's correction for {num_pairs}")
    for difference in found.findings:
        if difference.reference != found.reference:
            heads = f"{difference.name} against {difference.reference}"
            estimate = _with_interval(difference.estimate, score, "+")
            print(f"finding   {heads}: {estimate}, p {difference.p_value:.2g}")
    print(f"spread    of the validation {score.name} over the first lrs: how much lr matters")
    print(f"epochs    until the training loss was {found.target_loss:.3g}")
    at_edge = [row.name for row in rows if row.at_edge > 0.5]
    if at_edge:
        print(f"edge      the best lr may lie beyond those tried: {'; '.join(at_edge)}")
    for row in rows:
        for warning in row.warnings:
            print(f"warning   {row.name}: {warning}")


def _score_table(found: Comparison, rows: list[HeadResult]) -> Table:
    differences = {d.name: d for d in found.differences if d.reference == found.reference}
    cells = []
    for row in rows:
        judged = ["", ""]
        if row.name in differences:
            difference = differences[row.name]
            finding = " finding" if difference.is_finding else ""
            judged = [
                _with_interval(difference.estimate, found.score, "+"),
                f"{difference.p_value:.2g}{finding}",
            ]
        cells.append([row.name, _with_interval(row.result, found.score), *judged])
    return rich_table(FactTable(("head", found.score.name, f"less {found.reference}", "p"), cells))


def _training_table(rows: list[HeadResult]) -> Table:
    cells = [
        [
            row.name,
            f"{row.lr:.2g}{' edge' if row.at_edge > 0.5 else ''}",
            "" if row.sensitivity is None else row.sensitivity,
            row.num_parameters,
            "never" if row.epochs_to_loss is None else f"{row.epochs_to_loss:.1f}",
            *(f"{row.dead:.0%}", f"{row.saturated:.0%}", f"{1000 * row.seconds:,.0f}"),
        ]
        for row in rows
    ]
    columns = ("head", "lr", "spread", "parameters", "epochs", "dead", "saturated", "ms")
    return rich_table(FactTable(columns, cells))


def _with_interval(estimate: MeanEstimate, score: Score, sign: str = "") -> str:
    return f"{score.words(estimate.mean, sign)} +- {score.words(estimate.half_width)}"
