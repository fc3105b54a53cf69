"""A trained checkpoint at work: predictions as tables and from Python."""

from typing import TYPE_CHECKING

from tltool.lazy import lazy_exports

if TYPE_CHECKING:
    from tltool.inference.predictor import Prediction as Prediction
    from tltool.inference.predictor import Predictor as Predictor
    from tltool.inference.predictor import load as load

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Prediction": "tltool.inference.predictor",
        "Predictor": "tltool.inference.predictor",
        "load": "tltool.inference.predictor",
    },
)
