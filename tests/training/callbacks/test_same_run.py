"""Ranks that would train something else than rank 0 are refused before training, on all ranks."""

import pytest

from tltool.data.loading.samples import Samples, Splits
from tltool.training.callbacks.same_run import SameRun, describe_listing, process_facts
from tltool.training.distributed.rank_agreement import check_same

PATHS = ["/x/a/1.png", "/x/a/2.png", "/x/b/1.png"]
LISTING = describe_listing(Splits(Samples(PATHS, [0, 0, 1])), ["a", "b"])


@pytest.mark.parametrize(
    ("paths", "labels"),
    [(PATHS, [0, 1, 1]), (PATHS[::-1], [1, 0, 0]), (PATHS[:2], [0, 0])],
)
def test_another_label_order_or_number_of_images_is_another_listing(paths, labels):
    assert describe_listing(Splits(Samples(paths, labels)), ["a", "b"]) != LISTING


def test_a_difference_names_rank_machine_and_both_values():
    facts = {"torch": "2", "images": "24 train"}
    of_ranks = [("one", facts), ("one", facts), ("two", facts | {"images": "23 train"})]
    with pytest.raises(ValueError, match=r"Rank 2 \(two\) .* 0 \(one\): images is 23 .* not 24"):
        check_same(of_ranks)


def test_a_key_that_one_rank_lacks_is_a_difference():
    with pytest.raises(ValueError, match="data is None and not 1"):
        check_same([("one", {"data": 1}), ("two", {})])


def test_ranks_that_are_alike_pass():
    check_same([("one", process_facts()), ("two", process_facts())])


def test_what_each_rank_has_for_itself_is_not_compared():
    config = {
        "seed_everything": 1,
        "config": ["a.yaml"],
        "trainer": {"max_epochs": 3, "devices": 2},
    }
    assert SameRun(config, frozenset({"trainer.max_epochs"})).config == {"trainer.devices": 2}
