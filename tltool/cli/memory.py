"""What to do when memory runs out, in one line."""

import math
from typing import Any

import torch


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether an error says that the memory of a GPU or of the machine is used up."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def out_of_memory_advice(config: dict[str, Any]) -> str:
    """Return what was tried and what needs less memory, the least harmful first.

    Args:
        config: The resolved configuration of ``fit``.

    Example:
        >>> config = {
        ...     "model": {"backbone": {"init_args": {"grad_checkpointing": False}}},
        ...     "data": {"init_args": {"batch_size": 32}},
        ...     "trainer": {"precision": None, "accumulate_grad_batches": 1},
        ... }
        >>> print(out_of_memory_advice(config))
        Out of memory with a batch of 32 in precision 32-true. Try, in this order:
        --trainer.precision bf16-mixed; --model.backbone.grad_checkpointing true; --data.batch_size
        8 --trainer.accumulate_grad_batches 4; a smaller --model.backbone.img_size or
        --model.backbone.name.
    """
    batch_size = config["data"]["init_args"]["batch_size"]
    precision = _precision(config)
    return (
        f"Out of memory with a batch of {batch_size} in precision {precision}. Try, in this order: "
        f"{memory_remedies(config)}."
    )


def memory_remedies(config: dict[str, Any]) -> str:
    """Return what needs less memory, the least harmful first, see `out_of_memory_advice`.

    Half-precision activations change the result least, recomputing them costs time only, and
    accumulation keeps the batch but changes batch norm.
    """
    batch_size = config["data"]["init_args"]["batch_size"]
    steps = config["trainer"]["accumulate_grad_batches"]
    remedies = []
    if _precision(config).startswith("32"):
        remedies.append("--trainer.precision bf16-mixed")
    if not config["model"]["backbone"]["init_args"]["grad_checkpointing"]:
        remedies.append("--model.backbone.grad_checkpointing true")
    if batch_size > 1:
        smaller = max(1, batch_size // 4)
        accumulated = steps * math.ceil(batch_size / smaller)
        remedies.append(
            f"--data.batch_size {smaller} --trainer.accumulate_grad_batches {accumulated}"
        )
    remedies.append("a smaller --model.backbone.img_size or --model.backbone.name")
    return "; ".join(remedies)


def _precision(config: dict[str, Any]) -> str:
    return str(config["trainer"]["precision"] or "32-true")
