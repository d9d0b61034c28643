"""How fast a block-sparse recurrent layer is, against every dense runtime at hand.

    python benchmarks/inference.py

A layer over 100 time steps whose recurrent kernel is pruned to balanced blocks, turned
into a fast one by `km.sparsify`. It runs in turns with the same layer dense, PyTorch's
layer, ONNX Runtime (if it is installed), and loops over the CSR products of scipy and
PyTorch. `against fastest` is over the fastest of the dense ones. Each is timed twice: in
turns, when the weights of the others have been in the caches since, and hot, when its own
calls came just before.
"""

import importlib.util
import os
import statistics
from collections.abc import Callable, Iterator
from typing import Any

from harness import Row, hot, interleaved, parser, ratio, run

TIME, FEATURES = 100, 16
DENSE = ("Keras", "PyTorch", "ONNX Runtime")
TIMINGS = {"in turns": interleaved, "hot": hot}


def main() -> None:
    found = parser(__doc__, "inference")
    found.add_argument("--units", type=int, nargs="+", default=[256, 512, 1024, 2048])
    found.add_argument("--batches", type=int, nargs="+", default=[1, 32])
    found.add_argument("--layers", nargs="+", default=["SimpleRNN", "GRU", "LSTM"])
    found.add_argument("--sparsity", type=float, default=0.9)
    found.add_argument("--block", type=int, nargs=2, default=[16, 64])
    args = found.parse_args()
    run(args, lambda: measure(args))


def measure(args: Any) -> Iterator[Row]:
    for kind in args.layers:
        for units in args.units:
            for batch in args.batches:
                # The gated ones at the size that the plain one is judged by.
                if kind == "SimpleRNN" or units == 1024:
                    yield from compare(kind, units, batch, args)


def compare(kind: str, units: int, batch: int, args: Any) -> Iterator[Row]:
    import keras
    import numpy as np

    import keras_moduli as km

    model = keras.Sequential(
        [keras.Input((TIME, FEATURES)), getattr(keras.layers, kind)(units)]
    )
    kernel = model.layers[0].cell.recurrent_kernel
    mask = blocks(kernel.shape, args.block, args.sparsity)
    kernel.assign(keras.ops.convert_to_numpy(kernel.value) * mask)
    sparse = km.sparsify(model, block=tuple(args.block))
    rng = np.random.RandomState(0)
    x = rng.standard_normal((batch, TIME, FEATURES)).astype("float32")
    contestants = {"sparse": compiled(sparse, x), "Keras": compiled(model, x)}
    error = float(np.abs(contestants["sparse"]() - contestants["Keras"]()).max())
    for name, make in OTHERS.items():
        if all(importlib.util.find_spec(package) for package in NEEDS[name]):
            other = make(kind, model, x)
            contestants |= {} if other is None else {name: other}
    for timing, measure in TIMINGS.items():
        times = measure(contestants, args.repeats)
        yield {
            "timing": timing,
            "layer": kind,
            "units": units,
            "batch": batch,
            **summarize(times, args.repeats),
            "difference": error,
        }


def summarize(times: dict[str, list[float]], repeats: int) -> Row:
    """Medians of all contestants, and how many times faster the sparse layer is."""
    nothing = [float("nan")]
    milliseconds = {
        f"{name} ms": 1e3 * statistics.median(times.get(name, nothing))
        for name in ("sparse", *DENSE, "scipy CSR", "PyTorch CSR")
    }
    fastest = [min(times[n][i] for n in DENSE if n in times) for i in range(repeats)]
    return {
        **milliseconds,
        "against own": ratio(times, "Keras", "sparse"),
        "against fastest": ratio(times | {"fastest": fastest}, "fastest", "sparse"),
    }


def blocks(shape: tuple[int, int], block: tuple[int, int], sparsity: float) -> Any:
    """Random blocks, equally many in each column."""
    import numpy as np

    down, across = shape[0] // block[0], shape[1] // block[1]
    kept = round((1 - sparsity) * down)
    rng = np.random.RandomState(0)
    full = np.argsort(rng.uniform(size=(down, across)), axis=0) < kept
    return np.kron(full, np.ones(block))


