"""Lightning callback for the end of a run: start, best epoch and averages of weights compete."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor

from tltool.evaluation.candidates import Choice
from tltool.training.callbacks.checkpoints import BestCheckpoint
from tltool.training.callbacks.early_end import ends_on_validation
from tltool.training.callbacks.ending_advice import merge_advice
from tltool.training.callbacks.ending_contest import Average, Contest, contest_loaders
from tltool.training.callbacks.ending_files import (
    ENDING,
    competing_states,
    describe_choice,
    has_come_to_end,
    is_left_by_training,
    keep_last,
    keep_last_of_ended,
    last_epoch,
    saved_checkpoints,
    undo_ending,
)
from tltool.training.callbacks.ending_options import KEEP, check_options, start_competes
from tltool.training.callbacks.finetuning import Finetuning
from tltool.training.checkpoint_io import read_checkpoint
from tltool.training.epoch_position import has_ended
from tltool.training.find_callback import find_callback
from tltool.training.head_start import is_limited
from tltool.training.image_task import ImageTask
from tltool.training.start_weights import FILE, changing_tensors, read_start, save_start
from tltool.training.weight_blends import POINTS

log = logging.getLogger(__name__)


class Ending(Callback):
    """Choose the weights of ``best.ckpt`` at the end of a run, on its validation images.

    Training does not always end at its best weights. The start is better where the data are few,
    and in its closed form it is a linear probe; points on the line from the start to the end are
    often better than both (WiSE-FT, Wortsman et al., 2022, https://arxiv.org/abs/2109.01903), and
    so are averages of several epochs (Wortsman et al., 2022, https://arxiv.org/abs/2203.05482). All
    that compete are measured as the run's own validation does, also on cached features, and
    compared by what `BestCheckpoint` monitors; among equals the lower loss wins. Where training has
    changed running statistics of batch norms, averages compete twice: with averaged statistics, and
    with those of training images.

    The chosen weights take their place in ``best.ckpt``, and what was measured is in
    ``ending.csv``. The best epoch is kept as ``best_epoch.ckpt``, and is ``best.ckpt`` again when
    the run is resumed, so that the resumed run equals one without an end in between. The task
    itself is left as training left it. The same images choose and report: see `tltool merge` for a
    test split.

    It stands behind all callbacks that change weights at the end, such as `EMAWeightAveraging`, and
    does nothing where the Trainer limits the batches of an epoch.

    Args:
        average: What competes with the best epoch: nothing (``none``), points between the start and
            the best and last epoch (``wise_ft``), or a greedy soup of the saved checkpoints
            (``soup``). ``None`` is ``none``, unless the strategy is ``Auto``, and then ``wise_ft``.
        points: Of ``wise_ft``: shares of the end, from 0, the start, to 1, the end.
        include_start: Let the start compete too, whatever is averaged.
        choose: Take the ``best``; or keep the start, if it competes, unless the best one gains more
            than ``one_standard_error`` over it; or the best that was ``trained``, unless the start
            gains more than that over it, see `choose_candidate`. ``last`` takes the last epoch, so
            that nothing is chosen: with few images a choice is luck. ``None`` is ``best``, unless
            the strategy is ``Auto``, and then ``trained``, or ``last`` where no images are there to
            choose by.
        keep: Of ``soup``: how many of the best epochs the command line keeps to average.

    Raises:
        ValueError: If an argument is out of its range, or does nothing beside the others; and when
            ``fit`` starts, if weights are sharded or there is no `BestCheckpoint`.
        TypeError: When ``fit`` starts, if the task is no `ImageTask`.
    """

    def __init__(
        self,
        *,
        average: Average | None = None,
        points: Sequence[float] = POINTS,
        include_start: bool = False,
        choose: Choice | Literal["last"] | None = None,
        keep: int = KEEP,
    ) -> None:
        average, choose = average or "none", choose or "best"
        check_options(average, points, choose, include_start=include_start, keep=keep)
        self.average = average
        self.points = [*points, *([0.0] if include_start else [])]
        self.include_start = start_competes(average, points, include_start)
        self.choose = choose
        self.keep = keep
        #: What was chosen, by name, for loggers; empty before the end.
        self.summary: dict[str, float | str] = {}
        self._start: str | None = None
        self._validated_step: int | None = None
        self._has_begun = False
        self._is_from_ended = False
        self._keeps_last = False

    @property
    def is_active(self) -> bool:
        """Whether anything competes with the best epoch."""
        return self.average != "none" or self.include_start or self.choose == "last"

    @property
    def _needs_start(self) -> bool:
        return self.average == "wise_ft" or self.include_start

    def state_dict(self) -> dict[str, Any]:
        """Return the hash of the start, by which a resumed run knows its own."""
        return {} if self._start is None else {"start": self._start}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the hash of the start."""
        self._start = state_dict.get("start")

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Mark the last epoch that takes the place of the best one."""
        if self._keeps_last:
            checkpoint[ENDING] = last_epoch(ends_on_validation=_ends_on_validation(trainer))

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Warn where training goes on from weights that no training has left."""
        self._is_from_ended = not is_left_by_training(checkpoint)
        if self._is_from_ended and trainer.state.fn == "fit" and trainer.is_global_zero:
            log.warning(
                "This checkpoint holds %s, chosen at the end of its run: training goes on from "
                "there. Resume from last.ckpt to go on exactly.",
                checkpoint[ENDING]["candidate"],
            )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse what it does not work with."""
        if stage != "fit":
            return
        self._validated_step, self.summary = None, {}
        self._has_begun = self._is_from_ended = self._keeps_last = False
        if not self.is_active:
            return
        is_whole = isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy)
        if not is_whole and self.choose != "last":  # Nothing competes with the last epoch.
            raise ValueError(
                f"`ending` does not work with {type(trainer.strategy).__name__}, which shards the "
                "weights. Set `ending.average` to none and `ending.include_start` to false, or "
                "`trainer.strategy` to ddp."
            )
        if not isinstance(pl_module, ImageTask):
            raise TypeError(f"Ending needs an ImageTask, got a {type(pl_module).__name__}.")
        _find_best(trainer)
        if trainer.global_step == 0:  # Else this Trainer goes on, and its start is still that one.
            self._start = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the start, or where a run is resumed, look for it and undo an earlier end."""
        if has_ended(trainer):  # The run was over: `on_fit_end` makes up for its end.
            return
        self._has_begun = True
        if trainer.fast_dev_run:  # type: ignore[attr-defined]  # set by a connector
            return
        best = find_callback(trainer, BestCheckpoint)
        is_new = trainer.global_step == 0
        if trainer.is_global_zero and best is not None:
            undo_ending(Path(str(best.dirpath)), keeps_best=is_new or self._is_from_ended)
        if best is not None and not is_new and trainer.ckpt_path is None:
            _recall_score(trainer, best)
        if best is None or not self._needs_start or is_limited(trainer):
            return
        directory = Path(str(best.dirpath))
        if is_new:
            finetuning = find_callback(trainer, Finetuning)
            schedule = None if finetuning is None else finetuning.schedule
            start = changing_tensors(pl_module, schedule)
            written = save_start(directory, start) if trainer.is_global_zero else None
            self._start = trainer.strategy.broadcast(written)
        elif trainer.is_global_zero and read_start(directory, self._start) is None:
            log.warning("%s", self._gone(directory))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note which weights the metrics of the Trainer are of."""
        self._validated_step = trainer.global_step

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure what competes, and write the chosen weights to ``best.ckpt``."""
        is_try = trainer.fast_dev_run  # type: ignore[attr-defined]  # set by a connector
        if not (self.is_active and self._has_begun) or is_try:
            return
        loaders = contest_loaders(trainer)
        if isinstance(loaders, str):
            _say(trainer, f"Ending: {loaders}, so best.ckpt stays the best epoch.")
            return
        assert isinstance(pl_module, ImageTask)  # noqa: S101  # see `setup`
        best = _find_best(trainer)
        if self.choose == "last":
            self._keeps_last = True
            keep_last(trainer, best, is_measured=self._validated_step == trainer.global_step)
            self._keeps_last = False
            return
        read = self._read(best, trainer, pl_module) if trainer.is_global_zero else {}
        states = trainer.strategy.broadcast(read)
        if isinstance(states, str):
            _say(trainer, states)
            return
        contest = Contest(self.average, self.points, self.choose, best)
        chosen, measured = contest.hold(pl_module, trainer, loaders, states)
        contest.write(pl_module, chosen, measured, is_first=trainer.is_global_zero)
        candidate = chosen.candidate
        self.summary = {
            "ending/candidate": str(candidate),
            **{f"ending/{name}": value for name, value in candidate.metrics.items()},
        }
        _say(trainer, describe_choice(chosen, measured, str(best.monitor)))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make up for an end that a run has not come to, or say what to do, where it was over."""
        best = find_callback(trainer, BestCheckpoint)
        if not self.is_active or self._has_begun or best is None or not trainer.is_global_zero:
            return
        if self.choose == "last":
            ends = _ends_on_validation(trainer)
            if not is_limited(trainer) and keep_last_of_ended(best, ends_on_validation=ends):
                log.info("Ending: best.ckpt holds the last epoch now; the run had not come to it.")
            return
        directory = Path(str(best.dirpath))
        if not has_come_to_end(directory):
            contest = (self.average, self.points, self.choose)
            advice = merge_advice(directory.parent, *contest, has_start=self.include_start)
            log.warning("Ending: nothing was left to train, and nothing has competed. %s", advice)

    def _read(
        self, best: BestCheckpoint, trainer: Trainer, task: ImageTask
    ) -> dict[str, dict[str, Tensor]] | str:
        """Return what differs between the weights that take part, by name; or why none do."""
        directory = Path(str(best.dirpath))
        if not (directory / "best.ckpt").is_file():
            return "Ending: no validation has chosen a best epoch, so nothing competes with it."
        start = read_start(directory, self._start) if self._needs_start else None
        if self._needs_start and start is None:
            return self._gone(directory)
        paths = saved_checkpoints(trainer) if self.average == "soup" else []
        return competing_states(directory, task, start, paths)

    def _gone(self, directory: Path) -> str:
        return (
            f"Ending: {directory / FILE} is not there, is damaged, or is not of this run, so "
            "nothing competes with the best epoch. To average, set `ending` when a run starts."
        )


def _find_best(trainer: Trainer) -> BestCheckpoint:
    best = find_callback(trainer, BestCheckpoint)
    if best is None:
        raise ValueError(
            "Ending chooses the weights of best.ckpt. Put BestCheckpoint(directory) among the "
            "callbacks."
        )
    return best


def _recall_score(trainer: Trainer, best: BestCheckpoint) -> None:
    """Give `BestCheckpoint` the state of the best epoch, where a Trainer goes on behind its end."""
    path = Path(str(best.dirpath)) / "best.ckpt"
    is_there = trainer.is_global_zero and path.is_file()
    state = BestCheckpoint.state_in(read_checkpoint(path)) if is_there else {}
    if state := trainer.strategy.broadcast(state):
        best.load_state_dict(state)


def _ends_on_validation(trainer: Trainer) -> bool:
    finetuning = find_callback(trainer, Finetuning)
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return ends_on_validation(callbacks, finetuning.schedule.phases if finetuning else ())


def _say(trainer: Trainer, message: str) -> None:
    if trainer.is_global_zero:
        log.info("%s", message)
