import pytest
import torch

from tltool.training.metric_state import gather_sums, set_sums_
from tltool.training.metrics import stage_metrics


def counted(*losses):
    metrics = stage_metrics(2, "train")
    for loss in losses:
        metrics["loss"].update(torch.tensor(loss), weight=4)
        metrics["accuracy"].update(torch.eye(2), torch.tensor([0, 1]))
    return metrics


def sums_of_two_ranks():
    """Return what two ranks with losses of 1 and 2 put into a checkpoint."""
    return gather_sums(counted(1.0), lambda value: torch.stack([value, 2 * value]))


def test_a_rank_goes_on_with_its_own_sums():
    metrics = set_sums_(stage_metrics(2, "train"), sums_of_two_ranks(), rank=1, num_ranks=2)
    assert metrics["loss"].metric_state == {"mean_value": 8.0, "weight": 8.0}


def test_one_process_goes_on_with_the_sums_of_two():
    metrics = set_sums_(stage_metrics(2, "train"), sums_of_two_ranks())
    assert metrics["loss"].metric_state == {"mean_value": 12.0, "weight": 12.0}


def test_the_first_of_three_ranks_goes_on_with_the_sums_of_two():
    metrics = set_sums_(stage_metrics(2, "train"), sums_of_two_ranks(), rank=2, num_ranks=3)
    assert metrics["loss"].metric_state == {"mean_value": 0.0, "weight": 0.0}


def test_the_mean_is_that_of_the_whole_epoch():
    begun = gather_sums(counted(1.0, 2.0), lambda value: value[None])
    resumed = set_sums_(stage_metrics(2, "train"), begun)
    resumed["loss"].update(torch.tensor(6.0), weight=4)
    resumed["accuracy"].update(torch.eye(2), torch.tensor([0, 0]))
    values = {name: float(value) for name, value in resumed.compute().items()}
    assert values == pytest.approx({"train/loss": 3.0, "train/accuracy": 5 / 6})
