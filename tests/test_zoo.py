"""Models that are not ours, from their first training to the last.

Each is fitted with pruning and the callbacks that people use, saved, loaded, made fast,
saved and loaded again, streamed where it is a chain, and trained further.
"""

import contextlib
import csv
import math
from collections import Counter

import keras
import numpy as np
import pytest

import keras_moduli as km
from keras_moduli._keras_private import iterate_layers
from tests.backends import CURRENT, OTHERS, installed, needs, run_side_by_side
from tests.scripts import zoo_elsewhere
from tests.zoo import ARCHITECTURES
from tests.zoo.table import BATCH, evaluate, reset_states

C = keras.callbacks
EPOCHS = 3
LAST = 2  # the epoch at whose start the final sparsity is reached: 3/4 of all
BLOCK = (8, 8)


def list_callbacks(member, folder):
    """What people give to `fit` beside a pruner."""
    monitor = {"monitor": member.monitor, "mode": "min"}
    return [
        C.EarlyStopping(
            **monitor, patience=1, start_from_epoch=LAST, restore_best_weights=True
        ),
        C.ModelCheckpoint(folder / "epoch{epoch}.weights.h5", save_weights_only=True),
        C.ReduceLROnPlateau(**monitor, patience=1),
        C.CSVLogger(folder / "log.csv"),
        C.TerminateOnNaN(),
    ]


def fit_with_pruning(member, x, y, folder):
    """Returns the model, trained, with the zeros that were asked of it."""
    model = member.build()
    member.compile(model)
    pruners = [km.MagnitudePruning(**arguments) for arguments in member.pruning]
    callbacks = [*pruners, *list_callbacks(member, folder)]
    history = fit(model, x, y, EPOCHS, callbacks)
    assert np.isfinite(history[member.monitor]).all()
    for arguments in member.pruning:
        assert_zeros_are_what_was_asked(model, **arguments)
    zeros, size = count_zeros(model, member.pruning)
    with open(folder / "log.csv") as file:
        *_, last = csv.DictReader(file)
    assert float(last["sparsity"]) == pytest.approx(zeros / size)
    return model


def fit(model, x, y, epochs, callbacks):
    arguments = {"batch_size": BATCH, "epochs": epochs, "verbose": 0}
    return model.fit(x, y, callbacks=callbacks, **arguments).history


def assert_zeros_are_what_was_asked(
    model, sparsity, select=None, scope="global", structure=None
):
    """To one weight, or one unit of the structure, in all or in each that competes."""
    rows = km.sparsity(model, select=select).rows
    apart = [[row] for row in rows] if scope in ("layer", "gate") else [rows]
    for group in apart:
        size, zeros = sum(r.size for r in group), sum(r.zeros for r in group)
        rounding = len(group) if scope == "erk" else 1
        if structure is not None:
            shape = getattr(structure, "shape", structure)
            width = max(r.shape[-1] for r in group) if structure is shape else shape[1]
            rounding = shape[0] * width
        assert abs(zeros - sparsity * size) <= rounding / 2, (group, sparsity)
    assert all(row.zeros < row.size for row in rows)


def count_zeros(model, pruning):
    """Returns how many of the pruned weights are zero, and how many there are."""
    totals = [km.sparsity(model, select=one.get("select")).total for one in pruning]
    return sum(total.zeros for total in totals), sum(total.size for total in totals)


def list_kernels(model):
    """All that layers multiply by, frozen or not."""
    named = [v for v in model.variables if v.name.endswith(("kernel", "embeddings"))]
    return [v for v in named if len(v.shape) > 1]


def find_zeros(model):
    return [keras.ops.convert_to_numpy(v.value) == 0 for v in list_kernels(model)]


def assert_same(got, wanted, tolerance=1e-5):
    """Relative to the largest of all outputs."""
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1, abs(b).max()))


def assert_same_once_compiled(model, x, wanted):
    """A model's error is nothing where its own outputs are the targets."""
    model.compile("sgd", "mse")
    loss = model.evaluate(x, wanted, batch_size=len(wanted[0]), verbose=0)
    largest = max(np.square(y).max() for y in wanted)
    assert loss <= 1e-10 * max(1, largest), f"mean squared error {loss:.3g}"
    assert_same(evaluate(model, x), wanted)


def save_and_load(model, path):
    model.save(path)
    return keras.saving.load_model(path)


def make_fast(model):
    """Returns the fast form, once every kernel has a row that says what becomes of it."""
    plan = km.sparse.plan(model, block=BLOCK)
    rows = Counter(math.prod(row.kernel) for row in plan.rows)  # of LoRA weights, too
    assert not Counter(math.prod(v.shape) for v in list_kernels(model)) - rows, plan
    assert all(bool(row.reason) == (row.block is None) for row in plan.rows), plan
    fast = km.sparsify(model, plan)
    for old, new in zip(model.layers, fast.layers, strict=True):
        assert (new.name, new.trainable) == (old.name, old.trainable)
    return fast


def assert_streams(model, x, wanted):
    """A stream gives at each step, or for all steps so far, what the model gives."""
    reset_states(model)
    stream = km.sparse.Stream(model, batch_size=len(x))
    steps = [stream.step(x[:, t]) for t in range(x.shape[1])]
    (wanted,) = wanted
    assert_same([np.stack(steps, 1) if wanted.ndim == 3 else steps[-1]], [wanted])


