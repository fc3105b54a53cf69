"""What surgery and training do to the networks of timm, one of each module, kept in a table.

Of each module the network with the fewest parameters is tried in a process of its own, with random
weights and real backward passes; see `try_network`. Rows that are in the table are not computed
again, unless they are named. A row that is named and has changed is an error: look why, and give
--update to keep the new one. Takes half an hour for all.

Run: python scripts/surgery_coverage.py [--update] [MODULE ...]
"""

import contextlib
import json
import math
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

import tltool.cli.fit  # noqa: F401  # Once for all processes.
from tltool.__main__ import main as run_tltool
from tltool._csv_rows import write_rows
from tltool.features.cut_survey import smallest_backbone
from tltool.finetuning.freeze import module_groups, set_trainable_
from tltool.models.backbone import Backbone
from tltool.models.heads import Head
from tltool.models.layer_groups import layer_groups
from tltool.models.serialization import rebuild
from tltool.models.surgery_coverage import COLUMNS, PASSED, RESULTS, TABLE, coverage_table
from tltool.models.timm_catalog import count_parameters, smallest_of_each_family
from tltool.surgery.activation_swap import ActivationSwap

#: What the activations are swapped for: no network of timm's has it in all of its layers.
TO = "mish"
IMG_SIZES = (64, 112, 128, 224, None)
SECONDS = 1200
NOTES, ERRORS = "notes.jsonl", "errors.txt"

Row = dict[str, Any]


def try_network(family: str, note: Callable[..., None]) -> None:
    """Try the smallest network of a module of timm, and note what came of each part.

    Its activations are swapped; then keys and values of the state dict are compared, gradients
    looked at, the network rebuilt from its description and state dict, its front frozen while the
    rest takes a step with a learning rate and a weight decay of 1, and one step of `tltool fit`
    run.

    Args:
        family: The module.
        note: Called with columns and their values as they are known.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    name = smallest_of_each_family()[family]
    note(backbone=name)
    backbone = smallest_backbone(name, IMG_SIZES)
    size = backbone.data_config["input_size"]
    note(img_size=size[1])
    note(**swap(backbone))
    images = torch.randn(2, *size)
    note(reload=reloads(backbone, images))
    note(gradients=gives_gradients(backbone, images))
    note(frozen=stays_frozen(backbone, images))
    del backbone
    note(fit=fits(name, size))


def swap(backbone: Backbone) -> Row:
    """Swap all activations, and return how many, why others stay, and whether the weights do."""
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    try:
        backbone.edit_([{"swap_activations": TO}])
    except ValueError as error:
        return {"swapped": 0, "activations": 0, "kept": str(error), "state_dict": PASSED}
    (report,) = (each for each in backbone.surgery_reports if isinstance(each, ActivationSwap))
    return {
        "swapped": report.num_swapped,
        "activations": report.num_activations,
        "kept": reasons(report),
        "state_dict": keeps_weights(before, backbone.state_dict(), list(report.swapped)),
    }


def keeps_weights(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], swapped: Sequence[str]
) -> str:
    """Tell whether a state dict has kept its keys and values, but for the activations' own."""
    own = {key for key in before if key.removeprefix("model.").rpartition(".")[0] in swapped}
    changed = [
        *(key for key in before.keys() - own if key not in after),
        *(key for key in after if key not in before),
        *(key for key in before.keys() & after.keys() if not torch.equal(before[key], after[key])),
    ]
    if changed:
        return f"{len(changed)} changed: {min(changed)}"
    return f"without {len(own)} values of the old activations" if own else PASSED


def reasons(swap: ActivationSwap) -> str:
    """Return why activations stay, each reason once with its number."""
    counts: dict[str, int] = {}
    for why in swap.kept.values():
        counts[why] = counts.get(why, 0) + 1
    return "; ".join(
        f"{counts[why]} {why}{'s' if why == 'gate' and counts[why] > 1 else ''}"
        for why in sorted(counts)
    )


def reloads(backbone: Backbone, images: Tensor) -> str:
    """Tell whether a network rebuilt from its description and weights gives the same features."""
    backbone.eval()
    again: Any = rebuild(backbone.description)
    again.load_state_dict(backbone.state_dict())
    with torch.no_grad():
        same = torch.equal(backbone(images), again.eval()(images))
    return PASSED if same else "other features"


def gives_gradients(backbone: Backbone, images: Tensor) -> str:
    """Tell whether each parameter gets a finite gradient."""
    backbone.train().requires_grad_(True)
    backbone(images).square().mean().backward()
    gradients = {name: value.grad for name, value in backbone.named_parameters()}
    missing = [name for name, gradient in gradients.items() if gradient is None]
    bad = [name for name, value in gradients.items() if value is not None and not finite(value)]
    backbone.zero_grad(set_to_none=True)
    if missing or bad:
        return f"{len(missing)} missing, {len(bad)} not finite: {(missing + bad)[0]}"
    return PASSED


def finite(values: Tensor) -> bool:
    """Tell whether a tensor has neither NaN nor infinity."""
    return math.isfinite(values.sum()) or bool(values.isfinite().all())


