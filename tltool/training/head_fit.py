"""Training of a head on features alone, before the backbone trains too."""

import copy
from typing import Unpack

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from tltool._module_state import restored_modes
from tltool.models.label_loss import LossOptions, label_loss

EPOCHS = 20
FEWEST_STEPS, MOST_STEPS = 500, 2_000
"""Steps with few images and with many, whatever the number of epochs."""
_BATCH_SIZE = 64
_LR, _WEIGHT_DECAY = 1e-3, 0.05


def fit_head_(
    head: nn.Module, features: Tensor, labels: Tensor, **loss: Unpack[LossOptions]
) -> nn.Module:
    """Train a head on features, so that it does not distort them when the backbone begins to train.

    The first half of LP-FT (Kumar et al., 2022, https://arxiv.org/abs/2202.10054), for heads that
    have no closed form: AdamW, one cycle. It draws from a seed of its own.

    Args:
        head: Any head; its mode is left as it was. Of another precision than the features, it
            trains in theirs.
        features: Of the training images, ``(N, num_features)``.
        labels: As `label_loss` takes them.
        **loss: See `LossOptions`.

    Returns:
        ``head``.

    Example:
        >>> features = torch.tensor([[0.0, 1.0], [0.1, 0.8], [1.0, 0.1], [0.9, 0.2]])
        >>> head = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))
        >>> features, labels = features.repeat(99, 1), torch.tensor([0, 0, 1, 1]).repeat(99)
        >>> fit_head_(head, features, labels)(features[:4]).argmax(dim=1)
        tensor([0, 0, 1, 1])
    """
    if next(head.parameters()).dtype != features.dtype:  # As with --trainer.precision bf16-true.
        copied = copy.deepcopy(head).to(features.dtype)
        head.load_state_dict(fit_head_(copied, features, labels, **loss).state_dict())
        return head
    size = min(_BATCH_SIZE, len(features))
    per_epoch = len(features) // size  # What is left over is in another epoch's batches.
    steps = min(max(EPOCHS * per_epoch, FEWEST_STEPS), MOST_STEPS)
    optimizer = torch.optim.AdamW(head.parameters(), lr=_LR, weight_decay=_WEIGHT_DECAY)
    cycle = OneCycleLR(optimizer, _LR, total_steps=steps + 1)
    devices = [features.device] if features.device.type == "cuda" else []
    with restored_modes(head), torch.random.fork_rng(devices), torch.enable_grad():
        torch.manual_seed(0)
        head.train()
        for step in range(steps):
            if step % per_epoch == 0:
                order = torch.randperm(len(features)).to(features.device)
            rows = order[step % per_epoch * size :][:size]
            optimizer.zero_grad()
            label_loss(head(features[rows]), labels[rows], **loss).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            cycle.step()
    head.zero_grad()
    return head
