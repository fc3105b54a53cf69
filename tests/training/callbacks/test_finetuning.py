"""The callback freezes, sets learning rates and resumes."""

import logging
import runpy
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule
from lightning.pytorch.callbacks import GradientAccumulationScheduler, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, IterableDataset, Sampler

from tltool.finetuning.phase import Phase, Until
from tltool.finetuning.strategies import (
    LPFT,
    BatchNormOnly,
    FullFinetuning,
    LayerwiseDecay,
    LinearProbe,
    LoRA,
)
from tltool.training.callbacks.finetuning import Finetuning

support = runpy.run_path(str(Path(__file__).parents[1] / "conftest.py"))
Images, Phases = support["Images"], support["Phases"]

# Two runs of one test write to one folder.
pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory")


def harsh_sgd(groups):
    return torch.optim.SGD(groups, lr=1.0, weight_decay=1.0)


def momentum_sgd(groups):
    return torch.optim.SGD(groups, lr=0.1, momentum=0.9)


def snapshot(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


def assert_same(before, after):
    assert before.keys() == after.keys()
    different = [key for key in before if not torch.equal(before[key], after[key])]
    assert not different


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet", "test_convnext"])
def test_a_frozen_backbone_is_bit_identical_after_20_harsh_steps(make_task, fit, name):
    task = make_task(name, harsh_sgd, weight_decay=1.0, drop_path_rate=0.5)
    before, head = snapshot(task.backbone), snapshot(task.head)
    fit(task, Finetuning(LinearProbe(decay="none")), max_epochs=5)
    assert_same(before, snapshot(task.backbone))
    assert not torch.equal(head["1.weight"], task.head[1].weight)


class Modes(Callback):
    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, pl_module, *args):
        self.seen.append((pl_module.backbone.model.layer4[0].bn1.training, pl_module.head.training))


def test_modes_survive_validation(make_task, fit):
    modes = Modes()
    fit(make_task(), Finetuning(LinearProbe()), modes, max_epochs=2, val_check_interval=2)
    assert set(modes.seen) == {(False, True)}


@pytest.mark.parametrize(
    ("first", "steps"),
    [(Phase("probe", "head", epochs=1), 4), (Phase("warm", "head", steps=3), 3)],
)
def test_a_phase_ends_at_its_epoch_or_before_a_batch(make_task, fit, first, steps):
    modes, everything = Modes(), Phase("all", ("*",), batch_norm="train")
    fit(make_task(), Finetuning(Phases(first, everything)), modes, max_epochs=2)
    assert modes.seen == [(False, True)] * steps + [(True, True)] * (8 - steps)


def test_learning_rates_are_the_optimizers_times_scale_and_factor(make_task, fit):
    phase = Phase("all", ("*",), lr_scale={"backbone.*": 0.5}, warmup=0.25, decay="linear")
    task = make_task()
    fit(task, Finetuning(Phases(phase)), max_epochs=2)  # 8 steps, 2 of them warmup
    factors = [0.25, 0.75, 11 / 12, 9 / 12, 7 / 12, 5 / 12, 3 / 12, 1 / 12]
    assert [lrs["head"] for lrs in task.lrs] == pytest.approx([0.1 * f for f in factors])
    assert [lrs["backbone.layer1/no_decay"] for lrs in task.lrs] == pytest.approx(
        [0.05 * f for f in factors]
    )


def test_an_accumulated_step_has_one_learning_rate(make_task, fit):
    task = make_task()
    fit(
        task,
        Finetuning(LinearProbe(warmup=0.0, decay="linear")),
        max_epochs=2,
        accumulate_grad_batches=2,
    )
    expected = [0.0875, 0.0875, 0.0625, 0.0625, 0.0375, 0.0375, 0.0125, 0.0125]
    assert [lrs["head"] for lrs in task.lrs] == pytest.approx(expected)


def test_a_phase_that_max_steps_cuts_short_decays_to_its_end(make_task, fit):
    task = make_task()
    fit(task, Finetuning(LinearProbe(warmup=0, decay="linear")), max_epochs=9, max_steps=5)
    expected = [0.09, 0.07, 0.05, 0.03, 0.01]
    assert [lrs["head"] for lrs in task.lrs] == pytest.approx(expected)


def test_without_max_epochs_the_error_says_what_to_set(make_task, fit):
    with pytest.raises(ValueError, match="Trainer has no `max_epochs`"):
        fit(make_task(), Finetuning(LinearProbe()), max_epochs=-1, max_steps=5)


