"""What trains, when, and how fast."""

from typing import TYPE_CHECKING

from tltool.lazy import lazy_exports

if TYPE_CHECKING:
    from tltool.finetuning.callback import Finetuning as Finetuning
    from tltool.finetuning.schedule import Phase as Phase
    from tltool.finetuning.schedule import Schedule as Schedule
    from tltool.finetuning.strategies import FinetuningStrategy as FinetuningStrategy
    from tltool.finetuning.strategies import FullFinetuning as FullFinetuning
    from tltool.finetuning.strategies import LinearProbe as LinearProbe

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Finetuning": "tltool.finetuning.callback",
        "FinetuningStrategy": "tltool.finetuning.strategies",
        "FullFinetuning": "tltool.finetuning.strategies",
        "LinearProbe": "tltool.finetuning.strategies",
        "Phase": "tltool.finetuning.schedule",
        "Schedule": "tltool.finetuning.schedule",
    },
)
