"""Class maps: which places of an image speak for its predicted class (Grad-CAM)."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tltool.data.files.image_sources import read_image
from tltool.data.loading.image_dataset import Decoder
from tltool.inference.predictor import Predictor
from tltool.models.feature_map import last_feature_map


class ClassMap(NamedTuple):
    """What speaks for a class in an image.

    Attributes:
        image: The image as the network sees it, cropped and resized.
        values: How much each of its pixels speaks for the class, in ``[0, 1]``, ``(H, W)``.
        label: The class.
    """

    image: Image.Image
    values: NDArray[np.float32]
    label: str


def check_can_map() -> None:
    """Raise unless the package is there that computes the maps.

    Raises:
        ValueError: With what to type.
    """
    if find_spec("pytorch_grad_cam") is None:
        raise ValueError("Overlays need one more package. Type: pip install 'tltool[cam]'")


def class_maps(
    predictor: Predictor,
    images: Sequence[Any],
    labels: Sequence[str] | None = None,
    *,
    decode: Decoder = read_image,
) -> list[ClassMap]:
    """Return what speaks for a class in each image, by Grad-CAM on the last feature map.

    Selvaraju et al., 2017, https://arxiv.org/abs/1610.02391, computed by pytorch-grad-cam.

    Args:
        predictor: The network.
        images: The images, see `Predictor.predict`.
        labels: A class for each; ``None`` for those that the predictor predicts, with its ``tta``;
            the map is of the image as it is.
        decode: From an image to 8-bit pixels, with the options of `read_image`.

    Raises:
        ValueError: If the package is missing, the network has no feature map that is known, or a
            class is unknown.
    """
    check_can_map()
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    task, transform, found = predictor.task, predictor.transform, []
    place = last_feature_map(task.backbone)
    with GradCAM(task, [place.module], reshape_transform=place.arrange) as cam:
        for number, source in enumerate(images):
            decoded = decode(source, **transform.decode_options)
            batch = transform(decoded)[None].to(predictor.device).requires_grad_()
            label = _predicted(predictor, batch) if labels is None else labels[number]
            target = ClassifierOutputTarget(predictor.class_names.index(label))
            values = cam(batch, [target])[0]
            found.append(ClassMap(_as_image(transform.pixels(decoded)), values, label))
    return found


@torch.no_grad()
def _predicted(predictor: Predictor, batch: Tensor) -> str:
    return predictor.class_names[int(predictor.outputs({"images": batch}).argmax())]


def _as_image(pixels: Tensor) -> Image.Image:
    channels = pixels.permute(1, 2, 0).numpy()
    return Image.fromarray(channels[..., 0] if channels.shape[2] == 1 else channels)
