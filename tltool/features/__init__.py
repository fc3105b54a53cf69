"""Features of a frozen backbone, computed once."""

from typing import TYPE_CHECKING

from tltool.lazy import lazy_exports

if TYPE_CHECKING:
    from tltool.features.cache import Features as Features
    from tltool.features.cache import cache_root as cache_root
    from tltool.features.cache import cached_features as cached_features
    from tltool.features.extract import extract_features as extract_features
    from tltool.features.verify import verify_features as verify_features

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Features": "tltool.features.cache",
        "cache_root": "tltool.features.cache",
        "cached_features": "tltool.features.cache",
        "extract_features": "tltool.features.extract",
        "verify_features": "tltool.features.verify",
    },
)
