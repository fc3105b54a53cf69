"""Prediction of many images into one file, by one process or several ranks, with resume."""

import contextlib
import functools
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Literal

from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

from tltool._progress import with_progress
from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.data.loading.batch_size import per_device_batch_size
from tltool.data.loading.num_workers import resolve_num_workers
from tltool.inference.data_prediction import single_device_trainer
from tltool.inference.head_features import HeadFeatures, head_features
from tltool.inference.limit_columns import LimitColumns
from tltool.inference.prediction_chunks import PredictionChunks, chunks_folder
from tltool.inference.prediction_facts import facts_name, prediction_facts
from tltool.inference.prediction_table import (
    RankedImages,
    check_output,
    num_shown_classes,
    prediction_columns,
    prediction_rows,
    rank_classes,
    target_column,
    write_prediction_table,
)
from tltool.inference.predictor import Predictor
from tltool.training.distributed.launch import Launch
from tltool.training.distributed.rank_watch import RankWatch

log = logging.getLogger(__name__)

SAY_EVERY = 60.0
"""Seconds between two lines of progress."""


def predict_to_file(
    predictor: Predictor,
    data: ImageDataModule,
    output: str | Path,
    *,
    top_k: int | Literal["all"] | None = None,
    reject_below: float | None = None,
    limits: LimitColumns | None = None,
    trainer: Trainer | None = None,
    ranks: RankWatch | None = None,
) -> int:
    """Write the predictions of the images of a datamodule, one row each, in order.

    What is finished lies beside the output, in a folder ``OUTPUT.chunks``, until all is there: the
    same call goes on after a kill, also with another number of ranks, and the file is the same byte
    for byte. Chunks of other images, weights or options are not used.

    Args:
        predictor: The network.
        data: The images.
        output: The .csv or .parquet file.
        top_k: See `num_shown_classes`.
        reject_below: The confidence below which the column ``rejected`` is true; ``None`` for no
            such column.
        limits: Adds the columns of what the checkpoint knows of its limits; ``None`` for none.
        trainer: Runs it, on one device; ``None`` for one without a logger.
        ranks: Those that share the images, as an entered context, each with a trainer of its own;
            ``None`` for this process alone. Rank 0 writes the file.

    Returns:
        The number of images.

    Raises:
        ValueError: If the network gives no numbers for an image, an option cannot be, or the ranks
            do not predict the same.
        RankFailedError: If another rank has failed.
    """
    output = Path(output)
    check_output(output)
    kind = predictor.task.prediction_kind
    shown = num_shown_classes(top_k, len(predictor.class_names), kind.objective)
    trainer, ranks = trainer or single_device_trainer(), ranks or RankWatch(Launch())
    launch = ranks.launch
    if data.num_workers is None:
        data.num_workers = resolve_num_workers(None, launch.per_node)  # The trainer knows of one.
    chunks = _find_chunks(
        predictor, data, output, shown=shown, limits=limits, trainer=trainer, ranks=ranks
    )
    labels = data.known_labels() if launch.rank == 0 else {}  # Errors come before the work.
    rank = functools.partial(rank_classes, num_shown=shown, kind=kind)
    prediction = _ChunkPrediction(chunks, ranks, trainer, rank, limits)
    prediction.run(predictor, data)
    ranks.wait("predicted", prediction.say)
    if launch.rank == 0:
        columns = prediction_columns(
            predictor.class_names,
            labeled=bool(labels),
            num_shown=shown,
            objective=predictor.objective,
            rejecting=reject_below is not None,
            further=() if limits is None else limits.names,
        )
        _write(output, chunks, predictor, columns, labels=labels, reject_below=reject_below)
        chunks.remove()
    return len(chunks.paths)


