"""`tltool plan` from the command line."""

import re

import pytest
import torch
import yaml
from PIL import Image

from tltool.models.backbone import Backbone

SMALL = [
    *("--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"),
    *("--model.backbone.img_size", "32", "--data.batch_size", "8", "--data.num_workers", "0"),
    *("--trainer.max_epochs", "3"),
]


@pytest.fixture
def tltool(run_tltool, images):
    """Run a command in an empty folder and return its exit status, output and errors."""
    return lambda command, *args: run_tltool(command, "--data.root", images, *SMALL, *args)


def test_a_plan_shows_groups_phases_and_steps_and_leaves_nothing_behind(tltool, tmp_path):
    status, out, _ = tltool("plan", "--finetuning", "LPFT")
    assert status == 0
    assert "backbone.layer1" in out
    assert "probe" in out
    assert "3 steps an epoch" in out
    assert list(tmp_path.iterdir()) == []


def test_each_device_takes_its_share(tltool):
    _, out, _ = tltool("plan", "--trainer.devices", 4, "--trainer.accelerator", "gpu")
    assert "8 images a step, 2 per device" in out


@pytest.mark.parametrize(
    ("options", "memory"),
    [
        (["--trainer.precision", "bf16-mixed"], "4.3 MiB"),
        (["--trainer.precision", "bf16-true"], "2.1 MiB"),
        (["--trainer.precision", "64-true"], "8.5 MiB"),
        (["--trainer.strategy", "fsdp2", "--trainer.devices", 2], "2.1 MiB"),
    ],
    ids=str,
)
def test_memory_is_that_of_the_precision_and_of_the_share_of_a_device(tltool, options, memory):
    _, out, _ = tltool("plan", "--finetuning", "FullFinetuning", *options)
    assert memory in out


def test_accumulated_batches_are_one_step(tltool):
    _, out, _ = tltool("plan", "--trainer.accumulate_grad_batches", 3)
    assert "1 step an epoch" in out
    assert out.startswith("chosen   FullFinetuning(batch_norm='train'): the weights are random")


@pytest.mark.slow
def test_the_dumped_phases_train_the_same(tltool, tmp_path):
    _, out, _ = tltool("plan", "--finetuning", "LPFT", "--dump")
    (tmp_path / "phases.yaml").write_text(out)
    tltool("fit", "--finetuning", "LPFT")
    tltool("fit", "--config", "phases.yaml")
    first, second = (
        torch.load(f"runs/images/{n}/checkpoints/last.ckpt", weights_only=True) for n in (0, 1)
    )
    torch.testing.assert_close(first["state_dict"], second["state_dict"], rtol=0, atol=0)


def test_the_dump_names_the_class_and_every_group(tltool):
    _, out, _ = tltool("plan", "--finetuning", "LastBlocks", "--dump")
    finetuning = yaml.safe_load(out)["finetuning"]
    assert finetuning["class_path"] == "ChosenGroups"
    assert finetuning["init_args"]["phases"][0]["trains"][-1] == "head"
    assert "backbone.stem" in finetuning["init_args"]["frozen"]


def test_the_plot_is_a_picture(tltool):
    status, _, _ = tltool("plan", "--finetuning", "LayerwiseDecay", "--plot", "plan.png")
    assert status == 0
    with Image.open("plan.png") as picture:
        assert picture.width > 600


@pytest.mark.parametrize("command", ["plan", "fit"])
def test_a_batch_that_the_images_do_not_fill_is_refused(tltool, command):
    status, _, err = tltool(command, "--data.batch_size", 64)
    assert (status, "Set --data.batch_size 16" in err) == (1, True)


def test_a_picture_of_an_unknown_kind_is_refused(tltool):
    status, _, err = tltool("plan", "--plot", "plan.txt")
    assert status == 1
    assert "must end in .png or .svg or .pdf" in err


def test_a_flag_with_dashes_offers_the_one_with_underscores(tltool):
    status, _, err = tltool("plan", "--lr-range")
    assert (status, "Did you mean lr_range?" in err) == (2, True)


def test_the_range_test_suggests_a_rate_and_draws_it(tltool):
    status, out, _ = tltool(
        *("plan", "--lr_range", "--lr_range_steps", 12, "--plot", "rates.png"),
        *("--model.head.input_norm", "standardize"),
    )
    assert status == 0
    assert re.search(r"take --optimizer.lr [\d.e-]+, where the loss falls most steeply", out)
    with Image.open("rates.png") as picture:
        assert picture.width > 600


def test_the_range_test_is_of_the_phase_that_trains_the_backbone(tltool):
    words = ("plan", "--finetuning", "LPFT", "--lr_range", "--lr_range_steps", 10)
    assert re.findall(r"lr range phase (\w+)", tltool(*words)[1]) == ["probe", "full"]


def test_the_range_test_of_a_head_passes_each_image_once(tltool, monkeypatch):
    passed = []
    forward = Backbone.forward
    monkeypatch.setattr(Backbone, "forward", lambda *a: passed.append(len(a[1])) or forward(*a))
    _, out, _ = tltool(
        *("plan", "--finetuning", "LinearProbe", "--model.head.hidden_features", "[4]"),
        *("--lr_range", "--lr_range_steps", 40),
    )
    assert "lr range phase" in out
    assert sum(passed) < 30  # of 20 images; the pass of a folded copy does not count


@pytest.mark.parametrize(
    ("phase", "message"),
    [
        ("{name: a, trains: [haed]}", "Did you mean 'head'"),
        ("{name: a, trains: [head], epochs: 0}", "Give it at least 1"),
        ("{name: a, trains: [head], epochs: 9}", "training ends after epoch 3"),
    ],
)
def test_a_phase_that_cannot_be_is_an_error(tltool, tmp_path, phase, message):
    (tmp_path / "phases.yaml").write_text(
        f"finetuning: {{class_path: ChosenGroups, init_args: {{phases: [{phase}]}}}}"
    )
    status, _, err = tltool("plan", "--config", "phases.yaml")
    assert status != 0
    assert message in err
