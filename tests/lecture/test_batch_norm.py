"""Batch norm widens ranges, and does two things."""

import pytest
import torch

from tltool.lecture.batch_norm import (
    FLOW,
    LR,
    MODES,
    NORMS,
    SCALE,
    BatchNormRange,
    decades,
    flow,
    mode_difference,
    trained_range,
)
from tltool.lecture.training import build_head, mlp

EXPERIMENT = BatchNormRange(lrs=(0.1, 1.0, 10.0), scales=(0.01, 0.1, 1.0))


def rows(*, lrs, scales, flow, modes=(0.0, 0.5)):
    """Rows without and with batch norm: which values train, and how the gradient spreads."""
    found = []
    for norm, name in enumerate(("without", "batch norm")):
        losses = {lr: float(lr not in lrs[norm]) for lr in EXPERIMENT.lrs}
        of_scales = {scale: float(scale not in scales[norm]) for scale in EXPERIMENT.scales}
        places = {LR: losses, SCALE: of_scales, FLOW: {0.01: 1.0, 1.0: 10.0 ** flow[norm]}}
        found += [
            {"norm": name, "measure": measure, "at": at, "value": value, "bound": 0.5}
            for measure, values in (places | {MODES: {2: modes[norm]}}).items()
            for at, value in values.items()
        ]
    return found


def spread(problem, name):
    found = []
    for scale in (0.01, 0.1, 1.0):
        options = {"norm": NORMS[name], "initializer": {"name": "normal", "std": scale}}
        network = build_head(mlp(32, 5, **options), problem, seed=0)
        found.append({"at": scale, "value": flow(network, *problem.train)})
    return decades(found)


def test_the_gradient_hangs_on_the_initial_scale_without_batch_norm_alone(blobs):
    problem = blobs.standardized()
    assert spread(problem, "without") > 5
    assert spread(problem, "batch norm") < 1


@pytest.mark.parametrize(("norm", "differs"), [("batch", True), (None, False)])
def test_the_modes_differ_with_batch_norm_alone(blobs, norm, differs):
    head = build_head({"hidden_features": [8], "norm": norm}, blobs, seed=0)
    assert (mode_difference(head, blobs.features, 4) > 0.01) == differs


def test_one_row_alone_takes_the_running_statistics(blobs):
    head = build_head({"hidden_features": [8], "norm": "batch"}, blobs, seed=0)
    assert mode_difference(head, blobs.features, 1) < 1e-5


def test_torchs_own_layer_raises_on_one_row_alone():
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        torch.nn.BatchNorm1d(8).train()(torch.randn(1, 8))


def test_comparing_the_modes_leaves_the_network_as_it_is(blobs):
    head = build_head({"hidden_features": [8], "norm": "batch"}, blobs, seed=0)
    before = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    mode_difference(head, blobs.features, 16)
    assert all(torch.equal(before[name], tensor) for name, tensor in head.state_dict().items())


def test_a_hole_ends_a_range():
    losses = {1: 0.1, 2: 0.1, 4: 0.9, 8: 0.1, 16: 0.1}
    found = [{"at": at, "value": loss, "bound": 0.5} for at, loss in losses.items()]
    assert trained_range(found) == [1, 2]


WIDER = {"lrs": ([0.1], [0.1, 1.0]), "scales": ([0.1], [0.01, 0.1, 1.0]), "flow": (9.0, 1.0)}
SAME_LRS, SAME_SCALES = ([0.1], [0.1]), ([0.1], [0.1])


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "holds"),
        ({"flow": (9.0, 4.5)}, "holds"),
        ({"flow": (9.0, 4.6)}, "holds in part"),
        ({"lrs": SAME_LRS}, "holds in part"),
        ({"scales": SAME_SCALES}, "holds in part"),
        ({"modes": (0.0, 0.011)}, "holds"),
        ({"modes": (0.0, 0.009)}, "holds in part"),
        ({"lrs": SAME_LRS, "scales": SAME_SCALES, "flow": (1.0, 1.0)}, "holds in part"),
        (
            {"lrs": SAME_LRS, "scales": SAME_SCALES, "flow": (1.0, 1.0), "modes": (0.0, 0.0)},
            "does not hold here",
        ),
        ({"lrs": ([], []), "scales": ([], [])}, "cannot be told here"),
    ],
)
def test_each_part_of_the_claim_is_judged(changes, verdict):
    assert EXPERIMENT.judge(rows(**(WIDER | changes))).verdict == verdict


def test_ranges_that_end_with_the_grid_are_told():
    numbers = EXPERIMENT.judge(rows(**(WIDER | {"scales": ([], [0.01, 0.1, 1.0])}))).numbers
    assert numbers["scales"] == ["none", "0.01 (or less) to 1 (or more)"]


@pytest.mark.parametrize(
    ("name", "values"), [("lrs", (1.0, 0.1)), ("scales", (0.0, 1.0)), ("batches", (1, 2))]
)
def test_a_bad_value_is_refused(name, values):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        BatchNormRange(**{name: values})


def test_the_run_has_all_its_parts(blobs):
    tiny = BatchNormRange(
        lrs=(0.1, 1e3), scales=(0.1, 1.0), width=8, batches=(2, 500), steps=2, seeds=2
    )
    finding = tiny.find(blobs)
    assert len(finding.rows) == 4 * 2 * 2 * 2
    assert len({tuple(row) for row in finding.rows}) == 1
    assert "trains at learning rates" in finding.number
    assert len(finding.figure.axes) == 2
