"""The start of a head where the backbone trains from random weights: its own initializer."""

from lightning.pytorch import LightningModule
from torch.nn.modules.batchnorm import _BatchNorm


def leave_out_start_(task: LightningModule) -> bool:
    """Let the head begin as its initializer says, if a closed-form start would not hold.

    Running statistics of random weights have seen no image. Batch norms that normalize by the batch
    then give other features in training than those that a probe fits, and it predicts them by
    chance, but confidently: training would begin at a loss far above that of a constant.

    Args:
        task: Its modes are those of the first phase.

    Returns:
        Whether a start was left out.
    """
    backbone = task.get_submodule("backbone")
    norms = (module for module in backbone.modules() if isinstance(module, _BatchNorm))
    is_random = getattr(backbone, "weights", None) == "random"
    if not (is_random and any(norm.training for norm in norms)):
        return False
    was_due = bool(getattr(task, "closed_form_start", False))
    task.closed_form_start = False  # type: ignore[assignment]  # no module
    return was_due
