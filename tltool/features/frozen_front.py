"""The frozen layers in front of a cut as a network of their own: from images to rows to keep."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from tltool._module_state import evaluation_mode
from tltool.features.activation_cut import ActivationCut, activations_in_front, is_close
from tltool.features.folding import fold_batch_norms
from tltool.models.backbone import Backbone

ActivationDtype = Literal["fp16", "bf16", "fp32"]

DTYPES: dict[ActivationDtype, torch.dtype] = {
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp32": torch.float32,
}

TOLERANCES: dict[ActivationDtype, float] = {"fp16": 2e-3, "bf16": 2e-2, "fp32": 1e-4}
"""Largest difference of features that rounding of activations makes, as a share of their length."""


class ActivationRangeError(ValueError):
    """Activations are too large for the type that they are to be kept in."""


class FrozenFront(nn.Module):
    """The layers of a backbone in front of a cut, from images to rows of activations.

    It holds only these layers, so that the name of what it computes stays while the others train.

    Args:
        backbone: The network.
        cut: From `find_cut`.
        dtype: Of the rows, a name in `DTYPES`. ``fp16`` and ``bf16`` take half the space of
            ``fp32``; ``bf16`` rounds eight times as coarsely as ``fp16``, and holds all numbers.

    Raises:
        ActivationRangeError: In a pass, if a finite activation is not finite in ``dtype``.
    """

    def __init__(
        self, backbone: Backbone, cut: ActivationCut, dtype: ActivationDtype = "fp16"
    ) -> None:
        super().__init__()
        self._whole = (backbone,)  # In a tuple, so that it is no child.
        self.cut = cut
        self.dtype = dtype
        self.num_features = cut.size
        init_args = backbone.description["init_args"]
        cut_there = {"boundary": cut.boundary, "dtype": str(DTYPES[dtype])}
        self.description = {**backbone.description, "init_args": {**init_args, **cut_there}}
        for name in cut.skipped:
            self.add_module(name.replace(".", "/"), backbone.get_submodule(name))
        for name, parameter in backbone.named_parameters():
            is_inside = any(name.startswith(f"{module}.") for module in cut.skipped)
            if not (parameter.requires_grad or is_inside):  # Such as pos_embed.
                self.register_parameter(name.replace(".", "/"), parameter)
        for name, buffer in backbone.model.named_buffers(recurse=False):
            self.register_buffer(f"buffer/{name}", buffer)

    @property
    def whole(self) -> Backbone:
        """The backbone that these layers are a part of."""
        return self._whole[0]

    @property
    def passed(self) -> dict[str, nn.Module]:
        """The modules of the backbone that a pass goes through, and those that hold them."""
        skipped = [f"{name}." for name in self.cut.skipped]
        found = dict[str, nn.Module]()
        for name, module in self.whole.named_modules():
            prefix = f"{name}." if name else ""
            if any(each.startswith(prefix) or prefix.startswith(each) for each in skipped):
                found[name] = module
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Return rows ``(B, size)`` of images ``(B, C, H, W)``."""
        activations = activations_in_front(self.whole, self.cut, images).flatten(1)
        rows = activations.to(DTYPES[self.dtype])
        if (rows.isinf() & activations.isfinite()).any():
            largest = float(activations.abs().max())
            raise ActivationRangeError(
                f"{self.cut.boundary} gives values up to {largest:.3g}, and {self.dtype} ends at "
                f"{torch.finfo(rows.dtype).max:.6g}. Keep activations in bf16."
            )
        return rows

    def is_shared_by(self, state: Mapping[str, Tensor]) -> bool:
        """Tell whether a backbone of other weights has these layers, bit for bit.

        Args:
            state: Its state dict.
        """
        held = {id(tensor) for tensor in (*self.parameters(), *self.buffers())}
        whole = self.whole
        own = {**dict(whole.named_parameters()), **dict(whole.named_buffers())}
        return all(
            torch.equal(tensor.cpu(), state[name].cpu())
            for name, tensor in own.items()
            if id(tensor) in held and name in state
        )

    def in_dtype(self, dtype: ActivationDtype) -> "FrozenFront":
        """Return the same layers with rows of another type."""
        return FrozenFront(self.whole, self.cut, dtype)

    def folded(self, images: Tensor) -> "FrozenFront | None":
        """Return these layers with batch norms folded, if that gives the same rows of images."""
        backbone = self.whole
        with evaluation_mode(backbone):
            network = fold_batch_norms(backbone, images)
            if not isinstance(network, Backbone):
                return None
            names = {name for name, _ in network.named_modules()}
            if not names.issuperset([*self.cut.skipped, self.cut.boundary]):
                return None  # The cut is inside a block that was merged.
            front = FrozenFront(network, self.cut, "fp32")
            if not is_close(front(images), self.in_dtype("fp32")(images)):
                return None  # A frozen convolution right in front of a batch norm that trains.
        return front.in_dtype(self.dtype)
