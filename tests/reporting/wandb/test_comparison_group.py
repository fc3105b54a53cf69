"""Heads of a comparison as W&B runs of one group."""

import pytest
import torch
import wandb
from wandb.sdk import wandb_setup

from tltool.comparison.compare import compare_heads
from tltool.comparison.training_settings import TrainingSettings
from tltool.comparison.variants import Variant
from tltool.reporting.wandb import comparison_group
from tltool.reporting.wandb.comparison_group import log_group
from tltool.reporting.wandb.lost_service import _warn

SMALL = {"hidden_features": [4]}


@pytest.fixture(scope="module")
def found():
    """A comparison of two heads."""
    labels = torch.arange(60) % 2
    features = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
    heads = {"relu": Variant(SMALL), "gelu": Variant(SMALL | {"activation": "gelu"})}
    short = TrainingSettings(epochs=2)
    return compare_heads(features, labels, heads, seeds=2, num_folds=3, settings=short)


@pytest.fixture
def service():
    """A process of W&B of this test's own."""
    wandb.teardown()
    _warn.cache_clear()
    yield
    wandb.teardown()


def test_each_head_is_a_run_of_its_own_beside_an_id_from_outside(
    found, offline_runs, tmp_path, monkeypatch
):
    monkeypatch.setenv("WANDB_RUN_ID", "given")
    assert log_group(found, tmp_path, project="test", group="heads", offline=True) == "heads"
    runs = offline_runs(tmp_path)
    assert len({run.id for run in runs}) == 2


def test_a_comparison_goes_on_whose_process_of_wandb_dies_between_heads(
    found, service, tmp_path, monkeypatch, caplog
):
    begin = comparison_group.begin_run

    def kill_behind(*args, **options):
        begun = begin(*args, **options)
        wandb_setup.singleton()._connection._proc._process.kill()
        return begun

    monkeypatch.setattr(comparison_group, "begin_run", kill_behind)
    assert log_group(found, tmp_path, project="test", offline=True) is None
    assert caplog.text.count("W&B's own process is gone") == 1
