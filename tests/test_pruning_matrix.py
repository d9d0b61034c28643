"""Ways to train in Keras, each a row: masks hold in all of them, exactly.

A row says how the model is compiled and what else is in the list of callbacks. Every row
is trained while its sparsity grows, and is looked at after every step, in validation, in
checkpoints listed before and after the pruner, and at the end.
"""

import shutil
import signal
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import keras
import numpy as np
import pytest

import keras_moduli as km
from keras_moduli.pruning import prunable_variables
from tests.backends import CURRENT, run_on

X = np.random.RandomState(0).standard_normal((64, 3, 3)).astype("float32")
Y = X.sum(axis=(1, 2))[:, None]
EPOCHS, STEPS = 5, 4

O = keras.optimizers  # noqa: E741
Adam = O.Adam


def embedding_optimizer():
    return O.MultiOptimizer(O.OptimizerMap(Adam(1e-2), {".*bias": O.SGD(1e-2)}))


def ema(**arguments):
    return Adam(1e-2, use_ema=True, ema_momentum=0.5, **arguments)


@dataclass(frozen=True)
class Row:
    """A way to train.

    Attributes:
        optimizer: Makes the optimizer.
        compile: Further arguments of `compile`.
        callbacks: Makes further callbacks, listed before the pruner.
        layer: Further arguments of the recurrent layer. It unrolls its three steps, which
            is quicker to compile, and a hundred times quicker to run eagerly.
        policy: The dtype policy.
        loads: Whether Keras loads the optimizer's state, without us.
        trained: Whether the model was trained before, and is trained twice.
        refused: Backends on which Keras itself fails without us, and how.
        needs: A package or program without which there is no such way.
    """

    optimizer: Callable = lambda: Adam(1e-2)
    compile: dict = field(default_factory=dict)
    callbacks: Callable = lambda: []
    layer: dict = field(default_factory=dict)
    policy: str = "float32"
    loads: bool = True
    trained: bool = False
    refused: dict = field(default_factory=dict)
    needs: str | None = None


ROWS = {
    "plain": Row(layer={"unroll": False}),
    "SGD with momentum": Row(lambda: O.SGD(0.01, momentum=0.9, nesterov=True)),
    "AdamW": Row(lambda: O.AdamW(1e-2, weight_decay=0.1)),
    "AMSGrad": Row(lambda: Adam(1e-2, amsgrad=True)),
    "RMSprop": Row(lambda: O.RMSprop(1e-3, momentum=0.5, centered=True)),
    "Lion": Row(lambda: O.Lion(1e-3)),
    "Adafactor": Row(lambda: O.Adafactor(1e-2)),
    "Muon": Row(lambda: O.Muon(1e-2)),
    "schedule-free AdamW": Row(lambda: O.ScheduleFreeAdamW(1e-2)),
    # On JAX the gradient of |w| at 0 is 1, which revives what is held by momentum alone.
    "L1": Row(
        lambda: O.SGD(0.01, momentum=0.9),
        layer={"recurrent_regularizer": keras.regularizers.L1(1e-2)},
    ),
    "L1, no jit_compile": Row(
        lambda: O.SGD(0.01, momentum=0.9),
        layer={"recurrent_regularizer": keras.regularizers.L1(1e-2)},
        compile={"jit_compile": False},
    ),
    "constraint": Row(layer={"recurrent_constraint": keras.constraints.MaxNorm(0.3)}),
    "clipping": Row(lambda: Adam(1e-2, global_clipnorm=0.1)),
    "learning rate schedule": Row(
        lambda: Adam(O.schedules.CosineDecay(1e-2, EPOCHS * STEPS))
    ),
    "accumulation": Row(lambda: Adam(1e-2, gradient_accumulation_steps=2)),
    "accumulation under loss scaling": Row(
        lambda: O.LossScaleOptimizer(Adam(1e-2, gradient_accumulation_steps=2))
    ),
    "EMA": Row(ema),
    "EMA overwrites": Row(lambda: ema(ema_overwrite_frequency=3)),
    "SwapEMAWeights": Row(ema, callbacks=lambda: [keras.callbacks.SwapEMAWeights()]),
    "SwapEMAWeights on epochs": Row(
        ema, callbacks=lambda: [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)]
    ),
    "EMA under loss scaling": Row(lambda: O.LossScaleOptimizer(ema())),
    "loss scaling": Row(lambda: O.LossScaleOptimizer(Adam(1e-2))),
    # Keras wraps the optimizer, but not that of the loaded model.
    "mixed_float16": Row(policy="mixed_float16", loads=False),
    "mixed_bfloat16": Row(policy="mixed_bfloat16"),
    "bfloat16": Row(policy="bfloat16"),
    "MultiOptimizer": Row(embedding_optimizer),
    "EMA in a MultiOptimizer": Row(
        lambda: O.MultiOptimizer(O.OptimizerMap(ema(), {".*bias": O.SGD(1e-2)}))
    ),
    "run_eagerly": Row(compile={"run_eagerly": True}),
    "jit_compile": Row(compile={"jit_compile": True}, needs="gcc"),
    "no jit_compile": Row(compile={"jit_compile": False}),
    "steps_per_execution": Row(
        compile={"steps_per_execution": 3},
        refused={"torch": (ValueError, "must be 1")},
    ),
    "trained before": Row(trained=True),
    "EMA, trained before": Row(
        ema,
        trained=True,
        # Keras gives weights the buffers of their means, which JAX then donates twice.
        refused={"jax": (TypeError, "not callable")},
    ),
    "accumulation, trained before": Row(
        lambda: Adam(1e-2, gradient_accumulation_steps=2), trained=True
    ),
}


