"""Trainings of a comparison: every head at every learning rate, in stacks that fit the cache."""

import json
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tltool.comparison.cross_validation import SplitRows
from tltool.comparison.head_outputs import num_outputs
from tltool.comparison.head_stack import TrainedHead, train_head_stack
from tltool.comparison.hidden_activity import hidden_activity
from tltool.comparison.shapes import head_shape, stacks_of
from tltool.comparison.training_settings import TrainingSettings
from tltool.comparison.variants import Variant
from tltool.layers.activation_behavior import saturated_region
from tltool.layers.fitted_norms import FittedNorm
from tltool.layers.input_norms import UnitLength, create_input_norm
from tltool.layers.log_prior import init_log_prior_

ACTIVITY_ROWS = 512  # that hidden units are looked at on, about
MEASURED_STEPS = 5  # of which the time that all take is told


@dataclass(frozen=True)
class Job:
    """One training: which head on which split, with which seed (its position) and lr."""

    name: str
    split: int
    seed: int
    lr: float


@dataclass(frozen=True)
class Outcome(TrainedHead):
    """What one training came to; its weights are not kept. See `hidden_activity`."""

    dead: float
    saturated: float


@dataclass(frozen=True)
class Trainings:
    """Trains heads on splits of one set of features.

    Args:
        features: ``(N, num_features)``.
        labels: ``(N,)``, or ``(N, num_classes)`` of several classes.
        variants: The heads, by name.
        splits: The splits.
        seeds: The seeds.
        settings: How each trains.
    """

    features: Tensor
    labels: Tensor
    variants: Mapping[str, Variant]
    splits: Sequence[SplitRows]
    seeds: Sequence[int]
    settings: TrainingSettings

    @property
    def num_classes(self) -> int:
        """The number of classes, or of a head's outputs."""
        return num_outputs(self.labels, self.settings.objective)

    def num_parameters(self, name: str) -> int:
        """Return the number of trained parameters of a head."""
        return self.variants[name].num_parameters(self.features.shape[1], self.num_classes)

    def run(
        self, jobs: Sequence[Job], on_epoch: Callable[[int], object] = lambda num_heads: None
    ) -> dict[Job, Outcome]:
        """Train each job and return what it came to.

        Args:
            jobs: What to train.
            on_epoch: Called after each epoch of a stack with the number of its heads.
        """
        outcomes: dict[Job, Outcome] = {}
        for stack in self._stacks(jobs):
            variant = self.variants[stack[0].name]
            split = self.splits[stack[0].split]
            features = self._normalized(variant, split)
            heads = self._new_heads(stack)
            trained = self._train(stack, heads, features, split, on_epoch=on_epoch)
            rows = features[split.train[:: max(len(split.train) // ACTIVITY_ROWS, 1)]]
            region = saturated_region(variant.head.get("activation", "relu"))
            head = heads[0]
            for job, result in zip(stack, trained, strict=True):
                head.load_state_dict(result.state)
                dead, saturated = hidden_activity(head, rows, region)
                kept = vars(result) | {"state": {}}
                outcomes[job] = Outcome(**kept, dead=dead, saturated=saturated)
        return outcomes

    def estimate_seconds(self, jobs: Sequence[Job]) -> float:
        """Return how long training takes, measured on a few steps of one stack of each kind.

        Args:
            jobs: What would train.
        """
        per_epoch = dict[Hashable, float]()
        stacks = list(self._stacks(jobs))
        kinds = [(self._shape(stack[0])[1:], len(stack)) for stack in stacks]
        for kind, stack in zip(kinds, stacks, strict=True):
            if kind not in per_epoch:
                per_epoch[kind] = self._seconds_per_epoch(stack)
        return self.settings.epochs * sum(per_epoch[kind] for kind in kinds)

    def _seconds_per_epoch(self, stack: Sequence[Job]) -> float:
        split, batch = self.splits[stack[0].split], self.settings.batch_size
        features = self._normalized(self.variants[stack[0].name], split)
        heads, none = self._new_heads(stack), split.val[:0]

        def measure(steps: int, val: Tensor) -> tuple[float, int]:
            number = steps * batch
            rows = split.train[:: max(len(split.train) // number, 1)][:number]
            few = SplitRows(rows, val, split.test[:1], split.seeds)
            trained = self._train(stack, heads, features, few, epochs=1)
            return len(stack) * trained[0].seconds, len(rows)

        measure(1, none)  # The first step takes longer, and is not counted.
        seconds, num_rows = measure(MEASURED_STEPS, none)
        with_val, _ = measure(MEASURED_STEPS, split.val)
        return seconds * len(split.train) / num_rows + max(with_val - seconds, 0.0)

    def _stacks(self, jobs: Sequence[Job]) -> Iterator[list[Job]]:
        return stacks_of(jobs, shape=self._shape, num_parameters=self._size)

    def _new_heads(self, stack: Sequence[Job]) -> list[nn.Module]:
        """Return the heads of a stack; one has the same start at each learning rate."""
        starts = {(job.name, job.seed): job for job in stack}
        heads = {start: self._new_head(job) for start, job in starts.items()}
        return [heads[job.name, job.seed] for job in stack]

    def _train(
        self,
        stack: Sequence[Job],
        heads: Sequence[nn.Module],
        features: Tensor,
        split: SplitRows,
        *,
        epochs: int | None = None,
        on_epoch: Callable[[int], object] = lambda num_heads: None,
    ) -> list[TrainedHead]:
        return train_head_stack(
            heads,
            features,
            self.labels,
            split,
            lrs=[job.lr for job in stack],
            seeds=[self._seed(job) for job in stack],
            optimizer=self.variants[stack[0].name].optimizer,
            settings=replace(self.settings, epochs=epochs or self.settings.epochs),
            on_epoch=on_epoch,
        )

    def _size(self, job: Job) -> int:
        return self.num_parameters(job.name)

    def _seed(self, job: Job) -> int:
        return self.seeds[job.seed] + self.variants[job.name].seed_shift

    def _shape(self, job: Job) -> tuple[int, str, str]:
        variant = self.variants[job.name]
        optimizer = json.dumps(variant.optimizer, sort_keys=True, default=list)
        return job.split, head_shape(variant.head), optimizer

    def _new_head(self, job: Job) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self._seed(job))  # The CPU's alone: it is quick.
            head = self.variants[job.name].build(self.features.shape[1], self.num_classes)
        if isinstance(head.input_norm, FittedNorm | UnitLength):
            head.register_module("input_norm", None)  # Applied once, to the features.
        if self.settings.log_prior:
            train = self.labels[self.splits[job.split].train]
            output = head.get_submodule("output")
            assert isinstance(output, nn.Linear)  # noqa: S101  # that of a Head
            counts = train.bincount(minlength=self.num_classes)
            if self.settings.sampling == "class_balanced":
                counts = counts.clamp(max=1)  # As often as any other class.
            init_log_prior_(output, counts.tolist())
        return head

    @torch.no_grad()
    def _normalized(self, variant: Variant, split: SplitRows) -> Tensor:
        """Return the features as the head's first layer gets them, where training leaves them."""
        norm = create_input_norm(variant.head.get("input_norm"), self.features.shape[1])
        if isinstance(norm, FittedNorm):
            return norm.fit_(self.features[split.train])(self.features)  # type: ignore[no-any-return]
        return norm(self.features) if isinstance(norm, UnitLength) else self.features
