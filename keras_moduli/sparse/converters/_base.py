"""What a converter has to say, and which one a layer has."""

import abc
from typing import Any, ClassVar, TypeVar

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_moduli.pruning._selection import is_kernel
from keras_moduli.sparse._cost import Choice, CostModel
from keras_moduli.sparse._plan import PlanRow

Array = NDArray[Any]
Variable = Any
Kind = tuple[type, ...]
Rows = dict[str, PlanRow]


class Converter(abc.ABC):
    """Makes fast layers of one kind of layer.

    A class with `register_converter` before it is all that a new kind needs: `plan`
    then has its rows, and `sparsify` executes them.

    Attributes:
        kinds: Which layers it takes, each by its exact class, followed by those of what
            it wraps or of its cell: `(Dense,)`, `(Moduli, Dense)`, `(RNN, GRUCell)`. A
            subclass may do something else, so it is another kind.
    """

    kinds: ClassVar[tuple[Kind, ...]]

    @abc.abstractmethod
    def kernels(self, layer: Any) -> dict[str, Variable]:
        """Returns the kernels of a layer, by the names that rows have for them."""

    @abc.abstractmethod
    def choose(self, layer: Any, costs: CostModel) -> dict[str, Choice]:
        """Returns what becomes of each kernel.

        Args:
            layer: Of one of its kinds, built.
            costs: `costs.choose(matrix)` returns the fastest blocks of a matrix.
        """

    @abc.abstractmethod
    def build(self, layer: Any, rows: Rows) -> keras.layers.Layer:
        """Returns a new layer without weights that takes a layer's place.

        Args:
            layer: Of one of its kinds, built.
            rows: The plan's row for each kernel, at least one of which has a `layout`.
        """

    @abc.abstractmethod
    def load(self, layer: Any, new: Any, rows: Rows) -> None:
        """Gives a new layer, built by now, the weights of the old one.

        Args:
            layer: The layer whose place is taken.
            new: What `build` returned.
            rows: As in `build`. `pack` makes blocks of a matrix.
        """

    @abc.abstractmethod
    def sample_shape(self, layer: Any) -> tuple[int, ...] | None:
        """Returns the shape of inputs on which both layers are compared, None for none.

        Args:
            layer: Of one of its kinds, built.
        """


_converters: dict[Kind, Converter] = {}

C = TypeVar("C", bound=type[Converter])


def register_converter(converter: C) -> C:
    """Makes a class of `Converter` known, for all its kinds; usable as a decorator.

    Args:
        converter: A class without arguments. For a kind that is known already it takes
            the place of the one before.

    Returns:
        The class.

    Raises:
        TypeError: If it is not a class of `Converter`.
    """
    if not (isinstance(converter, type) and issubclass(converter, Converter)):
        raise TypeError(
            "`converter` must be a subclass of keras_moduli.sparse.Converter. "
            f"Received: {converter!r}"
        )
    kinds = converter.kinds
    if not isinstance(kinds, tuple) or not kinds or not all(map(_is_kind, kinds)):
        raise TypeError(
            f"`kinds` of {converter.__name__} must be a tuple of kinds, each a tuple of "
            f"classes, such as ((keras.layers.Dense,),). Received: kinds={kinds!r}"
        )
    _converters.update(dict.fromkeys(converter.kinds, converter()))
    return converter


def _is_kind(kind: Any) -> bool:
    return (
        isinstance(kind, tuple)
        and bool(kind)
        and all(isinstance(cls, type) for cls in kind)
    )


def find_converter(layer: Any) -> Converter | None:
    """Returns the converter of exactly this kind of layer, or None."""
    return _converters.get(_kind_of(layer))


def _kind_of(layer: Any) -> Kind:
    inner = None
    if isinstance(layer, keras.layers.Wrapper):
        inner = layer.layer
    elif isinstance(layer, keras.layers.RNN):
        inner = layer.cell
    return (type(layer), *(() if inner is None else _kind_of(inner)))


def name_kind(layer: Any) -> str:
    """Returns the classes of a layer as text, such as "TimeDistributed(Dense)"."""
    names = [kind.__name__ for kind in _kind_of(layer)]
    return "(".join(names) + ")" * (len(names) - 1)


def list_kernels(layer: Any) -> dict[str, Variable]:
    """Returns the kernels of any layer, by names.

    Of a layer without converter, they are the weights that pruning calls kernels, with
    their paths inside of the layer.
    """
    converter = find_converter(layer)
    if converter is not None:
        return converter.kernels(layer)
    kernels: dict[str, Variable] = {}
    for weight in layer.weights:
        if is_kernel(weight):
            _, _, path = f"/{weight.path}".partition(f"/{layer.name}/")
            name = path or weight.name
            kernels[f"{name}:{len(kernels)}" if name in kernels else name] = weight
    return kernels


def to_array(variable: Any) -> Array:
    """Returns the values of a variable."""
    return ops.convert_to_numpy(variable.value)


def pack(row: PlanRow, matrix: Array) -> Array:
    """Returns the blocks of a matrix, in the layout of a row.

    Raises:
        ValueError: If the blocks do not hold all of it.
    """
    assert row.layout is not None
    blocks = row.layout.pack(matrix)
    if np.count_nonzero(row.layout.unpack(blocks)) < np.count_nonzero(matrix):
        raise ValueError(
            f"The blocks of the plan do not hold all weights of {row.layer} {row.name}: "
            "other weights were zero when it was made. Make a plan of the model as it is "
            "now, by `km.sparse.plan(model)`."
        )
    return blocks
