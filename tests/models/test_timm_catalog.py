import time

import pytest

from tltool.models.timm_catalog import (
    build_and_count,
    catalog_entry,
    count_parameters,
    search_catalog,
)


def names(*args, **options):
    return [entry.name for entry in search_catalog(*args, **options)]


@pytest.mark.parametrize("name", ["resnet18", "test_vit", "test_efficientnet", "test_convnext"])
def test_a_count_of_the_table_is_that_of_the_model(name):
    assert count_parameters(name) == build_and_count(name)


@pytest.mark.slow  # builds 60 models
@pytest.mark.parametrize("family", ["convnext", "efficientnet", "swin_transformer", "beit"])
def test_the_counts_of_whole_families_are_those_of_the_models(family):
    found = search_catalog(family=family)[:15]
    assert {e.name: e.num_parameters for e in found} == {
        e.name: build_and_count(e.name) for e in found
    }


def test_a_search_by_parameters_builds_no_models():
    start = time.process_time()
    assert len(names(max_params=30_000_000)) > 400
    assert time.process_time() - start < 3  # Building one takes 0.1 s.


def test_a_part_of_the_name_is_found_in_upper_case_too():
    assert names("TEST_RES") == ["test_resnet"]


def test_a_pattern_is_for_the_whole_name():
    assert names("resnet?8") == ["resnet18"]


def test_a_whole_name_finds_this_model_alone():
    assert names("resnet18") == ["resnet18"]


def test_a_name_with_a_tag_finds_these_weights_alone():
    (entry,) = search_catalog("resnet18.a1_in1k")
    assert (entry.name, entry.tags) == ("resnet18", ("a1_in1k",))


def test_a_tag_leaves_out_other_weights():
    found = search_catalog("vit_tiny", tag="in21k")
    assert found
    assert all("in21k" in tag for entry in found for tag in entry.tags)


def test_the_usual_weights_come_first():
    assert catalog_entry("resnet18").tags[0] == "a1_in1k"
    assert len(catalog_entry("resnet18").tags) > 3


def test_parameters_and_size_are_limits():
    found = search_catalog("resnet", max_params=12_000_000, max_size=200)
    assert "resnet10t" in [entry.name for entry in found]
    assert all(e.num_parameters <= 12_000_000 and e.img_size <= 200 for e in found)


def test_a_family_holds_only_its_models():
    assert {entry.family for entry in search_catalog(family="convnext")} == {"convnext"}


def test_models_without_weights_are_listed_on_demand():
    assert "vit_giant_patch14_224" not in names("vit_giant")
    assert "vit_giant_patch14_224" in names("vit_giant", with_untrained=True)


def test_a_choice_is_from_the_names_given():
    assert names("resnet", among={"resnet18", "vgg11"}) == ["resnet18"]


def test_an_unknown_family_gets_those_that_are_like_it():
    with pytest.raises(ValueError, match=r"no family 'swin'. Choose one such as swin_transformer"):
        search_catalog(family="swin")
