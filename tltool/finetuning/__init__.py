"""What trains, when, and how fast."""

from typing import TYPE_CHECKING

from tltool.lazy import lazy_exports

if TYPE_CHECKING:
    from tltool.finetuning.partial_strategies import BatchNormOnly as BatchNormOnly
    from tltool.finetuning.partial_strategies import BitFit as BitFit
    from tltool.finetuning.partial_strategies import LastBlocks as LastBlocks
    from tltool.finetuning.phase import Phase as Phase
    from tltool.finetuning.phase import Until as Until
    from tltool.finetuning.schedule import Schedule as Schedule
    from tltool.finetuning.strategies import LPFT as LPFT
    from tltool.finetuning.strategies import ChosenGroups as ChosenGroups
    from tltool.finetuning.strategies import FinetuningStrategy as FinetuningStrategy
    from tltool.finetuning.strategies import FullFinetuning as FullFinetuning
    from tltool.finetuning.strategies import GradualUnfreezing as GradualUnfreezing
    from tltool.finetuning.strategies import LayerwiseDecay as LayerwiseDecay
    from tltool.finetuning.strategies import LinearProbe as LinearProbe

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "BatchNormOnly": "tltool.finetuning.partial_strategies",
        "BitFit": "tltool.finetuning.partial_strategies",
        "ChosenGroups": "tltool.finetuning.strategies",
        "FinetuningStrategy": "tltool.finetuning.strategies",
        "FullFinetuning": "tltool.finetuning.strategies",
        "GradualUnfreezing": "tltool.finetuning.strategies",
        "LPFT": "tltool.finetuning.strategies",
        "LastBlocks": "tltool.finetuning.partial_strategies",
        "LayerwiseDecay": "tltool.finetuning.strategies",
        "LinearProbe": "tltool.finetuning.strategies",
        "Phase": "tltool.finetuning.phase",
        "Schedule": "tltool.finetuning.schedule",
        "Until": "tltool.finetuning.phase",
    },
)
