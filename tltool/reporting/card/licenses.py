"""Licenses of a model card: of the pretrained weights, of the data, and of what came out."""

import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any, NamedTuple

UNKNOWN = "unknown"
_file = resources.files(__package__) / "known_licenses.toml"
DATA_LICENSES: dict[str, dict[str, str]] = tomllib.loads(_file.read_text(encoding="utf-8"))


class Licenses(NamedTuple):
    """Licenses as Hugging Face writes them, `UNKNOWN` where nothing says it.

    Attributes:
        weights: Of the weights that training began with; empty for random ones.
        data: Of the images.
        data_source: Where that is said.
    """

    weights: str
    data: str
    data_source: str = ""

    @property
    def of_model(self) -> str:
        """What the front matter says: one license only where all there is agrees.

        Example:
            >>> Licenses("mit", "mit").of_model, Licenses("mit", "unknown").of_model
            ('mit', 'unknown')
            >>> Licenses("apache-2.0", "cc-by-nc-sa-4.0").of_model
            'other'
        """
        found = {license_name for license_name in (self.weights, self.data) if license_name}
        if UNKNOWN in found:
            return UNKNOWN
        return found.pop() if len(found) == 1 else "other"


def data_license(section: Mapping[str, Any]) -> tuple[str, str]:
    """Return the license of the images that a section ``data`` names, and where that is said.

    Example:
        >>> data_license({"class_path": "tltool.ELPVDataModule", "init_args": {}})[0]
        'cc-by-nc-sa-4.0'
    """
    name = str(section.get("class_path", "")).rpartition(".")[2]
    dataset = (section.get("init_args") or {}).get("name")
    entry = DATA_LICENSES.get(f"{name}.{dataset}") or DATA_LICENSES.get(name) or {}
    return entry.get("license", UNKNOWN), entry.get("source", "")
