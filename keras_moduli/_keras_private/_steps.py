"""What happens while a model trains."""

import inspect
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


def is_frozen(variable: Variable) -> bool:
    """Whether a compiled step that is being traced would take a value for ever.

    In JAX's scopes what is none of the state of the step is a constant of it.
    """
    scope = get_stateless_scope()
    return scope is not None and scope.get_current_value(variable) is None


def get_compile_arguments(model: keras.Model) -> dict[str, Any]:
    """Returns what `compile` was called with: `get_compile_config` has only its names."""
    return dict(model._compile_config.config)
