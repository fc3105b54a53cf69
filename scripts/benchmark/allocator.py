"""Images a second of a frozen backbone, with and without `keep_freed_memory`, in turn.

Run: python scripts/benchmark/allocator.py
"""

import statistics
import subprocess
import sys
import time

BATCH, STEPS, ROUNDS = 32, 6, 3


def measure(keep: bool) -> None:
    """Print the images a second of one process."""
    import torch

    from tltool.commands.allocator import keep_freed_memory
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
    pairs = []
    for _ in range(ROUNDS):
        rates = [
            float(subprocess.check_output([sys.executable, __file__, mode], text=True))
            for mode in ("default", "keep")
        ]
        pairs.append(rates)
        print(f"default {rates[0]:.1f}  keep {rates[1]:.1f} images/s", flush=True)
    print(f"median ratio {statistics.median(keep / default for default, keep in pairs):.2f}")


if __name__ == "__main__":
    main()
