"""Until a weight average begins, what is validated and saved is the network itself."""

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EMAWeightAveraging

from tltool.finetuning.strategies import LinearProbe
from tltool.training.average_start import AverageStart
from tltool.training.callbacks.finetuning import Finetuning


class SavedWeights(Callback):
    """Note the head's weights in the network and in a checkpoint, at the end of each epoch."""

    def __init__(self, path):
        self.path = path
        self.pairs = []

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.save_checkpoint(self.path)
        saved = torch.load(self.path, weights_only=True)["state_dict"]["head.1.weight"]
        self.pairs.append((saved, pl_module.head[1].weight.detach().clone()))


@pytest.fixture
def epochs(make_task, fit, tmp_path):
    """Return whether the saved weights are those of the network, epoch by epoch."""

    def run(**options):
        saved = SavedWeights(tmp_path / "saved.ckpt")
        average = EMAWeightAveraging(decay=0.5, **options)
        callbacks = [Finetuning(LinearProbe()), AverageStart(), average, saved]
        trainer = fit(make_task(), *callbacks, max_epochs=3)
        last = trainer.lightning_module.head[1].weight
        return [one.equal(other) for one, other in saved.pairs], last, saved.pairs[-1]

    return run


@pytest.mark.parametrize("start", [{"update_starting_at_step": 5}, {"update_starting_at_epoch": 1}])
def test_in_front_of_its_start_the_network_is_saved(epochs, start):
    assert epochs(**start)[0] == [True, False, False]


def test_an_average_that_never_starts_leaves_the_trained_network(epochs):
    same, last, (_, network) = epochs(update_starting_at_step=100)
    assert all(same)
    assert last.equal(network)


def test_an_average_from_the_first_step_is_as_it_was(epochs):
    same, last, (average, _) = epochs()
    assert not any(same)
    assert last.equal(average)


def test_a_late_average_of_python_is_refused_without_it(make_task, fit):
    average = EMAWeightAveraging(update_starting_at_step=5)
    with pytest.raises(ValueError, match=r"AverageStart\(\) in front of it"):
        fit(make_task(), Finetuning(LinearProbe()), average)
