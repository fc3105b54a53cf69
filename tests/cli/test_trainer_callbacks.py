"""Callbacks, strategies and loggers beside ours: they work, or one line says why not."""

from importlib.util import find_spec

import pytest
import yaml

from tltool.cli.sections import experiment_parser

SMALL = [
    *("--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"),
    *("--model.backbone.img_size", "32", "--data.batch_size", "8", "--data.num_workers", "0"),
    *("--trainer.accelerator", "cpu", "--trainer.max_epochs", "1", "--name", "run"),
]
AVERAGING = ["StochasticWeightAveraging", "--trainer.callbacks.swa_lrs", "0.1"]
TIMER = ["Timer", "--trainer.callbacks.duration", "00:01:00:00"]
EVERY_HOUR = ["ModelCheckpoint", "--trainer.callbacks.train_time_interval", "1:00:00"]
PRUNING = ["ModelPruning", "--trainer.callbacks.pruning_fn", "l1_unstructured"]
ACCUMULATION = ["GradientAccumulationScheduler", "--trainer.callbacks.scheduling"]


@pytest.fixture
def fit(run_tltool, images):
    return lambda *args: run_tltool("fit", "--data.root", images, *SMALL, *args)


@pytest.fixture
def fit_with(fit):
    """Fit with one callback, given as words of the command line."""
    return lambda *words: fit("--trainer.callbacks", *words)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (AVERAGING, "loses the running statistics of frozen batch norms. Remove it"),
        (["BackboneFinetuning"], "both would decide what trains. Remove it, and set `finetuning`"),
        (["LearningRateFinder"], "Remove it; `tltool plan --lr_range` finds a learning rate"),
        (["BatchSizeFinder"], "Remove it, and set `data.batch_size`"),
        (PRUNING, "Remove it, and prune the trained network"),
    ],
    ids=lambda words: words[0] if isinstance(words, list) else "",
)
def test_a_callback_against_the_phases_is_refused_with_what_to_do(fit_with, words, why):
    status, _, err = fit_with(*words)
    assert status == 1
    assert f"error: {words[0]} does not work with fine-tuning phases" in err
    assert why in err


@pytest.mark.parametrize("schedule", ["{0: 2}", "{0: 1, 2: 4}"])
def test_a_schedule_of_accumulation_is_refused_before_training(fit_with, tmp_path, schedule):
    status, _, err = fit_with(*ACCUMULATION, schedule)
    assert status == 1
    assert "set `trainer.accumulate_grad_batches` to one number, such as " in err
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_schedule_that_accumulates_nothing_is_accepted(fit_with):
    assert fit_with(*ACCUMULATION, "{0: 1}")[0] == 0


@pytest.mark.parametrize("words", [TIMER, EVERY_HOUR], ids=lambda words: words[0])
def test_a_value_that_yaml_does_not_know_is_kept_as_text(fit_with, run_tltool, tmp_path, words):
    status, out, _ = fit_with(*words)
    printed = out.split("(tltool fit --config FILE):\n")[1].split("\n\n")[0]
    (tmp_path / "run.yaml").write_text(printed)
    assert status == 0
    assert run_tltool("fit", "--config", "run.yaml")[0] == 0
    assert run_tltool("fit", "--config", "runs/run/0/config.yaml")[0] == 0


def test_a_time_limit_of_a_strategy_is_kept():
    strategy = "lightning.pytorch.strategies.DDPStrategy"
    words = ["--data.root", "images", "--trainer.strategy", strategy]
    parser = experiment_parser("fit")
    config = parser.parse_args([*words, "--trainer.strategy.timeout", "0:10:00"])
    kept = yaml.safe_load(parser.dump(config))["trainer"]["strategy"]["init_args"]
    assert kept["timeout"] == "0:10:00"


def test_a_strategy_that_names_a_device_runs(fit):
    words = ["--trainer.strategy", "lightning.pytorch.strategies.SingleDeviceStrategy"]
    assert fit(*words, "--trainer.strategy.device", "cpu")[0] == 0


def test_the_printed_yaml_leaves_defaults_of_callbacks_out(fit_with):
    _, out, _ = fit_with("EarlyStopping", "--trainer.callbacks.monitor", "val/loss")
    printed = yaml.safe_load(out.split("(tltool fit --config FILE):\n")[1].split("\n\n")[0])
    assert printed["trainer"]["callbacks"][0]["init_args"] == {"monitor": "val/loss"}


@pytest.mark.parametrize("bar", ["TQDMProgressBar", "RichProgressBar"])
def test_a_progress_bar_of_the_user_takes_the_place_of_ours(fit_with, bar):
    status, out, _ = fit_with(bar)
    assert status == 0
    assert "epoch 1/1  train/loss" in out


def test_without_a_bar_the_lines_stay(fit):
    status, out, _ = fit("--trainer.enable_progress_bar", "false")
    assert status == 0
    assert "epoch 1/1  train/loss" in out


def test_a_run_without_checkpoints_is_refused(fit):
    status, _, err = fit("--trainer.enable_checkpointing", "false")
    assert status == 1
    assert "would leave no best.ckpt, and nothing to resume or report from. Leave it out" in err


@pytest.mark.skipif(find_spec("tensorboard") is not None, reason="tensorboard is installed")
def test_a_missing_package_is_one_line_with_the_command(fit):
    status, _, err = fit("--trainer.logger", "TensorBoardLogger", "--trainer.logger.save_dir", ".")
    line = "error: TensorBoardLogger needs a package that is not installed. Type: pip install"
    assert status == 1
    assert f"{line} tensorboard" in err.splitlines()


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        (["--wandb.project", "team/bees"], "--wandb.entity team --wandb.project bees."),
        (["--wandb.project", "a:b"], "Set --wandb.project to another name"),
        (["--wandb.project", "bees", "--wandb.entity", "me/x"], "Set --wandb.entity to another"),
    ],
)
def test_a_name_that_wandb_does_not_allow_is_one_line(fit, options, remedy):
    status, _, err = fit(*options)
    assert status == 1
    assert err.splitlines()[-1].startswith("error: ")
    assert remedy in err
