"""`tltool fit` by itself: what Auto chooses stands in the configuration, and is chosen once."""

import contextlib
import re
import shutil

import pytest
import torch
import yaml
from safetensors.torch import save_file

from tests.conftest import write_images
from tltool.__main__ import main
from tltool.cli.build import build
from tltool.cli.run_start import begin
from tltool.cli.sections import experiment_parser
from tltool.cli.short_forms import rewrite
from tltool.diagnostics.advice.training_time import TrainingTime
from tltool.models.backbone import Backbone
from tltool.reporting.run_record import read_run

UNTIL = """[
    {name: head, trains: [-1], until: {metric: val/loss, max_epochs: 1}},
    {name: last, trains: [-1, -2], start_from_best: true},
]"""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The words of a run with weights from a file, on images with a validation split."""
    folder = tmp_path_factory.mktemp("auto")
    torch.manual_seed(0)
    state = Backbone("test_resnet", weights="random").model.state_dict()
    state = {name: value.contiguous() for name, value in state.items()}
    save_file(state, folder / "weights.safetensors")
    for split, number in (("train", 160), ("val", 12)):
        write_images(folder / "images" / split, per_class=number, size=32)
    return [
        *("--data.root", folder / "images", "--data.num_workers", 0),
        *("--model.backbone.name", "test_resnet", "--model.backbone.img_size", 32),
        *("--model.backbone.weights", folder / "weights.safetensors"),
        *("--trainer.accelerator", "cpu", "--health.enabled", "false"),
    ]


@pytest.fixture(scope="module")
def trained(base, tmp_path_factory):
    """Output and directory of a run of two epochs."""
    folder = tmp_path_factory.mktemp("trained")
    words = map(str, ["fit", *base, "--runs_dir", folder / "runs", "--trainer.max_epochs", 2])
    with (folder / "out.txt").open("w") as file, contextlib.redirect_stdout(file):
        assert main(list(words)) == 0
    return folder


def config(folder):
    return yaml.safe_load((folder / "runs/images/0/config.yaml").read_text())


def test_the_strategy_that_was_chosen_stands_in_the_configuration(trained):
    written = config(trained)
    assert written["finetuning"]["class_path"].endswith(".LastBlocks")
    assert written["data"]["init_args"]["augmentation"] == "crop"
    assert written["data"]["init_args"]["tuning_fraction"] == 0.2
    assert written["monitor"] == "val/accuracy"
    checkpoint = torch.load(trained / "runs/images/0/checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["config"]["finetuning"] == written["finetuning"]


def test_the_screen_says_choice_probe_gain_and_what_it_is_measured_on(run_tltool, base):
    _, out, _ = run_tltool("fit", *base, "--trainer.max_epochs", 2)
    assert "256 train, 64 val, 24 test (val is part of train, and test what was val)" in out
    assert re.search(r"^chosen +LastBlocks\(.*\): 256 training images", out, re.M)
    begin, end = out.split("epoch 1/2")
    accuracy = r"0\.\d{3} \(95 % interval 0\.\d{3} to [01]\.\d{3}\)|1\.000 .*"
    assert re.search(rf"^probe +({accuracy}): closed form, on 24 test images", begin, re.M)
    run = r"(won|lost|even|unknown) +this run \d\.\d{3}, the probe without training \d\.\d{3}"
    assert re.search(rf"^{run}: [+-]\d\.\d{{3}} \(95 % interval", end, re.M)
    assert "\non        24 test images, which chose nothing" in end


def test_the_last_screen_says_each_fact_once_and_the_next_step_last(trained):
    end = (trained / "out.txt").read_text().split("epoch 2/2")[1].split("\n\n")[1]
    words = [line.split()[0] for line in end.splitlines()]
    assert len(words) == len(set(words)) <= 9
    assert end.count("the probe") == end.count("95 % interval") == 1
    assert words[-1] in {"look", "next"}


def test_a_resumed_run_does_not_choose_again(trained, run_tltool, base, tmp_path):
    shutil.copytree(trained / "runs", tmp_path / "runs")
    before = config(tmp_path)
    where = tmp_path / "runs/images/0/checkpoints/last.ckpt"
    status, out, err = run_tltool("fit", *base, "--ckpt_path", where, "--trainer.max_epochs", 3)
    assert status == 0, err
    assert "chosen" not in out
    after = config(tmp_path)
    assert after["finetuning"] == before["finetuning"]
    assert after["data"]["init_args"] == before["data"]["init_args"]


def test_an_augmentation_that_is_given_stays(run_tltool, base, tmp_path):
    run_tltool("fit", *base, "--data.augmentation", "none", "--trainer.max_epochs", 1)
    assert config(tmp_path)["data"]["init_args"]["augmentation"] == "none"


def test_no_tuning_split_makes_the_result_optimistic(run_tltool, base):
    words = ["--data.tuning_fraction", 0, "--ending.choose", "best", "--trainer.max_epochs", 1]
    _, out, _ = run_tltool("fit", *base, *words)
    assert "24 val images; optimistic, for the same chose the epoch" in out


def test_without_a_validation_nothing_is_optimistic(run_tltool, base):
    words = ["--data.tuning_fraction", 0, "--ending.choose", "best", "--trainer.max_epochs", 1]
    _, out, _ = run_tltool("fit", *base, *words, "--trainer.limit_val_batches", 0)
    assert "24 val images, which chose nothing" in out


def test_without_a_tuning_split_nothing_chooses(run_tltool, base, tmp_path):
    words = ["--data.tuning_fraction", 0, "--trainer.max_epochs", 2]
    _, out, _ = run_tltool("fit", *base, *words)
    checkpoints = tmp_path / "runs/images/0/checkpoints"
    best, last = (
        torch.load(checkpoints / f"{name}.ckpt", weights_only=True) for name in ("best", "last")
    )
    assert "24 val images, which chose nothing" in out
    assert config(tmp_path)["ending"]["choose"] == "last"
    assert all(torch.equal(value, last["state_dict"][k]) for k, value in best["state_dict"].items())


def test_where_early_stopping_chooses_the_end_the_best_epoch_is_kept(run_tltool, base, tmp_path):
    words = ["--data.tuning_fraction", 0, "--trainer.max_epochs", 2]
    words += ["--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.monitor", "val/loss"]
    _, out, _ = run_tltool("fit", *base, *words)
    assert config(tmp_path)["ending"]["choose"] == "best"
    assert "24 val images; optimistic, for the same chose the epoch" in out


@pytest.mark.parametrize(
    "choosing",
    [
        ["--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.monitor", "val/loss"],
        ["--finetuning", "ChosenGroups", "--finetuning.phases", UNTIL],
    ],
    ids=["early stopping", "a phase until a metric"],
)
def test_a_last_epoch_that_validation_chose_is_optimistic(run_tltool, base, tmp_path, choosing):
    words = ["--data.tuning_fraction", 0, "--trainer.max_epochs", 2, "--ending.choose", "last"]
    _, out, _ = run_tltool("fit", *base, *words, *choosing)
    assert "24 val images; optimistic, for the same chose the epoch" in out
    record = read_run(tmp_path / "runs/images/0")
    assert (record.holds_last, record.has_chosen) == (True, True)


def test_a_budget_becomes_epochs_and_is_gone(run_tltool, base, tmp_path):
    status, out, err = run_tltool("fit", *base, "--budget", "2s")
    assert status == 0, err
    epochs = config(tmp_path)["trainer"]["max_epochs"]
    assert 1 <= epochs <= 30
    assert f"2s are enough for {epochs} epochs" in out
    assert f"epoch {epochs}/{epochs}" in out
    assert config(tmp_path)["budget"] is None


@pytest.mark.parametrize(
    ("words", "is_kept"),
    [
        ([], True),
        (["--model.backbone.grad_checkpointing", "true"], False),  # Which no network is cut with.
        (["--features.max_size", "1KB"], False),
        (["--features.activations", "false"], False),
        (["--data.mixup", 0.2], False),
        (["--trainer.strategy", "fsdp2"], False),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, list) else "",
)
def test_a_budget_counts_on_activations_only_where_they_are_kept(base, monkeypatch, words, is_kept):
    taken = []
    monkeypatch.setattr(TrainingTime, "epochs_within", lambda time, _: taken.append(time) or 1)
    assert chosen_epochs(base, "--budget", "10m", *words) == 1
    assert [time.start > 0 for time in taken] == [is_kept]


def test_a_budget_of_one_epoch_leaves_no_room_for_a_probe_in_front(base, monkeypatch):
    monkeypatch.setattr("tltool.cli.auto_choice.uses_gpu", lambda trainer: True)
    monkeypatch.setattr("tltool.finetuning.strategies.auto.MANY_IMAGES", 10)
    parser = experiment_parser("fit")
    parsed = parser.parse_args([*map(str, base), "--budget", "0.001s"])
    experiment = build(parser, parsed, begin(parser, parsed))
    assert parsed.finetuning.class_path.endswith(".LastBlocks")
    assert (parsed.trainer.max_epochs, len(experiment.schedule.phases)) == (1, 1)
    assert "0.001s are enough for 1 epochs" in experiment.choice


def test_a_budget_is_refused_where_nothing_chooses(run_tltool, base):
    status, _, err = run_tltool("fit", *base, "--finetuning", "LPFT", "--budget", "10m")
    assert status == 1
    assert "not by LPFT. Set --trainer.max_epochs" in err


def test_two_lengths_of_training_are_refused(run_tltool, base):
    status, _, err = run_tltool("fit", *base, "--trainer.max_epochs", 2, "--budget", "10m")
    assert status == 1
    assert "Leave out one of them" in err


@pytest.mark.slow
def test_few_images_are_trained_on_for_more_epochs(run_tltool, base, tmp_path):
    status, out, err = run_tltool("fit", *base, "--data.batch_size", 150)
    assert status == 0, err
    assert config(tmp_path)["trainer"]["max_epochs"] == 75
    assert "epoch 75/75" in out


def chosen_epochs(base, *words):
    parser = experiment_parser("fit")
    parsed = parser.parse_args(rewrite([*map(str, base), *map(str, words)]))
    build(parser, parsed, begin(parser, parsed))
    return parsed.trainer.max_epochs


def test_few_images_are_trained_on_for_150_optimizer_steps(base):
    words = ["--data.batch_size", 32, "--trainer.accumulate_grad_batches"]
    assert [chosen_epochs(base, *words, number) for number in (1, 4)] == [19, 75]


@pytest.mark.parametrize("strategy", ["Auto", "LPFT"])
@pytest.mark.parametrize(
    ("words", "epochs"),
    [
        ([], 125),  # Of 8 steps.
        (["--trainer.max_epochs", 12], 12),
        (["--trainer.accumulate_grad_batches", 4], 500),
        (["--trainer.devices", 2], 125),
        (["--trainer.limit_train_batches", 0.5], 250),
        (["--trainer.overfit_batches", 2], 500),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else "-".join(map(str, value)),
)
def test_a_number_of_steps_becomes_epochs_where_these_are_left_out(base, strategy, words, epochs):
    steps = ["--data.tuning_fraction", 0, "--data.batch_size", 40, "--trainer.max_steps", 1000]
    assert chosen_epochs(base, "--finetuning", strategy, *steps, *words) == epochs


def test_few_steps_take_no_epoch_from_the_phases(base):
    steps = ["--data.batch_size", 40, "--trainer.max_steps", 30]
    assert chosen_epochs(base, "--finetuning", "LPFT", *steps) == 10


def test_phases_are_checked_against_the_epochs_that_the_steps_make(base):
    phases = "[{name: head, trains: [-1], epochs: 20}, {name: last, trains: [-1, -2]}]"
    words = ["--finetuning", "ChosenGroups", "--finetuning.phases", phases]
    assert chosen_epochs(base, *words, "--data.batch_size", 40, "--trainer.max_steps", 240) == 30


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--trainer.max_steps", 12], ""),
        (["--trainer.max_time", "00:00:10:00", "--finetuning", "LinearProbe"], "10 epochs at most"),
        (["--trainer.max_time", "00:00:10:00", "--trainer.max_epochs", 1], ""),
        (["--trainer.max_steps", 9, "--trainer.max_epochs", 1], "1 epoch of 8 steps"),
    ],
    ids=["steps", "time", "time and epochs", "too many steps"],
)
def test_a_length_that_the_epochs_cut_is_said_when_a_run_begins(run_tltool, base, words, said):
    usual = ["--data.batch_size", 40, "--data.tuning_fraction", 0]
    _, out, _ = run_tltool("fit", *base, *usual, *words)
    assert re.findall(r"^length +(.*?)[,:]", out, re.M) == [said] * bool(said)


def test_a_resumed_run_keeps_its_epochs_and_says_that_more_steps_need_more(run_tltool, base):
    words = ["--data.batch_size", 40, "--data.tuning_fraction", 0, "--trainer.max_steps"]
    first = run_tltool("fit", *base, *words, 12, "--run_dir", "mine")[1]
    more = run_tltool("fit", *base, *words, 100, "--run_dir", "mine")[1]
    assert "epoch 2/10" in first
    assert "length    10 epochs of 8 steps, fewer than max_steps 100" in more


def test_a_budget_that_is_no_duration_is_refused(run_tltool, base):
    status, _, err = run_tltool("fit", *base, "--budget", "soon")
    assert status == 1
    assert "'soon' is no duration. Write 10m" in err


def test_the_macro_f1_chooses_where_classes_are_unbalanced(run_tltool, base, tmp_path):
    write_images(tmp_path / "images/train", classes=("blue",), per_class=40, size=32)
    write_images(tmp_path / "images/train", classes=("red",), per_class=8, size=32)
    write_images(tmp_path / "images/val", per_class=4, size=32)
    _, out, _ = run_tltool(
        "fit", *base, "--data.root", tmp_path / "images", "--trainer.max_epochs", 1
    )
    assert "best val/f1" in out


def test_plan_shows_what_would_be_chosen(run_tltool, base):
    status, out, err = run_tltool("plan", *base)
    assert status == 0, err
    assert "last" in out


def test_with_sharded_weights_no_averages_compete(base):
    parser = experiment_parser("fit")
    words = [*base, "--trainer.strategy", "fsdp2", "--trainer.max_epochs", 2]
    config = parser.parse_args([str(word) for word in words])
    experiment = build(parser, config, begin(parser, config))
    assert (experiment.made.ending.average, experiment.made.ending.choose) == ("none", "best")


def test_from_random_weights_no_start_and_no_averages_compete(base):
    parser = experiment_parser("fit")
    words = [*base, "--model.backbone.weights", "random", "--trainer.max_epochs", 2]
    config = parser.parse_args([str(word) for word in words])
    experiment = build(parser, config, begin(parser, config))
    assert config.finetuning.class_path.endswith(".FullFinetuning")
    assert (experiment.made.ending.average, experiment.made.ending.choose) == ("none", "best")


@pytest.mark.parametrize(
    ("words", "average", "choose"),
    [
        (["--ending.choose", "trained"], "wise_ft", "trained"),
        (["--ending.choose", "one_standard_error"], "wise_ft", "one_standard_error"),
        (["--ending.choose", "last"], "none", "last"),
        (["--ending.average", "wise_ft"], "wise_ft", "trained"),
        (["--ending.average", "soup"], "soup", "best"),
        (["--ending.average", "none"], "none", "best"),
        (["--ending.include_start", "true"], "wise_ft", "trained"),
        (["--ending.points", "[0.5, 1]"], "wise_ft", "best"),
        (["--data.tuning_fraction", "0", "--ending.average", "none"], "none", "last"),
    ],
)
def test_a_part_of_the_ending_that_is_given_leaves_the_choice_of_the_other(
    base, words, average, choose
):
    parser = experiment_parser("fit")
    parsed = parser.parse_args(rewrite([*map(str, base), *words, "--trainer.max_epochs", "2"]))
    ending = build(parser, parsed, begin(parser, parsed)).made.ending
    assert (ending.average, ending.choose) == (average, choose)
    assert (parsed.ending.average, parsed.ending.choose) == (average, choose)


def test_with_mixup_the_chosen_layers_train_on_images(run_tltool, base):
    words = ["--data.mixup", 0.2, "--trainer.max_epochs", 1]
    _, out, err = run_tltool("fit", *base, *words)
    assert re.search(r"^chosen +LastBlocks\(", out, re.M)
    assert "mixup and cutmix mix images, so these are read in each epoch" in out + err


@pytest.mark.parametrize(
    ("words", "augmentation", "smoothing"),
    [
        (["LastBlocks"], "crop", 0.1),
        (["BitFit", "--model.label_smoothing", 0.0], "crop", 0.0),
        (["LPFT", "--data.augmentation", "none"], "none", 0.1),
        (["LinearProbe"], None, None),
        (["ChosenGroups", "--finetuning.phases", "[{name: all, trains: [-1, -2]}]"], "crop", 0.1),
        (["ChosenGroups", "--finetuning.phases", "[{name: head, trains: [-1]}]"], None, None),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, list) else "",
)
def test_crops_and_a_smoothed_loss_go_with_layers_that_train(base, words, augmentation, smoothing):
    parser = experiment_parser("fit")
    given = rewrite([*map(str, base), "--finetuning", *map(str, words)])
    given += ["--trainer.max_epochs", "4"]
    parsed = parser.parse_args(given)
    experiment = build(parser, parsed, begin(parser, parsed))
    options = experiment.config.data.init_args
    assert (options.augmentation, options.tuning_fraction) == (augmentation, None)
    assert experiment.config.model.label_smoothing == smoothing
