"""What a connection costs: one value, whatever kernel pays and wherever neurons are."""

import functools
import math
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from keras_moduli import _backend, _checks, inhibitors, manifolds, penalties
from keras_moduli._registry import Configuration

NATURAL_DENSITY = 0.1


class KernelLayout(NamedTuple):
    """How a kernel's axes flatten to (inputs, gates, outputs).

    Attributes:
        inputs: Number of inputs.
        gates: Number of gates.
        outputs: Number of outputs of each gate.

    Examples:
        >>> import keras_moduli as km
        >>> km.ModuliRegularizer("torus", gates=4).layout((8, 32))
        KernelLayout(inputs=8, gates=4, outputs=8)
    """

    inputs: int
    gates: int
    outputs: int


@dataclass(frozen=True)
class Cost(Configuration):
    """The options of a penalty by distance, which are arguments of what users type.

    strength · [ Σ f(d)·|w|^power + dispersion·f(r)·(Σ |w|^power)·D ], of which the second
    term is that of learned positions.

    Args:
        manifold: A name, or a `keras_moduli.manifolds.Manifold`.
        inhibitor: f: a name, or a `keras_moduli.inhibitors.Inhibitor`.
        strength: Finite and at least 0; 3e-5 by default.
        power: An integer from 1, the default, to 64.
        reduction: `"sum"`, the default, or `"mean"` over the entries of the kernel.
        gates: How many share the coefficients, along the last axis; 1 by default.
        permute_seed: Seed of the permuted control; None, the default, for no control.
        input_axes: How many leading axes of the kernel are inputs; None for one of two.
        communicability: As in `keras_moduli.ModuliRegularizer`; False by default.
        dispersion: At least 0, the default.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If one is out of range, or a name is unknown.

    Examples:
        >>> import keras_moduli as km
        >>> cost = km.regularizers.Cost("torus", "diffusion", gates=3)
        >>> cost.layout((8, 24), square=True)
        KernelLayout(inputs=8, gates=3, outputs=8)
    """

    manifold: Any  # whatever users type: a `Manifold` and an `Inhibitor` when it is made
    inhibitor: Any
    strength: float = 3e-5
    power: int = 1
    reduction: str = "sum"
    gates: int = 1
    permute_seed: int | None = None
    input_axes: int | None = None
    communicability: bool = False
    dispersion: float = 0.0

    repulsion = 0.0  # dispersion · f(r); no field
    farthest = 0.0  # log(L² + ε), of which L = 10 r is as far as any pair should be

    def __post_init__(self) -> None:
        optional = _checks.optional
        at_least_1 = functools.partial(_checks.integer, minimum=1)
        self._set(
            manifold=manifolds.get(self.manifold),
            inhibitor=inhibitors.get(self.inhibitor),
            strength=_checks.real("strength", self.strength, minimum=0.0),
            power=_checks.power("power", self.power),
            reduction=_checks.choice("reduction", self.reduction, ("sum", "mean")),
            gates=at_least_1("gates", self.gates),
            permute_seed=optional(_checks.seed, "permute_seed", self.permute_seed),
            input_axes=optional(at_least_1, "input_axes", self.input_axes),
            communicability=_checks.boolean("communicability", self.communicability),
            dispersion=_checks.real("dispersion", self.dispersion, minimum=0.0),
        )
        # Here, where numbers have values: inside of a compiled step they have none.
        if self.dispersion:
            reach = 10 * self.manifold.natural_length(NATURAL_DENSITY)
            self._set(
                repulsion=self.dispersion * self._natural_cost(),
                farthest=math.log(reach**2 + penalties.SOFTENING),
            )

    def layout(
        self, shape: tuple[int, ...], *, square: bool, taps: int = 1
    ) -> KernelLayout:
        """Returns how a kernel of this shape flattens to (inputs, gates, outputs).

        Args:
            shape: Shape of the kernel.
            square: Whether inputs and outputs are the same neurons.
            taps: How many inputs share each sending neuron.

        Raises:
            TypeError: If `shape` is none.
            ValueError: If the shape leaves that open; the message names the argument.
        """
        shape = _check_shape(shape)
        axes = _count_input_axes(shape, self.input_axes)
        inputs, columns = math.prod(shape[:axes]), math.prod(shape[axes:])
        if columns % self.gates:
            raise ValueError(
                f"A kernel of shape {shape} cannot be divided into gates={self.gates} "
                f"gates: its {columns} outputs are not a multiple of {self.gates}."
            )
        layout = KernelLayout(inputs, self.gates, columns // self.gates)
        if layout.inputs != taps * layout.outputs and square:
            raise ValueError(_explain_not_square(shape, layout))
        if layout.inputs != layout.outputs and self.communicability:
            raise ValueError(
                "`communicability=True` needs a square kernel, whose inputs and outputs "
                f"are the same neurons. Received: shape={shape}"
            )
        return layout

    def _natural_cost(self) -> float:
        """Returns f(r), but no less than a tenth of the most that is paid up to 2r.

        An inhibitor may be free at r itself, which must not switch the repulsion off.
        """
        length = self.manifold.natural_length(NATURAL_DENSITY)
        squares = np.square(length * np.linspace(0.0, 2.0, 101)).astype(np.float32)
        costs = _backend.compute_outside_of_trace(
            lambda: ops.convert_to_numpy(self.inhibitor(squares))
        )
        return max(float(costs[50]), 0.1 * float(costs.max()))


def _check_shape(shape: Any) -> tuple[int, ...]:
    try:
        return tuple(_checks.integer("shape", size, minimum=0) for size in shape)
    except (TypeError, NotImplementedError):
        raise TypeError(
            f"`shape` must be the shape of a kernel, such as (8, 8). Received: {shape!r}"
        ) from None


OPTIONS = tuple(field.name for field in fields(Cost))


def take_options(arguments: dict[str, Any], *known: str) -> dict[str, Any]:
    """Removes the options of a `Cost` from keyword arguments, and returns them.

    Args:
        arguments: What a user typed.
        *known: Options that the caller knows by itself, which are not to be typed.
    """
    names = [name for name in OPTIONS if name in arguments and name not in known]
    return {name: arguments.pop(name) for name in names}


def _count_input_axes(shape: tuple[int, ...], input_axes: int | None) -> int:
    if len(shape) < 2:
        raise ValueError(
            "A moduli penalty needs a kernel of at least two axes, inputs and "
            f"outputs. Received: shape={shape}"
        )
    if input_axes is None:
        if len(shape) > 2:
            raise ValueError(
                f"A kernel of shape {shape} leaves open which axes are inputs. Pass "
                "`input_axes`, the number of leading axes that are inputs: 1 for "
                "attention's query (d, heads, d_head), 2 for a Conv1D kernel."
            )
        return 1
    if input_axes >= len(shape):
        raise ValueError(
            f"`input_axes` must leave at least one output axis of a kernel of shape "
            f"{shape}. Received: input_axes={input_axes}"
        )
    return input_axes


def _explain_not_square(shape: tuple[int, ...], layout: KernelLayout) -> str:
    gates = layout.outputs // max(1, layout.inputs)
    hint = ""
    if layout.gates == 1 and 0 < layout.outputs == gates * layout.inputs:
        hint = f"`gates={gates}` for the recurrent kernel of a gated layer, or "
    return (
        f"A kernel of shape {shape} connects {layout.inputs} inputs to {layout.outputs} "
        f"outputs, which cannot be the same neurons. Pass {hint}`output_seed=1` (any "
        "seed, or `output_embedding=`) to place the outputs apart from the inputs."
    )