def test_resuming_after_an_unfreeze_equals_training_straight(make_task, fit, tmp_path):
    def callbacks(directory):
        phases = Phases(Phase("probe", "head", epochs=1), Phase("all", ("*",), decay="cosine"))
        saves = ModelCheckpoint(tmp_path / directory, save_last=True, save_top_k=0)
        return [Finetuning(phases), saves]

    options = {"max_epochs": 4, "enable_checkpointing": True}
    straight, stopped, resumed = [
        make_task("test_resnet", momentum_sgd, dropout=0.0) for _ in "abc"
    ]
    fit(straight, *callbacks("a"), **options)
    fit(stopped, *callbacks("b"), StopAfter(2), **options)
    fit(resumed, *callbacks("b"), ckpt_path=tmp_path / "b" / "last.ckpt", **options)
    assert [*stopped.lrs, *resumed.lrs] == straight.lrs
    assert_same(snapshot(straight), snapshot(resumed))


class ResumableSampler(Sampler):
    """Images in order; goes on in the middle of the epoch that a checkpoint was written in."""

    def __init__(self):
        self.first = 0

    def __iter__(self):
        first, self.first = self.first, 0
        return iter(range(first, 16))

    def __len__(self):
        return 16


class ResumableLoader(DataLoader):
    """Lightning asks for a state; the sampler takes it from the progress in the checkpoint."""

    def state_dict(self):
        return {}

    def load_state_dict(self, state_dict):
        pass


class Resume(Callback):
    def __init__(self, sampler):
        self.sampler = sampler

    def on_load_checkpoint(self, trainer, pl_module, checkpoint):
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
        self.sampler.first = 4 * progress["processed"] % 16


