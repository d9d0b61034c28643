"""How objects look at a prompt: as the calls that make them."""

import dataclasses
import inspect
import os
from typing import Any

_MANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def write_call(made: Any, *parts: Any) -> str:
    """Returns the call that makes an object, without the arguments left at a default.

    What would be long, such as arrays, or has no text of its own, is named only.

    Args:
        made: The object.
        *parts: Objects in it that hold arguments under their names; it holds the others.
    """
    texts, is_data = [], dataclasses.is_dataclass(made)
    for name, parameter in inspect.signature(type(made)).parameters.items():
        holder = next((part for part in (*parts, made) if hasattr(part, name)), None)
        if parameter.kind in _MANY or holder is None:
            continue
        text = write_value(getattr(holder, name))
        if parameter.default is parameter.empty:
            texts.append(f"{name}={text}" if is_data else text)
        elif text != write_value(_find_default(parameter, holder)):
            texts.append(f"{name}={text}")
    return f"{type(made).__name__}({', '.join(texts)})"


def write_value(value: Any) -> str:
    """Returns the text of an argument, short, and without an address in memory."""
    if isinstance(value, os.PathLike):
        return repr(os.fspath(value))
    if type(value) is list:
        return f"[{', '.join(map(write_value, value))}]"
    if type(value) is tuple and len(value) != 1:
        return f"({', '.join(map(write_value, value))})"
    if inspect.isroutine(value):
        return str(value.__name__)
    if hasattr(value, "dtype") and getattr(value, "shape", None):
        path = f" {value.path!r}" if hasattr(value, "path") else ""
        return f"<{type(value).__name__}{path} of shape {tuple(value.shape)}>"
    text = repr(value)
    if text == object.__repr__(value):
        return f"{type(value).__name__}(...)"
    return text


def _find_default(parameter: inspect.Parameter, holder: Any) -> Any:
    """Returns a default as its holder has it, which may have made an object of a name."""
    make: Any = type(holder)
    fields = dataclasses.fields(holder) if dataclasses.is_dataclass(holder) else ()
    if fields and all(field.default is not dataclasses.MISSING for field in fields):
        return getattr(make(), parameter.name)
    return parameter.default
