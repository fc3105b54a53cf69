"""Lightning strategy for sharded weights (FSDP2), in one file a checkpoint as under DDP."""

import logging
from collections.abc import Mapping
from datetime import timedelta
from itertools import chain
from typing import Any

from lightning.fabric.utilities.optimizer import _optimizers_to_device
from lightning.pytorch import Trainer
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import ModelParallelStrategy, StrategyRegistry
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.optim import Optimizer
from typing_extensions import override

from tltool.training.distributed.sharding import shard_, share_like, whole
from tltool.training.distributed.strategies import TIME_LIMIT
from tltool.training.head_start import start_head_

log = logging.getLogger(__name__)

NAMES = ("fsdp2", "ModelParallelStrategy")
"""What stands for it in ``trainer.strategy``, the second one Lightning's own name."""


class FSDP2Strategy(ModelParallelStrategy):
    """Train with weights, gradients and optimizer state that are shared out over all ranks.

    For backbones that do not fit a device beside their gradients and optimizer state: each rank
    keeps a share of every weight, and gathers a block when it computes, see `shard_`. The results
    are those of DDP, but for rounding. A checkpoint is one file with whole weights and the same
    content as one of DDP, so that a run can be resumed on any number of processes and by any
    strategy, and every command reads it. A whole copy of the weights has to fit a device while
    training begins.

    Its names for a Trainer are `NAMES`.

    Args:
        timeout: How long a rank waits for the others.
        process_group_backend: ``nccl``, ``gloo``, ...; ``None`` for the one of the device.
    """

    def __init__(
        self, *, timeout: timedelta = TIME_LIMIT, process_group_backend: str | None = None
    ) -> None:
        super().__init__(
            save_distributed_checkpoint=False,
            process_group_backend=process_group_backend,
            timeout=timeout,
        )

    @override
    def setup_environment(self) -> None:
        # Nothing is tensor parallel.
        self._data_parallel_size, self._tensor_parallel_size = self.world_size, 1
        super().setup_environment()

    @property
    @override
    def restore_checkpoint_after_setup(self) -> bool:
        return False

    @property
    @override
    def lightning_restore_optimizer(self) -> bool:
        return True

    @override
    def setup(self, trainer: Trainer) -> None:
        """Let the head begin, with a whole backbone; shard both, and make the optimizer."""
        task = self.lightning_module
        assert self.accelerator is not None and task is not None  # noqa: S101, PT018  # Lightning's
        self.accelerator.setup(trainer)
        self.model = self.precision_plugin.convert_module(task)
        self.model_to_device()
        is_fit = trainer.state.fn == TrainerFn.FITTING
        if is_fit:
            start_head_(task, getattr(trainer, "datamodule", None))
        names = shard_(task, init_device_mesh(self.root_device.type, (self.world_size,)))
        if names and self.is_global_zero:
            log.info(
                "FSDP2: %d modules are sharded over %d processes, in the contiguous memory format.",
                len(names),
                self.world_size,
            )
        self.barrier()
        if is_fit:
            self.setup_optimizers(trainer)
        self.setup_precision_plugin()
        if is_fit:
            _optimizers_to_device(self.optimizers, self.root_device)

    @override
    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Return the whole weights on the first rank; all ranks must call it."""
        assert self.lightning_module is not None  # noqa: S101  # Lightning's
        state = self.lightning_module.state_dict()
        return self._on_first_rank({name: whole(value).cpu() for name, value in state.items()})

    @override
    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Return the whole state of an optimizer on the first rank; all ranks must call it."""
        if isinstance(optimizer, LightningOptimizer):
            optimizer = optimizer.optimizer
        state = optimizer.state_dict()
        return self._on_first_rank(
            {
                **state,
                "state": {
                    number: {name: _on_cpu(whole(value)) for name, value in values.items()}
                    for number, values in state["state"].items()
                },
            }
        )

    @override
    def load_checkpoint(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Read a checkpoint, on each rank."""
        return super(ModelParallelStrategy, self).load_checkpoint(*args, **kwargs)

    @override
    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Load weights into the task, which may be sharded already."""
        task = self.lightning_module
        assert task is not None  # noqa: S101  # Lightning's
        own = task.state_dict()
        saved: Mapping[str, Tensor] = checkpoint["state_dict"]
        shares = {name: share_like(value, own.get(name, value)) for name, value in saved.items()}
        task.load_state_dict(shares, strict=strict)

    @override
    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Load the state of all parameters, also of those that are frozen at this moment."""
        for optimizer, saved in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            optimizer.load_state_dict(_shares_of_state(saved, optimizer))

    def _on_first_rank(self, state: dict[str, Any]) -> dict[str, Any]:
        return state if self.is_global_zero else {}


def _shares_of_state(saved: Mapping[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """Return the state of an optimizer with this rank's share of each tensor."""
    numbers = chain.from_iterable(group["params"] for group in saved["param_groups"])
    parameters = chain.from_iterable(group["params"] for group in optimizer.param_groups)
    parameter_of = dict(
        zip(numbers, parameters, strict=False)
    )  # The optimizer says if they differ.
    shares = {
        number: {
            name: share_like(value, parameter_of[number]) if isinstance(value, Tensor) else value
            for name, value in values.items()
        }
        for number, values in saved["state"].items()
        if number in parameter_of
    }
    return {**saved, "state": shares}


def _on_cpu(value: Any) -> Any:
    return value.cpu() if isinstance(value, Tensor) else value


def sharded_strategy(given: Any) -> Any:
    """Return the strategy of a configuration, ours in the place of Lightning's.

    ``ModelParallelStrategy`` leaves the sharding to the task.

    Raises:
        ValueError: If it is told to be tensor parallel.

    Example:
        >>> type(sharded_strategy(ModelParallelStrategy())).__name__, sharded_strategy("ddp")
        ('FSDP2Strategy', 'ddp')
    """
    if type(given) is not ModelParallelStrategy:
        return given
    if given._tensor_parallel_size not in {"auto", 1}:
        raise ValueError(
            f"`tensor_parallel_size` is {given._tensor_parallel_size}, but weights are sharded "
            "over all processes. Leave it out."
        )
    return FSDP2Strategy(
        timeout=given._timeout or TIME_LIMIT, process_group_backend=given._process_group_backend
    )


def is_sharding(strategy: Any) -> bool:
    """Tell whether a strategy, or its name, shards weights.

    Example:
        >>> is_sharding("fsdp2"), is_sharding("ddp")
        (True, False)
    """
    return (
        strategy in NAMES
        if isinstance(strategy, str)
        else isinstance(strategy, ModelParallelStrategy)
    )


for _name in NAMES:
    StrategyRegistry.register(_name, FSDP2Strategy, "Weights sharded over all ranks.")
