import csv
import os
import re
import shutil
import threading

import pytest
import torch
import yaml

from tltool.cli.sections import experiment_parser
from tltool.comparison.optimizers import OPTIMIZERS
from tltool.training.task_optimizer import DEFAULT_OPTIMIZER

MODEL = ["--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"]
SMALL = [
    *MODEL,
    *("--model.backbone.img_size", "32"),
    *("--data.batch_size", "8"),
    *("--data.num_workers", "0"),
]


@pytest.fixture
def fit(run_tltool):
    """Run `tltool fit` in an empty folder and return its exit status, output and errors."""
    return lambda *args, small=SMALL: run_tltool("fit", "--trainer.max_epochs", 1, *small, *args)


def test_a_folder_is_enough_and_the_equivalent_yaml_is_printed(fit, images):
    status, out, _ = fit("--data.root", images)
    printed = yaml.safe_load(out.split("(tltool fit --config FILE):\n")[1].split("\n\n")[0])
    assert status == 0
    given = {"root": str(images), "batch_size": 8, "num_workers": 0}
    assert printed["data"] == {**given, "augmentation": "crop", "tuning_fraction": 0.2}
    assert printed["finetuning"]["class_path"] == "FullFinetuning"  # The weights are random.


@pytest.mark.slow
def test_the_printed_yaml_repeats_the_run(fit, images, tmp_path):
    _, out, _ = fit("--data.root", images)
    (tmp_path / "run.yaml").write_text(
        out.split("(tltool fit --config FILE):\n")[1].split("\n\n")[0]
    )
    fit("--config", "run.yaml", small=[])
    first, second = (
        torch.load(f"runs/images/{n}/checkpoints/best.ckpt", weights_only=True) for n in (0, 1)
    )
    torch.testing.assert_close(first["state_dict"], second["state_dict"], rtol=0, atol=0)


def test_the_printed_yaml_names_every_choice(fit, images):
    _, out, _ = fit(
        *("--data.root", images, "--model.log_prior", "true", "--model.label_smoothing", "0.1"),
        *("--model.class_weights", "{red: 2.0}", "--trainer.limit_train_batches", "1"),
        *("--optimizer.amsgrad", "true", "--name", "mine", "--runs_dir", "here"),
        *("--health.enabled", "false", "--ending.average", "soup"),
    )
    printed = yaml.safe_load(out.split("(tltool fit --config FILE):\n")[1].split("\n\n")[0])
    loss = {"log_prior": True, "label_smoothing": 0.1, "class_weights": {"red": 2.0}}
    assert {key: printed["model"][key] for key in loss} == loss
    assert printed["trainer"] == {"max_epochs": 1, "limit_train_batches": 1}
    assert printed["optimizer"]["init_args"]["amsgrad"] is True
    assert (printed["name"], printed["runs_dir"]) == ("mine", "here")
    assert printed["health"] == {"enabled": False}
    assert printed["ending"] == {"average": "soup", "choose": "best"}


def test_of_several_configurations_later_ones_win(tmp_path):
    (tmp_path / "a.yaml").write_text("trainer: {max_epochs: 3, precision: bf16-mixed}\nname: a")
    (tmp_path / "b.yaml").write_text("trainer: {max_epochs: 2}")
    words = [f"--config={tmp_path / name}.yaml" for name in "ab"]
    config = experiment_parser("fit").parse_args(["--data.root", "images", *words])
    assert (config.trainer.max_epochs, config.trainer.precision) == (2, "bf16-mixed")
    assert config.name == "a"


@pytest.mark.parametrize("given", ["words", "file", "pipe"])
def test_an_optimizer_of_another_class_begins_at_its_own_defaults_but_for_lr(given, tmp_path):
    words = ["--optimizer=SGD", "--optimizer.momentum=0.9"]
    if given != "words":
        path = tmp_path / "sgd.yaml"
        text = "optimizer: {class_path: SGD, init_args: {momentum: 0.9}}\nname: read\n"
        words = ["--config", str(path)]
        if given == "pipe":  # It can be read once.
            os.mkfifo(path)
            threading.Thread(target=path.write_text, args=(text,), daemon=True).start()
        else:
            path.write_text(text)
    config = experiment_parser("fit").parse_args(["--data.root", "images", *words])
    options = config.optimizer.init_args
    assert (options.weight_decay, options.momentum, options.lr) == (0, 0.9, 1e-3)
    assert config.name == (None if given == "words" else "read")


