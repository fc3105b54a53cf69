"""Which of several candidates is chosen: the best, or the start unless the gain is beyond noise."""

import pytest
import torch

from tltool.evaluation.candidates import Candidate, choose_candidate, paired_gain
from tltool.evaluation.predictions import PredictionSet


def candidate(name, share, num_correct, loss=1.0, **metrics):
    labels = torch.tensor([0, 1]).repeat(50)
    right = torch.arange(100) < num_correct
    probabilities = torch.full((100, 2), 0.2).scatter(
        1, torch.where(right, labels, 1 - labels)[:, None], 0.8
    )
    predictions = PredictionSet.from_probabilities(probabilities, labels)
    measured = {"val/accuracy": num_correct / 100, "val/loss": loss, **metrics}
    return Candidate(name, share, measured, predictions)


def test_among_equal_accuracies_the_lower_loss_wins():
    found = [candidate("a", 1.0, 80, loss=0.5), candidate("b", 0.5, 80, loss=0.4)]
    assert choose_candidate(found).name == "b"


def test_of_equal_candidates_the_first_one_stays():
    found = [candidate("best epoch", 1.0, 80), candidate("start", 0.0, 80)]
    assert choose_candidate(found).name == "best epoch"


def test_what_is_monitored_decides_and_so_does_its_direction():
    found = [candidate("a", 1.0, 80, loss=0.5), candidate("b", 0.5, 90, loss=0.6)]
    assert choose_candidate(found, monitor="val/loss", mode="min").name == "a"


def test_a_metric_that_was_not_measured_names_those_that_were():
    with pytest.raises(ValueError, match=r"val/f2.*Choose one of: val/accuracy, val/loss"):
        choose_candidate([candidate("a", 1.0, 80)], monitor="val/f2")


def test_numbers_that_are_none_never_win():
    found = [candidate("a", 1.0, 80), candidate("b", 0.5, 90, loss=float("nan"))]
    assert choose_candidate(found).name == "a"


@pytest.mark.parametrize(("gain", "expected"), [(1, "start"), (2, "end")])
def test_one_standard_error_keeps_the_start_for_a_gain_within_noise(gain, expected):
    found = [candidate("end", 1.0, 80 + gain), candidate("start", 0.0, 80)]
    assert choose_candidate(found, rule="one_standard_error").name == expected


@pytest.mark.parametrize(("loss", "expected"), [(1, "end"), (2, "start")])
def test_what_was_trained_is_kept_unless_the_start_is_better_beyond_noise(loss, expected):
    found = [candidate("end", 1.0, 80 - loss), candidate("start", 0.0, 80)]
    assert choose_candidate(found, rule="trained").name == expected


def test_weights_that_diverged_never_replace_the_start():
    found = [candidate("end", 1.0, 90, loss=float("nan")), candidate("start", 0.0, 80)]
    assert choose_candidate(found, rule="trained").name == "start"


def test_images_of_one_group_count_as_one():
    found = [candidate("end", 1.0, 84), candidate("start", 0.0, 80)]
    groups = [str(index // 4) for index in range(100)]
    assert choose_candidate(found, rule="one_standard_error", groups=groups).name == "start"


def test_a_candidate_that_is_chosen_by_its_loss_gains_in_loss():
    end, start = candidate("end", 1.0, 90), candidate("start", 0.0, 80)
    gain = paired_gain(end, start, monitor="val/loss").mean
    assert gain == pytest.approx(0.1 * torch.tensor(4.0).log().item(), rel=1e-4)


def test_a_start_that_is_worse_by_the_metric_never_replaces_what_was_trained():
    end = candidate("end", 1.0, 81, **{"val/f1": 0.685})
    start = candidate("start", 0.0, 90, **{"val/f1": 0.474})
    assert choose_candidate([end, start], monitor="val/f1", rule="trained").name == "end"
