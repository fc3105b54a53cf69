"""What a fine-tuning strategy is: a class that makes a schedule from a model's layer groups."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tltool.finetuning.phase import Decay, Phase
from tltool.finetuning.schedule import Schedule

#: Patterns of all layer groups.
EVERYTHING = ("backbone.*", "head")


def is_final_norm(group: str) -> bool:
    """Tell whether a group is a final norm by itself, which trains with the group in front of it.

    Example:
        >>> is_final_norm("backbone.fc_norm"), is_final_norm("backbone.layers.0")
        (True, False)
    """
    return re.search(r"(\b|_)norm\d*$", group) is not None


class FinetuningStrategy:
    """A recipe for what trains when.

    Subclass it as a frozen dataclass, so that its fields are its configuration. (This class itself
    is none: jsonargparse treats a dataclass as a closed type, of which subclasses cannot be named
    in YAML.) Give a field that another strategy has too the same default, for the command line
    keeps the value when the class changes.
    """

    def schedule(self, group_names: Sequence[str], max_epochs: int) -> Schedule:
        """Return the phases of a training.

        Args:
            group_names: Layer groups from the input on, ``backbone.<group>`` and then ``head``.
            max_epochs: Length of training in epochs.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define `schedule(group_names, max_epochs)`."
        )

    def surgery(self, backbone: Any) -> list[dict[str, Any]]:
        """Return the edits of the backbone that the phases need, as ``surgery`` lists them.

        They are made before the optimizer, and stand in the description of the backbone, so that a
        checkpoint rebuilds it. The same ones must be returned of the edited backbone.

        Args:
            backbone: A `Backbone`.
        """
        return []

    def resolved_schedule(self, group_names: Sequence[str], max_epochs: int | None) -> Schedule:
        """Return the schedule for a model and a length of training, checked against both.

        Args:
            group_names: See `schedule`.
            max_epochs: That of a Trainer, where ``None`` and negative numbers stand for no end.

        Raises:
            ValueError: If there is no end, or the schedule does not fit, see `Schedule.resolve`.
        """
        if max_epochs is None or max_epochs < 0:
            raise ValueError(
                "Phases are counted in epochs, but the Trainer has no `max_epochs`. Set "
                "--trainer.max_epochs; `max_steps` may end training earlier."
            )
        return self.schedule(group_names, max_epochs).resolve(group_names, max_epochs)


@dataclass(frozen=True, kw_only=True)
class WarmupDecayStrategy(FinetuningStrategy):
    """A strategy whose phases warm the learning rate up and let it fall.

    Those that train whole groups of the backbone do so at three tenths of the learning rate by
    default, as much as plain loops of full fine-tuning take (3e-4): with 50 brain scans of each
    class that raises `FullFinetuning` from .837 to .885, one seed, on images that chose it
    (`scripts/benchmark/README.md`). `LayerwiseDecay` has a factor of its own for each layer.

    Args:
        warmup: Share of a phase over which the learning rate rises from zero, in ``[0, 1)``; three
            tenths as in one cycle (Smith & Topin, 2017, https://arxiv.org/abs/1708.07120).
        decay: How the learning rate falls afterwards.
    """

    warmup: float = 0.3
    decay: Decay = "cosine"

    def _phase(self, name: str, trains: Sequence[int | str], **options: Any) -> Phase:
        return Phase(name, tuple(trains), warmup=self.warmup, decay=self.decay, **options)
