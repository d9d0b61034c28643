"""An optimizer that learns positions at a rate of their own."""

from typing import Any

import keras

from keras_moduli import _checks
from keras_moduli._registry import PACKAGE
from keras_moduli.layers._embedding import holds_positions


def embedding_optimizer(
    optimizer: str | keras.optimizers.Optimizer, learning_rate: float = 0.01
) -> keras.optimizers.Optimizer:
    """Returns an optimizer that learns positions of neurons at a rate of their own.

    Args:
        optimizer: For everything else: a Keras optimizer or its name.
        learning_rate: Of the Adam that moves neurons, in units of the coordinates.

    Returns:
        A `keras.optimizers.MultiOptimizer`. Weight decay does not reach the
        positions.

    Raises:
        TypeError: If `optimizer` is neither of Keras nor a name, or `learning_rate` no
            number.
        ValueError: If the name is unknown, or `learning_rate` not finite and above 0.

    Examples:
        >>> import keras, keras_moduli as km
        >>> model = keras.Sequential([keras.Input((5, 2)), km.layers.ModuliGRU(8)])
        >>> model.compile(km.embedding_optimizer("adamw", 0.05), "mse")
    """
    rate = _checks.positive("learning_rate", learning_rate)
    adam = keras.optimizers.Adam(rate, name="embedding_adam")
    default = _get_optimizer(optimizer)
    return keras.optimizers.MultiOptimizer(_EmbeddingMap(default, {_POSITIONS: adam}))


def _get_optimizer(identifier: Any) -> keras.optimizers.Optimizer:
    is_known = isinstance(identifier, str | dict | keras.optimizers.Optimizer)
    is_config = not isinstance(identifier, dict) or "class_name" in identifier
    if not identifier or not is_known or not is_config:
        raise TypeError(
            "`optimizer` must be a Keras optimizer or its name, such as 'adam'. "
            f"Received: optimizer={identifier!r}"
        )
    return keras.optimizers.get(identifier)


_POSITIONS = "positions"


@keras.saving.register_keras_serializable(PACKAGE)
class _EmbeddingMap(keras.optimizers.OptimizerMap):
    """Knows the weights that hold positions for what they are, whatever their names."""

    def __call__(self, variable: Any) -> keras.optimizers.Optimizer:
        if holds_positions(variable):
            return self[_POSITIONS]
        return self.default_optimizer
