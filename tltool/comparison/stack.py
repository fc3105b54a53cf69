"""Old names of the training of a stack of heads, until the lecture uses the new ones."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from tltool.comparison.cross_validation import SplitRows
from tltool.comparison.head_stack import HeadStack, train_head_stack
from tltool.comparison.head_stack import TrainedHead as Trained
from tltool.comparison.training_settings import TrainingSettings

__all__ = ["HeadStack", "Trained", "train_stack"]


def train_stack(
    heads: Sequence[nn.Module],
    features: Tensor,
    labels: Tensor,
    split: SplitRows,
    *,
    rates: Sequence[float],
    recipe: TrainingSettings | None = None,
    **options: Any,
) -> list[Trained]:
    """See `train_head_stack`."""
    return train_head_stack(heads, features, labels, split, lrs=rates, settings=recipe, **options)
