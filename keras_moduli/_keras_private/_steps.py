"""What happens while a model trains."""

import inspect
import sys
import threading
from typing import Any

import keras
from keras.src.backend.common.stateless_scope import get_stateless_scope

Variable = Any


def find_callback_list() -> Any:
    """Returns the list of callbacks that is calling one of them just now, or None.

    `fit` keeps it to itself, and a callback knows nothing of the others.
    """
    own = inspect.currentframe()
    # Its own frame would hold itself, and all frames above, until garbage is collected.
    frame = None if own is None else own.f_back
    del own
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, keras.callbacks.CallbackList):
            return caller
        frame = frame.f_back
    return None


def is_fitting(wanted: Any) -> bool:
    """Returns whether a `fit`, in any thread, is using a list of callbacks just now.

    The list itself may outlive its `fit`: a notebook keeps the traceback of an exception.
    """
    frames: dict[int, Any] = sys._current_frames()
    # Its own frame would hold itself, as in `find_callback_list`.
    frames[threading.get_ident()] = frames[threading.get_ident()].f_back
    return wanted is not None and any(_use(f, wanted) for f in frames.values())


def _use(frame: Any, callbacks: Any) -> bool:
    while frame is not None:
        values = frame.f_locals
        if values.get("self") is callbacks:  # before `fit` has it
            return True
        if frame.f_code.co_name == "fit" and values.get("callbacks") is callbacks:
            return True
        frame = frame.f_back
    return False


def is_frozen(variable: Variable) -> bool:
    """Whether a compiled step that is being traced would take a value for ever.

    In JAX's scopes what is none of the state of the step is a constant of it.
    """
    scope = get_stateless_scope()
    return scope is not None and scope.get_current_value(variable) is None


def get_compile_arguments(model: keras.Model) -> dict[str, Any]:
    """Returns what `compile` was called with: `get_compile_config` has only its names."""
    return dict(model._compile_config.config)
