"""Edits of norms from the command line: fit, warn, and rebuild from the checkpoint."""

import pytest
import torch

from tltool import load

SMALL = [
    *("--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"),
    *("--model.backbone.img_size", "32", "--data.batch_size", "8", "--data.num_workers", "0"),
]


@pytest.fixture
def fit(run_tltool, images):
    """Run `tltool fit` on an edited backbone."""
    return lambda surgery, strategy: run_tltool(
        *("fit", "--data.root", images, "--trainer.max_epochs", 1, *SMALL),
        *("--model.backbone.surgery", surgery, "--finetuning", strategy),
    )


@pytest.mark.parametrize(
    ("surgery", "message"),
    [
        pytest.param("[fold_norms]", "Folded 15 of 15 batch norms", marks=pytest.mark.slow),
        ("[{fold_norms: {only: 'layer[12]*'}}, {replace_norms: group}]", "(batch) by group norm"),
        pytest.param(
            "[remove_norms, {add_norms: {only: 'layer4*'}}]",
            "Added batch norms behind 3 of 15",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_run_with_edited_norms_is_rebuilt_from_its_checkpoint(fit, surgery, message):
    status, _, err = fit(surgery, "LinearProbe")
    assert status == 0
    assert message in err
    path = "runs/images/0/checkpoints/best.ckpt"
    state = torch.load(path, weights_only=True)["state_dict"]
    rebuilt = load(path).task.state_dict()
    assert all(torch.equal(rebuilt[key], value) for key, value in state.items())


@pytest.mark.slow
def test_folded_layers_that_train_are_said(fit):
    _, _, err = fit("[fold_norms]", "FullFinetuning")
    assert "trains 15 layers whose batch norms are folded" in err
