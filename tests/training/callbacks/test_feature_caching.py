import os
import signal
from functools import partial

import pytest
import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.strategies import ModelParallelStrategy

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.features.store import FeatureStore
from tltool.finetuning.strategies import LPFT, GradualUnfreezing, LastBlocks, LinearProbe
from tltool.models.backbone import Backbone
from tltool.models.heads import Head
from tltool.training.callbacks.checkpoints import LastCheckpoint
from tltool.training.callbacks.feature_caching import FeatureCaching
from tltool.training.callbacks.finetuning import Finetuning
from tltool.training.callbacks.signal_stop import SignalStop
from tltool.training.distributed.signals import SIGNALS, SignalStopped
from tltool.training.image_task import ImageTask


class Passes(Callback):
    """Count the forward passes of the backbone in each epoch, and keep the last metrics."""

    def on_fit_start(self, trainer, pl_module):
        self.counts = []
        self.metrics = []
        pl_module.backbone.register_forward_hook(self.count)
        self.number = 0

    def count(self, *args):
        self.number += 1

    def on_train_epoch_end(self, trainer, pl_module):
        self.counts.append(self.number)
        self.number = 0

    def on_train_end(self, trainer, pl_module):
        self.metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}


@pytest.fixture(autouse=True)
def log_level(caplog):
    caplog.set_level("INFO", "tltool")


@pytest.fixture
def train(images, tmp_path):
    def run(
        strategy,
        *,
        head=Head,
        max_epochs=3,
        data_options=None,
        trainer_options=None,
        ckpt_path=None,
        **options,
    ):
        seed_everything(0, verbose=False)
        backbone = Backbone("test_resnet", weights="random", img_size=32)
        task = ImageTask(backbone, head, num_classes=2)
        data = ImageFolderDataModule(
            images,
            batch_size=4,
            num_workers=0,
            data_config=backbone.data_config,
            **data_options or {},
        )
        passes = Passes()
        caching = FeatureCaching(**{"cache_dir": str(tmp_path / "cache")} | options)
        given = {"enable_checkpointing": False} | (trainer_options or {})
        trainer = Trainer(
            max_epochs=max_epochs,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[passes, Finetuning(strategy), caching, *given.pop("callbacks", ())],
            **given,
        )
        trainer.fit(task, data, ckpt_path=ckpt_path, weights_only=True)
        return task, passes

    return run


def test_a_probe_on_features_equals_one_on_images(train):
    on_features, passes = train(LinearProbe())
    on_images, others = train(LinearProbe(), enabled=False)
    assert (passes.counts[1:], min(others.counts)) == ([0, 0], 6)  # 5 batches, and 1 to validate
    assert passes.metrics == pytest.approx(others.metrics, rel=1e-4, abs=1e-6)
    for a, b in zip(on_features.parameters(), on_images.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-4)


def test_a_second_fit_passes_no_image_through_the_backbone(train):
    first, passes = train(LinearProbe())
    second, others = train(LinearProbe())
    assert sum(passes.counts) > 0
    assert others.counts == [0, 0, 0]
    assert torch.equal(first.head.output.weight, second.head.output.weight)


