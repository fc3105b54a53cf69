"""Strategies that work are made by name; those that do not name the one that does."""

from datetime import timedelta

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy

from tltool.training.distributed.strategies import (
    TIME_LIMIT,
    check_strategy,
    limit_time_,
    strategy_of,
)

PATH = "lightning.pytorch.strategies"


@pytest.mark.parametrize(
    ("given", "works"),
    [
        ("ddp_spawn", "ddp"),
        ("ddp_fork_find_unused_parameters_true", "ddp"),
        ("fsdp", "ModelParallelStrategy"),
        (f"{PATH}.FSDPStrategy", "ModelParallelStrategy"),
        ("deepspeed_stage_2", "ModelParallelStrategy"),
        ({"class_path": f"{PATH}.DeepSpeedStrategy"}, "ModelParallelStrategy"),
        ({"class_path": f"{PATH}.DDPStrategy", "init_args": {"start_method": "spawn"}}, "ddp"),
    ],
)
def test_a_strategy_that_does_not_work_is_refused_by_the_name_of_one_that_does(given, works):
    with pytest.raises(ValueError, match=rf"does not work here\. Set --trainer\.strategy {works}"):
        check_strategy(given)


@pytest.mark.parametrize("given", ["auto", "ddp", "DDPStrategy", "ModelParallelStrategy"])
def test_strategies_that_work_pass(given):
    check_strategy(given)
    check_strategy({"class_path": f"{PATH}.{given}", "init_args": {"start_method": "popen"}})


@pytest.mark.parametrize("cls", [DDPStrategy, ModelParallelStrategy])
def test_a_class_needs_no_arguments(cls):
    assert isinstance(strategy_of(f"{PATH}.{cls.__name__}"), cls)


@pytest.mark.parametrize("given", ["ddp", "ModelParallelStrategy"])
def test_ranks_wait_for_minutes(given):
    trainer = Trainer(accelerator="cpu", devices=2, strategy=strategy_of(given), logger=False)
    assert limit_time_(trainer.strategy)._timeout == TIME_LIMIT


@pytest.mark.parametrize(("given", "minutes"), [({}, 10), ({"timeout": timedelta(minutes=5)}, 5)])
def test_a_class_with_arguments_waits_as_long_unless_it_says_otherwise(given, minutes):
    strategy = DDPStrategy(find_unused_parameters=True, **given)
    assert limit_time_(strategy)._timeout == timedelta(minutes=minutes)
