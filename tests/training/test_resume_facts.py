"""Facts of a run that a checkpoint keeps, compared on resume."""

import torch

from tltool.data.loading.samples import Samples, Splits
from tltool.training.resume_facts import RunFacts, image_differences, image_hashes


def facts(commit="abc", **images):
    return RunFacts({name: torch.tensor(ids) for name, ids in images.items()}, {}, commit)


def test_another_commit_is_told(caplog):
    facts("def").warn_of_differences(facts("abc").state_dict())
    assert "commit was 'abc' and is 'def': the code may have changed" in caplog.text


def test_no_commit_is_no_other_commit(caplog):
    facts("def").warn_of_differences(facts(None).state_dict())
    assert not caplog.text


def test_an_image_that_was_trained_on_and_now_validates_is_told(caplog):
    before = facts(train=[1, 2, 3], val=[4]).state_dict()
    facts(train=[1, 2], val=[3, 4]).warn_of_differences(before)
    assert "2 val (1 added, 1 of them trained on before)" in caplog.text


def test_an_older_checkpoint_without_facts_is_no_difference(caplog):
    facts(train=[1]).warn_of_differences({})
    assert not caplog.text


def test_the_order_of_the_images_is_no_difference():
    one, other = (Splits(Samples(paths)) for paths in (["/x/1", "/x/2"], ["/x/2", "/x/1"]))
    assert image_differences(image_hashes(one), image_hashes(other)) == []


def test_a_name_that_is_no_text_has_a_hash():
    assert len(image_hashes(Splits(Samples(["/x/\udcff.png", "/y/1.png"])))["train"]) == 2
