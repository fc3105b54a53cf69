"""Metrics that keep rows of each batch in lists, which ranks without an image join too."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class ListMetric(Metric):
    """A metric whose states are lists of tensors, joined also where a rank has had no image.

    torchmetrics cannot join a list that is empty on one rank. A metric of its own gets it by
    standing behind this class.
    """

    def empty_states(self) -> dict[str, Tensor]:
        """Return an empty tensor of the type and shape of each list, by the name of the state."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its lists hold.")

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Join the ranks; one without an image brings empty tensors."""
        for name, empty in self.empty_states().items():
            if not len(getattr(self, name)):
                setattr(self, name, [empty.to(self.device)])
        super().sync(*args, **kwargs)


class RowMetric(ListMetric):
    """A metric that keeps a row of numbers for each image.

    Args:
        shape: Of a row.
        dtype: Of its numbers.
    """

    rows: list[Tensor]

    def __init__(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.shape, self.row_dtype = shape, dtype
        self.add_state("rows", [], dist_reduce_fx="cat")

    def empty_states(self) -> dict[str, Tensor]:
        """See `ListMetric`."""
        return {"rows": torch.empty(0, *self.shape, dtype=self.row_dtype)}

    def joined_rows(self) -> Tensor:
        """Return the rows of all images ``(N, *shape)``, on the CPU."""
        return dim_zero_cat(self.rows).cpu()
