"""Gain of fine-tuning over a closed-form probe, as it was measured on ten sets of images."""

#: What `tltool fit` as it is gained over the probe, by set, mean of three seeds, beside the images
#: of a class that train (`scripts/benchmark/README.md`, "Does fine-tuning pay?").
GAINS: dict[str, tuple[int, float]] = {
    "hymenoptera": (122, 0.022),
    "brain_mri": (240, 0.124),
    "solar": (500, 0.057),
    "solar_kind": (500, 0.004),
    "digits": (100, 0.018),
    "fashion": (100, 0.011),
    "brain_mri_10": (10, 0.01),
    "brain_mri_50": (50, 0.087),
    "fashion_10": (10, 0.026),
    "fashion_50": (50, -0.006),
}
#: Their mean, and its 95 % interval over sets and images.
MEAN, INTERVAL = 0.035, (-0.005, 0.076)
_SIZES = {"about 10": (0, 20), "about 50": (20, 75), "100 and more": (75, 10**9)}


def expected_gain(per_class: float, accuracy: float) -> str:
    """Return what fine-tuning is worth, in a sentence: measured on other images, and bounded here.

    Args:
        per_class: Training images of a class.
        accuracy: Of the probe, on these images.

    Example:
        >>> expected_gain(10, 0.95).partition("classes of ")[2]
        'about 10 images +0.010 to +0.026. Here at most +0.050 is left to gain.'
    """
    size = next(name for name, (least, most) in _SIZES.items() if least <= per_class < most)
    least, most = _SIZES[size]
    gains = [gain for number, gain in GAINS.values() if least <= number < most]
    return (
        f"fit without --finetuning gained {MEAN:+.3f} over such a probe on ten sets of images "
        f"(95 % interval {INTERVAL[0]:+.3f} to {INTERVAL[1]:+.3f}), with classes of {size} images "
        f"{min(gains):+.3f} to {max(gains):+.3f}. Here at most {1 - accuracy:+.3f} is left to gain."
    )
