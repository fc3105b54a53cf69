"""Does the weights' own mean and std matter? A closed-form probe with them and with ImageNet's.

Run: python scripts/benchmark/preprocessing.py elpv FOLDER ...
"""

import math
import sys

from features import features_of

from tltool.diagnosis.probe import fit_ridge_probe

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def main() -> None:
    """Print a table row for each data set."""
    print("| data | photos | own mean and std | ImageNet's | difference |")
    print("|---|---|---|---|---|")
    for data_name in sys.argv[1:]:
        right = {}
        for name, changes in {"own": {}, "imagenet": IMAGENET}.items():
            features = features_of(data_name, **changes)
            evaluated, labels = features.get("test", features["val"])
            num_classes = int(labels.max()) + 1
            probe = fit_ridge_probe(*features["train"], num_classes)
            right[name] = (probe.predict(evaluated) == labels).double()
        # Paired: the same photos with both.
        difference = right["own"] - right["imagenet"]
        error = difference.std().item() / math.sqrt(len(difference))
        own, imagenet = (right[name].mean().item() for name in ("own", "imagenet"))
        print(
            f"| {data_name} | {len(difference)} | {own:.3f} | {imagenet:.3f} "
            f"| {difference.mean().item():+.3f} +- {error:.3f} |"
        )


if __name__ == "__main__":
    main()
