"""Images a second of a frozen backbone, with and without `keep_freed_memory`, in turn.

Run: python scripts/benchmark/allocator.py
"""

import subprocess
import sys
import time
from functools import partial

from rounds import in_turn, median_ratio

BATCH, STEPS = 32, 6


def measure(keep: bool) -> None:
    """Print the images a second of one process."""
    import torch

    from tltool.cli.allocator import keep_freed_memory
    from tltool.models.backbone import Backbone

    if keep and not keep_freed_memory():
        raise SystemExit("This C library is not tuned: nothing to compare.")
    backbone = Backbone("tf_efficientnet_lite0", "random").eval().requires_grad_(False)
    images = torch.randn(BATCH, 3, 224, 224)
    backbone(images)
    start = time.perf_counter()
    for _ in range(STEPS):
        backbone(images)
    print(STEPS * BATCH / (time.perf_counter() - start))


def main() -> None:
    """Start processes in turn and print the rates and the median ratio."""
    if len(sys.argv) > 1:
        measure(sys.argv[1] == "keep")
        return

    def rate(mode: str) -> float:
        return float(subprocess.check_output([sys.executable, __file__, mode], text=True))

    default, keep = in_turn({mode: partial(rate, mode) for mode in ("default", "keep")}).values()
    print(f"median ratio {median_ratio(keep, default):.2f}")


if __name__ == "__main__":
    main()
