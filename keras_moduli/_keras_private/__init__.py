"""Every name that Keras does not promise, each with why nothing public does.

`tests/test_keras_private.py` has a test for each, which fails when Keras changes it.
"""

from keras_moduli._keras_private._archives import describe_model, write_state
from keras_moduli._keras_private._graphs import (
    Call,
    find_call,
    find_mask,
    get_projections,
    is_graph,
    iterate_layers,
    replace_projection,
)
from keras_moduli._keras_private._optimizers import (
    find_optimizer,
    get_sharding,
    is_average,
    is_momentum,
    iterate_optimizers,
    iterate_slots,
    iterate_state,
    list_slots,
    track,
    untrack,
)
from keras_moduli._keras_private._sharing import (
    describe,
    deserialize_shared,
    mark_shared,
    read_config,
)
from keras_moduli._keras_private._steps import (
    find_callback_list,
    get_compile_arguments,
    is_fitting,
    is_frozen,
)

__all__ = [
    "Call",
    "describe",
    "describe_model",
    "deserialize_shared",
    "find_call",
    "find_callback_list",
    "find_mask",
    "find_optimizer",
    "get_compile_arguments",
    "get_projections",
    "get_sharding",
    "is_average",
    "is_fitting",
    "is_frozen",
    "is_graph",
    "is_momentum",
    "iterate_layers",
    "iterate_optimizers",
    "iterate_slots",
    "iterate_state",
    "list_slots",
    "mark_shared",
    "read_config",
    "replace_projection",
    "track",
    "untrack",
    "write_state",
]
