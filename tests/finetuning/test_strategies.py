"""Each strategy makes a schedule that fits, and is named by its short name in YAML."""

import subprocess
import sys

import jsonargparse
import pytest

from tltool.finetuning import FinetuningStrategy, FullFinetuning, LinearProbe

GROUPS = ["backbone.stem", "backbone.layer1", "head"]


@pytest.mark.parametrize("strategy", [LinearProbe(), FullFinetuning()])
@pytest.mark.parametrize("max_epochs", [1, 7])
def test_phases_cover_the_training(strategy, max_epochs):
    schedule = strategy.schedule(GROUPS, max_epochs).resolve(GROUPS, max_epochs)
    assert sum(phase.epochs for phase in schedule.phases) == max_epochs


def test_a_linear_probe_trains_the_head_alone():
    (phase,) = LinearProbe().schedule(GROUPS, 3).resolve(GROUPS, 3).phases
    assert phase.trains == ("head",)


def test_full_finetuning_trains_everything_with_a_scaled_backbone():
    strategy = FullFinetuning(backbone_lr_scale=0.1)
    (phase,) = strategy.schedule(GROUPS, 3).resolve(GROUPS, 3).phases
    assert [phase.group_lr_scale(group) for group in GROUPS] == [0.1, 0.1, 1.0]


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--finetuning=LinearProbe", LinearProbe()),
        (
            '--finetuning={"class_path":"FullFinetuning","init_args":{"warmup":0.2}}',
            FullFinetuning(warmup=0.2),
        ),
    ],
)
def test_jsonargparse_takes_short_names(argument, expected):
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(FinetuningStrategy, "finetuning")
    assert parser.instantiate(parser.parse_args([argument])).finetuning == expected


def test_the_base_class_says_what_a_strategy_must_define():
    with pytest.raises(NotImplementedError, match=r"FinetuningStrategy must define `schedule"):
        FinetuningStrategy().schedule(GROUPS, 1)


def test_strategies_import_neither_torch_nor_lightning():
    code = (
        "import sys; from tltool.finetuning import FullFinetuning, Schedule; "
        "print({'torch', 'lightning', 'timm'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"
