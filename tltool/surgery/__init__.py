"""In-place edits of any module: one traversal, and a report of what each edit changed."""

from typing import TYPE_CHECKING

from tltool.lazy import lazy_exports

if TYPE_CHECKING:
    from tltool.surgery.activations import ActivationSwap as ActivationSwap
    from tltool.surgery.activations import swap_activations as swap_activations
    from tltool.surgery.apply import apply_surgery_ as apply_surgery_

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "ActivationSwap": "tltool.surgery.activations",
        "apply_surgery_": "tltool.surgery.apply",
        "swap_activations": "tltool.surgery.activations",
    },
)
