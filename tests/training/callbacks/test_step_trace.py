"""The first steps of each epoch are kept in checkpoints, the same after a resume."""

import pytest
import torch

from tltool.training.callbacks.step_trace import STEPS, StepTrace
from tltool.training.step_records import StepRecord


@pytest.fixture
def step(make_task, make_trainer):
    """Return a function that lets a trace see a step of a batch."""
    task, trainer = make_task(), make_trainer()

    def run(trace, batch, batch_idx=0, outputs=None):
        trace.on_train_batch_start(trainer, task, batch, batch_idx)
        outputs = {"loss": torch.tensor(0.5)} if outputs is None else outputs
        trace.on_train_batch_end(trainer, task, outputs, batch, batch_idx)
        return trace

    return run


def batch(kind="images", **others):
    return {kind: torch.eye(2), "labels": torch.tensor([0, 1]), "paths": ["a", "b"], **others}


@pytest.mark.parametrize("kind", ["images", "features", "activations"])
def test_a_step_is_kept_with_names_for_what_it_reads(step, kind):
    trace = step(StepTrace(), batch(kind))
    assert trace.steps[0].loss == (0.5).hex()
    assert (len(trace.steps[0].inputs), trace.named[0].images) == (16, ["a", "b"])


@pytest.mark.parametrize(
    ("given", "outputs"),
    [((torch.eye(2), torch.tensor([0, 1])), None), ({"paths": []}, None), (batch(), {})],
)
def test_a_step_of_other_batches_or_without_a_loss_is_left_out(step, given, outputs):
    assert step(StepTrace(), given, outputs=outputs).steps == []


def test_images_without_names_have_numbers(step):
    assert step(StepTrace(), batch(paths=None)).named[0].images == ["image 0", "image 1"]


def test_later_steps_of_an_epoch_are_not_kept(step):
    assert step(StepTrace(), batch(), batch_idx=STEPS).steps == []


def test_a_checkpoint_holds_the_start_and_the_newest_steps(step):
    trace = StepTrace()
    records = [StepRecord(epoch, epoch, 0, "", "", "") for epoch in range(400)]
    trace.steps = records
    resumed = StepTrace()
    resumed.load_state_dict(step(trace, batch()).state_dict())
    assert resumed.steps[:STEPS] == records[:STEPS]
    assert resumed.steps[-1] == trace.steps[-1]
    assert len(resumed.steps) < 200
