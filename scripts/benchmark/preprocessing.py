"""Does preprocessing matter, and where the head sits? A closed-form probe with each choice.

Each is compared with the weights' own mean and std and the whole network, on the same images.

Run: python scripts/benchmark/preprocessing.py elpv FOLDER ...
"""

import math
import sys
from pathlib import Path
from typing import Any

from features import features_of
from torch import Tensor

from tltool.models.ridge_probe import fit_ridge_probe

CHOICES: dict[str, dict[str, Any]] = {
    "ImageNet's mean and std": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
    "dataset": {"preprocessing": "dataset"},
    "center": {"preprocessing": "center"},
    "mean_image": {"preprocessing": "mean_image"},
    "none": {"preprocessing": "none"},
    "stop_at blocks.4": {"stop_at": "blocks.4"},
    "stop_at blocks.2": {"stop_at": "blocks.2"},
}


def main() -> None:
    """Print a table row for each data set and choice."""
    print("| data | images | choice | accuracy | with its own, whole | difference |")
    print("|---|---|---|---|---|---|")
    for data_name in sys.argv[1:]:
        own = correct(data_name)
        for name, options in CHOICES.items():
            other = correct(data_name, **options)
            # Paired: the same images with both.
            difference = other - own
            error = difference.std().item() / math.sqrt(len(difference))
            print(
                f"| {Path(data_name).name} | {len(own)} | {name} | {other.mean().item():.3f} "
                f"| {own.mean().item():.3f} | {difference.mean().item():+.3f} +- {error:.3f} |",
                flush=True,
            )


def correct(data_name: str, **options: Any) -> Tensor:
    """Return 1 for each image that the probe gets right and 0 for the others, ``(N,)``."""
    features = features_of(data_name, **options)
    evaluated, labels = features.get("test", features["val"])
    probe = fit_ridge_probe(*features["train"], int(labels.max()) + 1)
    return (probe.predict(evaluated) == labels).double()


if __name__ == "__main__":
    main()
