"""The edits of a backbone's model: made, described for checkpoints, calibrated, taken back."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from tltool.models.intermediate_layers import drop_behind_
from tltool.models.serialization import plain, rebuild
from tltool.models.timm_layer_groups import layer_groups_of
from tltool.models.weights.loading import create_with_weights
from tltool.surgery.adapters import merge_lora
from tltool.surgery.calibration import calibrate_, needs_calibration
from tltool.surgery.edits import EditReport, apply_surgery_


class EditedModel(nn.Module):
    """A model of timm with the edits that were made of it, as `Backbone` builds upon."""

    description: dict[str, Any]
    model: Any
    name: str
    weights: str
    stop: int | None
    data_config: dict[str, Any]
    channels_last: bool
    surgery_reports: list[EditReport]
    _own: list[str]
    _options: dict[str, Any]

    def __init__(self) -> None:
        super().__init__()
        self._random_state = torch.get_rng_state()  # Draws random weights again.

    @abstractmethod
    def _features(self, model: Any, images: Tensor) -> Tensor: ...

    @abstractmethod
    def _freeze_unused(self) -> None: ...

    @property
    def surgery(self) -> list[str | dict[str, Any]]:
        """The edits that have been made, as plain data."""
        return list(self.description["init_args"]["surgery"])

    def edit_(self, edits: Sequence[str | dict[str, Any]]) -> Self:
        """Edit the model further, as ``surgery`` does, so that a checkpoint rebuilds it.

        Example:
            >>> from tltool.models.backbone import Backbone
            >>> backbone = Backbone("test_resnet", weights="random")
            >>> backbone.edit_([{"add_lora": {"rank": 4}}]).surgery
            [{'add_lora': {'rank': 4}}]
        """
        self._edit(edits)
        self._describe_surgery([*self.surgery, *edits])
        return self

    def without_surgery(self) -> Self:
        """Make the backbone once more, on its device, without its edits.

        Its weights are those that it began with, the same ones where they are random. Torch's
        random numbers are left as they are.
        """
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._random_state)
            former = cast(Self, rebuild(self.description, surgery=[], compile=False))
        weight = next(self.parameters(), torch.empty(0))
        return former.to(weight.device, weight.dtype)

    def merge_adapters_(self) -> Self:
        """Merge all adapters into the weights, see `merge_lora`.

        Raises:
            ValueError: If there are none.
        """
        merge_lora(self.model)
        self._describe_surgery([edit for edit in self.surgery if "add_lora" not in edit])
        return self

    def _edit(self, edits: Sequence[str | dict[str, Any]]) -> None:
        weight = next(self.model.parameters(), torch.empty(0))
        example = torch.zeros(1, *self.data_config["input_size"]).to(weight.device, weight.dtype)
        forward = partial(self._features, self.model)
        self.surgery_reports += apply_surgery_(
            self.model,
            edits,
            example=example,
            forward=forward,
            layer_groups=lambda: layer_groups_of(self.model, coarse=True, own=self._own),
            new_model=self._new_model,
        )
        self._freeze_unused()

    def _new_model(self) -> nn.Module:
        """Make the model once more, as it begins without pretrained weights and edits."""
        model = create_with_weights(self.name, "random", self._options, ())
        if self.stop is not None:
            drop_behind_(model, self.stop)
        return model

    @property
    def needs_calibration(self) -> bool:
        """Whether an edit has yet to take its values from images, see `calibrate_`."""
        return needs_calibration(self.model)

    def calibrate_(self, images: Tensor) -> Self:
        """Set what edits take from images, such as ``match: moments``; once, before training.

        Args:
            images: ``(B, in_chans, H, W)``, preprocessed as in evaluation: about 128, drawn at
                random from the training images. All are passed at once.

        Raises:
            ValueError: If they are too few, or a module gives values that are not finite.

        Example:
            >>> from tltool.models.backbone import Backbone
            >>> edit = {"swap_activations": {"to": "gelu", "match": "moments"}}
            >>> backbone = Backbone("test_resnet", weights="random", surgery=[edit])
            >>> backbone.needs_calibration
            True
            >>> backbone.calibrate_(torch.randn(8, 3, 32, 32)).needs_calibration
            False
        """
        weight = next(self.model.parameters(), images)
        images = images.to(weight.device, weight.dtype)
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        calibrate_(self.model, images, forward=partial(self._features, self.model))
        return self

    def _describe_surgery(self, edits: Sequence[str | dict[str, Any]]) -> None:
        init_args = {**self.description["init_args"], "surgery": plain(edits, "surgery")}
        self.description = {**self.description, "init_args": init_args}