def stays_frozen(backbone: Backbone, images: Tensor) -> str:
    """Tell whether all but the last group stays as it is while the last one takes a large step."""
    task = nn.Module()
    task.backbone, task.head = backbone, Head(backbone.num_features, 2)
    groups = layer_groups(task)
    trains = list(groups)[-2:] if len(groups) > 2 else ["head"]
    set_trainable_(task, groups, trains)
    before = {key: value.clone() for key, value in frozen_values(task, groups, trains)}
    optimizer = torch.optim.SGD(task.parameters(), lr=1.0, weight_decay=1.0)
    task.head(backbone(images)).square().mean().backward()
    optimizer.step()
    changed = [k for k, v in frozen_values(task, groups, trains) if not torch.equal(v, before[k])]
    return PASSED if not changed else f"{len(changed)} changed: {changed[0]}"


def frozen_values(
    task: nn.Module, groups: dict[str, list[str]], trains: Sequence[str]
) -> Iterator[tuple[str, Tensor]]:
    """Yield the parameters of frozen groups and the buffers of modules that lie in these alone."""
    members = module_groups(task, groups)
    frozen = {name for group in groups if group not in trains for name in groups[group]}
    yield from ((name, value) for name, value in task.named_parameters() if name in frozen)
    for path, module in task.named_modules():
        if module in members and members[module].isdisjoint(trains):
            own = module.named_buffers(recurse=False)
            yield from ((f"{path}.{name}", value) for name, value in own)


def fits(name: str, size: Sequence[int]) -> str:
    """Run one step of `tltool fit` on a few generated images, with the swap."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        write_images(Path("images"))
        words = {
            "data.root": "images",
            "data.batch_size": 2,
            "data.num_workers": 0,
            "model.backbone.name": name,
            "model.backbone.weights": "random",
            "model.backbone.img_size": size[1],
            "model.backbone.surgery": f"[{{swap_activations: {TO}}}]",
            "optimizer": "SGD",  # No state: the largest network takes enough memory as it is.
            "finetuning": "FullFinetuning",
            "health.enabled": "false",
            "trainer.accelerator": "cpu",
            "trainer.fast_dev_run": "true",
        }
        if run_tltool(["fit", *(f"--{key}={value}" for key, value in words.items())]) != 0:
            raise SystemExit(1)  # Its last line says why.
    return PASSED


def write_images(root: Path) -> None:
    """Write four images of each of two colors, for training and for validation."""
    for split in ("train", "val"):
        for color in ("red", "blue"):
            (root / split / color).mkdir(parents=True)
            for number in range(4):
                Image.new("RGB", (64, 64), color).save(root / split / color / f"{number}.png")


def row_of(family: str, seconds: float = SECONDS) -> Row:
    """Return the row of a module, tried in a process of its own.

    What is not known when the process ends has the reason in its place: a signal, the time, or the
    last line that was printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        process = multiprocessing.get_context("fork").Process(target=_try, args=(family, folder))
        process.start()
        process.join(seconds)
        late = process.is_alive()
        process.kill()
        process.join()
        notes, errors = (_lines(Path(folder) / name) for name in (NOTES, ERRORS))
    end = errors[-1] if errors else f"ended with {process.exitcode}"
    if late:
        end = f"took more than {seconds:g} s"
    elif (process.exitcode or 0) < 0:
        end = f"ended by {signal.Signals(-(process.exitcode or 0)).name}"
    row = dict.fromkeys(COLUMNS, "") | {"family": family}
    for line in notes:
        row |= json.loads(line)
    missing = [column for column in RESULTS if row[column] == ""]
    return {key: str(value) for key, value in (row | dict.fromkeys(missing[:1], end)).items()}


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


def _try(family: str, folder: str) -> None:
    with (Path(folder) / ERRORS).open("w") as errors:
        os.dup2(errors.fileno(), sys.stdout.fileno())
        os.dup2(errors.fileno(), sys.stderr.fileno())
    warnings.simplefilter("ignore")  # Of networks that are old, or large.

    def note(**values: Any) -> None:
        with (Path(folder) / NOTES).open("a") as file:
            file.write(json.dumps(values) + "\n")

    try_network(family, note)


def main() -> int:
    """Bring the table up to date, and return how many rows have changed."""
    words = sys.argv[1:]
    named = [word for word in words if word != "--update"]
    families = smallest_of_each_family()
    table = {family: row for family, row in coverage_table().items() if family in families}
    changed = 0
    for family in named or sorted(families, key=lambda each: count_parameters(families[each])):
        if family in table and not named:
            continue
        start = time.monotonic()
        row = row_of(family)
        print(f"{time.monotonic() - start:.0f} s", *row.values(), sep=" | ", flush=True)
        if row != table.get(family, row):
            changed += 1
            print("  changed, was", *table[family].values(), sep=" | ", flush=True)
            if "--update" not in words:
                continue
        table[family] = row
        write_rows(TABLE, COLUMNS, [table[each] for each in sorted(table)])
    return min(changed, 1)


if __name__ == "__main__":
    sys.exit(main())
