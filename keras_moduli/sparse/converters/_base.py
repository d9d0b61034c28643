"""What a converter has to say, and which one a layer has."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_moduli._repr import write_call
from keras_moduli.layers import find_embeddings
from keras_moduli.pruning._selection import is_integer, is_kernel
from keras_moduli.sparse._cost import Choice, CostModel
from keras_moduli.sparse._plan import PlanRow
from keras_moduli.sparse.converters._exact import find_obstacle

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

    Examples:
        >>> import keras, keras_moduli as km
        >>> class Gated(keras.layers.Dense):
        ...     def call(self, inputs):
        ...         return super().call(inputs) * inputs
        >>> @km.sparse.register_converter
        ... class LeaveGated(km.sparse.Converter):
        ...     kinds = ((Gated,),)
        ...     def kernels(self, layer):
        ...         return {"kernel": layer.kernel}
        ...     def choose(self, layer, costs):
        ...         return {"kernel": km.sparse.Choice(None, "gates are dense")}
        ...     build = load = sample_shape = None  # no kernel is ever sparse
        >>> model = keras.Sequential([keras.Input((8,)), Gated(8)])
        >>> km.sparse.plan(model).rows[0].reason
        'gates are dense'
    """

    kinds: ClassVar[tuple[Kind, ...]]

    def __repr__(self) -> str:
        return write_call(self)

    @abc.abstractmethod
    def kernels(self, layer: Any) -> dict[str, Variable]:
        """Returns the kernels of a `layer`, by the names that rows have for them."""

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
_wrappers: dict[type, Callable[[Converter], Converter]] = {}

C = TypeVar("C", bound=type[Converter])

# Of normalization, and of activations, over several axes: they multiply each by its own.
_NO_MATRICES = ("gamma", "beta", "scale", "alpha")


def register_converter(converter: C) -> C:
    """Makes a class of `Converter` known, for all its kinds; usable as a decorator.

    Args:
        converter: A class without arguments. For a kind that is known already it takes
            the place of the one before.

    Returns:
        The class.

    Raises:
        TypeError: If it is not a class of `Converter`.

    Examples:
        >>> import keras, keras_moduli as km
        >>> class Doubled(keras.layers.Dense): pass
        >>> class LeaveDoubled(km.sparse.Converter):
        ...     kinds = ((Doubled,),)
        ...     kernels = choose = build = load = sample_shape = None
        >>> km.sparse.register_converter(LeaveDoubled) is LeaveDoubled
        True
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


def register_wrapper(
    kind: type,
) -> Callable[[Callable[[Converter], Converter]], Callable[[Converter], Converter]]:
    """Makes a kind of wrapper known, around all layers that have a converter.

    Args:
        kind: Its exact class.

    Returns:
        A decorator of what makes a converter of the wrapper, from that of its layer.
    """

    def register(adapt: Callable[[Converter], Converter]) -> Any:
        _wrappers[kind] = adapt
        return adapt

    return register


def find_converter(layer: Any) -> Converter | None:
    """Returns the converter of exactly this layer, or None.

    None too where the layer is not what its class says: see `explain_missing`.
    """
    converter = _look_up(layer)
    return None if converter is not None and find_obstacle(layer) else converter


def find_kind(kind: Kind) -> Converter | None:
    """Returns the converter of a kind, or None."""
    return _converters.get(kind)


def explain_missing(layer: Any) -> str:
    """Returns why a layer has no converter."""
    if _look_up(layer) is None:
        return f"no fast form of {name_kind(layer)} is known"
    return find_obstacle(layer)


def _look_up(layer: Any) -> Converter | None:
    converter = _converters.get(_kind_of(layer))
    adapt = _wrappers.get(type(layer))
    if converter is not None or adapt is None:
        return converter
    inner = _look_up(layer.layer)
    return None if inner is None else adapt(inner)


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
    """Returns the kernels of any layer that are not empty, by names of its converter."""
    converter = find_converter(layer)
    kernels = list_matrices(layer) if converter is None else converter.kernels(layer)
    return {name: kernel for name, kernel in kernels.items() if 0 not in kernel.shape}


def list_matrices(layer: Any) -> dict[str, Variable]:
    """Returns what a layer of any kind multiplies by, by the paths inside of it.

    That is what pruning calls kernels, and what else is trained and has two axes.
    """
    positions = {id(neurons.embedding) for neurons in find_embeddings(layer)}
    kernels: dict[str, Variable] = {}
    for weight in layer.weights:
        if id(weight) not in positions and (is_kernel(weight) or _is_matrix(weight)):
            _, _, path = f"/{weight.path}".partition(f"/{layer.name}/")
            name = path or weight.path
            kernels[f"{name}:{len(kernels)}" if name in kernels else name] = weight
    return kernels


def _is_matrix(weight: Variable) -> bool:
    is_other = "bias" in weight.name or weight.name in _NO_MATRICES
    is_other = is_other or is_integer(weight)
    is_used = weight.trainable or weight.name == "blocks"
    return is_used and len(weight.shape) >= 2 and not is_other


def find_input_shape(layer: Any) -> tuple[int | None, ...]:
    """Returns the shape of inputs for which a layer was built, empty if it says none."""
    return tuple((layer.get_build_config() or {}).get("input_shape") or ())


def to_array(variable: Any) -> Array:
    """Returns the values of a variable."""
    return ops.convert_to_numpy(variable)


def transfer(new: Variable, old: Variable, value: Array) -> None:
    """Gives a variable its value, and whether it is trained, of the one before.

    Args:
        new: The variable.
        old: That of which the value is made.
        value: In the shape of `new`.
    """
    new.assign(value)
    new.trainable = old.trainable


def pack(row: PlanRow, matrix: Array) -> Array:
    """Returns the blocks of a matrix, in the layout of a row.

    Args:
        row: A `PlanRow` with a layout.
        matrix: Array of shape (inputs, outputs).

    Returns:
        Array of shape (J, c, K·b): J columns of K blocks of b inputs and c outputs.

    Raises:
        TypeError: If `row` is not a row with a layout.
        ValueError: If they do not hold all of it.

    Examples:
        >>> import numpy as np, keras_moduli as km
        >>> layout = km.sparse.BlockLayout.of(np.eye(8, dtype=bool), (4, 4))
        >>> row = km.sparse.PlanRow("a", "kernel", (8, 8), 0.9, (4, 4), layout=layout)
        >>> km.sparse.pack(row, np.eye(8)).shape
        (2, 4, 4)
    """
    if not isinstance(row, PlanRow) or row.layout is None:
        raise TypeError(f"`row` must be a PlanRow with blocks. Received: row={row!r}")
    layout = row.layout
    blocks = layout.pack(matrix)
    if np.count_nonzero(layout.unpack(blocks)) < np.count_nonzero(matrix):
        raise ValueError(
            f"The blocks of the plan do not hold all weights of {row.layer} {row.name}: "
            "other weights were zero when it was made. Make a plan of the model as it is "
            "now, by `km.sparse.plan(model)`."
        )
    return blocks
