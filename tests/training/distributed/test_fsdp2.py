"""Weights sharded over two processes train as replicated ones do; the files are alike."""

import runpy
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from lightning.pytorch.strategies import ModelParallelStrategy

from tests.conftest import write_images
from tltool.finetuning.phase import Phase
from tltool.finetuning.schedule import Schedule
from tltool.models.backbone import Backbone
from tltool.training.distributed.fsdp2 import FSDP2Strategy, sharded_strategy
from tltool.training.image_task import ImageTask
from tltool.training.trainer_checks import check_trainer

JOB = Path(__file__).with_name("fsdp2_job.py")
job = runpy.run_path(str(JOB))
LIKE_DDP = ["vit", "all options", "resnet", "batch norms", "edited norms", "accumulation"]
ALL = Schedule((Phase("all", ("*",)),))


@pytest.fixture(scope="module")
def few_images(tmp_path_factory):
    """9 images to train on and 3 to validate with: of these one process has 2."""
    root = tmp_path_factory.mktemp("few") / "images"
    return write_images(root, classes=("blue", "green", "red"), per_class=4)


@pytest.fixture(scope="module")
def runs(run_two_ranks, few_images, tmp_path_factory):
    """The directories of all runs that two processes have done."""
    folder = tmp_path_factory.mktemp("fsdp2")
    run_two_ranks(JOB, folder, few_images, *LIKE_DDP)
    return folder


def read(run_dir, name="last.ckpt"):
    return torch.load(run_dir / "checkpoints" / name, weights_only=True)


def assert_same(one, other):
    """Compare weights and what the optimizer knows."""
    for checkpoint, expected in ((one, other), (other, one)):
        assert checkpoint["state_dict"].keys() == expected["state_dict"].keys()
    torch.testing.assert_close(one["state_dict"], other["state_dict"], rtol=0, atol=1e-5)
    states = [checkpoint["optimizer_states"][0] for checkpoint in (one, other)]
    torch.testing.assert_close(states[0]["state"], states[1]["state"], rtol=0, atol=1e-5)
    assert states[0]["param_groups"] == states[1]["param_groups"]


@pytest.mark.slow
@pytest.mark.parametrize("run", LIKE_DDP)
def test_sharded_weights_become_those_of_ddp(runs, run):
    assert_same(read(runs / run / "fsdp2"), read(runs / run / "ddp"))


@pytest.mark.slow
def test_with_more_digits_the_difference_is_gone(runs):
    sharded, replicated = (
        read(runs / "accumulation" / strategy)["state_dict"] for strategy in ("fsdp2", "ddp")
    )
    torch.testing.assert_close(sharded, replicated, rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("then", ["fsdp2 then fsdp2", "fsdp2 then ddp", "ddp then fsdp2"])
def test_a_run_goes_on_with_the_other_strategy(runs, then):
    assert_same(read(runs / "vit" / then), read(runs / "vit" / "ddp"))


@pytest.mark.slow
@pytest.mark.parametrize("run", ["vit", "edited norms"])
def test_a_checkpoint_of_shards_is_one_that_every_command_reads(runs, run):
    run_dir = runs / run / "fsdp2"
    task = ImageTask.load_from_checkpoint(run_dir / "checkpoints" / "best.ckpt")
    saved = read(run_dir, "best.ckpt")["state_dict"]
    state = task.state_dict()  # In 32 bits, whatever a run computed in.
    assert all(torch.equal(saved[name].to(value.dtype), value) for name, value in state.items())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The dirpath has changed")  # Another run has no best epoch yet.
def test_one_process_goes_on_with_a_sharded_run_as_with_one_of_ddp(runs, few_images, tmp_path):
    for before in ("fsdp2", "ddp"):
        last = runs / "vit" / f"{before} cut" / "checkpoints" / "last.ckpt"
        job["train"](few_images, tmp_path / before, "auto", ckpt_path=last, devices=1)
    assert_same(read(tmp_path / "fsdp2"), read(tmp_path / "ddp"))


@pytest.mark.slow
def test_sharded_weights_are_gathered_block_by_block(runs):
    blocks = [f"backbone.model.blocks.{number}" for number in range(6)]
    assert (runs / "modules.txt").read_text().split() == ["backbone", *blocks, "head"]


def test_lightnings_strategy_becomes_ours_with_its_time_limit():
    given = ModelParallelStrategy(timeout="limit")
    assert sharded_strategy(given)._timeout == "limit"


def test_tensor_parallel_is_refused():
    with pytest.raises(ValueError, match=r"is 2, but weights are sharded over all.* Leave it out"):
        sharded_strategy(ModelParallelStrategy(tensor_parallel_size=2))


@pytest.fixture
def check(make_trainer):
    """Return a function that checks a Trainer with the strategy."""

    def run(task, *callbacks, is_synchronized=False, strategy=None, **options):
        strategy = strategy or FSDP2Strategy()
        trainer = make_trainer(*callbacks, strategy=strategy, devices=1, **options)
        trainer.strategy._layer_sync = TorchSyncBatchNorm() if is_synchronized else None
        check_trainer(trainer, task, ALL)

    return run


def test_a_moving_average_of_shards_is_refused(check, make_task):
    with pytest.raises(ValueError, match=r"EMAWeightAveraging keeps an average.* to ddp"):
        check(make_task(), EMAWeightAveraging())


def test_synchronized_batch_norms_are_refused(check, make_task):
    with pytest.raises(ValueError, match=r"`trainer.sync_batchnorm`. Leave it out"):
        check(make_task(), is_synchronized=True)


def test_a_compiled_backbone_is_refused(check):
    backbone = Backbone("test_vit", weights="random", img_size=32, compile=True)
    with pytest.raises(ValueError, match=r"`model.backbone.compile`. Leave it out"):
        check(ImageTask(backbone, num_classes=2))


def test_a_weight_that_is_a_single_number_is_refused(check, make_task):
    task = make_task()
    task.head.scale = torch.nn.Parameter(torch.tensor(1.0))
    with pytest.raises(ValueError, match=r"cannot shard 'head.scale'.*to ddp"):
        check(task)


def test_lightnings_strategy_without_a_task_that_shards_is_refused(check, make_task):
    with pytest.raises(ValueError, match=r"Set `trainer.strategy` to fsdp2"):
        check(make_task(), strategy=ModelParallelStrategy())


def test_float16_with_a_scaled_loss_is_refused(make_task, make_trainer):
    trainer = make_trainer(strategy="fsdp2", devices=1)
    trainer.strategy.precision_plugin.precision = "16-mixed"  # No CPU has it.
    with pytest.raises(ValueError, match=r"Set `trainer.precision` to bf16-mixed"):
        check_trainer(trainer, make_task(), ALL)
