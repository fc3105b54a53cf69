"""Metrics hide nothing."""

import pytest
import torch

from tltool.training.metrics import stage_metrics


@pytest.mark.parametrize("stage", ["train", "val", "test"])
def test_a_batch_without_a_loss_is_not_left_out_of_the_mean(stage):
    metrics = stage_metrics(2, stage)["loss"]
    metrics.update(torch.tensor(0.5), weight=4)
    metrics.update(torch.tensor(torch.nan), weight=4)
    assert metrics.compute().isnan()
