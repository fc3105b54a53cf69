"""Reports of ranks before training: where each runs, what it lacks, and what must be the same."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class RankReport:
    """What a rank has found.

    Attributes:
        rank: Its number.
        node: Name of its node.
        problem: Why it could not train; ``None`` if it could.
        facts: What must be the same on all ranks, in words.
    """

    rank: int
    node: str
    problem: str | None = None
    facts: dict[str, str] = field(default_factory=dict)


def to_text(report: RankReport) -> str:
    """Return a report as a line of JSON."""
    return json.dumps(asdict(report))


def from_text(text: str) -> RankReport:
    """Return the report of a line.

    Example:
        >>> report = RankReport(1, "node2", "No images.")
        >>> from_text(to_text(report)) == report
        True
    """
    return RankReport(**json.loads(text))


def describe_ranks(reports: Sequence[RankReport]) -> str:
    """Return which ranks run on which node.

    Example:
        >>> describe_ranks([RankReport(rank, f"n{rank // 2}") for rank in range(3)])
        'ranks 0, 1 on n0; rank 2 on n1'
    """
    nodes = defaultdict(list)
    for report in reports:
        nodes[report.node].append(str(report.rank))
    return "; ".join(
        f"rank{'s' if len(ranks) > 1 else ''} {', '.join(ranks)} on {node}"
        for node, ranks in nodes.items()
    )


def find_differences(reports: Sequence[RankReport]) -> dict[str, str]:
    """Return each fact that is not the same on all ranks, with what each rank says of it.

    Example:
        >>> images = ["24 images", "24 images", "23 images"]
        >>> reports = [RankReport(rank, "node", None, {"data": images[rank]}) for rank in range(3)]
        >>> find_differences(reports)
        {'data': 'ranks 0, 1 on node: 24 images. rank 2 on node: 23 images.'}
    """
    found = {}
    for name in reports[0].facts:
        groups = defaultdict(list)
        for report in reports:
            groups[report.facts[name]].append(report)
        if len(groups) > 1:
            parts = (f"{describe_ranks(those)}: {value}." for value, those in groups.items())
            found[name] = " ".join(parts)
    return found