def test_a_schedule_goes_on_with_images(train):
    on_features, passes = train(LPFT(probe_epochs=1))
    on_images, others = train(LPFT(probe_epochs=1), enabled=False)
    assert passes.counts[1:] == others.counts[1:] != [0, 0]
    for a, b in zip(on_features.parameters(), on_images.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_a_signal_stops_a_pass_between_phases_and_the_run_resumes_exactly(
    train, tmp_path, monkeypatch
):
    schedule = GradualUnfreezing(epochs_per_group=2, num_groups=1)  # Features, then activations.
    whole, _ = train(schedule, max_epochs=4)
    add = FeatureStore.add

    def add_and_signal(store, keys, features):
        add(store, keys, features)
        if SIGNALS._is_deferred:
            os.kill(os.getpid(), signal.SIGTERM)

    last = LastCheckpoint(tmp_path / "checkpoints")
    resumable = {"enable_checkpointing": True, "callbacks": [last, SignalStop(last)]}
    options = {"max_epochs": 4, "cache_dir": str(tmp_path / "new"), "trainer_options": resumable}
    monkeypatch.setattr(FeatureStore, "add", add_and_signal)
    with pytest.raises(SignalStopped):
        train(schedule, **options)
    monkeypatch.undo()
    assert torch.load(last.path, weights_only=True)["global_step"] == 10  # Behind two epochs.
    resumed, _ = train(schedule, ckpt_path=last.path, **options)
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_last_layers_on_activations_train_as_on_images(train):
    on_activations, passes = train(LastBlocks(1), max_epochs=3)
    on_images, others = train(LastBlocks(1), max_epochs=3, enabled=False)
    assert (passes.counts[1:], min(others.counts)) == ([0, 0], 6)
    assert passes.metrics == pytest.approx(others.metrics, rel=1e-3, abs=1e-3)
    for a, b in zip(on_activations.parameters(), on_images.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=2e-3, atol=2e-3)


def test_activations_of_a_short_phase_are_not_worth_it(train):
    _, passes = train(LastBlocks(1), max_epochs=1)
    assert passes.counts[0] >= 6


def test_activations_beyond_the_limit_are_not_kept(train, caplog):
    _, passes = train(LastBlocks(1), max_epochs=3, max_size="1kB")
    assert min(passes.counts) == 6
    assert "Set --features.max_size to allow it" in caplog.text


def test_nothing_beyond_the_limit_is_kept(train, tmp_path):
    train(LinearProbe(), max_size="1kB")
    assert not list(tmp_path.glob("cache/*/*"))


def test_activations_can_be_turned_off(train):
    _, passes = train(LastBlocks(1), max_epochs=3, activations=False)
    assert min(passes.counts) == 6


def test_augmented_images_are_computed_anew_and_the_remedy_is_said(train, caplog):
    _, passes = train(LinearProbe(), data_options={"augmentation": "crop"}, views=None)
    assert min(passes.counts) > 0
    assert "Set --features.views 4 to draw from 4 augmented views of each" in caplog.text


def test_views_of_augmented_images_are_computed_once(train, caplog):
    options = {"data_options": {"augmentation": "crop"}, "views": 2}
    train(LinearProbe(), **options)
    task, passes = train(LinearProbe(), **options)
    other, _ = train(LinearProbe(), data_options={"augmentation": "crop"}, views=1)
    assert passes.counts == [0, 0, 0]
    assert not torch.equal(task.head.output.weight, other.head.output.weight)
    assert "2 views of each training image" in caplog.text


@pytest.mark.parametrize("mixing", ["mixup", "cutmix"])
@pytest.mark.parametrize("strategy", [LinearProbe(), LastBlocks(1)], ids=["head", "last"])
def test_images_that_are_mixed_are_read(train, caplog, mixing, strategy):
    _, passes = train(strategy, data_options={mixing: 0.2})
    assert min(passes.counts) > 0
    assert "Set --features.mixup 0.2 to mix what frozen layers compute" in caplog.text


def test_features_are_mixed_instead_of_images(train):
    options = {"data_options": {"mixup": 0.2}, "mixup": 0.2}
    plain, _ = train(LinearProbe())
    mixed, passes = train(LinearProbe(), **options)
    assert passes.counts == [0, 0, 0]
    assert not torch.equal(plain.head.output.weight, mixed.head.output.weight)


def test_an_input_norm_is_fitted_on_features_that_are_kept(train):
    head = partial(Head, input_norm="standardize")
    on_features, _ = train(LinearProbe(), head=head)
    on_images, _ = train(LinearProbe(), head=head, enabled=False)
    _, passes = train(LinearProbe(), head=head)
    assert passes.counts == [0, 0, 0]
    for a, b in zip(on_features.head.buffers(), on_images.head.buffers(), strict=True):
        assert torch.allclose(a, b, rtol=1e-4)


@pytest.mark.parametrize(
    "limit", [{"fast_dev_run": 1}, {"overfit_batches": 1}, {"limit_train_batches": 1}], ids=str
)
@pytest.mark.filterwarnings("ignore:You requested to overfit")
def test_a_try_of_few_batches_passes_no_more_images(train, tmp_path, limit):
    train(LinearProbe(), max_epochs=1, trainer_options=limit)
    assert not (tmp_path / "cache").exists()


def test_without_a_schedule_all_trains_on_images(images, tmp_path, make_trainer):
    backbone = Backbone("test_resnet", weights="random", img_size=32)
    task = ImageTask(backbone, num_classes=2)
    data = ImageFolderDataModule(
        images, batch_size=4, num_workers=0, data_config=backbone.data_config
    )
    trainer = make_trainer(FeatureCaching(cache_dir=str(tmp_path)), max_epochs=1)
    before = [parameter.clone() for parameter in backbone.parameters()]
    trainer.fit(task, data)
    assert any(not torch.equal(a, b) for a, b in zip(before, backbone.parameters(), strict=True))
    loaders = trainer.train_dataloader, trainer.val_dataloaders
    assert [loader.substitute for loader in loaders] == [None, None]


def test_a_sharded_backbone_computes_no_features_rank_by_rank(images, tmp_path):
    backbone = Backbone("test_resnet", weights="random", img_size=32)
    task = ImageTask(backbone, partial(Head, input_norm="standardize"), num_classes=2)
    strategy = ModelParallelStrategy()
    trainer = Trainer(accelerator="cpu", devices=1, strategy=strategy, logger=False)
    trainer.datamodule = ImageFolderDataModule(images, data_config=backbone.data_config)
    FeatureCaching(cache_dir=str(tmp_path)).on_fit_start(trainer, task)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [{"views": 0}, {"mixup": -1.0}])
def test_values_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="must be at least"):
        FeatureCaching(**options)