def compiled(model: Any, x: Any) -> Callable[[], Any]:
    """A call of a model as it would be deployed on this backend."""
    import keras
    import numpy as np

    if keras.backend.backend() == "jax":
        import jax

        weights = [v.value for v in model.trainable_variables]
        fixed = [v.value for v in model.non_trainable_variables]
        function = jax.jit(lambda w, f, x: model.stateless_call(w, f, x)[0])
        on_device = jax.numpy.asarray(x)
        return lambda: np.asarray(function(weights, fixed, on_device))
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        function = tf.function(lambda x: model(x, training=False), jit_compile=True)
        tensor = tf.constant(x)
        return lambda: function(tensor).numpy()
    import torch

    tensor = torch.tensor(x)

    def call() -> Any:
        with torch.no_grad():
            return model(tensor).numpy()

    return call


def arrays(model: Any) -> list[Any]:
    import keras

    cell = model.layers[0].cell
    found = [cell.kernel, cell.recurrent_kernel, cell.bias]
    return [keras.ops.convert_to_numpy(v.value) for v in found]


def pytorch(kind: str, model: Any, x: Any) -> Callable[[], Any]:
    """PyTorch's own layer; of a GRU or LSTM the cost is the same with any weights."""
    import torch

    if kind == "SimpleRNN":
        layer = torch.nn.RNN(x.shape[-1], model.layers[0].units, batch_first=True)
        kernel, recurrent, bias = map(torch.tensor, arrays(model))
        with torch.no_grad():
            for own, ours in zip(
                layer.parameters(), (kernel.T, recurrent.T, bias, 0 * bias), strict=True
            ):
                own.copy_(ours)
    else:
        layer = getattr(torch.nn, kind)(
            x.shape[-1], model.layers[0].units, batch_first=True
        )
    layer = layer.to("cpu").requires_grad_(False)
    tensor = torch.tensor(x, device="cpu")
    return lambda: layer(tensor)[0][:, -1].numpy()


def onnx_runtime(kind: str, model: Any, x: Any) -> Callable[[], Any] | None:
    """ONNX's recurrent operator in ONNX Runtime."""
    if kind != "SimpleRNN":
        return None
    import numpy as np
    import onnx
    import onnxruntime
    from onnx import helper, numpy_helper

    kernel, recurrent, bias = arrays(model)
    units = len(recurrent)
    weights = {
        "W": kernel.T[None],
        "R": recurrent.T[None],
        "B": np.concatenate([bias, 0 * bias])[None],
    }
    node = helper.make_node("RNN", ["X", *weights], ["", "Y"], hidden_size=units)
    number = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [node],
        "rnn",
        [helper.make_tensor_value_info("X", number, (TIME, len(x), FEATURES))],
        [helper.make_tensor_value_info("Y", number, (1, len(x), units))],
        [numpy_helper.from_array(np.ascontiguousarray(w), n) for n, w in weights.items()],
    )
    file = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    file.ir_version = 9
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    # Threads that spin between calls would slow down whoever comes next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        file.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    inputs = {"X": np.ascontiguousarray(x.transpose(1, 0, 2))}
    return lambda: session.run(["Y"], inputs)[0][0]


def csr_loop(multiply: Callable[[Any], Any], model: Any, x: Any) -> Callable[[], Any]:
    """A NumPy loop around a sparse product of the state."""
    import numpy as np

    kernel, _, bias = arrays(model)

    def loop() -> Any:
        projected = x @ kernel + bias
        h = np.zeros((len(x), projected.shape[-1]), "float32")
        for t in range(TIME):
            h = np.tanh(projected[:, t] + multiply(h))
        return h

    return loop


def scipy_csr(kind: str, model: Any, x: Any) -> Callable[[], Any] | None:
    if kind != "SimpleRNN":
        return None
    import numpy as np
    import scipy.sparse

    matrix = scipy.sparse.csr_matrix(np.ascontiguousarray(arrays(model)[1].T))
    return csr_loop(lambda h: (matrix @ h.T).T, model, x)


def pytorch_csr(kind: str, model: Any, x: Any) -> Callable[[], Any] | None:
    if kind != "SimpleRNN":
        return None
    import numpy as np
    import torch

    matrix = torch.tensor(np.ascontiguousarray(arrays(model)[1].T)).to_sparse_csr()
    return csr_loop(lambda h: (matrix @ torch.tensor(h.T)).numpy().T, model, x)


OTHERS = {
    "PyTorch": pytorch,
    "ONNX Runtime": onnx_runtime,
    "scipy CSR": scipy_csr,
    "PyTorch CSR": pytorch_csr,
}
NEEDS = {
    "PyTorch": ["torch"],
    "ONNX Runtime": ["onnx", "onnxruntime"],
    "scipy CSR": ["scipy"],
    "PyTorch CSR": ["torch"],
}
if __name__ == "__main__":
    main()