RARE = {"Adadelta", "Adagrad", "Adamax", "Ftrl", "Lamb", "Nadam"}


def build(row):
    """A model whose weights no backend draws: bfloat16 draws hold zeros by chance."""
    keras.config.set_dtype_policy(row.policy)
    arguments = {"unroll": True} | row.layer
    try:
        model = keras.Sequential(
            [
                keras.Input((3, 3)),
                keras.layers.SimpleRNN(16, recurrent_initializer="zeros", **arguments),
                keras.layers.Dense(1),
            ]
        )
    finally:
        keras.config.set_dtype_policy("float32")
    rng = np.random.RandomState(0)
    for weight in model.weights:
        if "kernel" in weight.name:
            weight.assign(0.4 * rng.standard_normal(weight.shape))
    model.compile(row.optimizer(), "mse", **row.compile)
    return model


def kernels(model):
    return np.concatenate(
        [
            keras.ops.convert_to_numpy(v.value).astype("float32").ravel()
            for v in prunable_variables(model)
        ]
    )


class Watch(keras.callbacks.Callback):
    """Zeros after each step and in each validation."""

    def __init__(self):
        super().__init__()
        self.steps, self.tests = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(kernels(self.model) == 0)

    def on_test_begin(self, logs=None):
        self.tests.append(int((kernels(self.model) == 0).sum()))


# torch.compile starts a compiler of C++ for each of its parts.
SLOW = {"jit_compile"} if CURRENT == "torch" else set()


@pytest.fixture(
    params=[
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name in ROWS
    ]
)
def row(request):
    row = ROWS[request.param]
    if row.needs and CURRENT == "torch" and not shutil.which(row.needs):
        pytest.skip(f"torch.compile needs {row.needs}")
    return row


def skip_if_refused(row):
    """Skips what Keras cannot do without us, having seen that it cannot."""
    if CURRENT in row.refused:
        error, message = row.refused[CURRENT]
        model = build(row)
        if row.trained:
            fit(model, [], epochs=1)
        with pytest.raises(error, match=message):
            fit(model, row.callbacks(), epochs=1)
        pytest.skip(f"Keras itself raises {error.__name__} here on {CURRENT}")


def fit(model, callbacks, epochs=EPOCHS, **arguments):
    return model.fit(
        X,
        Y,
        batch_size=64 // STEPS,
        epochs=epochs,
        callbacks=callbacks,
        verbose=0,
        **arguments,
    )


def load(row, path):
    """Loads a model, which must not say that it skips the state of the optimizer."""
    with warnings.catch_warnings():
        warnings.simplefilter("error" if row.loads else "ignore", UserWarning)
        return keras.saving.load_model(path)


def assert_same_optimizer(saved, model):
    pairs = zip(saved.optimizer.variables, model.optimizer.variables, strict=True)
    for a, b in pairs:
        arrays = [keras.ops.convert_to_numpy(v.value).astype("float32") for v in (a, b)]
        np.testing.assert_array_equal(*arrays, err_msg=a.path)


def assert_no_trace(row, model):
    """The optimizer and the constraints are as in a model that nobody pruned."""
    twin = build(row)
    twin.optimizer.build(twin.trainable_variables)
    kinds = [[(v.shape, v.dtype) for v in m.optimizer.variables] for m in (model, twin)]
    assert kinds[0] == kinds[1]
    assert not {"save_own_variables", "load_own_variables"} & set(vars(model.optimizer))
    for a, b in zip(model.trainable_variables, twin.trainable_variables, strict=True):
        assert a.constraint is b.constraint


