"""Linear probes: the head alone, and a probe in front of full fine-tuning (LP-FT)."""

from collections.abc import Sequence
from dataclasses import dataclass

from tltool.finetuning.phase import BatchNormMode, Phase
from tltool.finetuning.schedule import Schedule
from tltool.finetuning.strategies.strategy import EVERYTHING, WarmupDecayStrategy


@dataclass(frozen=True)
class LinearProbe(WarmupDecayStrategy):
    """Train the head alone, on features of a frozen backbone.

    How well such a probe does tells how good the features are (Alain & Bengio, 2016,
    https://arxiv.org/abs/1610.01644). It cannot distort them, and suits few images, where
    training more may gain nothing: with 50 of each kind of clothes it has .823, what `Auto` trains
    in several times the time .818 (three seeds, within noise; `scripts/benchmark/README.md`).

    Example:
        >>> LinearProbe().schedule(["backbone.stem", "head"], max_epochs=5).phases[0].trains
        ('head',)
    """

    def schedule(self, group_names: Sequence[str], max_epochs: int) -> Schedule:
        """See `FinetuningStrategy.schedule`."""
        phase = self._phase("probe", ("head",))
        # A backbone without parameters (pixels) has no group to freeze.
        return Schedule((phase,), frozen=("backbone.*",) if len(group_names) > 1 else ())


@dataclass(frozen=True)
class LPFT(WarmupDecayStrategy):
    """First a linear probe, then full fine-tuning from there.

    A head that fits the features already does not distort them when the backbone begins to train,
    which helps most on data unlike the training data (Kumar et al., 2022,
    https://arxiv.org/abs/2202.10054). On a GPU `Auto` takes it for many images. It has .982 on 997
    digits, where a probe has .938, as `FullFinetuning`, which begins from the closed form as well
    (.983), more on 999 solar cells (.654, .623, a probe .606) and less on 959 slices of brain MRI
    (.915, .939, .810; one seed, `scripts/benchmark/README.md`). The probe needs no warmup and has
    none.

    Args:
        probe_epochs: Length of the probe. One epoch is enough, for the head begins in closed form
            or trained on features, see `start_head_`. Without such a start
            (``model.closed_form_start: false``, ``log_prior``) it needs more.
        backbone_lr_scale: Factor on the learning rate of the backbone after the probe, as in
            `FullFinetuning`.
        batch_norm: What batch norms do in the second phase, see `Phase`.

    Example:
        >>> schedule = LPFT(probe_epochs=2).schedule(["backbone.stem", "head"], max_epochs=8)
        >>> [(phase.name, phase.trains) for phase in schedule.phases]
        [('probe', ('head',)), ('full', ('backbone.*', 'head'))]
    """

    probe_epochs: int = 1
    backbone_lr_scale: float = 0.3
    batch_norm: BatchNormMode = "eval"

    def schedule(self, group_names: Sequence[str], max_epochs: int) -> Schedule:
        """See `FinetuningStrategy.schedule`."""
        if self.probe_epochs >= max_epochs:
            raise ValueError(
                f"LPFT probes for {self.probe_epochs} of {max_epochs} epochs, so nothing is left "
                "for fine-tuning. Raise `max_epochs`, or use LinearProbe."
            )
        probe = Phase("probe", ("head",), epochs=self.probe_epochs, decay=self.decay)
        scale = {"backbone.*": self.backbone_lr_scale}
        full = self._phase("full", EVERYTHING, lr_scale=scale, batch_norm=self.batch_norm)
        return Schedule((probe, full))
