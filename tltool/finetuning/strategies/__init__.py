"""Fine-tuning strategies, imported all at once, so that the command line finds them by name."""

from tltool.finetuning.strategies.auto import Auto as Auto
from tltool.finetuning.strategies.chosen_groups import ChosenGroups as ChosenGroups
from tltool.finetuning.strategies.full_finetuning import FullFinetuning as FullFinetuning
from tltool.finetuning.strategies.full_finetuning import LayerwiseDecay as LayerwiseDecay
from tltool.finetuning.strategies.gradual_unfreezing import GradualUnfreezing as GradualUnfreezing
from tltool.finetuning.strategies.linear_probe import LPFT as LPFT
from tltool.finetuning.strategies.linear_probe import LinearProbe as LinearProbe
from tltool.finetuning.strategies.lora import LoRA as LoRA
from tltool.finetuning.strategies.partial_finetuning import BatchNormOnly as BatchNormOnly
from tltool.finetuning.strategies.partial_finetuning import BitFit as BitFit
from tltool.finetuning.strategies.partial_finetuning import LastBlocks as LastBlocks
from tltool.finetuning.strategies.strategy import FinetuningStrategy as FinetuningStrategy

#: Those that YAML and the command line know by their short names.
STRATEGIES: tuple[type[FinetuningStrategy], ...] = (
    Auto,
    LinearProbe,
    LPFT,
    GradualUnfreezing,
    FullFinetuning,
    LayerwiseDecay,
    LastBlocks,
    BatchNormOnly,
    BitFit,
    LoRA,
    ChosenGroups,
)
