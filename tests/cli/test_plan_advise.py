"""`tltool plan --advise` from the command line."""

import pytest
import yaml

from tltool.__main__ import main
from tltool.cli.advise import advised_yaml, keep_options
from tltool.diagnostics.advice.strategy_advice import Advice
from tltool.finetuning.strategies import LastBlocks, LinearProbe

SMALL = [
    *("--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"),
    *("--model.backbone.img_size", "32", "--data.batch_size", "8", "--data.num_workers", "0"),
    *("--trainer.max_epochs", "1"),
]


@pytest.fixture
def plan(run_tltool, images):
    """Run the command in an empty folder and return its exit status, output and errors."""
    return lambda *args: run_tltool("plan", "--data.root", images, *SMALL, *args)


def test_it_names_a_strategy_with_numbers_and_doubts_and_leaves_nothing_behind(plan, tmp_path):
    status, out, _ = plan("--advise")
    assert status == 0
    assert "layer4" in out
    assert "<- your images" in out
    assert "because  10 images of a class" in out
    assert "doubt    The weights are random" in out
    assert "advice   --finetuning LinearProbe" in out
    assert "fit      chooses FullFinetuning(batch_norm='train') by itself" in out
    said = ("rule     Fewer than 20", "gain     fit without --finetuning gained", "lost 0.007")
    assert all(words in out for words in said)
    assert list(tmp_path.iterdir()) == []


def test_the_written_configuration_keeps_what_was_given_and_trains(plan, tmp_path):
    status, _, _ = plan(
        *("--advise", "--write_config", "run.yaml", "--model.label_smoothing", 0.1),
        *("--finetuning", "FullFinetuning"),
    )
    assert status == 0
    config = yaml.safe_load((tmp_path / "run.yaml").read_text())
    assert config["finetuning"] == "LinearProbe"
    assert config["model"]["label_smoothing"] == 0.1
    assert main(["fit", "--config", "run.yaml"]) == 0


def test_an_advised_layer_is_written_beside_what_the_backbone_has():
    advice = Advice("unlike", "few", LinearProbe(), "layer2", [], [])
    given = "model: {backbone: {class_path: tltool.Backbone, init_args: {name: test_resnet}}}"
    arguments = yaml.safe_load(advised_yaml(given, advice))["model"]["backbone"]["init_args"]
    assert arguments == {"name": "test_resnet", "stop_at": "layer2"}


def test_a_strategy_that_is_chosen_already_keeps_its_options():
    advice = keep_options(Advice("like", "more", LastBlocks(1), None, [], []), LastBlocks(2))
    finetuning = yaml.safe_load(advised_yaml("", advice))["finetuning"]
    assert finetuning == {"class_path": "LastBlocks", "init_args": {"num_groups": 2}}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--write_config", "new.yaml"], "Add --advise"),
        (["--advise", "--lr_range"], "--advise and --lr_range are two questions"),
        (["--advise", "--dump"], "tltool plan --config FILE"),
        (["--advise", "--write_config", "nowhere/run.yaml"], "no folder 'nowhere'"),
        (["--advise", "--write_config", "."], "Name a new file"),
    ],
)
def test_what_cannot_be_is_refused_before_it_takes_time(plan, args, message):
    status, _, err = plan(*args)
    assert status != 0
    assert message in err
