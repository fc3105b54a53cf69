"""Report of a swap of activations: what changed, and why the rest stays."""

from collections.abc import Mapping
from dataclasses import dataclass

from tltool.surgery.module_replacement import shortened


@dataclass(frozen=True)
class ActivationSwap:
    """What a swap of activations changed, and what it left as it was.

    Together, ``swapped`` and ``kept`` hold every dotted name, of which a shared activation has
    several; the numbers count it once. A function call goes by its method: ``forward.relu``.
    """

    to: str
    #: What of the old outputs the new ones have: ``moments``, or nothing.
    match: str | None
    #: The former kind of each activation that changed, by dotted name.
    swapped: Mapping[str, str]
    #: The reason why each other activation stays, by dotted name.
    kept: Mapping[str, str]
    num_swapped: int
    num_activations: int
    #: How many stay, by reason: ``gate``, ``out of reach``, ``not selected``, ``already gelu``.
    num_kept: Mapping[str, int]
    #: Dotted names of those among ``swapped`` that begin as the same function, see `is_exact`.
    exact: tuple[str, ...] = ()

    @property
    def changed(self) -> tuple[str, ...]:
        """Dotted names of the modules that give other outputs now."""
        return tuple(name for name in self.swapped if name not in self.exact)

    @property
    def damage(self) -> str | None:
        """What is wrong with the features until the layers train; ``None`` if they are matched."""
        return None if self.match else "unmatched"

    @property
    def out_of_reach(self) -> tuple[str, ...]:
        """Dotted names of the activations that were selected and could not be changed."""
        return tuple(name for name, why in self.kept.items() if why.startswith("out of reach"))

    def __str__(self) -> str:
        kinds = f" ({', '.join(sorted(set(self.swapped.values())))})" if self.swapped else ""
        kept = [
            f"{count} gates" if reason == "gate" and count > 1 else f"{count} {reason}"
            for reason, count in self.num_kept.items()
        ]
        matched = f", {self.match} matched" if self.match else ""
        where = f" ({shortened(self.out_of_reach, 3)})" if self.out_of_reach else ""
        return (
            f"Swapped {self.num_swapped} of {self.num_activations} activations{kinds} for "
            f"{self.to}{matched}{'; kept ' if kept else ''}{', '.join(kept)}{where}."
        )
