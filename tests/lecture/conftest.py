"""Problems that networks learn in a moment."""

import pytest
import torch

from tltool.comparison.cross_validation import SplitRows
from tltool.lecture.problem import Problem


@pytest.fixture(scope="session")
def blobs():
    """Three classes, each a cloud around a point of its own, in 8 positive features."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(150) % 3
    centers = 2 + 2 * torch.rand(3, 8, generator=generator)
    features = centers[labels] + 0.3 * torch.randn(150, 8, generator=generator)
    split = SplitRows(torch.arange(90), torch.arange(90, 120), torch.arange(120, 150), (0,))
    return Problem("blobs", features, labels, split)
