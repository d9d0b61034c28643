"""Strengths by their share of the loss, and what is said of masks that came out wrong."""

import warnings

import keras
import numpy as np
import pytest

import keras_moduli as km

X = np.random.RandomState(0).standard_normal((32, 5, 2)).astype("float32")
Y = np.random.RandomState(1).exponential(size=(32, 1)).astype("float32")


def make(strength, inhibitor="diffusion", layer=None, outputs=1, **arguments):
    keras.utils.set_random_seed(3)
    regularizer = km.ModuliRegularizer("torus", inhibitor, strength, **arguments)
    layer = layer or keras.layers.SimpleRNN(16, recurrent_regularizer=regularizer)
    readout = keras.layers.Dense(outputs)
    model = keras.Sequential([keras.Input((5, 2)), layer, readout])
    model.compile("adam", "mse")
    return model


def penalty(model):
    return sum(float(keras.ops.convert_to_numpy(one)) for one in model.losses)


def entropy(p):
    return -np.sum(p * np.log(p))


DIGITS = np.random.RandomState(2).choice(3, 32, p=[0.6, 0.3, 0.1])
RATES = np.bincount(DIGITS) / 32
BINARY = (DIGITS == 0).astype("float32")[:, None]
# Loss, targets, outputs, and the least loss of a constant, by its formula.
REFERENCES = {
    "squares": ("mse", Y, 1, Y.var()),
    "absolute": ("mae", Y, 1, np.abs(Y - np.median(Y)).mean()),
    "one axis less": ("mse", Y[:, 0], 1, Y.var()),
    "binary": (
        keras.losses.BinaryCrossentropy(from_logits=True),
        BINARY,
        1,
        entropy(np.array([BINARY.mean(), 1 - BINARY.mean()])),
    ),
    "classes": (
        keras.losses.CategoricalCrossentropy(from_logits=True),
        np.eye(3, dtype="float32")[DIGITS],
        3,
        entropy(RATES),
    ),
    "sparse": (
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        DIGITS,
        3,
        entropy(RATES),
    ),
    "sparse, one ignored": (
        keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1),
        np.where(DIGITS == 2, -1, DIGITS),
        3,
        RATES[:2].sum() * entropy(RATES[:2] / RATES[:2].sum()),
    ),
    "sparse, two axes": (
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        DIGITS[:, None],
        3,
        entropy(RATES),
    ),
}


@pytest.mark.parametrize("inhibitor", ["diffusion", "dog"])
@pytest.mark.parametrize("case", REFERENCES)
def test_the_penalty_is_a_multiple_of_the_loss_of_the_best_constant(case, inhibitor):
    loss, y, outputs, least = REFERENCES[case]

    def build(strength):
        model = make(strength, inhibitor, outputs=outputs)
        model.compile("adam", loss)
        return model

    for share in (0.1, 3.0):
        (strength,) = km.suggest_strength(build(1e-3), X, y, share=share).values()
        assert penalty(build(strength)) == pytest.approx(share * least, rel=1e-3)


def test_losses_of_several_outputs_add_up():
    def build(strength):
        keras.utils.set_random_seed(0)
        regularizer = km.ModuliRegularizer("torus", "diffusion", strength)
        inputs = keras.Input((5, 2))
        states = keras.layers.SimpleRNN(8, recurrent_regularizer=regularizer)(inputs)
        heads = {name: keras.layers.Dense(1, name=name)(states) for name in ("a", "b")}
        model = keras.Model(inputs, heads)
        model.compile("adam", {"a": "mse", "b": "mae"})
        return model

    y = {"a": Y, "b": 3 * Y}
    (strength,) = km.suggest_strength(build(1e-3), X, y, share=1.0).values()
    least = Y.var() + 3 * np.abs(Y - np.median(Y)).mean()
    assert penalty(build(strength)) == pytest.approx(least, rel=1e-3)


def test_outputs_without_a_loss_need_no_target():
    def build(strength, loss):
        keras.utils.set_random_seed(0)
        regularizer = km.ModuliRegularizer("torus", "diffusion", strength)
        inputs = keras.Input((5, 2))
        states = keras.layers.SimpleRNN(8, recurrent_regularizer=regularizer)(inputs)
        heads = [keras.layers.Dense(1, name=name)(states) for name in ("a", "b")]
        named = isinstance(loss, dict)
        model = keras.Model(
            inputs, dict(zip("ab", heads, strict=True)) if named else heads
        )
        model.compile("adam", loss)
        return model

    for loss, y in [({"b": "mse"}, {"b": Y}), ([None, "mse"], [None, Y])]:
        (strength,) = km.suggest_strength(build(1e-3, loss), X, y, share=1.0).values()
        assert penalty(build(strength, loss)) == pytest.approx(Y.var(), rel=1e-3)


