import torch

from tltool.data.loading.samples import Samples
from tltool.diagnostics.advice.subsample import at_most, draw_stratified


def test_every_class_is_drawn_by_its_share():
    labels = torch.tensor([0] * 40 + [1] * 8 + [2])
    chosen = draw_stratified(labels, 0.25, torch.Generator().manual_seed(0))
    assert labels[chosen].bincount().tolist() == [10, 2, 1]


def test_few_samples_are_kept_whole():
    samples = Samples(["a", "b"], [0, 1])
    assert at_most(samples, 2) is samples
