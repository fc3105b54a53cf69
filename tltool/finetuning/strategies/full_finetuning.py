"""Full fine-tuning of backbone and head, with one learning rate or with layer-wise decay."""

from collections.abc import Sequence
from dataclasses import dataclass

from tltool.finetuning.phase import BatchNormMode
from tltool.finetuning.schedule import Schedule
from tltool.finetuning.strategies.strategy import EVERYTHING, WarmupDecayStrategy


@dataclass(frozen=True)
class FullFinetuning(WarmupDecayStrategy):
    """Train the backbone and the head together, from the first step.

    Pretrained layers do best when they are fine-tuned (Yosinski et al., 2014,
    https://arxiv.org/abs/1411.1792); the warmup keeps the first gradients of an untrained head from
    spoiling them (Goyal et al., 2017, section 2.2, https://arxiv.org/abs/1706.02677). It is
    for images unlike those of the pretraining, and has the most of all strategies there: .983 on
    997 digits (a linear probe .938), .939 on 959 brain scans (.810). On 244 photographs it has
    .915, a probe .922. One seed (`scripts/benchmark/README.md`).

    Args:
        backbone_lr_scale: Factor on the learning rate of the backbone; below 1 it stays nearer to
            its pretrained weights than the head to its random ones.
        batch_norm: What batch norms do, see `Phase`.

    Example:
        >>> FullFinetuning().schedule(["backbone.stem", "head"], max_epochs=5).phases[0].trains
        ('backbone.*', 'head')
    """

    backbone_lr_scale: float = 0.3
    batch_norm: BatchNormMode = "eval"

    def schedule(self, group_names: Sequence[str], max_epochs: int) -> Schedule:
        """See `FinetuningStrategy.schedule`."""
        scale = {"backbone.*": self.backbone_lr_scale}
        phase = self._phase("full", EVERYTHING, lr_scale=scale, batch_norm=self.batch_norm)
        return Schedule((phase,))


@dataclass(frozen=True)
class LayerwiseDecay(WarmupDecayStrategy):
    """Train everything, with a smaller learning rate for each layer further from the head.

    As vision transformers are fine-tuned after masked pretraining (Bao et al., 2021,
    https://arxiv.org/abs/2106.08254), from discriminative fine-tuning (Howard & Ruder, 2018,
    section 3.2, https://arxiv.org/abs/1801.06146). Layers and learning rates are those of timm. It
    is for a backbone that should train where nobody knows how unlike the images are: over ten
    sets it is within noise of full fine-tuning, with .932 on 959 brain scans (full .939, probe
    .810) and .865 on 1,000 images of clothes (.858, .840; one seed,
    `scripts/benchmark/README.md`).

    What to take for vision transformers is from the literature and was not measured here: for
    ViT-B a ``layer_decay`` of 0.65 with AdamW at ``lr`` 5e-4, for ViT-L and larger ones 0.75 at
    1e-3, both for a batch of 256 and ``lr`` in proportion to it, with weight decay 0.05 (MAE's
    recipe, He et al., 2021, https://github.com/facebookresearch/mae/blob/main/FINETUNE.md). So
    with a batch of 32 that is 6e-5 to 1.2e-4.

    Args:
        layer_decay: Factor from each layer to the next one towards the input, in ``(0, 1)``;
            usual ones are 0.65 to 0.75 for transformers.
        batch_norm: What batch norms do, see `Phase`.
    """

    layer_decay: float = 0.75
    batch_norm: BatchNormMode = "eval"

    def schedule(self, group_names: Sequence[str], max_epochs: int) -> Schedule:
        """See `FinetuningStrategy.schedule`."""
        options = {"layer_decay": self.layer_decay, "batch_norm": self.batch_norm}
        return Schedule((self._phase("layerwise", EVERYTHING, **options),))
