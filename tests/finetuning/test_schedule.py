"""Laws of phases and schedules."""

import itertools

import pytest

from tltool.finetuning.phase import Phase, Until
from tltool.finetuning.schedule import Schedule, match_groups

GROUPS = ["backbone.stem", "backbone.layer1", "backbone.layer2", "head"]


def test_the_learning_rate_is_constant_without_warmup_and_decay():
    phase = Phase("probe", ("head",))
    assert {phase.lr_factor(step / 10) for step in range(11)} == {1.0}


@pytest.mark.parametrize("decay", ["cosine", "linear"])
def test_the_learning_rate_rises_in_the_warmup_and_falls_to_zero_after_it(decay):
    phase = Phase("all", ("*",), warmup=0.25, decay=decay)
    factors = [phase.lr_factor(step / 100) for step in range(101)]
    assert all(a < b for a, b in itertools.pairwise(factors[:26]))
    assert all(a > b for a, b in itertools.pairwise(factors[25:]))
    assert (factors[0], factors[25]) == (0, 1)
    assert factors[100] == pytest.approx(0)


@pytest.mark.parametrize("cycle", [(0.0, 0.1), (0.1, 0.6), (0.6, 1.0)])
def test_a_phase_takes_its_part_of_a_cycle(cycle):
    whole = Phase("all", ("*",), warmup=0.25, decay="cosine")
    part = Phase("part", ("*",), warmup=0.25, decay="cosine", cycle=cycle)
    shares = [step / 100 for step in range(101)]
    factors = [part.lr_factor(share) for share in shares]
    places = [cycle[0] + share * (cycle[1] - cycle[0]) for share in shares]
    assert factors == [whole.lr_factor(place) for place in places]
    assert part.highest_factor == pytest.approx(max(factors), abs=1e-3)


def test_each_phase_begins_where_the_one_before_ends():
    schedule = Schedule((Phase("a", ("head",), epochs=2), Phase("b", ("*",), epochs=3)))
    assert [schedule.epochs_of(phase) for phase in schedule.phases] == [(0, 2), (2, 5)]


def test_resolving_gives_group_names_and_lengths_and_changes_nothing_when_repeated():
    schedule = Schedule((Phase("a", ("head",), epochs=2), Phase("b", ("backbone.layer?", "head"))))
    resolved = schedule.resolve(GROUPS, max_epochs=5)
    assert resolved.phases[1].trains == ("backbone.layer1", "backbone.layer2", "head")
    assert resolved.phases[1].epochs == 3
    assert resolved.resolve(GROUPS, max_epochs=5) == resolved


def test_one_group_may_be_a_plain_string():
    assert Phase("probe", "head").trains == ("head",)


def test_a_group_named_in_full_comes_before_a_pattern():
    phase = Phase("all", ("*",), lr_scale={"backbone.*": 0.1, "backbone.stem": 0.01})
    resolved = Schedule((phase,)).resolve(GROUPS, max_epochs=1).phases[0]
    assert [resolved.group_lr_scale(group) for group in GROUPS] == [0.01, 0.1, 0.1, 1.0]


def test_two_patterns_for_one_learning_rate_are_refused():
    phase = Phase("all", ("*",), lr_scale={"backbone.*": 0.1, "*.stem": 0.01})
    with pytest.raises(ValueError, match="Make the patterns exclusive"):
        Schedule((phase,)).resolve(GROUPS, max_epochs=1)


@pytest.mark.parametrize("address", ["-1", "hea?"])
def test_a_learning_rate_that_counts_nowhere_is_refused(address):
    phase = Phase("all", ("*",), lr_scale={address: 0.1, "head": 2.0})
    with pytest.raises(ValueError, match=r"counts nowhere: .* first: head\. Leave"):
        Schedule((phase,)).resolve(GROUPS, max_epochs=1)


def test_a_learning_rate_of_a_frozen_group_is_refused():
    phase = Phase("probe", ("head",), lr_scale={"backbone.*": 0.1})
    with pytest.raises(ValueError, match=r"does not train in it\. Add it"):
        Schedule((phase,)).resolve(GROUPS, max_epochs=1)


def test_a_pattern_that_matches_nothing_is_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"Did you mean 'backbone\.layer1'"):
        match_groups(["backbone.layr1"], GROUPS)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"trains": ()}, "Name at least one layer group"),
        ({"epochs": 0}, "at least 1, or leave the phase out"),
        ({"warmup": 1.0}, r"in \[0, 1\)"),
        ({"warmup": -0.1}, r"in \[0, 1\)"),
        ({"cycle": (0.5, 0.2)}, "Give its start and its end"),
        ({"cycle": (0.5, 1.2)}, r"both in \[0, 1\]"),
        ({"lr_scale": 0.0}, "To freeze a group, leave it out of `trains`"),
        ({"lr_scale": {"head": float("nan")}}, "must be positive"),
        ({"decay": "cosin"}, "Did you mean 'cosine'"),
        ({"steps": 0}, "at least 1, or leave the phase out"),
        ({"layer_decay": 1.5}, "Usual values are 0.65 to 0.9"),
        ({"parameters": "norm"}, "Did you mean 'norms'"),
        ({"parameters": {"head": "weights"}}, "Unknown parameters 'weights'"),
        ({"batch_norm": "statistics"}, "Unknown batch_norm 'statistics'"),
    ],
)
def test_a_value_out_of_range_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Phase(**{"name": "a", "trains": ("head",), **fields})


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ((3, 3), "'b' would last to epoch 6, but training ends after epoch 5"),
        ((5, None), "'b' would begin after epoch 5"),
        ((2, 2), "Leave out the length of the last phase 'b'"),
    ],
)
def test_phases_that_do_not_end_with_training_are_refused(lengths, message):
    phases = (Phase("a", ("head",), lengths[0]), Phase("b", ("*",), lengths[1]))
    with pytest.raises(ValueError, match=message):
        Schedule(phases).resolve(GROUPS, max_epochs=5)


