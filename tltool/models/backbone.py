"""Backbone: a timm model without its classifier, its weights loaded and its layers edited."""

import fnmatch
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tltool.models.edited_model import EditedModel
from tltool.models.intermediate_layers import (
    drop_behind_,
    features_of,
    features_on_meta,
    find_stop,
    output_format,
    pooled,
    stop_names,
)
from tltool.models.pixel_backbone import NAME as PIXELS
from tltool.models.serialization import is_rebuilding, serializable
from tltool.models.strided_pointwise import replace_strided_pointwise_
from tltool.models.surgery_warnings import surgery_warnings
from tltool.models.timm_layer_groups import layer_groups_of, unusual_groups
from tltool.models.timm_models import (
    check_name,
    check_patches,
    data_config_of,
    on_meta_device,
)
from tltool.models.timm_options import (
    check_grad_checkpointing,
    check_rates,
    height_and_width,
    model_options,
)
from tltool.models.unused_parameters import (
    freeze_as_buffers_,
    lies_in,
    modules_of,
    unused_parameters,
)
from tltool.models.weights.loading import (
    check_weights_key,
    create_with_weights,
    resolve_auto,
)
from tltool.models.weights.model_folder import find_origin
from tltool.models.weights.trained_backbone import edits_warnings, own_preprocessing
from tltool.models.weights_hash import hash_tensors
from tltool.surgery.edits import EditReport
from tltool.surgery.module_replacement import shortened

log = logging.getLogger(__name__)

#: The name of the last layer's features, beside names for ``stop_at``.
WHOLE = "whole network"


