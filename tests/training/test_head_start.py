"""A linear head begins as the closed-form probe."""

import time
from datetime import timedelta
from functools import partial
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from torch.nn import functional

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.features.extraction import extract_features
from tltool.finetuning.strategies import LPFT, FullFinetuning, LinearProbe
from tltool.layers.fitted_norms import Standardize
from tltool.models.backbone import Backbone
from tltool.models.heads import Head
from tltool.models.ridge_probe import fit_ridge_probe
from tltool.training import head_start
from tltool.training.callbacks.finetuning import Finetuning
from tltool.training.head_start import start_from_probe_, start_head_
from tltool.training.image_task import ImageTask


def make_data(num_samples=60, num_features=20, num_classes=3, noise=3.0):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(num_samples) % num_classes
    centers = torch.randn(num_classes, num_features, generator=generator)
    rows = centers[labels] + noise * torch.randn(num_samples, num_features, generator=generator)
    return rows, labels


@pytest.mark.parametrize("shape", [(60, 20), (30, 100), (12, 5)], ids=str)
@pytest.mark.parametrize("num_classes", [2, 3])
def test_it_predicts_what_the_probe_predicts(shape, num_classes):
    features, labels = make_data(*shape, num_classes)
    head = start_from_probe_(Head(shape[1], num_classes), features, labels)
    probe = fit_ridge_probe(features, labels, num_classes)
    assert torch.equal(head(features).argmax(dim=1), probe.predict(features))


def test_it_predicts_the_same_behind_an_input_norm():
    features, labels = make_data()
    features = features * torch.logspace(-1, 3, 20)
    head = Head(20, 3, input_norm="standardize")
    assert isinstance(head.input_norm, Standardize)
    head.input_norm.fit_(features)
    start_from_probe_(head, features, labels)
    probe = fit_ridge_probe(head.input_norm(features), labels, 3)
    assert torch.equal(head(features).argmax(1), probe.predict(head.input_norm(features)))


def test_its_probabilities_are_better_than_those_of_the_bare_regression():
    features, labels = make_data(300, noise=1.0)
    train, test = slice(0, None, 2), slice(1, None, 2)
    head = start_from_probe_(Head(20, 3), features[train], labels[train])
    probe = fit_ridge_probe(features[train], labels[train], 3)
    bare = (features[test].double() - probe.mean) / probe.scale @ probe.weight + probe.bias
    losses = [functional.cross_entropy(each, labels[test]) for each in (head(features[test]), bare)]
    assert losses[0] < losses[1]


def test_label_smoothing_keeps_the_logits_smaller():
    features, labels = make_data(noise=0.3)
    plain, smooth = (
        fit_ridge_probe(features, labels, 3, label_smoothing=s).linear()[0].norm() for s in (0, 0.3)
    )
    assert smooth < plain


def test_weights_of_classes_count_as_images_that_are_there_twice():
    features, labels = make_data(30)
    twice = labels == 0
    weighted = fit_ridge_probe(features, labels, 3, class_weights=torch.tensor([2.0, 1.0, 1.0]))
    again = torch.cat([features, features[twice]]), torch.cat([labels, labels[twice]])
    mean = fit_ridge_probe(*again, 3).mean
    torch.testing.assert_close(weighted.mean, mean)
    assert weighted.bias[0] == pytest.approx(0.5)


def test_a_feature_that_hardly_changes_gets_no_large_weight():
    features, labels = make_data()
    features[:, 0] = 1e-7 * torch.randn(60)
    head = start_from_probe_(Head(20, 3), features, labels)
    assert head.output.weight[:, 0].abs().max() < 100 * head.output.weight.abs().max()


def test_of_very_wide_features_some_images_are_enough():
    labels = torch.arange(12) % 2
    features = torch.randn(12, 120_000) + labels[:, None]
    head = start_from_probe_(Head(120_000, 2), features, labels)
    assert torch.equal(head(features).argmax(dim=1), labels)


def test_features_that_are_no_numbers_are_refused():
    features, labels = make_data()
    features[3, 4] = torch.nan
    with pytest.raises(ValueError, match="features that are NaN or infinite"):
        start_from_probe_(Head(20, 3), features, labels)


