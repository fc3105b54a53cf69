"""What a replacement or removal of norms changed, and what it kept."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ReplacedNorms:
    """Which norm layers another one, or nothing that normalizes, took the place of.

    Together, ``replaced`` and ``kept`` hold every dotted name of a norm, of which a shared one has
    several; the numbers count it once.
    """

    #: ``group``, ``layer``, or ``fixed`` where they are removed.
    to: str
    #: The former kind of each norm that changed, by dotted name.
    replaced: Mapping[str, str]
    #: The reason why each other norm stays, by dotted name.
    kept: Mapping[str, str]
    num_replaced: int
    num_norms: int
    #: Whether the outputs have the mean and deviation of the old ones.
    is_matched: bool = True

    @property
    def changed(self) -> tuple[str, ...]:
        """Dotted names of the modules that give other outputs now."""
        is_fixed = self.to == "fixed"  # As a batch norm in evaluation.
        return tuple(n for n, kind in self.replaced.items() if not (is_fixed and kind == "batch"))

    @property
    def damage(self) -> str | None:
        """What is wrong with the features until the layers train; ``None`` if they are matched."""
        return None if self.is_matched else "unmatched"

    def __str__(self) -> str:
        kinds = f" ({', '.join(sorted(set(self.replaced.values())))})" if self.replaced else ""
        kept = [f"{count} {why}" for why, count in Counter(self.kept.values()).items()]
        what = "Removed" if self.to == "fixed" else "Replaced"
        by = "" if self.to == "fixed" else f" by {self.to} norm"
        return (
            f"{what} {self.num_replaced} of {self.num_norms} norms{kinds}{by}"
            f"{'; kept ' if kept else ''}{', '.join(kept)}."
        )
