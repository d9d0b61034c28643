"""Strengths by their share of the loss, and what is said of masks that came out wrong."""

import warnings

import keras
import numpy as np
import pytest

import keras_moduli as km

X = np.random.RandomState(0).standard_normal((32, 5, 2)).astype("float32")
Y = np.ones((32, 1), "float32")


def make(strength, inhibitor="diffusion", layer=None, **arguments):
    keras.utils.set_random_seed(3)
    regularizer = km.ModuliRegularizer("torus", inhibitor, strength, **arguments)
    layer = layer or keras.layers.SimpleRNN(16, recurrent_regularizer=regularizer)
    model = keras.Sequential([keras.Input((5, 2)), layer, keras.layers.Dense(1)])
    model.compile("adam", "mse")
    return model


def penalty(model):
    return sum(float(keras.ops.convert_to_numpy(one)) for one in model.losses)


@pytest.mark.parametrize("share", [0.1, 2.0])
@pytest.mark.parametrize("inhibitor", ["diffusion", "dog"])
def test_the_penalty_is_the_share_of_the_loss(share, inhibitor):
    (strength,) = km.suggest_strength(make(1e-3, inhibitor), X, Y, share=share).values()
    model = make(strength, inhibitor)
    total = model.evaluate(X, Y, verbose=0)
    assert penalty(model) == pytest.approx(share * (total - penalty(model)), rel=1e-4)


def test_the_strength_that_a_model_has_does_not_matter():
    (first,) = km.suggest_strength(make(1e-6), X, Y).values()
    (second,) = km.suggest_strength(make(1.0), X, Y).values()
    assert first == pytest.approx(second, rel=1e-3)


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

    y = np.ones((32, 5, 8), "float32")
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
