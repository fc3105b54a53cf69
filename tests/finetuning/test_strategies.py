"""Each strategy makes a schedule that fits, and is named by its short name in YAML."""

import dataclasses
import subprocess
import sys

import jsonargparse
import pytest
import yaml

from tltool.finetuning.phase import Phase, Until
from tltool.finetuning.strategies import (
    LPFT,
    BatchNormOnly,
    BitFit,
    ChosenGroups,
    FinetuningStrategy,
    FullFinetuning,
    GradualUnfreezing,
    LastBlocks,
    LayerwiseDecay,
    LinearProbe,
    LoRA,
)
from tltool.finetuning.timeline import make_timeline

GROUPS = ["backbone.stem", "backbone.layer1", "backbone.layer2", "head"]
STRATEGIES = [
    LinearProbe(),
    FullFinetuning(),
    LPFT(),
    GradualUnfreezing(),
    LayerwiseDecay(),
    LastBlocks(),
    BatchNormOnly(),
    BitFit(),
    LoRA(),
]


def resolve(strategy, max_epochs=5, groups=GROUPS):
    return strategy.resolved_schedule(groups, max_epochs)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("max_epochs", [2, 3, 20])
def test_phases_cover_the_training(strategy, max_epochs):
    assert sum(phase.epochs for phase in resolve(strategy, max_epochs).phases) == max_epochs


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: type(s).__name__)
def test_the_head_trains_in_every_phase(strategy):
    assert all("head" in phase.trains for phase in resolve(strategy).phases)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: type(s).__name__)
def test_no_group_is_frozen_unawares(strategy):
    assert resolve(strategy, max_epochs=20).never_trained(GROUPS) == []


def test_a_linear_probe_trains_the_head_alone():
    (phase,) = resolve(LinearProbe()).phases
    assert phase.trains == ("head",)


def test_full_finetuning_trains_everything_with_a_scaled_backbone():
    (phase,) = resolve(FullFinetuning(backbone_lr_scale=0.1)).phases
    assert [phase.group_lr_scale(group) for group in GROUPS] == [0.1, 0.1, 0.1, 1.0]


def test_lpft_probes_for_an_epoch():
    probe, full = resolve(LPFT(), max_epochs=9).phases
    assert (probe.trains, probe.epochs) == (("head",), 1)
    assert (full.trains, full.epochs) == (tuple(GROUPS), 8)
    assert [full.group_lr_scale(group) for group in GROUPS] == [0.3, 0.3, 0.3, 1.0]


@pytest.mark.parametrize(("strategy", "max_epochs"), [(LPFT(5), 5), (LPFT(), 1)])
def test_lpft_needs_epochs_for_both_phases(strategy, max_epochs):
    with pytest.raises(ValueError, match=r"nothing is left for fine-tuning\. Raise `max_epochs`"):
        strategy.schedule(GROUPS, max_epochs)


def test_gradual_unfreezing_unfreezes_one_more_group_in_each_phase():
    phases = resolve(GradualUnfreezing(epochs_per_group=2), max_epochs=10).phases
    assert [phase.trains for phase in phases] == [tuple(GROUPS[n:]) for n in (3, 2, 1, 0)]
    assert [phase.epochs for phase in phases] == [2, 2, 2, 4]


def test_gradual_unfreezing_warms_up_and_decays_once():
    factors = []
    for strategy in (GradualUnfreezing(), FullFinetuning()):
        schedule = resolve(strategy, max_epochs=10)
        timeline = make_timeline(schedule, steps_per_epoch=7, max_epochs=10)
        spans = [(timeline.at(step), step) for step in range(70)]
        factors.append([span.phase.lr_factor(span.progress(step)) for span, step in spans])
    assert factors[0] == pytest.approx(factors[1])


def test_gradual_unfreezing_says_which_groups_a_short_training_leaves_out():
    schedule = resolve(GradualUnfreezing(), max_epochs=2)
    assert [phase.name for phase in schedule.phases] == ["head", "layer2"]
    assert schedule.never_trained(GROUPS) == ["backbone.stem", "backbone.layer1"]


def test_gradual_unfreezing_of_a_chosen_number_freezes_the_rest_on_purpose():
    schedule = resolve(GradualUnfreezing(num_groups=1), max_epochs=5)
    assert [phase.epochs for phase in schedule.phases] == [1, 4]
    assert schedule.never_trained(GROUPS) == []


def test_layerwise_decay_is_a_field_of_its_phase():
    (phase,) = resolve(LayerwiseDecay(layer_decay=0.5)).phases
    assert phase.group_lr_scale("backbone.stem", depth=3) == 0.125


