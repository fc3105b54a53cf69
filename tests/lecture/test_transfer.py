"""Transfer, two by two."""

import pytest
import torch

from tltool.comparison.cross_validation import SplitRows
from tltool.lecture.problem import Problem
from tltool.lecture.transfer import Transfer, draw_share, small_cnn, train


@pytest.fixture(scope="module")
def stripes():
    """Images with a bright row or a bright column."""
    images = 0.1 * torch.randn(40, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(40) % 2
    for index, label in enumerate(labels.tolist()):
        place = index // 2 % 8
        images[index, place, :] += 1 - label
        images[index, :, place] += label
    rows = [torch.arange(40)] * 3
    return Problem("stripes", images.flatten(1), labels, SplitRows(*rows, (0,)))


def test_training_learns_the_labels(stripes):
    (run,) = train([small_cnn(stripes, seed=0)], stripes, [1e-2], steps=20, seed=0)
    assert run.correct.double().mean() > 0.9


def test_as_many_steps_are_made_on_few_images(stripes):
    few = stripes.with_train(stripes.split.train[:3])
    (run,) = train([small_cnn(stripes, seed=0)], few, [1e-2], steps=4, seed=0)
    assert run.state["1.1.num_batches_tracked"] == 4


@pytest.mark.parametrize(
    ("strategy", "changed"),
    [("linear probe", []), ("last block", [3]), ("everything", [1, 2, 3])],
)
def test_only_the_blocks_of_the_strategy_train(stripes, strategy, changed):
    network = small_cnn(stripes, seed=0)
    _, rest = Transfer().student(network, stripes, strategy, seed=1)
    names = {name.partition(".")[0] for name, _ in rest.named_parameters()}
    assert len(names) - 1 == len(changed)


def test_what_is_frozen_is_the_pretrained_network(stripes):
    network = small_cnn(stripes, seed=0)
    target, _ = Transfer().student(network, stripes, "linear probe", seed=1)
    expected = network[:4].eval()(stripes.features).flatten(1)
    assert torch.equal(target.features, expected)


@pytest.mark.parametrize(("share", "labels"), [(0.2, [0] * 4 + [1] * 4), (0.01, [0, 1])])
def test_a_share_is_drawn_from_each_class(stripes, share, labels):
    taken, left = draw_share(stripes, share, seed=0)
    assert sorted(stripes.labels[taken].tolist()) == labels
    assert sorted([*taken.tolist(), *left.tolist()]) == list(range(40))


def test_a_share_of_1_is_all(stripes):
    taken, left = draw_share(stripes, 1.0, seed=0)
    assert (len(taken), len(left)) == (40, 0)


def accuracies(probe, everything):
    """Accuracies of all strategies on the least and on the most data."""
    others = dict.fromkeys(("last block", "from scratch"), (0.5, 0.5))
    return {"linear probe": probe, "everything": everything, **others}


@pytest.mark.parametrize(
    ("similar", "dissimilar", "verdict"),
    [
        (accuracies((0.8, 0.9), (0.7, 0.9)), accuracies((0.5, 0.6), (0.5, 0.9)), "holds"),
        (accuracies((0.8, 0.9), (0.819, 0.9)), accuracies((0.5, 0.6), (0.5, 0.621)), "holds"),
        (
            accuracies((0.8, 0.9), (0.821, 0.9)),
            accuracies((0.5, 0.6), (0.5, 0.621)),
            "holds in part",
        ),
        (accuracies((0.8, 0.9), (0.7, 0.9)), accuracies((0.5, 0.6), (0.5, 0.619)), "holds in part"),
        (
            accuracies((0.6, 0.9), (0.9, 0.9)),
            accuracies((0.5, 0.6), (0.5, 0.6)),
            "does not hold here",
        ),
    ],
)
def test_the_claim_is_judged_on_little_like_and_much_unlike_data(similar, dissimilar, verdict):
    rows = [
        {"data": name, "strategy": strategy, "num_test": 2500, "accuracy": accuracy}
        | {"share of the training images": share}
        for name, found in (("like", similar), ("unlike", dissimilar))
        for strategy, both in found.items()
        for share, accuracy in zip((0.01, 1.0), both, strict=True)
    ]
    assert Transfer().judge(rows).verdict == verdict


@pytest.mark.slow  # It pretrains and reads 2,624 images.
def test_the_run_has_all_its_parts(blobs, feature_cache):
    finding = Transfer(shares=(0.1, 1.0), steps=2, lrs=(1e-2,), seeds=1).find(blobs)
    assert len(finding.rows) == 2 * 4 * 2
    assert "solar cells" in finding.number
