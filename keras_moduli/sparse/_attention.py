"""Keras's attention layers, with projections that are block-sparse."""

from typing import Any

import keras

from keras_moduli import _checks, _keras_arguments, _keras_private
from keras_moduli._registry import PACKAGE
from keras_moduli.connectivity._layout import BlockLayout, get_layout
from keras_moduli.sparse._einsum import BlockSparseEinsumDense

_PROJECTIONS = ["query", "key", "value", "gate", "attention_output"]


class SparseProjections:
    """What the fast layers add to Keras's: some of their projections are block-sparse.

    All else is Keras's own code: masks, causal ones too, scores, dropout, gates.

    Args:
        *args: Those of Keras's layer.
        layouts: A `BlockLayout` for each projection that is block-sparse, by its name:
            `"query"`, `"key"`, `"value"`, `"gate"` or `"attention_output"`.
        **kwargs: Those of Keras's layer.
    """

    def __init__(
        self, *args: Any, layouts: dict[str, BlockLayout], **kwargs: Any
    ) -> None:
        super().__init__(**_keras_arguments.check(super().__init__, *args, **kwargs))
        if not isinstance(layouts, dict) or not set(layouts) <= set(_PROJECTIONS):
            raise ValueError(
                f"`layouts` must be a dictionary of BlockLayouts, by names of "
                f"{_PROJECTIONS}. Received: layouts={_checks.shorten(layouts)}"
            )
        self.layouts = {name: get_layout(layouts[name], "layouts") for name in layouts}

    def build(self, query_shape: Any, value_shape: Any, key_shape: Any = None) -> None:
        """Builds Keras's projections, and puts block-sparse ones in the place of some."""
        super().build(query_shape, value_shape, key_shape)  # type: ignore[misc]
        projections = _keras_private.get_projections(self)
        if unknown := set(self.layouts) - set(projections):
            raise ValueError(
                f"`layouts` are of projections {sorted(projections)}. "
                f"Received: {sorted(unknown)}"
            )
        for name, layout in self.layouts.items():
            dense = projections[name]
            new = make_einsum(dense, layout)
            new.build(**dense.get_build_config())
            _keras_private.replace_projection(self, name, new)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments as plain Python values."""
        serialize = keras.saving.serialize_keras_object
        layouts = {name: serialize(value) for name, value in self.layouts.items()}
        return {**super().get_config(), "layouts": layouts}  # type: ignore[misc]


@keras.saving.register_keras_serializable(PACKAGE)
class BlockSparseMultiHeadAttention(SparseProjections, keras.layers.MultiHeadAttention):
    """`keras.layers.MultiHeadAttention` with block-sparse projections.

    `sparsify` makes these layers. Regularizers and constraints, which prediction does not
    have, are left out.

    Args:
        *args: As in `MultiHeadAttention`.
        layouts: A `BlockLayout` for each projection that is block-sparse, by its name:
            `"query"`, `"key"`, `"value"`, `"gate"` or `"attention_output"`.
        **kwargs: As in `MultiHeadAttention`.

    Raises:
        TypeError: If a layout is not a `BlockLayout`, or an argument of Keras is wrong.
        ValueError: When the layer is built, if there is no projection of a name.

    Examples:
        >>> import numpy as np, keras_moduli as km
        >>> layout = km.sparse.BlockLayout.of(np.eye(16, dtype=bool), (4, 4))
        >>> layer = km.sparse.BlockSparseMultiHeadAttention(
        ...     num_heads=2, key_dim=8, layouts={"query": layout}
        ... )
        >>> layer.build((None, 3, 16), (None, 3, 16))
        >>> layer.layouts["query"].density
        0.25
    """


@keras.saving.register_keras_serializable(PACKAGE)
class BlockSparseGroupQueryAttention(SparseProjections, keras.layers.GroupQueryAttention):
    """`keras.layers.GroupQueryAttention` with block-sparse projections.

    `sparsify` makes these layers. Regularizers and constraints, which prediction does not
    have, are left out.

    Args:
        *args: As in `GroupQueryAttention`.
        layouts: A `BlockLayout` for each projection that is block-sparse, by its name:
            `"query"`, `"key"`, `"value"`, `"gate"` or `"attention_output"`.
        **kwargs: As in `GroupQueryAttention`.

    Raises:
        TypeError: If a layout is not a `BlockLayout`, or an argument of Keras is wrong.
        ValueError: When the layer is built, if there is no projection of a name.

    Examples:
        >>> import numpy as np, keras_moduli as km
        >>> layout = km.sparse.BlockLayout.of(np.eye(16, dtype=bool), (4, 4))
        >>> layer = km.sparse.BlockSparseGroupQueryAttention(
        ...     8, num_query_heads=2, num_key_value_heads=1, layouts={"query": layout}
        ... )
        >>> layer.build((None, 3, 16), (None, 3, 16))
        >>> layer.layouts["query"].density
        0.25
    """


def make_einsum(
    dense: keras.layers.EinsumDense, layout: BlockLayout
) -> BlockSparseEinsumDense:
    """Returns the fast form of an `EinsumDense`, without weights."""
    return BlockSparseEinsumDense(
        dense.equation,
        dense.partial_output_shape,
        layout,
        dense.activation,
        dense.bias_axes,
        name=dense.name,
        dtype=dense.dtype_policy,
        trainable=dense.trainable,
    )
