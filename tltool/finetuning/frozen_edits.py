"""Edited layers of a backbone that stay frozen, with weights that do not fit them."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

from torch import nn

from tltool.finetuning.freeze import module_groups
from tltool.finetuning.schedule import Schedule
from tltool.models.layer_groups import layer_groups
from tltool.surgery.module_replacement import shortened


class FrozenEdit(NamedTuple):
    """Layer groups that an edit has changed and that some phases keep frozen.

    Attributes:
        damage: What is wrong with their features: ``unmatched`` or ``random``.
        where: Which groups in which phases, in words.
    """

    damage: str
    where: str

    @property
    def is_random(self) -> bool:
        """Whether the layers have begun anew, and so need to train whatever else is done."""
        return self.damage == "random"


def find_frozen_edits(schedule: Schedule, task: nn.Module) -> list[FrozenEdit]:
    """Return what edits have damaged and phases do not train, one entry for each kind of damage.

    An activation has no parameters: it belongs to the group of the parameters next to it, as in
    `module_groups`. Edits that are exact or matched, and adapters, damage nothing.

    Args:
        schedule: A resolved schedule.
        task: Its ``backbone`` tells by ``surgery_reports`` how it was edited; if not, there is
            nothing to tell.
    """
    found = []
    for damage, edited in damaged_groups(task).items():
        phases: dict[tuple[str, ...], list[str]] = {}
        for phase in schedule.phases:
            frozen = tuple(group for group in edited if group not in phase.groups)
            phases.setdefault(frozen, []).append(phase.name)
        phases.pop((), None)
        clauses = [
            f"{shortened(groups, 3)} in phase {' and '.join(map(repr, names))}"
            for groups, names in phases.items()
        ]
        more = [f"in {len(clauses) - 2} more phases"] if len(clauses) > 2 else []
        if clauses:
            found.append(FrozenEdit(damage, "; ".join([*clauses[:2], *more])))
    return found


def damaged_groups(task: nn.Module) -> dict[str, list[str]]:
    """Return the layer groups whose features an edit has damaged, from the input on, by damage.

    Args:
        task: With a ``backbone`` and a ``head``.
    """
    reports: list[Any] = getattr(task.get_submodule("backbone"), "surgery_reports", [])
    damaged: dict[str, set[str]] = {}
    names = [(each.damage, name) for each in reports if each.damage for name in each.changed]
    if not names:
        return {}
    groups = layer_groups(task)
    owners = module_groups(task, groups)
    modules = dict(task.named_modules(remove_duplicate=False))
    for damage, name in names:
        damaged.setdefault(damage, set()).update(_owners_of(name, modules, owners))
    order = list(groups)
    return {damage: sorted(found, key=order.index) for damage, found in damaged.items()}


def _owners_of(
    name: str, modules: Mapping[str, nn.Module], owners: Mapping[nn.Module, AbstractSet[str]]
) -> AbstractSet[str]:
    """Return the groups of an edited module, or of what another edit has put around its place."""
    path = f"backbone.model.{name}"
    while path not in modules:
        path = path.rpartition(".")[0]
    return owners[modules[path]]
