"""Reports of ranks before training: where each runs, what it lacks, and what must be the same."""

import json
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from tltool.training.distributed.cluster_environment import cluster_environment
from tltool.training.distributed.launch import find_launch


@dataclass(frozen=True)
class RankPlace:
    """Where a rank runs, and where it meets the others.

    Attributes:
        rank: Its number.
        world_size: Number of ranks.
        local_rank: Its number on its node.
        node: Name of its node.
        address: Name or address of the node of rank 0.
        port: Free port there.
    """

    rank: int
    world_size: int
    local_rank: int
    node: str
    address: str
    port: int

    def __str__(self) -> str:
        return f"rank {self.rank} ({self.node})"


@dataclass(frozen=True)
class RankReport:
    """What a rank has found.

    Attributes:
        place: Where.
        problem: Why it could not train; ``None`` if it could.
        facts: What must be the same on all ranks, in words.
    """

    place: RankPlace
    problem: str | None = None
    facts: dict[str, str] = field(default_factory=dict)


def find_rank_place() -> RankPlace:
    """Return what the launcher, torchrun or srun, says of this process.

    Raises:
        ValueError: If no launcher has started it.
    """
    launch = find_launch()
    if not launch.launcher:
        raise ValueError(
            "--ranks compares the processes of a launcher, and none has started this one. Start it "
            "as the training will be: srun tltool doctor --ranks ..., or torchrun ... -m tltool "
            "doctor --ranks ..."
        )
    environment = cluster_environment(launch)
    return RankPlace(
        rank=launch.rank,
        world_size=launch.world_size,
        local_rank=launch.local_rank,
        node=os.environ.get("SLURMD_NODENAME", os.uname().nodename),
        address=environment.main_address,
        port=environment.main_port,
    )


def to_text(report: RankReport) -> str:
    """Return a report as a line of JSON."""
    return json.dumps(asdict(report))


def from_text(text: str) -> RankReport:
    """Return the report of a line.

    Example:
        >>> report = RankReport(RankPlace(1, 2, 0, "node2", "node1", 15000), "No images.")
        >>> from_text(to_text(report)) == report
        True
    """
    values = json.loads(text)
    return RankReport(**(values | {"place": RankPlace(**values["place"])}))


def describe_ranks(reports: Sequence[RankReport]) -> str:
    """Return which ranks run on which node.

    Example:
        >>> places = [RankPlace(rank, 3, 0, f"n{rank // 2}", "n0", 15000) for rank in range(3)]
        >>> describe_ranks([RankReport(place) for place in places])
        'ranks 0, 1 on n0; rank 2 on n1'
    """
    nodes = defaultdict(list)
    for report in reports:
        nodes[report.place.node].append(str(report.place.rank))
    return "; ".join(
        f"rank{'s' if len(ranks) > 1 else ''} {', '.join(ranks)} on {node}"
        for node, ranks in nodes.items()
    )


def find_differences(reports: Sequence[RankReport]) -> dict[str, str]:
    """Return each fact that is not the same on all ranks, with what each rank says of it.

    Example:
        >>> places = [RankPlace(rank, 3, 0, "node", "node", 15000) for rank in range(3)]
        >>> images = ["24 images", "24 images", "23 images"]
        >>> reports = [RankReport(p, None, {"data": i}) for p, i in zip(places, images)]
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