class _ChunkPrediction:
    """The chunks that are left for one rank, predicted batch by batch.

    Args:
        chunks: All of them.
        ranks: This one and the others.
        trainer: Runs it.
        rank: Makes what is kept of each batch, see `rank_classes`.
        limits: Fills further columns.
    """

    def __init__(
        self,
        chunks: PredictionChunks,
        ranks: RankWatch,
        trainer: Trainer,
        rank: Callable[[list[str], Tensor], RankedImages],
        limits: LimitColumns | None,
    ) -> None:
        self.chunks = chunks
        self.ranks = ranks
        self.trainer = trainer
        self.rank = rank
        self.limits = limits
        self._features: HeadFeatures | None = None
        # By number, not by what is left, of which each rank may see something else.
        own = range(len(chunks))[ranks.launch.rank :: ranks.launch.world_size]
        self.left = deque(sorted(set(own) - chunks.finished()))
        self.progress = _Progress(chunks)
        self._batches: list[RankedImages] = []

    def run(self, predictor: Predictor, data: ImageDataModule) -> None:
        """Predict and write them."""
        data.chosen_batches = list(chain(*map(self.chunks.batches, self.left)))
        with contextlib.ExitStack() as stack:
            stack.callback(setattr, data, "chosen_batches", None)
            if self.limits is not None:
                self._features = stack.enter_context(head_features(predictor.task))
            if self.left:
                predictor.predict_batches(data, self._keep, trainer=self.trainer)

    def _keep(self, paths: list[str], probabilities: Tensor) -> None:
        batch = self.rank(paths, probabilities)
        if self.limits is not None and self._features is not None:
            cells = self.limits.cells(probabilities, self._features.take())
            batch = batch._replace(further=cells)
        self._batches.append(batch)
        if len(self._batches) == len(self.chunks.batches(self.left[0])):
            self.chunks.write(self.left.popleft(), self._batches)
            self._batches = []
        self.ranks.check()
        self.say()
        if self.trainer.received_sigterm:  # What is finished is kept; nothing waits for the rest.
            raise SIGTERMException

    def say(self) -> None:
        """Say how far all ranks are, on the first one."""
        if self.ranks.launch.rank == 0:
            self.progress.say()


class _Progress:
    """A line in a minute that says how far all ranks are; a bar shows this one's part alone.

    Args:
        chunks: What is predicted.
    """

    def __init__(self, chunks: PredictionChunks) -> None:
        self.chunks = chunks
        self.before = chunks.num_finished_images()
        self.start = self.said = time.monotonic()

    def say(self) -> None:
        """Say it, if it was not said within the last minute."""
        now = time.monotonic()
        if now - self.said < SAY_EVERY:
            return
        self.said = now
        done, total = self.chunks.num_finished_images(), len(self.chunks.paths)
        speed = (done - self.before) / (now - self.start)
        rest = f", about {(total - done) / speed / 60:.0f} minutes left" if speed else ""
        log.info("Predicted %s of %s images%s.", f"{done:,}", f"{total:,}", rest)


def _find_chunks(
    predictor: Predictor,
    data: ImageDataModule,
    output: Path,
    *,
    shown: int | None,
    limits: LimitColumns | None,
    trainer: Trainer,
    ranks: RankWatch,
) -> PredictionChunks:
    """Return the chunks of a prediction, of which a run before may have finished some."""
    batch_size = per_device_batch_size(data.batch_size, 1)
    paths = _limited(list(data.unlabeled.paths), batch_size, trainer)
    facts = prediction_facts(
        predictor.task, data, paths, trainer=trainer, num_shown=shown, tta=predictor.tta
    )
    facts |= {} if limits is None else limits.facts
    ranks.check_same(facts)
    folder = chunks_folder(output)
    chunks = PredictionChunks(folder / facts_name(facts), paths, batch_size)
    finished = chunks.num_finished_images()
    if finished:
        log.info("Goes on: %s of %s images are predicted.", f"{finished:,}", f"{len(paths):,}")
    elif any(folder.glob("*/*.npz")):
        log.info("Starts anew: '%s' is of other images, weights or options.", folder)
    return chunks


def _limited(paths: list[str], batch_size: int, trainer: Trainer) -> list[str]:
    """Return what ``limit_predict_batches`` leaves, which counts batches over all ranks here."""
    limit = trainer.limit_predict_batches
    trainer.limit_predict_batches = 1.0
    if isinstance(limit, float):
        limit = int(limit * math.ceil(len(paths) / batch_size))
    return paths[: limit * batch_size]


def _write(
    output: Path,
    chunks: PredictionChunks,
    predictor: Predictor,
    columns: Sequence[str],
    *,
    labels: Mapping[str, str],
    reject_below: float | None,
) -> None:
    names = predictor.class_names
    places = with_progress(range(len(chunks)), f"Writing {output.name}")
    read = map(chunks.read, places)
    rows = prediction_rows(read, columns, names, labels, reject_below=reject_below)
    numbers = [target_column(names[0])] if predictor.objective == "regression" else []
    write_prediction_table(output, columns, rows, numbers)
