"""How often does a comparison find a difference between heads that do not differ?

24 equal heads under 24 names, each with seeds of its own, so that they come out as differently as
noise makes them; on synthetic features, new ones in each comparison. A comparison with any finding
is wrong; at most 5 of 100 should be. Both ways of reporting are asked: a test split, and
cross-validation. In the last column one of the heads cannot learn: that is to be found.

Found: 2 of 100 with a test split, 4 of 100 by cross-validation; the head that cannot learn in 10
and in 9 of 10.

Run: python scripts/benchmark/noise.py [COMPARISONS]
"""

import sys
from typing import Literal

import torch
from torch import Tensor

from tltool.comparison.compare import compare_heads
from tltool.comparison.result import Comparison
from tltool.comparison.training_settings import TrainingSettings
from tltool.comparison.variants import Variant

NUM_HEADS = 24
HEAD = {"hidden_features": [8], "norm": "batch"}
SETTINGS = TrainingSettings(epochs=4, batch_size=32)
Report = Literal["test", "folds"]


def synthetic_features(num_images: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return features of three overlapping classes, and labels of which a tenth is wrong."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (num_images,), generator=generator)
    centers = 0.7 * torch.randn(3, 16, generator=generator)
    features = centers[labels] + torch.randn(num_images, 16, generator=generator)
    noise = torch.rand(num_images, generator=generator) < 0.1
    return features, torch.where(noise, (labels + 1) % 3, labels)


def compare_equal_heads(seed: int, report: Report, *, blind: bool = False) -> Comparison:
    """Compare 24 equal heads; if ``blind``, the last one cannot learn at all."""
    features, labels = synthetic_features(480 if report == "test" else 240, seed)
    splits = ["train"] * 200 + ["val"] * 80 + ["test"] * 200 if report == "test" else None
    heads = {f"head {n}": Variant(HEAD, seed_shift=1000 * (n + 1)) for n in range(NUM_HEADS)}
    if blind:
        wrong = {"hidden_features": [8], "initializer": "zeros", "bias": -1.0}
        heads[f"head {NUM_HEADS - 1}"] = Variant(wrong, seed_shift=1000 * NUM_HEADS)
    return compare_heads(
        features, labels, heads, splits=splits, seeds=5, num_folds=3, settings=SETTINGS
    )


def count_findings(num_comparisons: int, report: Report, *, blind: bool = False) -> int:
    """Return the number of comparisons that find any difference."""
    found = (compare_equal_heads(seed, report, blind=blind) for seed in range(num_comparisons))
    return sum(bool(comparison.findings) for comparison in found)


def main() -> None:
    """Print the number of comparisons with a finding."""
    torch.set_num_threads(1)
    num_comparisons = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    print("| reported on | equal heads: any finding | one that cannot learn: found |")
    print("|---|---|---|")
    for report in ("test", "folds"):
        equal = count_findings(num_comparisons, report)
        blind = count_findings(max(num_comparisons // 10, 1), report, blind=True)
        print(
            f"| {report} | {equal} of {num_comparisons} "
            f"| {blind} of {max(num_comparisons // 10, 1)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