class SaveEachStep(Callback):
    """Save after each step, not in the middle of an accumulation."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_batch_end(self, trainer, *args):
        if args[-1] % trainer.accumulate_grad_batches == trainer.accumulate_grad_batches - 1:
            trainer.save_checkpoint(self.folder / f"{trainer.global_step}.ckpt")


@pytest.mark.parametrize(
    "options",
    [{}, {"accumulate_grad_batches": 2}, {"precision": "bf16-mixed"}, {"gradient_clip_val": 0.1}],
    ids=str,
)
@pytest.mark.parametrize("step", [1, 2, 4, 5])
def test_resuming_in_the_middle_of_an_epoch_equals_training_straight(
    make_task, make_trainer, tmp_path, options, step
):
    def run(directory, ckpt_path=None):
        task, sampler = make_task("test_resnet", momentum_sgd, dropout=0.0), ResumableSampler()
        phases = Phases(
            Phase("probe", "head", epochs=1),
            Phase("warm", ("*",), steps=1, lr_scale=0.5),
            Phase("all", ("*",), decay="cosine"),
        )
        callbacks = [Finetuning(phases), Resume(sampler), SaveEachStep(tmp_path / directory)]
        trainer = make_trainer(*callbacks, max_epochs=3, **options)
        loader = ResumableLoader(Images(), batch_size=4, sampler=sampler)
        val_loader = DataLoader(Images(), batch_size=4)
        trainer.fit(task, loader, val_loader, ckpt_path=ckpt_path, weights_only=True)
        return snapshot(task)

    straight = run("straight")
    resumed = run("resumed", ckpt_path=tmp_path / "straight" / f"{step}.ckpt")
    assert_same(straight, resumed)


class StopAfter(Callback):
    def __init__(self, epochs):
        self.epochs = epochs

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = trainer.current_epoch + 1 >= self.epochs


def test_rates_are_logged_by_layer_group(make_task, fit, tmp_path):
    logger = CSVLogger(tmp_path, name="", version="")
    fit(
        make_task(),
        Finetuning(LinearProbe(warmup=0.1, decay="none")),
        logger=logger,
        log_every_n_steps=2,
    )
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    rows = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    logged = [
        (row["step"], row["lr/head"], row["lr/backbone.layer1"]) for row in rows if row["lr/head"]
    ]
    assert [(step, float(h), float(b)) for step, h, b in logged] == [
        (step, pytest.approx(0.1), 0.0) for step in "1357"
    ]


def test_each_phase_is_said_once(make_task, fit, caplog):
    everything = Phase("all", ("*",), lr_scale={"head": 2.0}, batch_norm="train")
    phases = Phases(Phase("probe", "head", epochs=2), everything)
    with caplog.at_level(logging.INFO, logger="tltool.training.callbacks.finetuning"):
        fit(make_task(), Finetuning(phases), max_epochs=3)
    said = [record.message for record in caplog.records if record.name.startswith("tltool")]
    assert said == [
        "Phase probe: trains head (291 of 372,979 parameters) for 2 epochs, lr 0.1.",
        "Phase all: trains everything (372,979 of 372,979 parameters) for 1 epoch, lr 0.1 to 0.2.",
    ]


def test_layer_wise_decay_gives_each_layer_its_rate(make_task, fit):
    task = make_task("test_vit")
    fit(task, Finetuning(LayerwiseDecay(0.5, warmup=0.0, decay="none")), max_epochs=1)
    lrs = task.lrs[0]
    assert lrs["head"] == pytest.approx(0.1)
    assert lrs["backbone.blocks.5"] == pytest.approx(0.05)
    assert lrs["backbone.stem"] == pytest.approx(0.1 * 0.5**7)


def test_the_phase_in_effect_is_known_to_others(make_task, fit):
    finetuning = Finetuning(Phases(Phase("probe", "head", epochs=1), Phase("all", ("*",))))
    fit(make_task(), finetuning, max_epochs=2)
    assert finetuning.phase is finetuning.schedule.phases[1]


class Metric(Callback):
    """Log the numbers that a test wants a validation to give."""

    def __init__(self, *values):
        self.values = list(values)

    def on_validation_epoch_end(self, trainer, pl_module):
        pl_module.log("metric", float(self.values[trainer.current_epoch]))


class PhaseNames(Callback):
    def __init__(self):
        self.seen = []

    def on_train_epoch_end(self, trainer, pl_module):
        finetuning = next(c for c in trainer.callbacks if isinstance(c, Finetuning))
        self.seen.append(finetuning.phase.name)


def until_metric(patience=1, **fields):
    until = Until("metric", max_epochs=5, patience=patience)
    return Phases(Phase("probe", "head", until=until), Phase("all", ("*",), **fields))


def test_a_phase_ends_when_its_metric_stops_improving(make_task, fit):
    names, metric = PhaseNames(), Metric(3, 2, 2, 2, 1, 1, 1)
    fit(make_task(), Finetuning(until_metric(patience=2)), metric, names, max_epochs=7)
    assert names.seen == ["probe"] * 4 + ["all"] * 3


def test_a_phase_ends_after_its_longest_time_though_its_metric_improves(make_task, fit):
    names, metric = PhaseNames(), Metric(*range(7, 0, -1))
    fit(make_task(), Finetuning(until_metric()), metric, names, max_epochs=7)
    assert names.seen == ["probe"] * 5 + ["all"] * 2


def test_training_stops_when_a_metric_has_ended_the_last_phase(make_task, fit):
    phase = Phase("probe", "head", until=Until("metric", max_epochs=7, patience=2))
    trainer = fit(make_task(), Finetuning(Phases(phase)), Metric(*[1] * 7), max_epochs=7)
    assert trainer.current_epoch == 3


def test_a_metric_that_is_not_logged_is_refused_with_the_choices(make_task, fit):
    phase = Phase("probe", "head", until=Until("val/acc", max_epochs=2))
    with pytest.raises(ValueError, match=r"does not log\. Choose one of: val/loss"):
        fit(make_task(), Finetuning(Phases(phase)))


class Weights(Callback):
    """Keep the head's weights at the end of each epoch, and those that an epoch begins with."""

    def __init__(self):
        self.ends, self.starts, self.states = [], [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == 0:
            self.starts.append(pl_module.head[1].weight.detach().clone())
            self.states.append(pl_module.head[1].weight in trainer.optimizers[0].state)

    def on_train_epoch_end(self, trainer, pl_module):
        self.ends.append(pl_module.head[1].weight.detach().clone())


@pytest.mark.parametrize("best", [True, False])
def test_a_phase_can_start_from_the_best_weights_of_the_one_before(make_task, fit, best):
    weights = Weights()
    strategy = until_metric(patience=2, start_from_best=best)
    task = make_task("test_resnet", momentum_sgd)
    fit(task, Finetuning(strategy), Metric(3, 1, 2, 2, 0, 0), weights, max_epochs=6)
    assert torch.equal(weights.starts[4], weights.ends[1 if best else 3])
    assert weights.states == [False, True, True, True, not best, True]


@pytest.mark.parametrize("epochs", [2, 3, 4, 5])
def test_resuming_around_the_end_of_a_metric_phase_equals_training_straight(
    make_task, fit, tmp_path, epochs
):
    def run(directory, *callbacks, **options):
        task = make_task("test_resnet", momentum_sgd, dropout=0.0)
        finetuning = Finetuning(until_metric(patience=2, start_from_best=True))
        saves = ModelCheckpoint(tmp_path / directory, save_last=True, save_top_k=0)
        metric = Metric(3, 1, 2, 2, 0, 0)
        fit(
            task,
            finetuning,
            metric,
            saves,
            *callbacks,
            enable_checkpointing=True,
            max_epochs=6,
            **options,
        )
        return task

    straight = run("a")
    run("b", StopAfter(epochs))
    resumed = run("b", ckpt_path=tmp_path / "b" / "last.ckpt", weights_only=True)
    assert_same(snapshot(straight), snapshot(resumed))


def test_groups_that_never_train_are_reported(make_task, fit, caplog):
    phases = Phases(Phase("top", ("backbone.layer4", "head")))
    fit(make_task(), Finetuning(phases), max_epochs=1)
    assert "No phase trains backbone.stem, backbone.layer1, backbone.layer2" in caplog.text


class FourAtOnce(LightningDataModule):
    batch_size = 4

    def train_dataloader(self):
        return DataLoader(Images(), batch_size=4)

    val_dataloader = train_dataloader


def test_batch_norm_of_the_backbone_on_few_images_is_said(make_task, make_trainer, caplog):
    trainer = make_trainer(Finetuning(LPFT(batch_norm="train")), max_epochs=2)
    trainer.fit(make_task(), FourAtOnce())
    assert "batch norms on 4 samples per device. Set its" in caplog.text
    assert "Phase 'probe' trains" not in caplog.text


@pytest.mark.parametrize("strategy", [LPFT(3), until_metric()])
def test_a_dry_run_walks_into_the_first_phase(make_task, fit, strategy):
    finetuning = Finetuning(strategy)
    fit(make_task(), finetuning, fast_dev_run=2)
    assert finetuning.phase.name == "probe"


def test_training_data_without_a_length_have_one_rate_in_an_epoch(make_task, make_trainer):
    task = make_task()
    loader = DataLoader(Stream(), batch_size=2)
    strategy = LinearProbe(warmup=0, decay="linear")
    make_trainer(Finetuning(strategy), max_epochs=2).fit(task, loader, loader)
    assert [lrs["head"] for lrs in task.lrs] == pytest.approx([0.075] * 2 + [0.025] * 2)


def test_steps_need_training_data_with_a_length(make_task, make_trainer):
    loader = DataLoader(Stream(), batch_size=2)
    phases = Phases(Phase("warm", "head", steps=3), Phase("all", ("*",)))
    with pytest.raises(ValueError, match=r"the training data have no length\. Give"):
        make_trainer(Finetuning(phases)).fit(make_task(), loader, loader)


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(torch.randn(3, 32, 32), 0)] * 4)


