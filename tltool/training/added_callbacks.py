"""Callbacks that a Trainer has for one call alone."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lightning.pytorch import Callback, Trainer


@contextmanager
def added_callbacks(trainer: Trainer, added: Sequence[Callback]) -> Iterator[None]:
    """Let a Trainer call some callbacks more, behind its own, until the block ends.

    Args:
        trainer: It validates, tests or predicts.
        added: May be empty.
    """
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # Trainer sets it
    callbacks.extend(added)
    try:
        yield
    finally:
        for each in added:
            callbacks.remove(each)