def test_masks_hold(row, tmp_path):
    skip_if_refused(row)
    model = build(row)
    if row.trained:
        fit(model, [], epochs=1)
    watch, size = Watch(), kernels(model).size
    save = keras.callbacks.ModelCheckpoint
    callbacks = [
        save(tmp_path / "before{epoch}.keras"),
        *row.callbacks(),
        km.MagnitudePruning(0.9, schedule="linear", end=3),
        watch,
        save(tmp_path / "after{epoch}.keras"),
    ]
    history = fit(model, callbacks, validation_data=(X, Y)).history
    wanted = [round(0.9 * size * min(e, 3) / 3) for e in range(EPOCHS)]
    calls = len(watch.steps) // EPOCHS
    assert [int(p.sum()) for p in watch.steps] == np.repeat(wanted, calls).tolist()
    for earlier, later in zip(watch.steps, watch.steps[1:], strict=False):
        assert not (earlier & ~later).any(), "nothing revives"
    assert watch.tests == wanted, "validation sees pruned weights"
    assert history["sparsity"] == pytest.approx([zeros / size for zeros in wanted])
    for when in ("before", "after"):
        for epoch in (1, EPOCHS - 1):
            saved = load(row, tmp_path / f"{when}{epoch + 1}.keras")
            assert (kernels(saved) == 0).sum() == wanted[epoch], (when, epoch)
        if row.loads:
            assert_same_optimizer(saved, model)
    assert (kernels(model) == 0).sum() == wanted[-1]
    assert np.isfinite(kernels(model)).all()
    assert_no_trace(row, model)
    if row.trained:
        fit(model, [km.MagnitudePruning(0.95, end=1)], epochs=2)
        assert (kernels(model) == 0).sum() == round(0.95 * size)
        assert (kernels(model)[watch.steps[-1]] == 0).all()


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "accumulation",
        "accumulation under loss scaling",
        "EMA",
        "loss scaling",
        "mixed_float16",
        "MultiOptimizer",
        "run_eagerly",
        "steps_per_execution",
    ],
)
def test_masks_hold_when_steps_are_counted(name):
    row = ROWS[name]
    skip_if_refused(row)
    model = build(row)
    watch, size = Watch(), kernels(model).size
    pruning = km.MagnitudePruning(0.9, unit="step", begin=2, end=9, frequency=3)
    fit(model, [*row.callbacks(), pruning, watch])
    counts = [int(p.sum()) for p in watch.steps]
    assert counts == sorted(counts)
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    accumulated = getattr(inner, "gradient_accumulation_steps", None) or 1
    fractions = {2: 0.0, 5: 3 / 7, 8: 6 / 7, 9: 1.0}
    wanted = [round(0.9 * size * (1 - (1 - f) ** 3)) for f in fractions.values()]
    # Loss scaling skips steps, which do not count.
    if row.policy != "mixed_float16" and "steps_per_execution" not in row.compile:
        updates = dict(zip(fractions, wanted, strict=True))
        for step, count in enumerate(counts):
            done = [w for s, w in updates.items() if s <= step // accumulated]
            assert count == (done[-1] if done else 0), step
    assert counts[-1] == wanted[-1] == (kernels(model) == 0).sum()


def test_every_optimizer_of_keras_has_a_row():
    names = {type(r.optimizer()).__name__ for r in ROWS.values()}
    public = {
        name
        for name, value in vars(O).items()
        if isinstance(value, type) and issubclass(value, O.Optimizer)
    }
    assert public - names - RARE <= {"Optimizer"}


@pytest.mark.parametrize("name", sorted(RARE))
def test_rarer_optimizers(name):
    model = build(Row(lambda: getattr(O, name)(1e-2)))
    fit(model, [km.MagnitudePruning(0.9)])
    assert (kernels(model) == 0).sum() == round(0.9 * kernels(model).size)


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_it_had_not_been(tmp_path):
    """Of two pruners, one with weights that come back and one without."""
    killed = run_on(CURRENT, "tests.scripts.resuming", tmp_path, "--kill", ok=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    assert not (tmp_path / "weights.npz").exists()
    (tmp_path / "other").mkdir()
    run_on(CURRENT, "tests.scripts.resuming", tmp_path, tmp_path / "other")
    resumed = np.load(tmp_path / "weights.npz")
    whole = np.load(tmp_path / "other" / "weights.npz")
    assert resumed["first_epoch"] == 3
    assert whole["first_epoch"] == 0
    for name in whole.files:
        if name != "first_epoch":
            np.testing.assert_array_equal(resumed[name], whole[name], err_msg=name)


@pytest.mark.skipif(CURRENT == "torch", reason="Keras distributes on JAX and TensorFlow")
def test_distribution():
    run_on(CURRENT, "tests.scripts.distributed")
