"""How each kind of layer becomes a fast one: one file for each kind, found by itself."""

import importlib
import pkgutil

from keras_moduli.sparse.converters._base import (
    Converter,
    explain_missing,
    find_converter,
    list_kernels,
    name_kind,
    pack,
    register_converter,
    to_array,
)

__all__ = [
    "Converter",
    "explain_missing",
    "find_converter",
    "list_kernels",
    "name_kind",
    "pack",
    "register_converter",
    "to_array",
]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")  # where it registers itself
