"""Names of the layer groups of a backbone that is not built."""

from collections.abc import Mapping
from typing import Any

from tltool.models.intermediate_layers import drop_behind_, features_on_meta, find_stop
from tltool.models.timm_layer_groups import layer_groups_of
from tltool.models.timm_models import check_name, data_config_of, on_meta_device
from tltool.models.timm_options import ImageSize, height_and_width, model_options
from tltool.models.unused_parameters import freeze_as_buffers_, unused_parameters
from tltool.models.weights.model_folder import find_origin


def find_group_names(
    name: str,
    weights: str = "random",
    *,
    in_chans: int = 3,
    img_size: ImageSize = None,
    stop_at: str | None = None,
    model_args: Mapping[str, Any] | None = None,
) -> list[str]:
    """Return the names of a backbone's layer groups without building it.

    Args:
        name: See `Backbone`.
        weights: See `Backbone`.
        in_chans: See `Backbone`.
        img_size: See `Backbone`.
        stop_at: See `Backbone`.
        model_args: See `Backbone`.

    Example:
        >>> find_group_names("test_resnet", stop_at="layer2")
        ['stem', 'layer1', 'layer2']
    """
    origin = find_origin(name, weights)
    name = origin.name
    img_size = origin.img_size if img_size is None else img_size
    check_name(name)
    model_args = {**origin.model_args, **(model_args or {})}
    blueprint = on_meta_device(name, model_options(name, in_chans, img_size, model_args=model_args))
    stop = None if stop_at is None else find_stop(blueprint, stop_at, name)
    if stop is not None:
        drop_behind_(blueprint, stop)
    size = data_config_of(blueprint, in_chans, height_and_width(img_size), {})["input_size"]
    output = features_on_meta(name, blueprint, stop, size)
    freeze_as_buffers_(blueprint, unused_parameters(blueprint, output))
    return list(layer_groups_of(blueprint, coarse=True))
