"""How many epochs a budget allows, where the output of frozen layers is kept."""

import pytest

from tltool.diagnostics.advice.training_time import TrainingTime


@pytest.mark.parametrize(
    ("budget", "epochs"), [(5, 1), (35, 3), (64, 4), (65, 5), (70, 10), (1000, 30)]
)
def test_of_few_epochs_images_are_read_and_nothing_is_kept(budget, epochs):
    time = TrainingTime(epoch=10, start=60, epoch_behind=1, num_read=4)
    assert time.epochs_within(budget) == epochs
