"""An activation that runs several times in one pass of its block, matched call by call."""

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tltool._module_state import evaluation_mode
from tltool.surgery.channel_layout import Channels, find_channels
from tltool.surgery.module_replacement import walk


class MatchedCalls(nn.Module):
    """An activation with a map of its own for each of its calls in a block.

    As Res2Net needs, whose blocks run one relu behind layers of several widths. Which call it is is
    counted from the begin of the block, which must tell by a hook: ``begin``.

    Args:
        calls: What runs at each call.
    """

    def __init__(self, calls: Sequence[nn.Module]) -> None:
        super().__init__()
        self.calls = nn.ModuleList(calls)
        self._next = 0

    def begin(self, block: nn.Module, inputs: object) -> None:
        """Note that the block begins. A method, so that a copy of the block tells the copy."""
        self._next = 0

    def forward(self, z: Tensor) -> Tensor:
        """Return the activations of ``z``, mapped as this call is.

        Raises:
            RuntimeError: If it runs more often than when it was matched.
        """
        if self._next == len(self.calls):
            raise RuntimeError(
                f"This activation was matched for {self._next} calls in its block, and runs once "
                "more. Leave it out of `swap_activations` by `only`, or leave `match` out."
            )
        self._next += 1
        outputs: Tensor = self.calls[self._next - 1](z)
        return outputs


class FoundCalls(NamedTuple):
    """The channels of what modules put out, at all calls or call by call."""

    #: Once, or where they differ for each call.
    channels: dict[nn.Module, tuple[Channels, ...]]
    #: The block of each of those whose channels differ.
    blocks: dict[nn.Module, nn.Module]
    #: Why the channels of each other module are not known.
    unknown: dict[nn.Module, str]


def find_calls(
    model: nn.Module,
    modules: Collection[nn.Module],
    example: Tensor | None,
    forward: Callable[[Tensor], object] | None = None,
) -> FoundCalls:
    """Return the channels of what modules put out, call by call where their block runs once.

    The arguments are those of `find_channels`.
    """
    found = find_channels(model, modules, example, forward)
    blocks: dict[nn.Module, nn.Module] = {}
    if found.by_call and example is not None:
        blocks = _blocks_that_run_once(model, found.by_call, example, forward)
    known = {module: (channels,) for module, channels in found.known.items()}
    by_call = {module: found.by_call[module] for module in blocks}
    unknown = {module: why for module, why in found.unknown.items() if module not in blocks}
    return FoundCalls(known | by_call, blocks, unknown)


@torch.no_grad()
def _blocks_that_run_once(
    model: nn.Module,
    modules: Collection[nn.Module],
    example: Tensor,
    forward: Callable[[Tensor], object] | None,
) -> dict[nn.Module, nn.Module]:
    """Return the module that holds each module, where all its calls are behind one begin of it."""
    owners = {
        place.module: place.owners[0][0]
        for place in walk(model)
        if place.module in modules and len(place.owners) == 1
    }
    events: dict[nn.Module, list[str]] = {module: [] for module in owners}

    def note(module: nn.Module, event: str) -> Callable[..., None]:
        return lambda *_: events[module].append(event)

    with ExitStack() as stack, evaluation_mode(model):
        for module, owner in owners.items():
            stack.callback(owner.register_forward_pre_hook(note(module, "begin")).remove)
            stack.callback(module.register_forward_pre_hook(note(module, "call")).remove)
        (forward or model)(example)
    return {
        module: owner
        for module, owner in owners.items()
        if events[module][0] == "begin" and events[module].count("begin") == 1
    }
