"""tltool fine-tunes pretrained image backbones."""

import warnings

import lazy_loader

__version__ = "0.1.0"

# timm brings a bar along that warns in a notebook without ipywidgets; ours are lines of text there.
warnings.filterwarnings("ignore", message="IProgress not found")

# The public names stand in `__init__.pyi`, each imported on first use.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
