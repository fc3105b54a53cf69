"""Checkpoint round trip: does a loaded model give the logits of the one that was saved?"""

from torch import Tensor

from tltool.diagnostics.checks.check_result import Check, CheckResult

CHECK = Check("checkpoint")
#: Of a compiled network, or of a GPU, which add in another order.
ROUNDING = 1e-4


def round_trip(before: Tensor, after: Tensor, *, num_bytes: int) -> CheckResult:
    """Compare the logits of a model with those of the one that its checkpoint gives.

    Args:
        before: ``(B, num_classes)``.
        after: Of the same images.
        num_bytes: Size of the file.

    Example:
        >>> import torch
        >>> round_trip(torch.ones(2, 3), torch.ones(2, 3), num_bytes=2**20).found
        'written (1.0 MiB), loaded, and the logits are equal bit for bit'
    """
    size = f"{num_bytes / 2**20:.1f} MiB"
    gap = float((before - after).abs().max()) if before.shape == after.shape else float("nan")
    if gap <= ROUNDING * max(float(before.abs().max()), 1.0):
        how = f"up to rounding ({gap:.0e})" if gap else "bit for bit"
        return CHECK.ok(f"written ({size}), loaded, and the logits are equal {how}")
    return CHECK.problem("differs", gap=gap)