def assert_never_streams_wrongly(model, x, wanted):
    """What is not a chain is refused, or streams as well."""
    with contextlib.suppress(ValueError):
        assert_streams(model, x, wanted)


def train_further(member, model, x, y):
    """A loaded model trains on with its zeros held, or with more of them."""
    if member.change is not None:
        member.change(model)
    if getattr(model, "optimizer", None) is None:  # its `compile` is its own
        member.compile(model)
    before = find_zeros(model)
    pruner = km.KeepZeros() if member.further is None else further_pruner(member)
    callbacks = [pruner, C.LearningRateScheduler(lambda epoch: 1e-3)]
    history = fit(model, x, y, 1 if member.further is None else 2, callbacks)
    assert np.isfinite(history[member.monitor]).all()
    after = find_zeros(model)
    if member.further is None:
        for a, b in zip(after, before, strict=True):
            np.testing.assert_array_equal(a, b)
    else:
        assert_zeros_are_what_was_asked(model, **member.further)


def further_pruner(member):
    return km.MagnitudePruning(**member.further, schedule="constant")


def assert_keras_alone_fails(member, x, y):
    """What this backend cannot train is no fault of ours."""
    model = member.build()
    member.compile(model)
    with pytest.raises((TypeError, ValueError, RuntimeError)):
        fit(model, x, y, 1, [])


# Of those that are quick somewhere, on backends that compile each network anew.
EVERYWHERE = ("masked_bidirectional_gru", "transformer")


def marks(member):
    quick = CURRENT == "torch" or member.name in EVERYWHERE
    slow = member.slow or not quick
    return [needs(member.needs), *([pytest.mark.slow] if slow else [])]


@pytest.mark.parametrize(
    "member",
    [
        pytest.param(member, id=name, marks=marks(member))
        for name, member in ARCHITECTURES.items()
    ],
)
def test_the_whole_chain(member, tmp_path):
    x, y = member.data()
    if CURRENT not in member.trains:
        assert_keras_alone_fails(member, x, y)
        return
    model = fit_with_pruning(member, x, y, tmp_path)
    deployed, served = member.deploy(model), member.serve(x)
    wanted = evaluate(deployed, served)

    loaded = save_and_load(model, tmp_path / "trained.keras")
    assert_same(evaluate(member.deploy(loaded), served), wanted, tolerance=1e-6)

    fast = make_fast(deployed)
    rows = km.sparse.plan(deployed, block=BLOCK).rows
    full = [row for row in rows if row.reason == "no block of it is empty"]
    assert sum(row.block is not None for row in rows) + len(full) == member.fast
    assert_same(evaluate(fast, served), wanted)
    again = save_and_load(fast, tmp_path / "fast.keras")
    assert_same_once_compiled(again, served, wanted)

    (assert_streams if member.chain else assert_never_streams_wrongly)(
        again, served, wanted
    )
    train_further(member, loaded, x, y)
    if member.change is not None:
        deployed = member.deploy(loaded)
        assert_same(evaluate(make_fast(deployed), served), evaluate(deployed, served))


def prune_blocks(model):
    """Three of four blocks of each kernel that has some, without any training."""
    rng = np.random.RandomState(0)
    for kernel in list_kernels(model):
        width = kernel.shape[-1]
        rows = math.prod(kernel.shape) // width
        if rows % BLOCK[0] == width % BLOCK[1] == 0:
            blocks = rng.uniform(size=(rows // BLOCK[0], width // BLOCK[1])) < 0.25
            mask = np.kron(blocks, np.ones(BLOCK)).reshape(kernel.shape)
            kernel.assign(mask * keras.ops.convert_to_numpy(kernel.value))


def list_members(slow):
    """Of this backend, those that are slow or those that are not."""
    able = [m for m in ARCHITECTURES.values() if CURRENT in m.serves]
    return [m for m in able if installed(m.needs) and m.slow == slow]


@pytest.mark.backend_independent
@pytest.mark.parametrize("slow", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_fast_models_are_the_same_on_the_other_backends(slow, tmp_path):
    members = list_members(slow)
    for member in members:
        model, x = member.deploy(member.build()), member.serve(member.data()[0])
        prune_blocks(model)
        wanted = evaluate(model, x)
        fast = km.sparsify(model, block=BLOCK)
        assert_same(evaluate(fast, x), wanted)
        fast.save(tmp_path / f"{member.name}.keras")
        np.savez(tmp_path / f"{member.name}.npz", *wanted)
    others = [name for name in OTHERS if installed(name)]
    run_side_by_side(others, zoo_elsewhere.__name__, tmp_path)
    for name in others:
        seen = (tmp_path / f"{name}.txt").read_text().split()
        assert seen == [member.name for member in members if name in member.serves]


@pytest.mark.slow
@pytest.mark.backend_independent
def test_slow_members_become_nothing_that_others_do_not():
    kinds = {}
    for slow in (False, True):
        models = [member.deploy(member.build()) for member in list_members(slow)]
        fast = [km.sparsify(model, block=BLOCK) for model in models]
        layers = [layer for model in fast for layer in iterate_layers(model)]
        kinds[slow] = {type(layer) for layer in layers if is_ours(layer)}
    assert kinds[True] <= kinds[False]


def is_ours(layer):
    return type(layer).__module__.startswith(km.__name__)
