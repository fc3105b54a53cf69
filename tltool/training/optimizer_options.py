"""Options of the optimizer on resume: the state comes from the checkpoint, changed options do not.

``Optimizer.load_state_dict`` brings the options of the checkpoint back too, ``initial_lr`` among
them, so a new ``lr`` or ``weight_decay`` would be ignored.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch.optim import Optimizer

from tltool.models.serialization import plain
from tltool.training.resume_rules import Difference, check


def optimizer_config(optimizer: Optimizer) -> dict[str, Any]:
    """Return the class of an optimizer and its options, as plain data for a checkpoint.

    Example:
        >>> import torch
        >>> optimizer_config(torch.optim.SGD([torch.zeros(1)], lr=0.1))["init_args"]["lr"]
        0.1
    """
    cls = type(optimizer)
    options = {key: value for key, value in optimizer.defaults.items() if _is_plain(value)}
    return {
        "class_path": f"{cls.__module__}.{cls.__qualname__}",
        "init_args": plain(options, cls.__name__),
    }


def keep_changed_options_(
    optimizer: Optimizer, saved_config: Callable[[], Mapping[str, Any] | None]
) -> Optimizer:
    """Make an optimizer keep the options that have changed when it loads a checkpoint's state.

    Options that have not changed are loaded: some optimizers keep state among them.

    Args:
        optimizer: As it was made from the configuration.
        saved_config: Returns the `optimizer_config` in the checkpoint, or ``None`` without one.

    Returns:
        ``optimizer``, which raises ``ValueError`` on the state of another class or other groups.
    """

    def prepare(optimizer: Optimizer, state_dict: dict[str, Any]) -> dict[str, Any] | None:
        before, now = saved_config(), optimizer_config(optimizer)
        if before is None:
            return None
        if before["class_path"] != now["class_path"]:
            classes = (before["class_path"], now["class_path"])
            check([Difference("optimizer.class_path", *classes)], "The checkpoint")
        loaded, made = state_dict["param_groups"], optimizer.param_groups
        if [len(group["params"]) for group in loaded] != [len(group["params"]) for group in made]:
            raise ValueError(
                f"The checkpoint has {len(loaded)} parameter groups and this run {len(made)}: "
                "they follow from the layers and from `layer_decay` of the fine-tuning strategy. "
                "Resume with the strategy and the version of tltool that it was trained with."
            )
        options = before["init_args"], now["init_args"]
        changed = {key for key in options[1] if options[0].get(key) != options[1][key]}
        groups = [_merged(*both, changed) for both in zip(loaded, made, strict=True)]
        return {**state_dict, "param_groups": groups}

    optimizer.register_load_state_dict_pre_hook(prepare)
    return optimizer


def _merged(
    loaded: Mapping[str, Any], made: Mapping[str, Any], changed: set[str]
) -> dict[str, Any]:
    """Return the options of a loaded group, but those changed of the group as it was made."""
    names = changed | ({"initial_lr"} if "lr" in changed else set())
    return {**loaded, **{name: made[name] for name in names if name in made}}


def _is_plain(value: Any) -> bool:
    items = value if isinstance(value, list | tuple) else [value]
    return all(item is None or isinstance(item, str | bool | int | float) for item in items)
