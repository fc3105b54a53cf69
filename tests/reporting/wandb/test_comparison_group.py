"""Heads of a comparison as W&B runs of one group."""

import pytest
import torch

from tltool.comparison.compare import compare_heads
from tltool.comparison.training_settings import TrainingSettings
from tltool.comparison.variants import Variant
from tltool.reporting.wandb.comparison_group import log_group

SMALL = {"hidden_features": [4]}


@pytest.fixture(scope="module")
def found():
    """A comparison of two heads."""
    labels = torch.arange(60) % 2
    features = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
    heads = {"relu": Variant(SMALL), "gelu": Variant(SMALL | {"activation": "gelu"})}
    short = TrainingSettings(epochs=2)
    return compare_heads(features, labels, heads, seeds=2, num_folds=3, settings=short)


def test_each_head_is_a_run_of_its_own_beside_an_id_from_outside(
    found, offline_runs, tmp_path, monkeypatch
):
    monkeypatch.setenv("WANDB_RUN_ID", "given")
    assert log_group(found, tmp_path, project="test", group="heads", offline=True) == "heads"
    runs = offline_runs(tmp_path)
    assert len({run.id for run in runs}) == 2
