"""Shortcut audit: what accuracy file size, colors, borders, compression or EXIF alone reach."""

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tltool.data.files.decoding import decode_image, read_content
from tltool.data.files.decoding_threads import map_in_threads
from tltool.data.loading.image_dataset import decode_with
from tltool.diagnostics.checks.check_result import Check, CheckResult
from tltool.diagnostics.checks.image_traces import Traces, image_traces
from tltool.evaluation.left_out_probe import LeftOutProbe

if TYPE_CHECKING:
    from tltool.data.datamodules.image_datamodule import ImageDataModule
    from tltool.data.loading.labels import Label

FALSE_ALARMS = 0.01
"""Of data sets without a shortcut, so many are warned of one at most, over all kinds together."""
PERMUTATIONS = 999
MOST_IMAGES = 2000
MOST_CLASSES = 100
EDGE = 128  # A JPEG is decoded at a part of its size.
_BINS = 8
_PENALTY = 10.0
_ENOUGH = 10  # permutations that reach the accuracy: it is no shortcut, whatever follows
_AT_ONCE = 2000  # columns of targets


class Shortcut(NamedTuple):
    """How well one kind of traces tells the classes.

    Attributes:
        name: The kind, such as ``file size``.
        accuracy: Of a closed-form probe on it alone, each image predicted by the others.
        majority: The share of the largest class.
        p_value: How often labels without any relation reach this accuracy.
        threshold: The largest p-value that is warned of.
    """

    name: str
    accuracy: float
    majority: float
    p_value: float
    threshold: float

    @property
    def is_found(self) -> bool:
        """Whether it is better than the largest class, beyond chance."""
        return self.p_value <= self.threshold and self.accuracy > self.majority


def find_shortcuts(
    traces: Mapping[str, NDArray[np.float64]], labels: Tensor, num_classes: int
) -> list[Shortcut]:
    """Return how well each kind of traces tells the classes, the best first.

    A permutation test: the labels are shuffled, and the probe is fitted anew each time. Clean data
    raise any alarm in `FALSE_ALARMS` of the cases at most (Bonferroni over the kinds).

    Args:
        traces: An array ``(N, k)`` for each kind.
        labels: ``(N,)``; no two images of a group, which would count twice.
        num_classes: Number of classes.

    Example:
        >>> labels = torch.arange(40) % 2
        >>> sizes = {"file size": np.where(labels == 1, 1000.0, 2000.0)[:, None]}
        >>> (found,) = find_shortcuts(sizes, labels, 2)
        >>> found.accuracy, found.is_found
        (1.0, True)
    """
    threshold = FALSE_ALARMS / max(len(traces), 1)
    majority = int(labels.bincount().max()) / len(labels)
    found = []
    for name, columns in traces.items():
        accuracy, p_value = _judge(_binned(columns), labels, num_classes)
        found.append(Shortcut(name, max(accuracy, 0.0), majority, p_value, threshold))
    return sorted(found, key=lambda each: -each.accuracy)


