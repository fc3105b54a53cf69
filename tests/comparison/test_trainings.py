"""How long a comparison takes is told from steps that were measured."""

import pytest

from tltool.comparison import head_stack
from tltool.comparison.cross_validation import cross_validation
from tltool.comparison.training_settings import TrainingSettings
from tltool.comparison.trainings import Job, Trainings
from tltool.comparison.variants import Variant


def test_the_estimate_is_the_time_of_a_step_times_the_steps(clouds, monkeypatch):
    clock = [0.0]
    step = head_stack.StackedOptimizer.step

    def take_a_second(*args):
        clock[0] += 1
        step(*args)

    monkeypatch.setattr(head_stack.StackedOptimizer, "step", take_a_second)
    monkeypatch.setattr(head_stack.time, "perf_counter", lambda: clock[0])
    heads = {"linear": Variant({}), "deep": Variant({"hidden_features": [4]})}
    splits = cross_validation(clouds[1], [0], num_folds=3)
    settings = TrainingSettings(epochs=3, batch_size=10)
    trainings = Trainings(*clouds, heads, splits, [0], settings)
    jobs = [Job(name, split, 0, 0.01) for name in heads for split in range(3)]
    estimate = trainings.estimate_seconds(jobs)
    clock[0] = 0
    trainings.run(jobs)
    assert estimate == pytest.approx(clock[0])
    assert clock[0] == 2 * 3 * 3 * len(splits[0].train) / 10
