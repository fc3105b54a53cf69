"""A run that is resumed with another configuration: each row of the table of rules."""

import shutil

import pytest
import torch
import yaml

from tests.conftest import write_images
from tltool.__main__ import main
from tltool.training.resume_rules import RULES, Rule

BASE = [
    *("--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"),
    *("--model.backbone.img_size", "32", "--data.batch_size", "8", "--data.num_workers", "0"),
    *("--trainer.accelerator", "cpu", "--health.enabled", "false"),
    *("--finetuning", "LinearProbe"),
]
# For each row, what is given on the command line when the run is resumed. Nothing but the last
# epoch is missing, so that what is applied is really trained with.
GIVEN = {
    "model.backbone": ["--model.backbone.name", "test_efficientnet"],
    "model.backbone.init_args.weights": ["--model.backbone.weights", "package:another"],
    "model.backbone.init_args.weights_key": ["--model.backbone.weights_key", "model"],
    "model.backbone.init_args.allow_partial": ["--model.backbone.allow_partial", "[x]"],
    "model.backbone.init_args.drop_rate": ["--model.backbone.drop_rate", "0.1"],
    "model.backbone.init_args.drop_path_rate": ["--model.backbone.drop_path_rate", "0.1"],
    "model.backbone.init_args.grad_checkpointing": ["--model.backbone.grad_checkpointing", "true"],
    "model.backbone.init_args.channels_last": ["--model.backbone.channels_last", "false"],
    "model.head": ["--model.head.hidden_features", "[8]"],
    "model.objective": ["--model.objective", "multi_label"],
    "model.log_prior": ["--model.log_prior", "true"],
    "model.label_smoothing": ["--model.label_smoothing", "0.1"],
    "model.l2_sp": ["--model.l2_sp", "0.1"],
    "model.class_weights": ["--model.class_weights", "balanced"],
    "data.init_args.preprocessing": ["--data.preprocessing", "none"],
    "data.init_args.value_range": ["--data.value_range", "0", "128"],
    "data.init_args.crop_mode": ["--data.crop_mode", "squash"],
    "data.init_args.seed": ["--data.seed", "5"],
    "data.init_args.val_fraction": ["--data.val_fraction", "0.4"],
    "data.init_args.tuning_fraction": ["--data.tuning_fraction", "0.3"],
    "data.init_args.augmentation": ["--data.augmentation", "flip"],
    "data.init_args.crop_area": ["--data.crop_area", "0.25"],
    "model.closed_form_start": ["--model.closed_form_start", "false"],
    "data.init_args.random_erasing": ["--data.random_erasing", "0.5"],
    "data.init_args.mixup": ["--data.mixup", "0.2"],
    "data.init_args.cutmix": ["--data.cutmix", "0.2"],
    "data.init_args.sampling": ["--data.sampling", "class_balanced"],
    "data.init_args": ["--data.batch_size", "4"],
    "optimizer": ["--optimizer", "SGD"],
    "optimizer.init_args.amsgrad": ["--optimizer.amsgrad", "true"],
    "optimizer.init_args": ["--optimizer.init_args.lr", "0.01"],
    "finetuning": ["--finetuning", "FullFinetuning"],
    "seed_everything": ["--seed_everything", "3"],
    "features": ["--features.enabled", "false"],
    "features.views": ["--features.views", "2"],
    "features.activation_dtype": ["--features.activation_dtype", "bf16"],
    "trainer": ["--trainer.gradient_clip_val", "1", "--trainer.log_every_n_steps", "3"],
    "trainer.accumulate_grad_batches": ["--trainer.accumulate_grad_batches", "2"],
    "trainer.limit_train_batches": ["--trainer.limit_train_batches", "2"],
    "trainer.overfit_batches": ["--trainer.overfit_batches", "1"],
    "trainer.precision": ["--trainer.precision", "bf16-mixed"],
    "trainer.gradient_clip_val": ["--trainer.gradient_clip_val", "2"],
    "trainer.gradient_clip_algorithm": [
        *("--trainer.gradient_clip_val", "1", "--trainer.gradient_clip_algorithm", "value")
    ],
    "trainer.sync_batchnorm": ["--trainer.sync_batchnorm", "true"],
    "wandb": ["--wandb.group", "mine"],
    "health": ["--health.every", "7"],
    "ending": ["--ending.choose", "last"],
    "runs_dir": ["--runs_dir", "elsewhere"],
    "name": ["--name", "mine"],
    "monitor": ["--monitor", "val/loss"],
    "calibrate": ["--calibrate", "false"],
    "save_every_n_steps": ["--save_every_n_steps", "1"],
    "save_every": ["--save_every", "10m"],
    "grace_period": ["--grace_period", "2m"],
}
# Compared as facts, whatever the configuration says; or no other value can be given here.
TESTED_BELOW = {
    *(
        "model",
        "classes",
        "objective",
        "preprocessing",
        "images",
        "versions",
        "commit",
        "data",
        "world_size",
    )
}
NOT_COMPARED = {"ckpt_path", "config", "budget", "run_dir"}
NEEDS_MORE = {  # a compiler; views; a datamodule with a test split; adapters (test_lora.py)
    "model.regression_loss",  # other labels, as the next (test_kinds_of_labels.py)
    "model.thresholds",
    "finetuning.init_args.rank",
    "finetuning.init_args.alpha",
    "finetuning.init_args.only",
    "model.backbone.init_args.compile",
    "features.mixup",
    "optimizer.init_args.centered",  # RMSprop
    "data.init_args.test_fraction",
}
FAST = {
    "model.head",
    "optimizer.init_args",
    "optimizer.init_args.amsgrad",
    "data.init_args.augmentation",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Images, and a run of one epoch on them."""
    folder = tmp_path_factory.mktemp("resume")
    images = write_images(folder / "images", classes=("blue", "green", "red"), per_class=8)
    words = ["--data.root", str(images), "--runs_dir", str(folder / "runs")]
    assert main(["fit", *words, *BASE, "--trainer.max_epochs", "1"]) == 0
    return folder


@pytest.fixture
def resume(trained, run_tltool, tmp_path):
    """Return a function that resumes a copy of the run, for one epoch more."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)

    def run(*words, epochs=2):
        return run_tltool(
            *("fit", "--data.root", tmp_path / "images", "--runs_dir", trained / "runs", *BASE),
            *("--ckpt_path", "runs/images/0/checkpoints/last.ckpt"),
            *("--trainer.max_epochs", epochs, *words),
        )

    return run


def saved(path="runs/images/0/checkpoints/last.ckpt"):
    return torch.load(path, weights_only=True)


def config():
    with open("runs/images/0/config.yaml") as file:
        return yaml.safe_load(file)


def rows(rule):
    return [
        pytest.param(key, marks=() if key in FAST else pytest.mark.slow)
        for key in GIVEN
        if RULES[key][0] is rule
    ]


def test_each_row_is_tested():
    others = TESTED_BELOW | NOT_COMPARED | NEEDS_MORE
    assert set(GIVEN) | others == set(RULES)


@pytest.mark.parametrize("key", rows(Rule.REFUSED))
def test_what_would_load_the_weights_into_another_model_is_refused(resume, key):
    before = config()
    status, _, err = resume(*GIVEN[key])
    assert status != 0
    assert f"{key}" in err
    assert RULES[key][1] in err
    assert config() == before


@pytest.mark.parametrize("key", rows(Rule.TOLD))
def test_what_changes_the_training_is_told(resume, key):
    status, out, err = resume(*GIVEN[key])
    assert status == 0, err
    assert f"resume    {key}" in out
    assert RULES[key][1] in out
    assert saved()["epoch"] == 1


@pytest.mark.parametrize("key", rows(Rule.APPLIED))
def test_what_may_change_is_applied(resume, key):
    status, out, err = resume(*GIVEN[key])
    assert status == 0, err
    assert f"resume    {key}" in out
    assert saved()["epoch"] == 1


def test_nothing_is_told_of_a_configuration_that_is_the_same(resume):
    _, out, err = resume()
    assert [line for line in out.splitlines() if line.startswith("resume ")] == [
        "resume    data.init_args.root was "
        + out.split("data.init_args.root was ")[1].splitlines()[0],
        "resume    trainer.max_epochs was 1 and is 2",
    ]
    assert "Resumed" not in err


def test_a_new_lr_is_trained_with_and_kept(resume):
    resume("--optimizer.lr", "0.5", "--optimizer.weight_decay", "0.25", epochs=3)
    groups = saved()["optimizer_states"][0]["param_groups"]
    assert {group["initial_lr"] for group in groups} == {0.5}
    assert {group["weight_decay"] for group in groups} == {0.25, 0.0}
    assert config()["optimizer"]["init_args"]["lr"] == 0.5


def test_the_classes_are_compared_and_nothing_is_written(resume, tmp_path):
    (tmp_path / "images" / "blue").rename(tmp_path / "images" / "turquoise")
    before = config()
    status, _, err = resume()
    assert status == 1
    assert "classes was ['blue', 'green', 'red'] and is ['green', 'red', 'turquoise']" in err
    assert (saved()["epoch"], config()) == (0, before)


def test_a_class_less_is_refused(resume, tmp_path):
    shutil.rmtree(tmp_path / "images" / "blue")
    status, _, err = resume()
    assert status == 1
    assert "classes was ['blue', 'green', 'red'] and is ['green', 'red']" in err


def test_a_class_more_is_refused(resume, tmp_path):
    shutil.copytree(tmp_path / "images" / "blue", tmp_path / "images" / "cyan")
    status, _, err = resume()
    assert status == 1
    assert "is ['blue', 'cyan', 'green', 'red']" in err


def test_the_same_classes_in_another_order_are_refused(resume):
    status, _, err = resume("--data.class_names", "[red, green, blue]")
    assert status == 1
    assert "is ['red', 'green', 'blue']: its outputs stand for these classes, in this order" in err


def test_another_image_size_is_refused(resume):
    status, _, err = resume("--model.backbone.img_size", "64")
    assert status == 1
    assert "model.backbone.init_args.img_size was 32 and is 64" in err


def test_surgery_on_a_trained_network_is_refused(resume):
    status, _, err = resume("--model.backbone.surgery", "[{swap_activations: gelu}]")
    assert status == 1
    assert "model.backbone.init_args.surgery" in err


def test_images_that_were_added_and_removed_are_told(resume, tmp_path):
    folder = tmp_path / "images" / "blue"
    shutil.copy(folder / "00.png", folder / "99.png")
    (folder / "01.png").unlink()
    status, _, err = resume()
    assert status == 0
    assert "Resumed: images was '18 train, 6 val' and is" in err
    assert "1 removed" in err


def test_images_that_moved_as_a_whole_are_the_same(resume, tmp_path):
    (tmp_path / "images").rename(tmp_path / "moved")
    status, _, err = resume("--data.root", tmp_path / "moved")
    assert status == 0
    assert "Resumed" not in err


def test_another_kind_of_data_with_the_same_images_is_told(resume, tmp_path):
    images = sorted((tmp_path / "images").glob("*/*.png"))
    lines = [f"{image.relative_to(tmp_path / 'images')},{image.parent.name}" for image in images]
    (tmp_path / "images" / "table.csv").write_text("\n".join(["path,label", *lines]))
    status, out, err = resume(
        *("--data", "ManifestDataModule", "--data.manifest", "images/table.csv"),
        *("--data.batch_size", "8"),
    )
    assert status == 0, err
    assert "resume    data.class_path was 'tltool.ImageFolderDataModule'" in out


def test_other_versions_are_told(resume):
    path = "runs/images/0/checkpoints/last.ckpt"
    checkpoint = saved(path)
    checkpoint["run_facts"] |= {"versions": {"timm": "0.1"}}
    torch.save(checkpoint, path)
    _, _, err = resume()
    assert "Resumed: versions.timm was '0.1' and is" in err


def test_another_number_of_ranks_is_told_with_what_differs(resume):
    path = "runs/images/0/checkpoints/last.ckpt"
    checkpoint = saved(path)
    checkpoint["run_facts"]["world_size"] = 2
    torch.save(checkpoint, path)
    _, _, err = resume()
    assert "Resumed: world_size was 2 and is 1: batch norms that train see other images" in err


def test_a_random_seed_goes_on_with_that_of_the_checkpoint(resume):
    status, out, _ = resume("--seed_everything", "true")
    assert status == 0
    assert "seed_everything was" not in out


def test_a_weights_file_that_moved_is_no_difference(resume, tmp_path):
    path = "runs/images/0/checkpoints/last.ckpt"
    checkpoint = saved(path)
    backbone = checkpoint["config"]["model"]["backbone"]["init_args"]
    backbone["weights"] = "/elsewhere/weights.pth"
    torch.save(checkpoint, path)
    shutil.copy(path, tmp_path / "weights.pth")
    _, _, err = resume("--model.backbone.weights", tmp_path / "weights.pth")
    assert "model.backbone.init_args.weights was" not in err


def test_other_weights_in_the_file_are_not_taken_for_the_probe_of_the_run(resume, tmp_path):
    path = "runs/images/0/checkpoints/last.ckpt"
    checkpoint = saved(path) | {"loaded_hash": "of other weights"}
    checkpoint["config"]["model"]["backbone"]["init_args"]["weights"] = "weights.pth"
    torch.save(checkpoint, path)
    shutil.copy(path, tmp_path / "weights.pth")
    _, out, _ = resume("--model.backbone.weights", tmp_path / "weights.pth")
    why = f"the weights '{tmp_path / 'weights.pth'}' are not those that the run began with"
    assert f"probe     left out: {why}" in out
    assert saved()["loaded_hash"] == "of other weights"


def test_a_checkpoint_of_python_is_compared_by_its_facts(resume, tmp_path):
    path = "runs/images/0/checkpoints/last.ckpt"
    checkpoint = saved(path)
    del checkpoint["config"]
    torch.save(checkpoint, path)
    status, _, err = resume("--data.preprocessing", "none")
    assert status == 1
    assert "preprocessing.mean was" in err


def test_a_checkpoint_without_a_crop_mode_was_trained_with_that_of_its_backbone(resume):
    path = "runs/images/0/checkpoints/last.ckpt"
    checkpoint = saved(path)
    del checkpoint["config"]["data"]["init_args"]["crop_mode"]
    torch.save(checkpoint, path)
    status, _, err = resume("--data.crop_mode", "squash")
    assert status == 1
    assert "preprocessing.crop_mode was 'center' and is 'squash'" in err
    assert resume()[0] == 0


def test_a_run_that_moved_keeps_its_best_epoch(resume):
    best, path = (f"runs/images/0/checkpoints/{name}.ckpt" for name in ("best", "last"))
    checkpoint = saved(path)
    states = checkpoint["callbacks"].values()
    (state,) = (state for state in states if "best.ckpt" in str(state.get("best_model_path")))
    state["best_k_models"] = dict.fromkeys(state["best_k_models"], torch.tensor(2.0))
    torch.save(checkpoint, path)
    resume(epochs=3)
    assert (saved(path)["epoch"], saved(best)["epoch"]) == (2, 0)
