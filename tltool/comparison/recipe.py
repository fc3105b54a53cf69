"""Old name of the training settings of a comparison, until the lecture uses the new one."""

from tltool.comparison.training_settings import TrainingSettings as Recipe

__all__ = ["Recipe"]
