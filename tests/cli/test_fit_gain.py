"""What the last screen of a fit says about the gain over the probe."""

import pytest
import torch

from tltool.cli.fit_gain import gain_summary, outcome, where_measured
from tltool.evaluation.predictions import PredictionSet
from tltool.evaluation.regression import RegressionPredictions
from tltool.inference.run_gain import ProbeBaseline, RunGain

GROUPS = [image // 20 for image in range(80)]


def right(number_of_each_group):
    """Return predictions of 4 groups of 20 images, of which so many are right."""
    within = torch.arange(80) % 20
    sure = torch.where(within < torch.tensor(number_of_each_group).repeat_interleave(20), 0.9, 0.1)
    labels = torch.zeros(80, dtype=torch.long)
    return PredictionSet.from_probabilities(torch.stack([sure, 1 - sure], dim=1), labels)


def gain(run, probe):
    return RunGain(ProbeBaseline("test", right(probe), GROUPS), right(run), is_optimistic=False)


def test_equal_predictions_of_few_groups_are_not_called_sure():
    assert "+0.000 to +0.000" not in outcome(gain([20] * 4, [20] * 4))


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ([10, 11, 10, 9], "; 4 groups that differ are too few to tell"),
        ([20, 18, 20, 20], "; so small a difference may be chance"),
        ([20, 20, 20, 20], ""),
    ],
)
def test_why_a_difference_is_no_finding_agrees_with_its_interval(run, words):
    found = where_measured(gain(run, [20] * 4))
    assert found == f"80 test images of 4 groups, which chose nothing{words}"


def test_the_gain_of_a_run_with_larger_errors_is_negative():
    targets = torch.arange(4.0)
    run, probe = (RegressionPredictions.of(targets + error, targets) for error in (2.0, 0.5))
    found = gain_summary(RunGain(ProbeBaseline("test", probe, None), run, is_optimistic=False))
    assert (found["test/mae_of_best"], found["gain_over_probe"]) == (2.0, -1.5)