@pytest.mark.parametrize("order", [1, -1])
def test_a_changing_number_of_steps_is_refused(make_task, fit, order):
    callbacks = [GradientAccumulationScheduler({1: 2}), Finetuning(LinearProbe())]
    with pytest.raises(ValueError, match="Keep `accumulate_grad_batches`"):
        fit(make_task(), *callbacks[::order])


def test_a_kind_that_the_model_lacks_is_refused_before_training(make_task, fit):
    with pytest.raises(ValueError, match="No norms would train in"):
        fit(make_task("test_nfnet"), Finetuning(BatchNormOnly()))


def test_a_scheduler_of_the_task_is_refused(make_task, fit):
    task = make_task()
    optimizer = task.configure_optimizers()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    task.configure_optimizers = lambda: ([optimizer], [scheduler])
    with pytest.raises(ValueError, match="Return only the optimizer from `configure_optimizers`"):
        fit(task, Finetuning(LinearProbe()))


def test_an_optimizer_that_lacks_parameters_is_refused(make_task, fit):
    task = make_task()
    task.configure_optimizers = lambda: torch.optim.SGD(task.head.parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"lacks 45 parameters, among them 'backbone.model.conv1"):
        fit(task, Finetuning(LinearProbe()))


def test_an_optimizer_with_one_group_for_all_is_refused(make_task, fit):
    task = make_task()
    task.configure_optimizers = lambda: torch.optim.SGD(task.parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"Make the groups by `param_groups\("):
        fit(task, Finetuning(FullFinetuning()))


def test_validating_needs_no_schedule(make_task, make_trainer):
    Finetuning(LinearProbe()).setup(make_trainer(), make_task(), "validate")


def test_two_optimizers_are_refused(make_task, fit):
    task = make_task()
    task.automatic_optimization = False
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.1) for m in (task.backbone, task.head)]
    task.configure_optimizers = lambda: optimizers
    with pytest.raises(ValueError, match=r"needs one optimizer and .* but the task has 2 and 0"):
        fit(task, Finetuning(LinearProbe()))


def test_a_second_fit_starts_from_the_first_phase(make_task, fit):
    finetuning, modes = Finetuning(LPFT(1, batch_norm="train")), Modes()
    fit(make_task(), finetuning, max_epochs=2)
    fit(make_task(), finetuning, modes, max_epochs=2)
    assert modes.seen == [(False, True)] * 4 + [(True, True)] * 4


def test_modules_beside_backbone_and_head_keep_their_mode(make_task, fit):
    task = make_task()
    task.teacher = torch.nn.Dropout().eval()
    Finetuning(LinearProbe()).setup(fit(make_task(), max_epochs=1), task, "fit")
    assert not task.teacher.training


def test_a_strategy_with_adapters_needs_an_image_task(make_task, fit):
    with pytest.raises(TypeError, match="needs an ImageTask, not a Task"):
        fit(make_task(), Finetuning(LoRA()))