@serializable
class Backbone(EditedModel):
    """A pretrained network that turns images into one feature vector each.

    Args:
        name: A timm model, for example ``resnet18`` or ``vit_tiny_patch16_224.augreg_in21k``; or
            ``pixels`` for no network: the image as it is, resized to ``img_size`` and flattened; or
            ``local-dir:FOLDER`` or ``hf-hub:ORGANIZATION/NAME``, whose ``config.json`` says it.
        weights: ``pretrained`` (downloaded from timm's hub, then cached), a ``.safetensors`` or
            ``.pth`` file, ``local-dir:FOLDER`` (weights and their preprocessing, as timm writes
            them), ``hf-hub:ORGANIZATION/NAME`` (the same from the hub, with ``@REVISION`` for an
            older one), ``package:NAME`` (an installed Python package that carries them), or
            ``random``. ``auto`` takes those of the folder that ``name`` names, an installed package
            that is known to carry this model's weights, or else ``pretrained``.
        weights_key: Which weights to take of a file that holds several, such as ``state_dict``
            instead of ``state_dict_ema``. ``None`` for those that fit the model best, and of
            weights and their moving average (EMA) the average.
        in_chans: Number of image channels. Pretrained weights of the first layer are adapted as
            timm does.
        stop_at: Put the head on an earlier layer's pooled output, such as ``layer3``; the layers
            behind it are dropped. What lies late in a network fits its own classes most (Yosinski
            et al., 2014, https://arxiv.org/abs/1411.1792). ``None`` for the whole network, which
            did best or as well on two data sets (`scripts/benchmark/README.md`).
        surgery: Edits of the loaded model, in order, such as ``{swap_activations: gelu}``. See
            ``apply_surgery_``.
        img_size: Height and width in pixels, or one number for both; ``None`` for the size that the
            weights were trained with. Position embeddings and windows are adapted as timm does.
        drop_rate: Dropout in front of the pooled features; only where the model has it.
        drop_path_rate: Stochastic depth (Huang et al., 2016, https://arxiv.org/abs/1603.09382).
        grad_checkpointing: Recompute activations in the backward pass: less memory, more time.
        channels_last: Keep images and weights in the NHWC memory format, usually faster for
            convolutions.
        compile: Compile the model with ``torch.compile``; state-dict keys stay as they are.
        allow_partial: Patterns (``re.fullmatch``) of parameter names that the weights may lack or
            have beyond the model's. Everything else must match; the classifier is always left out.
        model_args: Further arguments of the timm model, such as ``{global_pool: token}``. Of a
            folder those in its ``config.json`` are taken, and these on top.

    Shape:
        - Input: ``(B, in_chans, H, W)``
        - Output: ``(B, num_features)``

    Raises:
        ValueError: If timm has no such model, the model has no pooled features, an option does not
            fit it, or the weights belong to another model.
        ConnectionError: If the weights must be downloaded and the hub is out of reach.

    Example:
        >>> backbone = Backbone("test_resnet", weights="random")
        >>> backbone(torch.randn(2, 3, 32, 32)).shape, backbone.num_features
        (torch.Size([2, 96]), 96)
    """

    def __init__(
        self,
        name: str = "tf_efficientnet_lite0",
        weights: str = "auto",
        *,
        in_chans: int = 3,
        img_size: int | list[int] | None = None,
        stop_at: str | None = None,
        surgery: Sequence[str | dict[str, Any]] = (),
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        grad_checkpointing: bool = False,
        channels_last: bool = True,
        compile: bool = False,  # noqa: A002  # torch's own word
        allow_partial: Sequence[str] = (),
        weights_key: str | None = None,
        model_args: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        origin = find_origin(name, weights)
        self.name = name = origin.name
        check_name(name)
        self.channels_last = channels_last
        img_size = origin.img_size if img_size is None else img_size
        model_args = origin.model_args | (model_args or {})
        options = model_options(
            name, in_chans, img_size, drop_rate, drop_path_rate, model_args=model_args
        )
        self._options = options
        blueprint = on_meta_device(name, options)
        #: Where the weights came from, with ``auto`` resolved.
        self.weights = resolve_auto(origin.weights, name)
        #: What a checkpoint keeps in the place of arguments, for a folder may be gone then.
        self.resolved_args = {
            "name": name,
            "weights": origin.weights,
            "img_size": img_size,
            "model_args": model_args or None,
        }
        #: The preprocessing that the weights expect: input_size, mean, std, interpolation,
        #: crop_pct, crop_mode.
        self.data_config: dict[str, Any] = data_config_of(
            blueprint,
            in_chans,
            height_and_width(img_size),
            origin.preprocessing or own_preprocessing(self.weights, name),
        )
        self.stop = None if stop_at is None else find_stop(blueprint, stop_at, name)
        if self.stop is not None:
            drop_behind_(blueprint, self.stop)
        size = self.data_config["input_size"]
        output = features_on_meta(name, blueprint, self.stop, size)
        self.num_features = output.shape[1]  # ``model.num_features`` does not always say it.
        #: Modules and parameters that no feature depends on: all theirs are buffers.
        self._unused = modules_of(blueprint, unused_parameters(blueprint, output))
        if grad_checkpointing:
            check_grad_checkpointing(name, blueprint)
        if not is_rebuilding():
            check_patches(name, blueprint, height_and_width(img_size))
            check_weights_key(self.weights, weights_key)
            features = partial(self._features, blueprint)
            rates = {"drop_rate": drop_rate, "drop_path_rate": drop_path_rate}
            check_rates(name, blueprint, features, size, **rates)
        model: Any = create_with_weights(
            name, self.weights, options, allow_partial, weights_key, input_size=origin.input_size
        )
        self.model = model  # Any: the type of nn.Module does not know the methods of timm's models.
        #: Hash of the loaded weights before any edit, of a checkpoint's backbone of those that its
        #: run began with, if it knows them; ``random`` where none were loaded.
        self.loaded_hash: str | None = (
            "random" if self.weights == "random" else hash_tensors(model.state_dict())
        )
        if self.stop is not None:
            dropped = drop_behind_(self.model, self.stop)
            log.info("Stopped %s early: dropped %s.", name, dropped)
        if name != PIXELS and (note := unusual_groups(self.model)):
            log.info("%s has no %s.", name, note)
        self._protect_convolutions()
        self._freeze_unused()
        #: What each edit changed.
        self.surgery_reports: list[EditReport] = []
        self._own = [parameter for parameter, _ in self.model.named_parameters()]
        self._edit(surgery)
        if not is_rebuilding():
            for warning in (
                *edits_warnings(self.weights, surgery),
                *surgery_warnings(self.model, self.surgery_reports),
            ):
                log.warning("%s", warning)
        if grad_checkpointing:
            self.model.set_grad_checkpointing(True)
        if channels_last:
            self.model.to(memory_format=torch.channels_last)
        if compile:
            self.compile()  # In place: no `_orig_mod.` in the state dict.

    def _protect_convolutions(self) -> None:
        unsafe = replace_strided_pointwise_(self.model)
        if unsafe and not is_rebuilding():
            log.info(
                "%s of %s skips pixels in front of it on the CPU: in channels_last the backward "
                "pass of torch would corrupt memory there.",
                shortened(unsafe, 3),
                self.name,
            )

    def _freeze_unused(self) -> None:
        names = [name for name, _ in self.model.named_parameters() if lies_in(name, self._unused)]
        freeze_as_buffers_(self.model, names)
        if names and not is_rebuilding():
            log.info(
                "No feature of %s depends on %d of its parameters (%s): they never train.",
                self.name,
                len(names),
                shortened(self._unused, 3),
            )

    def forward(self, images: Tensor) -> Tensor:
        """Return pooled features ``(B, num_features)`` of images ``(B, in_chans, H, W)``."""
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        return self._features(self.model, images)

    def _features(self, model: Any, images: Tensor) -> Tensor:
        return features_of(model, images, self.stop)

    @property
    def stops(self) -> list[str]:
        """The names that ``stop_at`` accepts, from the input on; of those behind its own, none."""
        names = stop_names(self.model)
        return names if self.stop is None else names[: self.stop + 1]

    def features_of_layers(self, images: Tensor) -> dict[str, Tensor]:
        """Return the pooled output of each layer that the head could be put on, in one pass.

        Args:
            images: ``(B, in_chans, H, W)``.

        Returns:
            Features ``(B, C)`` by the name that ``stop_at`` accepts, each as with that ``stop_at``,
            from the input on; last and under `WHOLE` those of ``forward``. Only these for a model
            that cannot stop early.

        Example:
            >>> backbone = Backbone("test_resnet", weights="random")
            >>> list(backbone.features_of_layers(torch.randn(2, 3, 32, 32)))
            ['act1', 'layer1', 'layer2', 'layer3', 'layer4', 'whole network']
        """
        names = self.stops
        if not names:
            return {WHOLE: self(images)}
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        layout = output_format(self.model)
        if self.stop is None:
            last, outputs = self.model.forward_intermediates(images, **layout)
            whole = self.model.forward_head(last)
        else:
            outputs = self.model.forward_intermediates(
                images, indices=len(names), stop_early=True, intermediates_only=True, **layout
            )
            whole = pooled(outputs[-1])
        features: dict[str, Tensor] = {}
        for name, output in zip(names, outputs, strict=True):
            # CoaT has two outputs of one name; `stop_at` takes the first.
            features.setdefault(name, pooled(output))
        return features | {WHOLE: whole}

    def layer_groups(self, coarse: bool = True) -> dict[str, list[str]]:
        """Return parameter names by layer group, from the input on. See ``layer_groups_of``."""
        groups = layer_groups_of(self.model, coarse=coarse, own=self._own)
        return {
            group: [f"model.{parameter}" for parameter in parameters]
            for group, parameters in groups.items()
        }

    def no_weight_decay(self) -> set[str]:
        """Return names of parameters that the model's authors exclude from weight decay."""
        # Some authors write patterns, as for a shell: `pos_embed.*`.
        own = self.model.no_weight_decay() if hasattr(self.model, "no_weight_decay") else ()
        names = [name for name, _ in self.model.named_parameters()]
        return {f"model.{name}" for pattern in own for name in fnmatch.filter(names, pattern)}