def _judge(x: Tensor, labels: Tensor, num_classes: int) -> tuple[float, float]:
    """Return the left-out accuracy on some features, and its p-value."""
    if not x.shape[1]:
        return int(labels.bincount().max()) / len(labels), 1.0
    probe, generator = LeftOutProbe(x), torch.Generator().manual_seed(0)
    accuracy = float(_accuracies(probe, labels[:, None], num_classes))
    reached = done = 0
    chunk = max(min(_AT_ONCE // num_classes, PERMUTATIONS), 1)
    while done < PERMUTATIONS and reached < _ENOUGH:
        number = min(chunk, PERMUTATIONS - done)
        orders = [torch.randperm(len(labels), generator=generator) for _ in range(number)]
        shuffled = torch.stack([labels[order] for order in orders], dim=1)  # (N, number)
        reached += int((_accuracies(probe, shuffled, num_classes) >= accuracy).sum())
        done += number
    return accuracy, (reached + 1) / (done + 1)


def _accuracies(probe: LeftOutProbe, labels: Tensor, num_classes: int) -> Tensor:
    """Return the left-out accuracy for each column of labels ``(N, P)``."""
    targets = functional.one_hot(labels, num_classes).double()  # (N, P, C)
    scores = probe.scores(targets.flatten(1), _PENALTY).view_as(targets)
    return (scores.argmax(dim=2) == labels).double().mean(dim=0)


def _binned(columns: NDArray[np.float64]) -> Tensor:
    """Return for each number which of some equally filled bins it is in, as ``(N, bins)``."""
    parts = [torch.zeros(len(columns), 0)]
    for column in columns.T:
        edges = np.unique(np.quantile(column, np.linspace(0, 1, _BINS + 1)[1:-1]))
        bins = torch.from_numpy(np.searchsorted(edges, column))
        one_hot = functional.one_hot(bins).float()
        parts.append(one_hot[:, one_hot.std(dim=0) > 0])
    return torch.cat(parts, dim=1)


class ShortcutAudit(NamedTuple):
    """What was found.

    Attributes:
        result: In words.
        num_found: Kinds of traces that tell the classes.
    """

    result: CheckResult
    num_found: int = 0


def shortcut_check(
    data: "ImageDataModule",
    paths: Sequence[str],
    labels: "Sequence[Label]",
    groups: NDArray[np.int64],
) -> CheckResult:
    """Return the result of `audit_shortcuts` in words."""
    return audit_shortcuts(data, paths, labels, groups).result


def audit_shortcuts(
    data: "ImageDataModule",
    paths: Sequence[str],
    labels: "Sequence[Label]",
    groups: NDArray[np.int64],
) -> ShortcutAudit:
    """Look for what tells the classes apart and is not in the picture.

    Args:
        data: The source of the images.
        paths: Those that are looked at, and can be read.
        labels: The class of each.
        groups: A number for each of them, equal where they belong together; one of each is looked
            at.
    """
    check = Check("shortcuts")
    if data.objective != "single_label":
        return ShortcutAudit(check.ok("not looked for: that takes images of one class each"))
    if data.num_classes > MOST_CLASSES:
        return ShortcutAudit(check.ok(f"not looked for: there are {data.num_classes:,} classes"))
    rows = np.unique(groups, return_index=True)[1]
    if len(rows) > MOST_IMAGES:
        rows = np.sort(np.random.default_rng(0).choice(rows, MOST_IMAGES, replace=False))
    chosen = torch.tensor(labels)[rows]
    if len(set(chosen.tolist())) < 2:
        alike = " and those that are no copies of others" if len(rows) < len(labels) else ""
        said = f"not looked for: the images that were read{alike} are of one class"
        return ShortcutAudit(check.ok(said))
    read, title = functools.partial(_read, data), "Looking for shortcuts"
    each_path = [paths[row] for row in rows]
    traces = [*map_in_threads(read, each_path, description=title, show_progress=True)]
    kinds = [kind for kind in traces[0] if all(kind in each for each in traces)]
    columns = {kind: np.array([each[kind] for each in traces]) for kind in kinds}
    found = find_shortcuts(columns, chosen, data.num_classes)
    return ShortcutAudit(describe_shortcuts(found, len(rows)), sum(each.is_found for each in found))


def describe_shortcuts(shortcuts: list[Shortcut], num_images: int) -> CheckResult:
    """Return the result of an audit.

    Example:
        >>> found = [Shortcut("file size", 0.93, 0.5, 0.001, 0.0017)]
        >>> print(describe_shortcuts(found, 80).found)
        A probe that sees nothing but the file size is right on 93.0 % of 80 images; the largest
        class is 50.0 %.
    """
    check = Check("shortcuts")
    found = [each for each in shortcuts if each.is_found]
    if not shortcuts:
        return check.ok("not looked for: the images have nothing in common that can be read")
    if not found:
        best = shortcuts[0]
        return check.ok(
            f"none: {', '.join(each.name for each in shortcuts)} alone tell no class, at best "
            f"{best.accuracy:.1%} ({best.name}), the largest class is {best.majority:.1%} (false "
            f"alarms in {FALSE_ALARMS:.0%} of clean data)".replace("%", " %")
        )
    names = " or the ".join(each.name for each in found)
    shares = ", ".join(f"{100 * each.accuracy:.1f} %" for each in found)
    largest = f"{100 * found[0].majority:.1f} %"
    return check.problem("found", names=names, shares=shares, number=num_images, largest=largest)


def _read(data: "ImageDataModule", path: str) -> Traces:
    value_range = data.known_value_range
    if data.decoder is not decode_image:  # The images lie in one file.
        return image_traces(decode_with(data.decoder, path, value_range=value_range), None)
    content = read_content(path)
    image = decode_image(path, mode="RGB", size=EDGE, content=content, value_range=value_range)
    return image_traces(image, content)
