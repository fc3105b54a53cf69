"""Would another frozen pass be faster, and are its features the same?

EfficientNet-Lite0 on the images of a folder with `train` and `val`: as it is; with each batch norm
folded into the convolution in front; compiled; and with bfloat16. Images are decoded before.
Three rounds in turn; printed are images a second, the median ratio to the plain pass of the same
round, seconds until the first batch is there, how far features are from the plain ones (share of
their length, median over images), and the validation accuracy of a closed-form probe.

Run: python scripts/benchmark/frozen_pass.py FOLDER
"""

import copy
import statistics
import sys
import time
from functools import partial

import torch
from rounds import in_turn, median_ratio
from torch import Tensor, nn

from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.features.folding import fold_batch_norms
from tltool.models.backbone import Backbone
from tltool.models.ridge_probe import fit_ridge_probe

BATCH = 32


def main() -> None:
    """Print a table row for each way."""
    backbone = Backbone("tf_efficientnet_lite0").eval()
    data = ImageFolderDataModule(sys.argv[1], batch_size=BATCH, data_config=backbone.data_config)
    splits = {split: list(data.evaluation_dataloader(split)) for split in ("train", "val")}
    labels = {split: torch.cat([batch["labels"] for batch in splits[split]]) for split in splits}
    batches = [batch["images"] for split in splits.values() for batch in split]
    compiled = copy.deepcopy(backbone)
    compiled.compile()
    folded = fold_batch_norms(backbone, batches[0][:2])
    assert folded is not None  # noqa: S101  # it has batch norms
    ways = {
        "as it is": (backbone, torch.float32),
        "folded": (folded, torch.float32),
        "compiled": (compiled, torch.float32),
        "bfloat16": (backbone, torch.bfloat16),
    }
    first = {name: seconds(net, batches[:1], dtype)[0] for name, (net, dtype) in ways.items()}
    features: dict[str, Tensor] = {}
    number = sum(map(len, batches))

    def throughput(name: str) -> float:
        network, dtype = ways[name]
        taken, features[name] = seconds(network, batches, dtype)
        return number / taken

    throughputs = in_turn({name: partial(throughput, name) for name in ways})
    print("| frozen pass | images/s | times | first batch, s | features differ | probe |")
    print("|---|---|---|---|---|---|")
    own = features["as it is"]
    train = len(labels["train"])
    for name, found in features.items():
        ratio = median_ratio(throughputs[name], throughputs["as it is"])
        moved = ((found - own).norm(dim=1) / own.norm(dim=1)).median()
        probe = fit_ridge_probe(found[:train], labels["train"], data.num_classes)
        right = (probe.predict(found[train:]) == labels["val"]).double().mean()
        median = statistics.median(throughputs[name])
        print(
            f"| {name} | {median:.0f} | {ratio:.2f} | {first[name]:.1f} "
            f"| {moved:.1e} | {right:.3f} |"
        )


def seconds(network: nn.Module, batches: list[Tensor], dtype: torch.dtype) -> tuple[float, Tensor]:
    """Return how long a pass takes, and its features."""
    start = time.perf_counter()
    with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        rows = torch.cat([network(images).float() for images in batches])
    return time.perf_counter() - start, rows


if __name__ == "__main__":
    main()
