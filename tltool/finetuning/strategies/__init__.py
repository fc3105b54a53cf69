"""Fine-tuning strategies, imported all at once, so that the command line finds them by name."""

from tltool.finetuning.strategies.chosen_groups import ChosenGroups
from tltool.finetuning.strategies.full_finetuning import FullFinetuning, LayerwiseDecay
from tltool.finetuning.strategies.gradual_unfreezing import GradualUnfreezing
from tltool.finetuning.strategies.linear_probe import LPFT, LinearProbe
from tltool.finetuning.strategies.partial_finetuning import BatchNormOnly, BitFit, LastBlocks
from tltool.finetuning.strategies.strategy import FinetuningStrategy

__all__ = [
    "LPFT",
    "STRATEGIES",
    "BatchNormOnly",
    "BitFit",
    "ChosenGroups",
    "FinetuningStrategy",
    "FullFinetuning",
    "GradualUnfreezing",
    "LastBlocks",
    "LayerwiseDecay",
    "LinearProbe",
]

#: Those that YAML and the command line know by their short names.
STRATEGIES: tuple[type[FinetuningStrategy], ...] = (
    LinearProbe,
    LPFT,
    GradualUnfreezing,
    FullFinetuning,
    LayerwiseDecay,
    LastBlocks,
    BatchNormOnly,
    BitFit,
    ChosenGroups,
)
