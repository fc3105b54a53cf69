"""What does not work beside fine-tuning phases is refused before training."""

import pytest
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import (
    EarlyStopping,
    EMAWeightAveraging,
    ModelCheckpoint,
    StochasticWeightAveraging,
)
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from lightning.pytorch.strategies import ModelParallelStrategy, Strategy

from tltool.finetuning.penalties import L2SP
from tltool.finetuning.phase import Phase, Until
from tltool.finetuning.schedule import Schedule
from tltool.finetuning.strategies import LPFT, LinearProbe
from tltool.surgery.adapters import add_lora
from tltool.training.callbacks.finetuning import Finetuning
from tltool.training.trainer_checks import check_trainer

PROBE = Schedule((Phase("probe", ("head",)),))


def test_a_strategy_that_fixes_what_trains_is_refused(make_task, make_trainer):
    trainer = make_trainer()
    trainer.strategy.__class__ = type("DeepSpeedStrategy", (Strategy,), {})
    with pytest.raises(ValueError, match=r"do not work with DeepSpeedStrategy.*to ddp"):
        check_trainer(trainer, make_task(), PROBE)


def test_the_best_weights_of_sharded_ones_are_not_kept(make_task, make_trainer):
    trainer = make_trainer()
    trainer.strategy.__class__ = ModelParallelStrategy
    probe = Phase("probe", ("head",), until=Until("loss", max_epochs=1))
    schedule = Schedule((probe, Phase("all", ("*",), start_from_best=True)))
    with pytest.raises(ValueError, match="'all' has `start_from_best`, which needs whole weights"):
        check_trainer(trainer, make_task(), schedule)


def test_adapters_in_sharded_weights_are_refused(make_task, make_trainer):
    trainer, task = make_trainer(), make_task("test_vit")
    trainer.strategy.__class__ = ModelParallelStrategy
    add_lora(task, 4)
    with pytest.raises(ValueError, match="has adapters of LoRA, which needs whole weights"):
        check_trainer(trainer, task, PROBE)


def test_a_penalty_on_sharded_weights_is_refused(make_task, make_trainer):
    trainer, task = make_trainer(), make_task()
    trainer.strategy.__class__ = ModelParallelStrategy
    task.l2_sp = L2SP(0.1)
    with pytest.raises(ValueError, match="has `l2_sp`, which needs whole weights"):
        check_trainer(trainer, task, PROBE)


@pytest.mark.parametrize("kind", [EarlyStopping, ModelCheckpoint])
def test_a_callback_that_takes_the_worst_epoch_for_the_best_is_refused(make_task, fit, kind):
    callbacks = (Finetuning(LinearProbe()), kind(monitor="val/accuracy"))
    with pytest.raises(ValueError, match=r"takes the least 'val/accuracy'.*`mode: max`"):
        fit(make_task(), *callbacks, enable_checkpointing=True)


def test_stochastic_weight_averaging_is_refused_with_what_works(make_task, fit):
    averaging = StochasticWeightAveraging(0.1, swa_epoch_start=1)
    with pytest.raises(ValueError, match="Remove it, or use EMAWeightAveraging"):
        fit(make_task(), Finetuning(LinearProbe()), averaging)


def test_an_exponential_moving_average_keeps_running_statistics_of_a_probe(make_task, fit):
    task = make_task()
    norm = task.backbone.model.conv1[1]
    norm.running_mean += 0.5
    before = norm.running_mean.clone()
    fit(task, Finetuning(LinearProbe()), EMAWeightAveraging(decay=0.5))
    assert norm.running_mean.equal(before)


@pytest.fixture
def synchronizing(make_trainer):
    trainer = make_trainer()
    trainer.strategy._layer_sync = TorchSyncBatchNorm()  # As `sync_batchnorm=True` does for ddp.
    return trainer


def test_synchronizing_batch_norms_that_hold_an_activation_is_refused(make_task, synchronizing):
    with pytest.raises(
        ValueError, match=r"replace BatchNormAct2d by a plain.*Leave the option out"
    ):
        check_trainer(synchronizing, make_task("test_efficientnet"), PROBE)


def test_plain_batch_norms_can_be_synchronized(make_task, synchronizing):
    check_trainer(synchronizing, make_task("test_resnet"), PROBE)


def test_the_callback_checks_before_training(make_task, synchronizing):
    with pytest.raises(ValueError, match="Leave the option out"):
        Finetuning(LPFT()).setup(synchronizing, make_task("test_efficientnet"), "fit")


class AccumulateLater(Callback):
    """Change the number of steps in an epoch without a sign that could be seen before."""

    def on_train_epoch_start(self, trainer, pl_module):
        trainer.accumulate_grad_batches = 1 + trainer.current_epoch


def test_steps_that_a_callback_of_the_user_changes_are_refused(make_task, fit):
    with pytest.raises(ValueError, match="Keep `accumulate_grad_batches`"):
        fit(make_task(), AccumulateLater(), Finetuning(LinearProbe()))
