"""Merge checkpoints: average their weights, choose on validation images, report on test images."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from torch import Tensor

from tltool._lookup import lookup
from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.evaluation.candidates import Candidate, Choice, paired_gain
from tltool.evaluation.multi_label import MultiLabelPredictions
from tltool.evaluation.paired_differences import MeanEstimate
from tltool.evaluation.thresholds import choose_thresholds
from tltool.inference.merge_sources import MergeAverage, MergeSources
from tltool.inference.tested_images import num_trained_on
from tltool.training.callbacks.checkpoints import MONITORS
from tltool.training.callbacks.ending_files import ENDING
from tltool.training.callbacks.ending_options import start_competes
from tltool.training.candidate_trial import CandidateTrial, norms_of, restored_task
from tltool.training.checkpoint_io import CONFIG, TASK, AtomicCheckpointIO
from tltool.training.distributed.cluster_environment import evaluation_options
from tltool.training.split_facts import SPLIT
from tltool.training.weight_blends import (
    POINTS,
    Blend,
    MeasuredBlend,
    check_points,
    choose_blend,
    line_blends,
    measure_blends,
    measure_soups,
    soup_blend,
)

# What a merged checkpoint keeps beside its weights: it is of no point of a training.
_KEPT = ("epoch", "global_step", "pytorch-lightning_version", TASK, CONFIG, SPLIT)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Merge:
    """Weights that were averaged, and what was measured.

    Attributes:
        name: What the weights are.
        weights: Those that differ between the sources.
        measured: All candidates, in the order in which they were measured; none without data.
        chosen: Which of them the weights are; ``None`` without data.
        tested: The chosen one, the start and the ends on the test images, where there are some.
        num_averaged_norms: Number of batch norms whose running statistics are an average, for
            there were no images to estimate them anew.
    """

    name: str
    weights: dict[str, Tensor]
    measured: Sequence[MeasuredBlend] = ()
    chosen: MeasuredBlend | None = None
    tested: Sequence[Candidate] = ()
    num_averaged_norms: int = 0

    def gain(self, groups: Sequence[str] | None = None) -> tuple[str, MeanEstimate] | None:
        """Return the best network that was trained, and the gain over it on the test images.

        Args:
            groups: See `choose_candidate`.
        """
        if len(self.tested) < 2:
            return None
        chosen, reference = self.tested[:2]
        return str(reference), paired_gain(chosen, reference, groups=groups)


def merge_weights(
    sources: MergeSources,
    average: MergeAverage = "wise_ft",
    *,
    points: Sequence[float] = POINTS,
    share: float | None = None,
    data: ImageDataModule | None = None,
    trainer: Trainer | None = None,
    choose: Choice = "best",
    monitor: str | None = None,
) -> Merge:
    """Average the weights of checkpoints, and choose among the averages on validation images.

    Images that choose or report, and that one of the networks has trained on, raise a warning.
    Where the networks differ in running statistics of batch norms, averages are measured twice:
    with averaged statistics, and with those of training images. Without data nothing is chosen:
    there must be a ``share``, or ``uniform``.

    Args:
        sources: From `read_sources`.
        average: Points on the line from the start to an end, a greedy soup, or the mean of all.
        points: Shares of the end to choose from.
        share: Take this share of the end, and choose nothing.
        data: Images with the preprocessing of ``sources.task.data_config``.
        trainer: Says on which device to compute; ``None`` for the default one.
        choose: See `choose_candidate`.
        monitor: The metric to choose by, one of `MONITORS`; ``None`` for that of the run.

    Raises:
        ValueError: If there is nothing to choose by, or an option is out of its range, or does
            nothing beside the others.
    """
    _check_options(sources, average, points=points, share=share, choose=choose)
    if data is None and monitor is not None:
        raise ValueError(
            f"`monitor` {monitor!r} is measured on images, and there are none. Leave it out, or "
            "set --data.root."
        )
    changed = sources.changed
    part = {name: _only(state, changed) for name, state in sources.states.items()}
    start = None if sources.start is None else _only(sources.start, changed)
    forced = _forced_blend(average, start, part, share)
    if data is None:
        if forced is None:
            raise ValueError(
                "Without images nothing can be chosen. Set --data.root, or --share 0.5 to take a "
                "point without choosing."
            )
        norms = norms_of(sources.task, changed) if forced.is_average else {}
        return Merge(str(forced), dict(forced.make()), num_averaged_norms=len(norms))
    trainer = trainer or Trainer(
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        devices=1,
        **evaluation_options(),
    )
    if trainer.world_size > 1:
        raise ValueError(
            "Merging runs on one device: leave out --trainer.devices and --trainer.num_nodes."
        )
    _warn_of_trained_on(data, sources)
    task = sources.task.to(trainer.strategy.root_device)
    # The order of the training images, so that a merge equals the end of its run.
    data.load_state_dict(sources.base.get(type(data).__qualname__) or {"seed": 0})
    train = data.train_dataloader() if norms_of(task, changed) else None
    monitor = monitor or sources.monitor
    mode = lookup(MONITORS, monitor, kind="monitor")
    with restored_task(task, [], changed):
        trial = CandidateTrial(task, trainer, data.val_dataloader(), train, changed)
        if forced is None and average == "soup":
            measured = measure_soups(trial, part, monitor, mode)
        else:
            blends = line_blends(start, part, points if forced is None else [0, 1])
            extra = [forced] if forced is not None and forced.is_average else []
            measured = measure_blends(trial, [*blends, *extra])
        competing = [each for each in measured if forced is None or _is_of(each, forced)]
        groups = data.samples("val").groups
        chosen = competing[
            choose_blend(competing, monitor=monitor, mode=mode, rule=choose, groups=groups)
        ]
        tested = _test(trial, data, chosen, measured, (monitor, mode))
    return Merge(str(chosen.candidate), chosen.weights, measured, chosen, tested)


def save_merge(sources: MergeSources, merge: Merge, path: str | Path) -> None:
    """Write a merge as a checkpoint, whole or not at all; what belongs to a training is left out.

    It knows the images that any of its sources has trained on. Thresholds of several classes are
    chosen for the weights, unless the configuration gave them.

    Args:
        sources: What it was made of.
        merge: The weights.
        path: Where.
    """
    base = sources.base
    checkpoint = {key: base[key] for key in _KEPT if key in base}
    checkpoint["state_dict"] = {**base["state_dict"], **merge.weights}
    predictions = merge.chosen.candidate.predictions if merge.chosen else None
    has_thresholds = base.get(CONFIG, {}).get("model", {}).get("thresholds") is not None
    if isinstance(predictions, MultiLabelPredictions) and not has_thresholds:
        thresholds = choose_thresholds(predictions.probabilities, predictions.targets)
        checkpoint[TASK] = {**checkpoint[TASK], "thresholds": thresholds}
    if sources.images:
        checkpoint["run_facts"] = {"images": dict(sources.images)}
    metrics = merge.chosen.candidate.metrics if merge.chosen else {}
    checkpoint[ENDING] = {"candidate": merge.name, **metrics}
    AtomicCheckpointIO().save_checkpoint(checkpoint, path)


def _warn_of_trained_on(data: ImageDataModule, sources: MergeSources) -> None:
    """Warn where images that choose, or that report, have trained one of the networks."""
    for split in ("val", "test"):
        samples = data.splits.by_name().get(split)
        if samples is None:
            continue
        if number := num_trained_on(data.splits, split, {"run_facts": {"images": sources.images}}):
            log.warning(
                "%s of these %s %s images have names of images that a network of this merge was "
                "trained on. If they are the same, they favor it, and the numbers flatter it: name "
                "images that none was trained on, or choose nothing (--average uniform, --share "
                "0.5) without --data.",
                *(f"{number:,}", f"{len(samples):,}", split),
            )


def _only(state: Mapping[str, Any], names: set[str]) -> dict[str, Tensor]:
    return {name: state[name] for name in names}


def _check_options(
    sources: MergeSources,
    average: MergeAverage,
    *,
    points: Sequence[float],
    share: float | None,
    choose: Choice,
) -> None:
    """Raise if an option is out of its range, or does nothing beside the others, as of `Ending`."""
    check_points(points)
    if share is not None and (average != "wise_ft" or sources.start is None):
        raise ValueError(
            f"`share` is for wise_ft, from a start to an end, and the average is {average}. Leave "
            "it out."
        )
    if share is not None and not 0 <= share <= 1:
        raise ValueError(f"`share` is the share of the end, in [0, 1], got {share}.")
    if tuple(points) != POINTS and (share is not None or average != "wise_ft"):
        other = f"the average is {average}" if share is None else f"`share` is {share}"
        raise ValueError(
            f"`points` are for wise_ft, to choose from, and {other}. Leave out one of them."
        )
    has_start = share is None and start_competes(average, points, include_start=False)
    if choose != "best" and not has_start:
        raise ValueError(
            f"`choose: {choose}` asks for the gain over the start, which does not compete. Leave "
            "it out, or set `average` to wise_ft with 0 among `points` and without `share`."
        )


def _forced_blend(
    average: MergeAverage,
    start: dict[str, Tensor] | None,
    states: Mapping[str, dict[str, Tensor]],
    share: float | None,
) -> Blend | None:
    """Return the blend that was asked for, if nothing is to be chosen."""
    if average == "uniform":
        return soup_blend(states, range(len(states)))
    if share is None:
        return None
    first = dict([next(iter(states.items()))])
    blends = {blend.share: blend for blend in line_blends(start, first, [0, share])}
    return blends[share]


def _is_of(measured: MeasuredBlend, blend: Blend) -> bool:
    return (measured.blend.name, measured.blend.share) == (blend.name, blend.share)


def _test(
    trial: CandidateTrial,
    data: ImageDataModule,
    chosen: MeasuredBlend,
    measured: Sequence[MeasuredBlend],
    by: tuple[str, str],
) -> list[Candidate]:
    """Measure the chosen weights, and behind them the networks that were trained, best first."""
    if not data.splits.test:
        return []
    networks = [each for each in measured if not each.blend.is_average and each is not chosen]
    networks.sort(key=lambda each: each.candidate.score(*by), reverse=True)
    on_test = CandidateTrial(trial.task, trial.trainer, data.test_dataloader(), None, ())
    return [
        replace(
            on_test.measure(each.blend.name, each.weights, share=each.blend.share)[0],
            statistics=each.blend.statistics,  # They are among the weights by now.
        )
        for each in (chosen, *networks)
    ]
