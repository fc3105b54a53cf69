"""Old names of the splits of a comparison, until the lecture uses the new ones."""

from tltool.comparison.cross_validation import SplitRows as Split
from tltool.comparison.cross_validation import split_rows as part_rows

__all__ = ["Split", "part_rows"]
