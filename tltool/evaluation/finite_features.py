"""Features that are numbers: what is fitted to others is none."""

from torch import Tensor


def check_finite_features(features: Tensor) -> None:
    """Raise if features ``(N, D)`` of images are NaN or infinite.

    Raises:
        ValueError: How many images have such features, and what to try.
    """
    bad = int((~features.isfinite()).any(dim=1).sum())
    if bad:
        raise ValueError(
            f"The network gives NaN or infinity for {bad:,} of {len(features):,} images. Its "
            "weights have overflowed: train with a lower --optimizer.lr, or look at the images."
        )
