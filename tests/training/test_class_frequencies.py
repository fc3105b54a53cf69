"""Class-balanced sampling in a task: weights, the log prior and the closed-form start."""

from functools import partial

import pytest
import torch

from tests.conftest import write_images
from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.finetuning.strategies import LinearProbe
from tltool.models.backbone import Backbone
from tltool.training.callbacks.feature_caching import FeatureCaching
from tltool.training.callbacks.finetuning import Finetuning
from tltool.training.class_frequencies import fit_weights, weight_tensor
from tltool.training.image_task import ImageTask


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """A folder of 20 blue and 5 red images."""
    root = tmp_path_factory.mktemp("uneven")
    write_images(root, classes=("blue",), per_class=20)
    return write_images(root, classes=("red",), per_class=5)


@pytest.fixture
def begin(uneven, make_trainer):
    """Return a function that returns a task after the first steps of a training."""

    def run(*, sampling="class_balanced", enabled=True, max_steps=1, lr=0.0, **options):
        torch.manual_seed(0)
        backbone = Backbone("test_resnet", weights="random", img_size=32)
        data = ImageFolderDataModule(
            uneven,
            data_config=backbone.data_config,
            batch_size=4,
            num_workers=0,
            sampling=sampling,
        )
        counts, optimizer = data.drawn_class_counts, partial(torch.optim.SGD, lr=lr)
        task = ImageTask(
            backbone, num_classes=2, class_counts=counts, optimizer=optimizer, **options
        )
        callbacks = [Finetuning(LinearProbe()), FeatureCaching(enabled=enabled)]
        make_trainer(*callbacks, max_epochs=1, max_steps=max_steps).fit(task, data)
        return task

    return run


def test_a_fit_on_all_images_weighs_classes_as_balanced_draws_do():
    labels = torch.tensor([0, 0, 0, 1])
    weights = fit_weights(torch.tensor([1.0, 2.0]), labels, "class_balanced")
    torch.testing.assert_close(weights, torch.tensor([2 / 3, 4.0]))
    assert fit_weights(None, labels, "shuffled") is None


def test_a_head_begins_as_with_balanced_class_weights(begin):
    drawn = begin()
    weighted = begin(sampling="shuffled", class_weights="balanced")
    torch.testing.assert_close(drawn.head.state_dict(), weighted.head.state_dict())
    assert not torch.equal(drawn.head.output.weight, begin(sampling="shuffled").head.output.weight)


def test_the_log_prior_is_that_of_the_drawn_classes(begin):
    assert begin(log_prior=True).head.output.bias.exp().tolist() == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("weights", "words"),
    [("balanced", "change nothing"), ([1.0, 4.0], "rare classes may count twice"), (None, "")],
)
def test_class_weights_beside_balanced_draws_are_said(begin, caplog, weights, words):
    begin(class_weights=weights)
    assert words in caplog.text
    assert bool(words) == ("Leave one of them out" in caplog.text)


def test_cached_features_are_drawn_as_images_are(begin):
    options = {"max_steps": 5, "lr": 0.1, "closed_form_start": False}
    cached, read, shuffled = (
        begin(**options, **more).head.output.bias
        for more in ({}, {"enabled": False}, {"sampling": "shuffled"})
    )
    torch.testing.assert_close(cached, read, rtol=0, atol=1e-5)
    assert (cached - shuffled).abs().max() > 1e-3


def test_counts_of_other_classes_are_refused():
    with pytest.raises(ValueError, match="`class_counts` are 3, and there are 2 classes"):
        weight_tensor([3.0, 1.0], [1, 3, 2], ["a", "b"])