def test_a_pipe_that_holds_no_text_is_refused(fit, tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    threading.Thread(target=path.write_bytes, args=(b"PK\x03\x04\xff",), daemon=True).start()
    status, _, err = fit("--data.root", "images", "--config", path)
    assert status == 2
    assert f"'{path}' is no YAML file. Name one" in err


@pytest.mark.parametrize("second", ["words", "file"])
def test_an_optimizer_in_place_of_a_files_takes_lr_alone_and_says_so(second, tmp_path, caplog):
    (tmp_path / "run.yaml").write_text(
        "optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 0.02, weight_decay: 0.3}}\n"
    )
    (tmp_path / "lion.yaml").write_text("optimizer: timm.optim.Lion\n")
    words = [f"--config={tmp_path / 'run.yaml'}", "--optimizer=timm.optim.Lion"]
    if second == "file":
        words[1] = f"--config={tmp_path / 'lion.yaml'}"
    options = experiment_parser("fit").parse_args(["--data.root=i", *words]).optimizer.init_args
    assert (options.lr, options.weight_decay, list(options.betas)) == (0.02, 0, [0.9, 0.99])
    assert "the file's weight_decay 0.3 is not used" in caplog.text


def test_an_optimizer_of_the_same_name_in_another_package_takes_lr_alone(tmp_path, caplog):
    (tmp_path / "run.yaml").write_text(
        "optimizer: {class_path: torch.optim.Adafactor, init_args: {lr: 0.02, weight_decay: 0.3}}\n"
    )
    words = [f"--config={tmp_path / 'run.yaml'}", "--optimizer=timm.optim.Adafactor"]
    options = experiment_parser("fit").parse_args(["--data.root=i", *words]).optimizer.init_args
    assert (options.lr, options.weight_decay) == (0.02, 0)
    assert "the file's weight_decay 0.3 is not used" in caplog.text


def test_an_optimizer_of_a_file_keeps_its_options_by_short_name_too(tmp_path, caplog):
    (tmp_path / "run.yaml").write_text("optimizer: {class_path: SGD, init_args: {momentum: 0.5}}")
    words = ["--data.root=i", f"--config={tmp_path / 'run.yaml'}", "--optimizer=torch.optim.SGD"]
    assert experiment_parser("fit").parse_args(words).optimizer.init_args.momentum == 0.5
    assert not caplog.text


def test_the_default_optimizer_decays_weights_and_keeps_what_is_given():
    config = experiment_parser("fit").parse_args(["--data.root", "i", "--optimizer.eps", "1e-7"])
    options = config.optimizer.init_args
    assert (options.weight_decay, options.eps) == (0.05, 1e-7)


def test_the_default_optimizer_is_the_same_in_python_and_in_a_comparison():
    chosen = experiment_parser("fit").parse_args(["--data.root", "images"]).optimizer
    assert chosen.class_path == "torch.optim.AdamW"
    in_python = DEFAULT_OPTIMIZER.keywords
    assert {name: chosen.init_args[name] for name in in_python} == in_python
    compared = OPTIMIZERS["AdamW"]
    assert {**compared.defaults, "lr": compared.lr} == in_python | {"fused": True}


def test_the_configuration_that_is_printed_has_the_defaults_of_the_optimizer(fit):
    _, out, _ = fit("--data.root", "images", "--optimizer", "timm.optim.Lion", "--print_config")
    assert yaml.safe_load(out)["optimizer"]["init_args"]["betas"] == [0.9, 0.99]


def test_a_run_leaves_config_metrics_and_checkpoints(fit, images, tmp_path):
    fit("--data.root", images, "--finetuning", "LinearProbe")
    found = {
        p.relative_to(tmp_path / "runs/images/0").as_posix()
        for p in (tmp_path / "runs/images/0").rglob("*.*")
    }
    checkpoints = {"checkpoints/best.ckpt", "checkpoints/last.ckpt"}
    assert found == {"config.yaml", "metrics.csv", "health.csv", "status.json"} | checkpoints


def test_a_second_run_leaves_the_first_alone(fit, images, tmp_path):
    fit("--data.root", images)
    before = (tmp_path / "runs/images/0/metrics.csv").read_bytes()
    fit("--data.root", images)
    assert (tmp_path / "runs/images/0/metrics.csv").read_bytes() == before
    assert (tmp_path / "runs/images/1/metrics.csv").exists()


def test_the_saved_config_repeats_the_run(fit, images):
    head = ["--model.head.hidden_features", "[4]", "--model.head.activation", "selu"]
    fit("--data.root", images, *head)
    status, _, _ = fit("--config", "runs/images/0/config.yaml", small=[])
    first, second = (
        torch.load(f"runs/images/{n}/checkpoints/best.ckpt", weights_only=True) for n in (0, 1)
    )
    assert status == 0
    torch.testing.assert_close(first["state_dict"], second["state_dict"], rtol=0, atol=0)


def test_a_head_needs_no_class_and_a_strategy_only_its_name(fit, images, tmp_path):
    (tmp_path / "run.yaml").write_text(
        "model: {head: {hidden_features: [4], "
        "activation: {name: leaky_relu, negative_slope: 0.2}}}\n"
        f"data: {{root: {images}}}\nfinetuning: FullFinetuning\noptimizer: SGD\n"
    )
    status, _, _ = fit("--config", "run.yaml", "--optimizer.lr", "0.01")
    config = torch.load("runs/images/0/checkpoints/best.ckpt", weights_only=True)["task_config"]
    assert status == 0
    activation = config["head"]["init_args"]["activation"]
    assert activation == {"name": "leaky_relu", "negative_slope": 0.2}


def test_surgery_data_and_loss_options_reach_the_run(fit, images):
    status, _, err = fit(
        *("--data.root", images, "--data.mixup", "0.2", "--data.preprocessing", "dataset"),
        *("--model.backbone.surgery", "[{swap_activations: {to: gelu}}]"),
        *("--model.class_weights", "balanced", "--model.log_prior", "true"),
        *("--model.head.input_norm", "standardize", "--model.backbone.stop_at", "layer2"),
    )
    config = torch.load("runs/images/0/checkpoints/best.ckpt", weights_only=True)["task_config"]
    assert status == 0
    assert config["class_weights"] == [1.0, 1.0]
    assert config["data_config"]["preprocessing"] == "dataset"
    assert "Swapped" in err
    assert "dropped" in err


def test_a_linear_probe_leaves_the_backbone_as_it_was(fit, images):
    fit("--data.root", images, "--finetuning", "LinearProbe", "--optimizer.lr", "1.0")
    last = torch.load("runs/images/0/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    fit("--data.root", images, "--finetuning", "LinearProbe", "--optimizer.lr", "0.1")
    other = torch.load("runs/images/1/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    backbone = {k: v for k, v in last.items() if k.startswith("backbone")}
    torch.testing.assert_close(backbone, {k: other[k] for k in backbone}, rtol=0, atol=0)
    assert not torch.equal(last["head.output.weight"], other["head.output.weight"])


def test_early_stopping_is_a_callback_away(fit, images):
    args = ["--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.monitor", "val/loss"]
    status, _, _ = fit("--data.root", images, *args)
    assert status == 0


def test_resuming_goes_on_in_the_same_run(fit, images, tmp_path):
    fit("--data.root", images)
    last = "runs/images/0/checkpoints/last.ckpt"
    fit("--data.root", images, "--trainer.max_epochs", "3", "--ckpt_path", last)
    rows = list(csv.DictReader((tmp_path / "runs/images/0/metrics.csv").read_text().splitlines()))
    assert torch.load(last, weights_only=True)["global_step"] == 9
    assert [row["epoch"] for row in rows if row["val/loss"]] == ["0", "1", "2"]
    assert [p.name for p in (tmp_path / "runs/images").iterdir()] == ["0"]


def test_wandb_takes_one_line_and_no_account(fit, images, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    status, _, _ = fit("--data.root", images, "--wandb.project", "test")
    assert status == 0
    assert len(list((tmp_path / "runs/images/0/wandb").glob("offline-run-*"))) == 1


ERRORS = {
    "an unknown backbone": (["--model.backbone.name", "resnet_18"], "Did you mean .*'resnet18'"),
    "an unknown activation": (
        ["--model.head.hidden_features=[4]", "--model.head.activation=gleu"],
        "Did you mean 'gelu'",
    ),
    "an activation without a hidden layer": (
        ["--model.head.activation", "gelu"],
        r"Set hidden_features, for example",
    ),
    "an unknown norm": (
        ["--model.head.hidden_features=[4]", "--model.head.norm=bacth"],
        "Did you mean 'batch'",
    ),
    "an unknown initializer": (
        ["--model.head.hidden_features=[4]", "--model.head.initializer=kaimin"],
        "Did you mean 'kaiming",
    ),
    "an unknown preprocessing": (
        ["--data.preprocessing", "datset"],
        r"Unknown preprocessing 'datset'. Did you mean 'dataset'\? Choose one of: backbone,",
    ),
    "an unknown augmentation": (["--data.augmentation", "crp"], "Did you mean 'crop'"),
    "unknown class weights": (
        ["--model.class_weights", "balancd"],
        r"Did you mean 'balanced'\? Choose one of: balanced, effective_number; --help",
    ),
    "an unknown precision": (["--trainer.precision", "bf16-mixd"], "Did you mean 'bf16-mixed'"),
    "an unknown strategy": (["--finetuning", "LinearPrb"], "Did you mean 'LinearProbe'"),
    "an unknown optimizer": (["--optimizer", "AdamWW"], "Did you mean 'AdamW'"),
    "an optimizer of another": (["--optimizer", "timm.optim.Lookahead"], "Choose another"),
    "an unknown head": (["--model.head", "Haed"], "Did you mean 'Head'"),
    "an unknown option": (
        ["--model.head.hiden_features=[4]"],
        "Did you mean model.head.hidden_features",
    ),
    "Lightning's strategy without its section": (
        ["--strategy", "ddp"],
        "Did you mean --trainer.strategy",
    ),
    "a batch larger than the data": (["--data.batch_size", "64"], "Set --data.batch_size 16"),
    "a folder that cannot be written": (
        ["--runs_dir", "/proc/no"],
        "Set --runs_dir to a directory that you may write",
    ),
    "an accelerator that is not there": (
        ["--trainer.accelerator", "abacus"],
        "trainer section .* invalid accelerator name",
    ),
    "a weights file that is not there": (
        ["--model.backbone.weights", "no.pth"],
        "no weights file 'no.pth'",
    ),
    "a checkpoint that is not there": (["--ckpt_path", "no.ckpt"], "no.ckpt"),
    "a word for a number": (
        ["--optimizer.lr", "fast"],
        "--optimizer.lr is a number, and not 'fast'",
    ),
}


def test_running_out_of_memory_says_what_to_try_in_order(fit, images):
    args = ["--model.head.hidden_features", "[4000000000]"]  # 1.5 TB of weights
    status, _, err = fit("--data.root", images, *args)
    tries = [err.find(t) for t in ("bf16-mixed", "grad_checkpointing true", "--data.batch_size 2")]
    assert status == 1
    assert tries == sorted(tries)
    assert min(tries) > 0


@pytest.mark.parametrize(("args", "message"), ERRORS.values(), ids=ERRORS.keys())
def test_bad_input_ends_with_an_error_that_says_what_to_type(fit, images, args, message):
    status, _, err = fit("--data.root", images, *args)
    assert status in {1, 2}
    assert re.search(message, err)
    assert "Traceback" not in err


def test_a_bad_key_in_yaml_offers_the_nearest(fit, images, tmp_path):
    (tmp_path / "bad.yaml").write_text(f"data: {{root: {images}, batch_sise: 4}}\n")
    status, _, err = fit("--config", "bad.yaml")
    assert (status, "Did you mean data.batch_size" in err) == (2, True)


def test_a_bad_section_in_yaml_offers_the_nearest(fit, images, tmp_path):
    (tmp_path / "bad.yaml").write_text(f"data: {{root: {images}}}\nmodle: {{x: 1}}\n")
    status, _, err = fit("--config", "bad.yaml")
    assert (status, "Did you mean model" in err) == (2, True)


def test_without_data_the_option_is_named(fit):
    status, _, err = fit()
    assert (status, "Set --data.root" in err) == (2, True)


def test_a_schedule_that_cannot_be_is_refused_before_anything_is_built(fit):
    phases = "[{name: top, trains: [backbone.layer5]}]"
    status, _, err = fit(
        *("--data.root", "nowhere", "--model.backbone.weights", "nothing.pth"),
        *("--finetuning", "ChosenGroups", "--finetuning.phases", phases),
    )
    assert status == 1
    assert "Unknown layer group 'backbone.layer5'. Did you mean 'backbone.layer4'?" in err


def test_a_missing_folder_offers_the_nearest(fit, images):
    status, _, err = fit("--data.root", images.parent / "imagez")
    assert (status, "Did you mean --data.root" in err) == (1, True)


def test_pretrained_without_a_network_names_the_other_sources(fit, images, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    status, _, err = fit("--data.root", images, "--model.backbone.weights", "pretrained")
    assert status == 1
    assert "weights: model.safetensors" in err
    assert "or to random" in err


def break_image(images, tmp_path, content):
    broken = tmp_path / "broken"
    shutil.copytree(images, broken)
    path = broken / "blue" / "03.png"
    path.write_bytes(content(path.read_bytes()))
    return broken


BROKEN = {
    "truncated": lambda data: data[: len(data) // 2],
    "text": lambda _: b"hello",
    "empty": lambda _: b"",
}


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_image_is_named(fit, images, tmp_path, content, num_workers):
    broken = break_image(images, tmp_path, content)
    status, _, err = fit("--data.root", broken, "--data.num_workers", num_workers)
    assert status == 1
    assert "03.png" in err
    assert "set --data.broken_files skip" in err
    assert "Traceback" not in err


def test_broken_images_can_be_skipped(fit, images, tmp_path):
    broken = break_image(images, tmp_path, BROKEN["empty"])
    status, out, err = fit("--data.root", broken, "--data.broken_files", "skip")
    assert status == 0
    assert "blue 9" in out or "blue 8" in out
    assert "03.png" in err
