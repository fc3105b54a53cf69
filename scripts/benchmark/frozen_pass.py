"""Would another frozen pass be faster, and are its features the same?

EfficientNet-Lite0 on the photos of a folder with `train` and `val`: as it is; with each batch norm
folded into the convolution in front; compiled; and with bfloat16. Photos are decoded before.
Three rounds in turn; printed are images a second, the median ratio to the plain pass of the same
round, seconds until the first batch is there, how far features are from the plain ones (share of
their length, median over photos), and the validation accuracy of a closed-form probe.

Run: python scripts/benchmark/frozen_pass.py FOLDER
"""

import copy
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from rounds import in_turn, median_ratio
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from tltool.data.folder import ImageFolderDataModule
from tltool.diagnosis.probe import fit_ridge_probe
from tltool.features.extract import frozen_pass
from tltool.models.backbone import Backbone

BATCH = 32
Pass = Callable[[Tensor], Tensor]


def main() -> None:
    """Print a table row for each way."""
    backbone = Backbone("tf_efficientnet_lite0").eval()
    data = ImageFolderDataModule(sys.argv[1], batch_size=BATCH, data_config=backbone.data_config)
    parts = {part: list(data.evaluation_dataloader(part)) for part in ("train", "val")}
    labels = {part: torch.cat([batch["labels"] for batch in parts[part]]) for part in parts}
    batches = [batch["images"] for part in parts.values() for batch in part]
    compiled = copy.deepcopy(backbone)
    compiled.compile()
    networks: dict[str, tuple[nn.Module, str]] = {
        "as it is": (backbone, "32-true"),
        "folded": (folded(backbone, batches[0][:2]), "32-true"),
        "compiled": (compiled, "32-true"),
        "bfloat16": (backbone, "bf16-mixed"),
    }
    first = {name: seconds(way, batches[:1])[0] for name, way in networks.items()}
    features: dict[str, Tensor] = {}
    number = sum(map(len, batches))

    def rate(name: str) -> float:
        taken, features[name] = seconds(networks[name], batches)
        return number / taken

    rates = in_turn({name: partial(rate, name) for name in networks})
    print("| frozen pass | images/s | times | first batch, s | features differ | probe |")
    print("|---|---|---|---|---|---|")
    own = features["as it is"]
    train = len(labels["train"])
    for name, found in features.items():
        ratio = median_ratio(rates[name], rates["as it is"])
        moved = ((found - own).norm(dim=1) / own.norm(dim=1)).median()
        probe = fit_ridge_probe(found[:train], labels["train"], data.num_classes)
        right = (probe.predict(found[train:]) == labels["val"]).double().mean()
        print(
            f"| {name} | {statistics.median(rates[name]):.0f} | {ratio:.2f} | {first[name]:.1f} "
            f"| {moved:.1e} | {right:.3f} |"
        )


def seconds(way: tuple[nn.Module, str], batches: list[Tensor]) -> tuple[float, Tensor]:
    """Return how long a pass takes, and its features."""
    network, precision = way
    start = time.perf_counter()
    with frozen_pass(network, precision) as features:  # type: ignore[arg-type]  # any network
        rows = torch.cat([features(images).float() for images in batches])
    return time.perf_counter() - start, rows


def folded(backbone: nn.Module, images: Tensor) -> nn.Module:
    """Return a copy whose batch norms are folded into the convolutions that feed them."""
    network = copy.deepcopy(backbone)
    made_by: dict[int, nn.Module] = {}
    kept: list[Tensor] = []  # So that no address is used twice.

    def note(module: nn.Module, inputs: Any, output: Tensor) -> None:
        made_by[id(output)] = module
        kept.append(output)

    def fold(module: nn.Module, inputs: Any) -> None:
        conv = made_by.get(id(inputs[0]))
        if conv is None or not isinstance(module, nn.BatchNorm2d):
            return
        weight, bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, module.running_mean, module.running_var, module.eps,
            module.weight, module.bias,
        )  # fmt: skip
        folds.append((conv, module, weight, bias))

    folds: list[Any] = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note)
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(fold)
    with torch.no_grad():
        network(images)
    for module in network.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
    places = {module: name for name, module in network.named_modules()}
    for conv, norm, weight, bias in folds:
        conv.weight, conv.bias = nn.Parameter(weight), nn.Parameter(bias)
        # timm's batch norms have the activation inside.
        network.set_submodule(places[norm], getattr(norm, "act", nn.Identity()))
    return network


if __name__ == "__main__":
    main()