@pytest.fixture
def start(images, make_trainer):
    """Fit for no epoch, and return the task."""

    def run(head=Head, strategy=None, weights="random", **options):
        torch.manual_seed(0)
        backbone = Backbone("test_resnet", weights="random", img_size=32)
        backbone.weights = weights
        task = ImageTask(backbone, head, num_classes=2, **options)
        data = ImageFolderDataModule(
            images, batch_size=4, num_workers=0, data_config=backbone.data_config
        )
        trainer = make_trainer(Finetuning(strategy or FullFinetuning()), max_epochs=2, max_steps=0)
        before = task.head.output.weight.clone()
        trainer.fit(task, data)
        changed = not torch.equal(before, task.head.output.weight)
        return trainer, task, data, changed

    return run


def test_validation_before_the_first_step_is_that_of_the_probe(start):
    trainer, task, data, changed = start()
    (metrics,) = trainer.validate(task, data, verbose=False)
    assert changed
    assert metrics["val/accuracy"] == 1.0


def test_its_logits_before_the_first_step_are_those_of_the_probe(start):
    _, task, data, _ = start()
    rows, labels = extract_features(
        task.backbone, data.evaluation_dataloader("train"), description=""
    )
    probe = fit_ridge_probe(rows, labels, 2)
    weight, bias = probe.linear()
    expected = rows.double() @ weight.T + bias
    torch.testing.assert_close(task.head(rows).double(), expected, rtol=1e-3, atol=1e-3)


def test_a_head_with_hidden_layers_begins_with_its_initializer_where_it_trains_alone(start):
    begun = start(partial(Head, hidden_features=[8]), strategy=LinearProbe())[-1]
    assert not begun


@pytest.mark.parametrize("strategy", [FullFinetuning(), LPFT()])
def test_a_head_with_hidden_layers_is_trained_before_the_backbone_is(start, strategy):
    assert start(partial(Head, hidden_features=[8]), strategy)[-1]


def test_a_head_that_says_how_it_begins_is_left(start):
    assert not start(partial(Head, output_initializer="zeros"))[-1]


def test_it_can_be_turned_off(start):
    assert not start(closed_form_start=False)[-1]


def test_a_head_that_has_begun_does_not_begin_again(start, make_trainer):
    _, task, data, _ = start()
    before = task.head.output.weight.data.mul_(2).clone()
    make_trainer(Finetuning(FullFinetuning()), max_epochs=1, max_steps=0).fit(task, data)
    assert torch.equal(task.head.output.weight, before)


def test_a_resumed_run_does_not_begin_again(start, make_trainer, tmp_path):
    trainer, task, data, _ = start()
    task.head.output.weight.data.mul_(2)
    trainer.save_checkpoint(tmp_path / "start.ckpt")
    other = ImageTask(task.backbone, num_classes=2)
    fresh = make_trainer(Finetuning(FullFinetuning()), max_epochs=1, max_steps=0)
    fresh.fit(other, data, ckpt_path=tmp_path / "start.ckpt", weights_only=True)
    assert torch.equal(other.head.output.weight, task.head.output.weight)


def test_from_random_weights_under_batch_statistics_it_begins_with_its_initializer(start):
    assert not start(strategy=FullFinetuning(batch_norm="train"))[-1]


def test_pretrained_weights_under_batch_statistics_begin_as_the_probe(start):
    assert start(strategy=FullFinetuning(batch_norm="train"), weights="a file")[-1]


def start_as_rank(rank, images):
    """Start a head as one of two ranks, the first of which takes longer than a broadcast waits."""

    def broadcast(state):
        found = [state]
        dist.broadcast_object_list(found)
        return found[0]

    def pass_slowly(task, data):
        time.sleep(4)
        return torch.randn(len(data.samples("train")), task.backbone.num_features)

    vars(head_start)["_passed"] = pass_slowly
    dist.init_process_group("gloo", rank=rank, world_size=2, timeout=timedelta(seconds=2))
    task = ImageTask(Backbone("test_resnet", weights="random", img_size=32), num_classes=2)
    strategy = SimpleNamespace(broadcast=broadcast)
    whole = {"limit_train_batches": 1.0, "limit_val_batches": 1.0}
    vars(task)["_trainer"] = SimpleNamespace(
        is_global_zero=rank == 0, strategy=strategy, fast_dev_run=False, overfit_batches=0, **whole
    )
    start_head_(task, ImageFolderDataModule(images, data_config=task.data_config))
    print(task.head.output.weight.abs().sum().item())


def test_ranks_wait_for_the_first_one_however_long_it_takes(run_tasks, images):
    codes, texts = run_tasks(partial(start_as_rank, images=images))
    assert codes == [0, 0], texts
    assert texts[0].splitlines()[-1] == texts[1].splitlines()[-1]