def test_outputs_of_no_finite_loss_are_no_candidates():
    def build(strength):
        model = make(strength)
        model.compile("adam", "poisson")
        return model

    (strength,) = km.suggest_strength(build(1e-3), X, Y, share=1.0).values()
    least = Y.mean() * (1 - np.log(Y.mean()))
    assert penalty(build(strength)) == pytest.approx(least, rel=1e-3)


@pytest.mark.parametrize(
    ("x", "y"), [(iter([X]), Y), (X, Y.tolist()), (X, None), (None, Y)]
)
def test_what_is_no_batch_of_arrays_is_refused(x, y):
    with pytest.raises(TypeError, match=r"next\(iter\(dataset\)\)"):
        km.suggest_strength(make(1e-3), x, y)


def test_the_strength_that_a_model_has_does_not_matter():
    (first,) = km.suggest_strength(make(1e-6), X, Y).values()
    (second,) = km.suggest_strength(make(1.0), X, Y).values()
    assert first == pytest.approx(second, rel=1e-3)


@pytest.mark.parametrize("strength", [1e3, 1e6])
def test_a_penalty_in_which_the_loss_is_lost_is_refused(strength):
    with pytest.raises(ValueError, match=r"no share.*a smaller strength"):
        km.suggest_strength(make(strength), X, Y)


def test_several_weights_have_equal_parts():
    def build(*strengths):
        keras.utils.set_random_seed(3)
        layers = [
            keras.layers.SimpleRNN(
                8,
                return_sequences=True,
                recurrent_regularizer=km.ModuliRegularizer("torus", "diffusion", s),
            )
            for s in strengths
        ]
        model = keras.Sequential([keras.Input((5, 2)), *layers])
        model.compile("adam", "mse")
        return model

    y = np.random.RandomState(1).normal(size=(32, 5, 8)).astype("float32")
    model = build(*km.suggest_strength(build(1.0, 1.0), X, y, share=1.0).values())
    first, second = (float(keras.ops.convert_to_numpy(one)) for one in model.losses)
    assert first == pytest.approx(second, rel=1e-4)


def test_what_has_no_share_is_refused():
    with pytest.raises(ValueError, match=r"no weight .* with a geometry"):
        km.suggest_strength(make(1, layer=keras.layers.SimpleRNN(4)), X, Y)
    with pytest.raises(ValueError, match="a strength above 0"):
        km.suggest_strength(make(0.0), X, Y)
    model = make(1e-3)
    model.compiled = False
    with pytest.raises(ValueError, match="not compiled"):
        km.suggest_strength(model, X, Y)
    with pytest.raises(ValueError, match="`share` must be above 0"):
        km.suggest_strength(make(1e-3), X, Y, share=0)
    with pytest.raises(ValueError, match="whose targets differ"):
        km.suggest_strength(make(1e-3), X, np.ones_like(Y))


def collect(model, sparsity=0.8, **arguments):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pruning = km.MagnitudePruning(sparsity, **arguments)
        model.fit(X, Y, epochs=4, callbacks=[pruning], verbose=0)
    return " ".join(str(one.message) for one in caught)


def test_a_mask_as_wide_as_chance_is_told():
    assert "costs by distance what any weights would" in collect(make(1e-9))
    assert "any weights would" not in collect(make(1e-9, permute_seed=0))  # a control
    assert "any weights would" not in collect(make(1e-9, inhibitor="constant"))


def test_a_mask_that_follows_the_geometry_is_not():
    model = make(1e-6)
    kernel = model.layers[0].cell.recurrent_kernel
    near = km.placement(model).distances
    kernel.assign(np.exp(-near))
    assert "any weights would" not in collect(model)


def test_a_dead_layer_is_told():
    model = make(1e-6)
    kernel = model.layers[0].cell.recurrent_kernel
    kernel.assign(1e-6 * keras.ops.convert_to_numpy(kernel.value))
    said = collect(model, 0.85)  # more weights than the others have
    assert "lost more than 99% of their weights" in said
    assert "scope='layer'" in said
    model = make(1e-6)
    assert "lost more than" not in collect(model, scope="layer")
