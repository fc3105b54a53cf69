"""Fine-tuning strategies: each makes a schedule from the model's layer groups."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tltool.finetuning.schedule import Phase, Schedule


class FinetuningStrategy:
    """A recipe for what trains when.

    Subclass it as a frozen dataclass, so that its fields are its configuration. (This class itself
    is none: jsonargparse treats a dataclass as a closed type, of which subclasses cannot be named
    in YAML.)
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


@dataclass(frozen=True)
class LinearProbe(FinetuningStrategy):
    """Train the head alone, on features of a frozen backbone.

    How well such a probe does tells how good the features are (Alain & Bengio, 2016,
    https://arxiv.org/abs/1610.01644). It cannot distort them, and suits small data.

    Args:
        warmup: Share of the training over which the learning rate rises from zero, in ``[0, 1)``.
        decay: How the learning rate falls afterwards.

    Example:
        >>> LinearProbe().schedule(["backbone.stem", "head"], max_epochs=5).phases[0].trains
        ('head',)
    """

    warmup: float = 0.0
    decay: Literal["none", "cosine", "linear"] = "cosine"

    def schedule(self, group_names: Sequence[str], max_epochs: int) -> Schedule:
        """See `FinetuningStrategy.schedule`."""
        return Schedule((Phase("probe", trains=("head",), warmup=self.warmup, decay=self.decay),))


@dataclass(frozen=True)
class FullFinetuning(FinetuningStrategy):
    """Train the backbone and the head together, from the first step.

    Pretrained layers beat random ones best when they are fine-tuned (Yosinski et al., 2014,
    https://arxiv.org/abs/1411.1792); the warmup keeps the first gradients of an untrained head from
    spoiling them (Goyal et al., 2017, section 2.2, https://arxiv.org/abs/1706.02677).

    Args:
        backbone_lr_scale: Factor on the learning rate of the backbone; below 1 it stays nearer to
            its pretrained weights than the head to its random ones.
        warmup: Share of the training over which the learning rate rises from zero, in ``[0, 1)``.
        decay: How the learning rate falls afterwards.

    Example:
        >>> FullFinetuning().schedule(["backbone.stem", "head"], max_epochs=5).phases[0].trains
        ('backbone.*', 'head')
    """

    backbone_lr_scale: float = 1.0
    warmup: float = 0.1
    decay: Literal["none", "cosine", "linear"] = "cosine"

    def schedule(self, group_names: Sequence[str], max_epochs: int) -> Schedule:
        """See `FinetuningStrategy.schedule`."""
        phase = Phase(
            "full",
            trains=("backbone.*", "head"),
            lr_scale={"backbone.*": self.backbone_lr_scale, "head": 1.0},
            warmup=self.warmup,
            decay=self.decay,
        )
        return Schedule((phase,))
