"""Check an output file of the command line before the work that fills it."""

from collections.abc import Sequence
from pathlib import Path


def check_output_file(path: Path, option: str, suffixes: Sequence[str] = ()) -> None:
    """Raise unless a file can be written where an option says.

    Args:
        path: The file.
        option: The option that names it, for the message.
        suffixes: How it may end; empty for any way.

    Raises:
        ValueError: If the suffix is unknown.
        FileNotFoundError: If the directory does not exist.

    Example:
        >>> check_output_file(Path("table.xlsx"), "--output", (".csv", ".parquet"))
        Traceback (most recent call last):
        ...
        ValueError: Cannot write --output 'table.xlsx': its name must end in .csv or .parquet.
    """
    if suffixes and path.suffix.lower() not in suffixes:
        raise ValueError(
            f"Cannot write {option} {str(path)!r}: its name must end in {' or '.join(suffixes)}."
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"There is no folder {str(path.parent)!r} for {option}. Create it first."
        )
