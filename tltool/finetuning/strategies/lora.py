"""LoRA: low-rank adapters train, and the weights under them stay."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tltool.finetuning.phase import BatchNormMode, ParameterKind
from tltool.finetuning.schedule import Schedule
from tltool.finetuning.strategies.partial_finetuning import last_groups
from tltool.finetuning.strategies.strategy import WarmupDecayStrategy


@dataclass(frozen=True)
class LoRA(WarmupDecayStrategy):
    """Train the head, and low-rank adapters beside the frozen linear layers and convolutions.

    Made for large transformers (Hu et al., 2021, https://arxiv.org/abs/2106.09685): the optimizer
    needs a small share of the memory, and what was learned fits a small file (`save_adapters`). In
    language models it keeps more of what the network knew than full fine-tuning, learns less, and
    wants about ten times its learning rate (Biderman et al., 2024,
    https://arxiv.org/abs/2405.09673). With a convolutional network it gains the most over ten sets
    (+.035, `FullFinetuning` +.029): of all strategies it has the most on 999 solar cells (.673,
    full .623, a probe .606) and 500 images of clothes (.848, .822, .823), and hardly less than
    full fine-tuning on 997 digits (.978, .983, .938) and 959 brain scans (.929, .939, .810; one
    seed, `scripts/benchmark/README.md`). The adapters are added to the backbone before training,
    see `add_lora`, and can be merged into its weights afterwards, see `merge_adapters`.

    Args:
        rank: Of the update of each weight, at least 1.
        alpha: The update is multiplied by ``alpha / rank``, so that the learning rate can stay
            where the rank changes.
        only: Patterns of the layers with adapters, such as ``*.attn.*``; by default all linear
            layers and convolutions whose weight is large enough: adapters in attention alone do
            worse (Dettmers et al., 2023, https://arxiv.org/abs/2305.14314).
        num_groups: Only in so many of the last groups of the backbone; activations in front of them
            can be cached. ``None`` for all.
        norms: Train the normalization layers of these groups too.
        adapter_lr_scale: Factor on the learning rate of the adapters. At 1 they learn less on four
            of five small data sets, and at 9 training fails on solar cells.
        batch_norm: What batch norms do in these groups, see `Phase`.

    Example:
        >>> schedule = LoRA(rank=4).schedule(["backbone.stem", "head"], max_epochs=5)
        >>> schedule.phases[0].trains, schedule.phases[0].parameters
        (('backbone.stem', 'head'), 'adapters')
    """

    rank: int = 8
    alpha: float = 16.0
    only: str | list[str] = "*"
    num_groups: int | None = None
    norms: bool = False
    adapter_lr_scale: float = 3.0
    batch_norm: BatchNormMode = "eval"

    def schedule(self, group_names: Sequence[str], max_epochs: int) -> Schedule:
        """See `FinetuningStrategy.schedule`."""
        backbone, trains = self._groups(group_names)
        kind: ParameterKind = "adapters_and_norms" if self.norms else "adapters"
        phase = self._phase(
            "adapters",
            (*trains, "head"),
            parameters=kind,
            lr_scale=dict.fromkeys(trains, self.adapter_lr_scale),
            batch_norm=self.batch_norm,
        )
        return Schedule((phase,), frozen=tuple(backbone[: -len(trains)]))

    def surgery(self, backbone: Any) -> list[dict[str, Any]]:
        """See `FinetuningStrategy.surgery`."""
        only = self.only
        if self.num_groups is not None:
            groups = {f"backbone.{name}": names for name, names in backbone.layer_groups().items()}
            trains = self._groups([*groups, "head"])[1]
            only = self._layers_in(backbone, {name for group in trains for name in groups[group]})
        return [{"add_lora": {"rank": self.rank, "alpha": self.alpha, "only": only}}]

    def _groups(self, group_names: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
        """Return the groups of the backbone, and those with adapters."""
        backbone = [group for group in group_names if group != "head"]
        return backbone, tuple(
            backbone if self.num_groups is None else last_groups(backbone, self.num_groups)
        )

    def _layers_in(self, backbone: Any, parameter_names: set[str]) -> list[str]:
        """Return the names of the chosen layers whose weight is among these parameters."""
        from tltool.surgery.adapters import adaptable_layers
        from tltool.surgery.module_replacement import check_patterns, matches

        places = adaptable_layers(backbone.model)
        inside = [p.names for p in places if f"model.{p.names[0]}.weight" in parameter_names]
        patterns = check_patterns(self.only, inside, "linear layer or convolution in these groups")
        return [names[0] for names in inside if matches(names, patterns)]
