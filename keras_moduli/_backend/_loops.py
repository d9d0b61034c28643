"""The loop over time steps, on each backend."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_moduli._backend import _recurrence

Tensor = Any
States = list[Tensor]


def run_steps(
    step: Callable[[Tensor, States], States],
    inputs: Tensor,
    states: States,
    *,
    mask: Tensor = None,
    zero_output: bool = False,
    go_backwards: bool = False,
    all_outputs: bool = False,
    unroll: bool = False,
) -> tuple[Tensor, Tensor, States]:
    """Runs steps one after the other.

    Args:
        step: Returns the next states, of the inputs of one step and states; the first of
            them is the output. Its attribute `recurrence` says which one, if it is known.
        inputs: (time, ...).
        states: The first states.
        mask: Of booleans (time, ...) that broadcast with states: where False, a step
            leaves the states, and the output, as they were. None for all.
        zero_output: Whether masked outputs are zero instead.
        go_backwards: Whether the last step comes first.
        all_outputs: Whether all outputs are wanted.
        unroll: Whether the compiled program has one part for each step.

    Returns:
        The last output, all outputs (time, ...) or those of the last step alone, and the
        last states.
    """
    recurrence: Any = getattr(step, "recurrence", None)
    if go_backwards:
        inputs, mask = _reverse(inputs), _reverse(mask)
    if mask is None and _recurrence.takes(recurrence, inputs, states):
        outputs, states = _recurrence.run(recurrence, inputs, states, all_outputs)
        return states[0], states[0][None] if outputs is None else outputs, states
    if mask is not None:
        # The output is carried along: it is not the state if the first steps are masked,
        # but in Keras's loop on JAX.
        is_state = keras.backend.backend() == "jax" and not unroll
        output = states[0] if is_state else ops.zeros_like(states[0])
        states, step = [*states, output], _hold(step, zero_output)
    run = _run_in_python if unroll else _find_loop()
    outputs, states = run(step, inputs, mask, states, all_outputs)
    last = _pick_output(states, mask is not None)
    states = states[:-1] if mask is not None else states
    return last, last[None] if outputs is None else outputs, states


def _reverse(sequence: Tensor) -> Tensor:
    return None if sequence is None else ops.flip(sequence, axis=0)


def _find_loop() -> Callable[..., tuple[Tensor, States]]:
    loops = {"jax": _run_in_jax, "tensorflow": _run_in_tensorflow}
    return loops.get(keras.backend.backend(), _run_in_python)


def _hold(step: Any, zero_output: bool) -> Any:
    """Returns a step that leaves states where a mask says so, and carries its output."""

    def held(x: Tensor, states: States, mask: Tensor) -> States:
        *states, output = states
        new = step(x, states)
        rest = ops.zeros_like(output) if zero_output else output
        output = ops.where(mask, new[0], rest)
        return [
            *(ops.where(mask, n, s) for n, s in zip(new, states, strict=True)),
            output,
        ]

    return held


def _pick_output(states: States, is_masked: bool) -> Tensor:
    return states[-1] if is_masked else states[0]


def _run_in_python(
    step: Any, inputs: Tensor, mask: Tensor, states: States, all_outputs: bool
) -> tuple[Tensor, States]:
    outputs = []
    masks = [] if mask is None else ops.unstack(mask, axis=0)
    for number, x in enumerate(ops.unstack(inputs, axis=0)):
        states = step(x, states, *([] if mask is None else [masks[number]]))
        if all_outputs:
            outputs.append(_pick_output(states, mask is not None))
    return (ops.stack(outputs, axis=0) if all_outputs else None), states


def _run_in_jax(
    step: Any, inputs: Tensor, mask: Tensor, states: States, all_outputs: bool
) -> tuple[Tensor, States]:
    import jax

    # Backward, a step is computed again from its states and its product.
    policy = jax.checkpoint_policies.save_only_these_names("product")
    step = jax.checkpoint(step, policy=policy, prevent_cse=False)

    def body(carried: Any, current: Any) -> Any:
        new = step(current[0], list(carried), *current[1:])
        return tuple(new), _pick_output(new, mask is not None) if all_outputs else None

    sequences = (inputs,) if mask is None else (inputs, mask)
    states_, outputs = jax.lax.scan(body, tuple(states), sequences)
    return outputs, list(states_)


def _run_in_tensorflow(
    step: Any, inputs: Tensor, mask: Tensor, states: States, all_outputs: bool
) -> tuple[Tensor, States]:
    import tensorflow as tf

    count = inputs.shape[0] or tf.shape(inputs)[0]
    is_masked = mask is not None
    sequences = [inputs, mask] if is_masked else [inputs]
    arrays = [
        tf.TensorArray(s.dtype, size=count, element_shape=s.shape[1:]).unstack(s)
        for s in sequences
    ]
    output = tf.TensorArray(
        states[0].dtype, size=count if all_outputs else 0, element_shape=states[0].shape
    )

    def body(number: Tensor, output: Any, *states: Tensor) -> Any:
        x, *masks = (array.read(number) for array in arrays)
        new = step(x, list(states), *masks)
        for tensor, state in zip(new, states, strict=True):
            tensor.set_shape(state.shape)
        if all_outputs:
            output = output.write(number, _pick_output(new, is_masked))
        return (number + 1, output, *new)

    _, output, *last = tf.while_loop(
        lambda number, *_: number < count,
        body,
        (tf.constant(0), output, *states),
        maximum_iterations=count,
    )
    return (output.stack() if all_outputs else None), list(last)


def name_product(x: Tensor) -> Tensor:
    """Marks what `run_steps` keeps of a step for its gradients."""
    if keras.backend.backend() != "jax":
        return x
    from jax.ad_checkpoint import checkpoint_name

    return checkpoint_name(x, "product")


def is_known_to_be_one(batch: Any) -> bool:
    """Whether a batch is known to be one: not in PyTorch's ONNX export."""
    return isinstance(batch, int | np.integer) and int(batch) == 1
