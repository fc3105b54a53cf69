"""Preprocessing agreement: do images reach the network as its weights expect them?"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import Tensor

from tltool.diagnostics.checks.check_result import Check, CheckResult

KEYS = ("input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode")
CHECK = Check("preprocessing")


def preprocessing_agrees(
    used: Mapping[str, Any],
    own: Mapping[str, Any],
    images: Tensor,
    *,
    weights: str,
    chosen: Collection[str] = (),
) -> CheckResult:
    """Compare the preprocessing of the images with that of the weights.

    Args:
        used: What the images go through.
        own: What the weights were trained with.
        images: Images after it, ``(B, C, H, W)``.
        weights: Where the weights come from; ``random`` ones expect nothing.
        chosen: Keys that may differ, for they were chosen so.

    Example:
        >>> import torch
        >>> used, own = {"mean": [0.0], "std": [1.0]}, {"mean": [0.5], "std": [0.5]}
        >>> preprocessing_agrees(used, own, torch.randn(2, 1, 4, 4), weights="pretrained").status
        'failed'
    """
    if not images.isfinite().all() or not images.std() > 0:
        return CHECK.problem("constant")
    # As they are shown: numbers that were written down in decimals are never quite the same.
    keys = [key for key in KEYS if key in own and _short(used.get(key)) != _short(own[key])]
    if "mean_image" in used:
        keys.append("mean_image")
    pixels = f"pixels of mean {images.mean():.2f} and standard deviation {images.std():.2f}"
    if not keys:
        return CHECK.ok(f"as the weights were trained; {pixels}")
    values = ", ".join(f"{k} {_short(used.get(k))} instead of {_short(own.get(k))}" for k in keys)
    if set(keys) <= set(chosen):
        return CHECK.ok(f"as the weights were trained, but for the chosen {values}; {pixels}")
    if weights == "random":
        return CHECK.ok(f"{values}; random weights expect nothing; {pixels}")
    is_failure = used.get("preprocessing", "backbone") == "backbone"  # Others may be meant.
    return CHECK.problem("different", is_failure=is_failure, values=values)


def _short(value: Any) -> str:
    if isinstance(value, str) and len(value) > 20:
        return "the mean image"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(_short(each) for each in value)}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
