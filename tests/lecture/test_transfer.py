"""Transfer, two by two."""

import pytest
import torch

from tltool.comparison.cross_validation import SplitRows
from tltool.lecture.problem import Problem
from tltool.lecture.transfer import SmallCNN, Transfer, divide, evaluate, start, train


@pytest.fixture
def stripes():
    """Images with a bright row or a bright column."""
    images = 0.1 * torch.randn(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(40) % 2
    for index, label in enumerate(labels.tolist()):
        place = index // 2 % 8
        images[index, 0, place, :] += 1 - label
        images[index, 0, :, place] += label
    return Problem("stripes", images, labels, SplitRows(*[torch.arange(40)] * 3, (0,)))


def test_training_lowers_the_loss(stripes):
    torch.manual_seed(0)
    network = SmallCNN(2)
    before, _ = evaluate(network, stripes, stripes.split.test)
    train(network, *stripes.train, lr=1e-2, steps=20, seed=0)
    assert evaluate(network, stripes, stripes.split.test)[0] < before / 2


@pytest.mark.parametrize(
    ("strategy", "changed"),
    [("linear probe", []), ("last block", [2]), ("everything", [0, 1, 2])],
)
def test_only_the_blocks_of_the_strategy_change(stripes, strategy, changed):
    network = SmallCNN(2)
    student = start(network, strategy, 3)
    train(student, *stripes.train, lr=1e-2, steps=2, seed=0)
    blocks = zip(network.blocks, student.blocks, strict=True)
    states = [(old.state_dict().values(), new.state_dict().values()) for old, new in blocks]
    same = [all(map(torch.equal, old, new)) for old, new in states]
    assert [number for number, is_same in enumerate(same) if not is_same] == changed


@pytest.mark.parametrize(("share", "labels"), [(0.2, [0] * 4 + [1] * 4), (0.01, [0, 1])])
def test_a_share_is_drawn_from_each_class(stripes, share, labels):
    taken, left = divide(stripes.split.train, stripes.labels, share, seed=0)
    assert stripes.labels[taken].tolist() == labels
    assert sorted([*taken.tolist(), *left.tolist()]) == list(range(40))


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