@pytest.mark.parametrize("norm", ["head.norm", "fc_norm", "features.norm5"])
def test_last_blocks_does_not_count_a_final_norm(norm):
    groups = ["backbone.stem", "backbone.stages.0", f"backbone.{norm}", "head"]
    assert resolve(LastBlocks(1), groups=groups).phases[0].trains == tuple(groups[1:])
    assert resolve(LastBlocks(1)).phases[0].trains == ("backbone.layer2", "head")


def test_lora_in_the_last_groups_freezes_the_others_on_purpose():
    schedule = resolve(LoRA(num_groups=1))
    (phase,) = schedule.phases
    assert phase.trains == ("backbone.layer2", "head")
    assert schedule.never_trained(GROUPS) == []


@pytest.mark.parametrize(("norms", "kind"), [(False, "adapters"), (True, "adapters_and_norms")])
def test_lora_trains_adapters_and_norms_if_asked(norms, kind):
    (phase,) = resolve(LoRA(norms=norms)).phases
    assert [phase.group_parameters(group) for group in GROUPS] == [kind] * 3 + ["all"]


@pytest.mark.parametrize(("strategy", "kind"), [(BatchNormOnly(), "norms"), (BitFit(), "biases")])
def test_one_kind_of_parameters_is_that_of_the_backbone(strategy, kind):
    (phase,) = resolve(strategy).phases
    assert [phase.group_parameters(group) for group in GROUPS] == [kind] * 3 + ["all"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GradualUnfreezing(epochs_per_group=0), "use FullFinetuning"),
        (lambda: GradualUnfreezing(num_groups=0), "use LinearProbe"),
        (lambda: GradualUnfreezing(num_groups=4).schedule(GROUPS, 9), "at most 3"),
        (
            lambda: GradualUnfreezing(num_groups=3).resolved_schedule(GROUPS, 3),
            "more than 3 epochs",
        ),
        (lambda: LastBlocks(0).schedule(GROUPS, 9), "For none of them use LinearProbe"),
        (lambda: LastBlocks(4).schedule(GROUPS, 9), "from 1 to 3"),
    ],
)
def test_a_number_of_groups_that_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def parse(text):
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(FinetuningStrategy, "finetuning")
    return parser.instantiate(parser.parse_object(yaml.safe_load(text))).finetuning


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("finetuning: LinearProbe", LinearProbe()),
        (
            "finetuning: {class_path: FullFinetuning, init_args: {warmup: 0.2}}",
            FullFinetuning(warmup=0.2),
        ),
        ("finetuning: {class_path: LPFT, init_args: {probe_epochs: 3}}", LPFT(3)),
    ],
)
def test_strategies_are_named_in_yaml(text, expected):
    assert parse(text) == expected


def test_a_whole_schedule_is_written_in_yaml():
    text = """
    finetuning:
      class_path: ChosenGroups
      init_args:
        phases:
        - {name: probe, trains: [-1], until: {metric: val/loss, max_epochs: 5, patience: 2}}
        - name: top
          trains: [head, "backbone.layer*"]
          parameters: {"backbone.*": norms}
          lr_scale: {"backbone.*": 0.1}
          steps: 100
        - {name: all, trains: ["*"], lr_scale: 0.01, layer_decay: 0.7, start_from_best: false}
        frozen: [backbone.stem]
    """
    assert parse(text) == ChosenGroups(
        phases=(
            Phase("probe", (-1,), until=Until("val/loss", max_epochs=5, patience=2)),
            Phase(
                "top",
                ("head", "backbone.layer*"),
                parameters={"backbone.*": "norms"},
                lr_scale={"backbone.*": 0.1},
                steps=100,
            ),
            Phase("all", ("*",), lr_scale=0.01, layer_decay=0.7),
        ),
        frozen=("backbone.stem",),
    )


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: type(s).__name__)
def test_a_dumped_schedule_can_be_edited_and_read_again(strategy):
    schedule = resolve(strategy)
    config = {"class_path": "ChosenGroups", "init_args": schedule.as_config()}
    chosen = parse(yaml.safe_dump({"finetuning": config}))
    assert resolve(chosen) == schedule


def test_the_base_class_says_what_a_strategy_must_define():
    with pytest.raises(NotImplementedError, match=r"FinetuningStrategy must define `schedule"):
        FinetuningStrategy().schedule(GROUPS, 1)


def test_strategies_import_neither_torch_nor_lightning():
    code = (
        "import sys; from tltool.finetuning.strategies import LPFT, ChosenGroups; "
        "print({'torch', 'lightning', 'timm'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"


def test_shared_fields_have_one_default():
    # The command line keeps them when another class is named.
    fields = [field for strategy in STRATEGIES for field in dataclasses.fields(strategy)]
    shared = {field.name: field.default for field in fields}
    own = {"num_groups"}  # ``None`` in one of them: as many as there is room for
    assert {(f.name, f.default) for f in fields if f.name not in own} == {
        item for item in shared.items() if item[0] not in own
    }
