"""The table that says what a changed configuration does on resume."""

import pytest

from tltool.cli.sections import experiment_parser
from tltool.training.resume_rules import Rule, check, compare, find_rule

KEYS = sorted(
    action.dest
    for action in experiment_parser("fit")._actions
    if action.dest not in {"help", "print_config"} and not action.dest.endswith(".help")
)


@pytest.mark.parametrize("key", KEYS)
def test_each_key_of_the_configuration_has_a_rule(key):
    assert isinstance(find_rule(key)[0], Rule)


def test_a_key_without_a_rule_is_an_error():
    with pytest.raises(KeyError, match="unheard_of"):
        find_rule("unheard_of.key")


def test_all_refused_differences_are_named_at_once():
    found = compare(
        {"classes": ["a"], "seed_everything": 0, "name": "x"},
        {"classes": ["b"], "seed_everything": 1, "name": "y"},
    )
    with pytest.raises(
        ValueError, match=r"classes was \['a'\] and is \['b'\].*seed_everything was 0"
    ):
        check(found, "last.ckpt")


def test_the_arguments_of_another_class_are_not_compared():
    before = {"data": {"class_path": "A", "init_args": {"root": "x"}}}
    now = {"data": {"class_path": "B", "init_args": {"root": "y"}}}
    assert [difference.key for difference in compare(before, now)] == ["data.class_path"]


def test_an_option_that_is_new_in_this_version_is_no_difference():
    assert compare({"trainer": {"a": 1}}, {"trainer": {"a": 1, "b": 2}}) == []


def test_a_mapping_that_is_one_value_is_compared_whole():
    before, now = ({"model": {"class_weights": weights}} for weights in ({"a": 1}, {"b": 1}))
    (difference,) = compare(before, now)
    assert (difference.before, difference.now) == ({"a": 1}, {"b": 1})


def test_many_classes_are_not_all_shown():
    (difference,) = compare({"classes": list(range(99))}, {"classes": list(range(98))})
    assert "... (99)]" in str(difference)
