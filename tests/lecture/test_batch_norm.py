"""Batch norm widens ranges, and does two things."""

import pytest
import torch

from tltool.lecture.batch_norm import BatchNormRange, judge
from tltool.lecture.modes import mode_difference
from tltool.lecture.ranges import decades_of, trained_range
from tltool.lecture.training import build_head

GRIDS = ((0.1, 1.0, 10.0), (0.01, 0.1, 1.0))
BOTH = ("without", "batch norm")


def by_norm(plain, normed):
    return dict(zip(BOTH, (plain, normed), strict=True))


def spread(problem, name):
    experiment = BatchNormRange(seeds=1)
    return decades_of([experiment.flow(problem, name, scale)[0] for scale in (0.01, 0.1, 1.0)])


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
    assert trained_range([1, 2, 4, 8, 16], [True, True, False, True, True]) == (1, 2)


def test_the_claim_holds_where_all_its_parts_do():
    rates, scales = by_norm((0.1, 0.1), (0.1, 10.0)), by_norm(None, (0.01, 1.0))
    modes = by_norm(0.0, 0.5)
    found = judge(rates, scales, by_norm(9.0, 1.0), modes, grids=GRIDS, smallest=2)
    assert found[0] == "holds"
    assert "none and 0.01 (or less) to 1 (or more)" in found[1]


def test_what_batch_norm_does_not_widen_is_said():
    same = by_norm((0.1, 1.0), (0.1, 1.0))
    flow, modes = by_norm(1.0, 1.0), by_norm(0.0, 0.5)
    verdict, _, text = judge(same, same, flow, modes, grids=GRIDS, smallest=2)
    assert verdict == "does not hold here"
    assert "neither" in text


def test_a_part_that_fails_makes_it_hold_in_part():
    rates, scales = by_norm((0.1, 1.0), (0.1, 10.0)), by_norm((0.1, 1.0), (0.1, 1.0))
    flow, modes = by_norm(9.0, 1.0), by_norm(0.0, 0.5)
    verdict, _, text = judge(rates, scales, flow, modes, grids=GRIDS, smallest=2)
    assert verdict == "holds in part"
    assert "but not more initial scales" in text


def test_nothing_that_trains_tells_nothing():
    none = by_norm(None, None)
    found = judge(none, none, by_norm(9.0, 1.0), by_norm(0.0, 0.5), grids=GRIDS, smallest=2)
    assert found[0] == "cannot be told here"


@pytest.mark.parametrize(
    ("name", "values"), [("rates", (1.0, 0.1)), ("scales", (0.0, 1.0)), ("batches", (1, 2))]
)
def test_a_bad_value_is_refused(name, values):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        BatchNormRange(**{name: values})


def test_the_run_has_all_its_parts(blobs):
    tiny = BatchNormRange(
        rates=(0.1, 1e3), scales=(0.1, 1.0), width=8, batches=(2, 500), steps=2, seeds=2
    )
    finding = tiny.run(blobs)
    assert len(finding.rows) == 4 * 2 * 2 * 2
    assert len({tuple(row) for row in finding.rows}) == 1
    assert "trains at rates" in finding.number
    assert len(finding.figure.axes) == 3