def test_only_the_last_phase_may_have_no_length():
    with pytest.raises(ValueError, match=r"'b' never comes\. Set its `epochs`"):
        Schedule((Phase("a", ("head",)), Phase("b", ("*",))))


def test_two_phases_of_one_name_are_refused():
    with pytest.raises(ValueError, match="named 'a'"):
        Schedule((Phase("a", ("head",), 1), Phase("a", ("*",))))


def test_a_schedule_without_phases_is_refused():
    with pytest.raises(ValueError, match="at least one phase"):
        Schedule(())


def resolve(phase):
    return Schedule((phase,)).resolve(GROUPS, max_epochs=3).phases[0]


def test_groups_are_numbered_from_either_end():
    assert resolve(Phase("a", (0, -1, "-2"))).trains == ("backbone.stem", "backbone.layer2", "head")


def test_a_number_beyond_the_ends_is_refused_with_the_numbers():
    with pytest.raises(ValueError, match=r"from 0 \(backbone.stem\) to 3 or -1 \(head\)"):
        resolve(Phase("a", (4,)))


def test_a_kind_of_parameters_is_about_the_backbone():
    phase = resolve(Phase("a", ("*",), parameters="norms"))
    assert [phase.group_parameters(g) for g in GROUPS] == ["norms", "norms", "norms", "all"]


def test_kinds_of_parameters_can_differ_between_groups():
    phase = resolve(Phase("a", ("*",), parameters={"backbone.l*": "biases", "head": "norms"}))
    assert [phase.group_parameters(g) for g in GROUPS] == ["all", "biases", "biases", "norms"]


def test_layer_decay_multiplies_the_scale_of_a_group():
    phase = resolve(Phase("a", ("*",), lr_scale={"backbone.*": 0.5}, layer_decay=0.1))
    assert phase.group_lr_scale("backbone.stem", depth=2) == pytest.approx(0.005)
    assert phase.group_lr_scale("head", depth=0) == 1.0


def test_a_group_that_does_not_train_has_no_rate():
    assert resolve(Phase("a", ("head",))).group_lr_scale("backbone.stem") == 0.0


def test_groups_that_never_train_are_known_unless_they_are_meant_to():
    phases = (Phase("a", ("head",)),)
    assert Schedule(phases).never_trained(GROUPS) == GROUPS[:3]
    assert Schedule(phases, frozen=(0, "*.layer1")).never_trained(GROUPS) == ["backbone.layer2"]


def test_a_group_that_is_meant_to_be_frozen_cannot_train():
    with pytest.raises(ValueError, match="listed in `frozen`, but phase 'a' trains it"):
        Schedule((Phase("a", ("*",)),), frozen=("backbone.stem",)).resolve(GROUPS, max_epochs=3)


def test_a_phase_after_a_metric_must_have_room_at_its_latest():
    phases = (Phase("a", ("head",), until=Until("val/loss", max_epochs=3)), Phase("b", ("*",)))
    with pytest.raises(ValueError, match="'b' would begin after epoch 3"):
        Schedule(phases).resolve(GROUPS, max_epochs=3)


def test_two_lengths_are_refused():
    with pytest.raises(ValueError, match="`epochs` and `steps`, but one length is enough"):
        Phase("a", ("head",), epochs=1, steps=1)


def test_starting_from_the_best_needs_a_metric_before():
    with pytest.raises(ValueError, match="Give that phase `until`"):
        Schedule((Phase("a", ("head",), epochs=1), Phase("b", ("*",), start_from_best=True)))


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_metric_improves_by_more_than_the_least_change(mode):
    until, sign = Until("m", max_epochs=2, mode=mode, min_delta=0.1), 1 if mode == "max" else -1
    assert until.improves(sign * 1.2, best=sign * 1.0)
    assert not until.improves(sign * 1.05, best=sign * 1.0)
    assert not until.improves(float("nan"), best=None)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_epochs": 0}, "Give each at least 1"),
        ({"patience": 0}, "Give each at least 1"),
        ({"mode": "maximum"}, "Did you mean"),
        ({"min_delta": -1.0}, "must not be negative"),
        ({"metric": "val/accuracy"}, "takes the least 'val/accuracy' for the best. Set its `mode:"),
    ],
)
def test_a_value_of_until_out_of_range_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Until(**{"metric": "val/loss", "max_epochs": 3, **fields})


def test_the_config_of_a_schedule_leaves_defaults_out():
    until = Until("val/loss", max_epochs=3)
    schedule = Schedule(
        (Phase("a", (-1,), until=until), Phase("b", ("*",), lr_scale={"head": 2.0}))
    )
    assert schedule.as_config() == {
        "phases": [
            {"name": "a", "trains": [-1], "until": {"metric": "val/loss", "max_epochs": 3}},
            {"name": "b", "trains": ["*"], "lr_scale": {"head": 2.0}},
        ]
    }
