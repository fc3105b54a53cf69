"""Find a callback of a Trainer by its class."""

from typing import TypeVar

from lightning.pytorch import Callback, Trainer

C = TypeVar("C", bound=Callback)


def find_callback(trainer: Trainer, kind: type[C]) -> C | None:
    """Return the Trainer's first callback of a class, or ``None``."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
    return next((each for each in callbacks if isinstance(each, kind)), None)
