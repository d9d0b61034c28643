"""Models that train by a step of their own, as the guide of each backend writes it."""

import keras
from keras import layers, ops

from tests.zoo.table import REGISTERED, architecture, draw, draw_images

BACKEND = keras.backend.backend()
LATENT = 16


def apply_gradients(losses, groups, optimizers):
    """One step of each optimizer on its group of variables, for each its own loss.

    Args:
        losses: A function that returns the losses, in the order of the groups.
        groups: Lists of variables.
        optimizers: One for each group.

    Returns:
        The losses.
    """
    return globals()[f"_apply_on_{BACKEND}"](losses, groups, optimizers)


def _apply_on_tensorflow(losses, groups, optimizers):
    import tensorflow as tf

    with tf.GradientTape(persistent=True) as tape:
        values = losses()
    for value, group, optimizer in zip(values, groups, optimizers, strict=True):
        optimizer.apply(tape.gradient(value, group), group)
    return values


def _apply_on_torch(losses, groups, optimizers):
    import torch

    values = losses()
    gradients = [
        torch.autograd.grad(value, [v.value for v in group], retain_graph=True)
        for value, group in zip(values, groups, strict=True)
    ]
    with torch.no_grad():
        for given, group, optimizer in zip(gradients, groups, optimizers, strict=True):
            optimizer.apply(given, group)
    return values


def take_stateless_step(model, losses, groups, state):
    """The same on JAX, where `fit` has variables for one optimizer, that of the model.

    Args:
        model: The model.
        losses: As above.
        groups: As above; one after the other they are `model.trainable_variables`.
        state: That of the step.

    Returns:
        The losses, and the new state.
    """
    import jax

    trainable, fixed, slots, metrics = state
    variables = [v for group in groups for v in group]
    assert list(map(id, variables)) == list(map(id, model.trainable_variables))

    def run(values, number):
        mapping = [*zip(variables, values, strict=True)]
        mapping += zip(model.non_trainable_variables, fixed, strict=True)
        with keras.StatelessScope(mapping) as scope:
            found = losses()
        after = [scope.get_current_value(v) for v in model.non_trainable_variables]
        return found[number], (found, after)

    differentiate = jax.grad(run, has_aux=True)
    gradients, start = [], 0
    for number, group in enumerate(groups):
        all_gradients, (found, after) = differentiate(trainable, number)
        gradients += all_gradients[start : start + len(group)]
        start += len(group)
    trainable, slots = model.optimizer.stateless_apply(slots, gradients, trainable)
    return found, (trainable, after, slots, metrics)


class _OwnStep(keras.Model):
    """A model that says what it minimizes, and by which variables. It has no `call`."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.built = True  # Keras saves no other

    def train_step(self, *arguments):
        *state, data = arguments
        images = data[0] if isinstance(data, tuple | list) else data
        groups = self.variable_groups()

        def losses():
            return self.compute_losses(images)

        if state:
            found, state = take_stateless_step(self, losses, groups, state[0])
            return self.name_losses(found), state
        images = ops.convert_to_tensor(images)
        return self.name_losses(apply_gradients(losses, groups, self.list_optimizers()))


def images():
    return draw_images(16, 16, 1), None


def make_generator():
    return keras.Sequential(
        [
            keras.Input((LATENT,)),
            layers.Dense(4 * 4 * 16),
            layers.Reshape((4, 4, 16)),
            layers.Conv2DTranspose(16, 4, strides=2, padding="same"),
            layers.LeakyReLU(negative_slope=0.2),
            layers.Conv2DTranspose(16, 4, strides=2, padding="same"),
            layers.LeakyReLU(negative_slope=0.2),
            layers.Conv2D(1, 5, padding="same", activation="sigmoid"),
        ],
        name="generator",
    )


def make_discriminator():
    return keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            layers.Conv2D(16, 4, strides=2, padding="same"),
            layers.LeakyReLU(negative_slope=0.2),
            layers.Conv2D(32, 4, strides=2, padding="same"),
            layers.LeakyReLU(negative_slope=0.2),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(1),
        ],
        name="discriminator",
    )


@REGISTERED
class GAN(_OwnStep):
    """Two networks against each other, each with an optimizer of its own."""

    def __init__(self, generator, discriminator, **kwargs):
        super().__init__(**kwargs)
        self.generator, self.discriminator = generator, discriminator
        self.seeds = keras.random.SeedGenerator(1)

    def compile(self, d_optimizer, g_optimizer):
        # On JAX `fit` carries the variables of one optimizer: it trains both there.
        super().compile(g_optimizer if BACKEND == "jax" else "rmsprop")
        self.d_optimizer, self.g_optimizer = d_optimizer, g_optimizer

    def list_optimizers(self):
        return [self.g_optimizer, self.d_optimizer]

    def variable_groups(self):
        parts = (self.generator, self.discriminator)
        return [part.trainable_variables for part in parts]

    def compute_losses(self, real):
        latent = keras.random.normal((ops.shape(real)[0], LATENT), seed=self.seeds)
        generated = self.generator(latent, training=True)
        cost = keras.losses.BinaryCrossentropy(from_logits=True)

        def judge(pictures):
            return self.discriminator(pictures, training=True)

        on_real, on_generated = judge(real), judge(ops.stop_gradient(generated))
        fooled = cost(ops.ones_like(on_real), judge(generated))
        caught = cost(ops.zeros_like(on_real), on_generated)
        return fooled, cost(ops.ones_like(on_real), on_real) + caught

    def name_losses(self, losses):
        return dict(zip(("g_loss", "d_loss"), losses, strict=True))

    def get_config(self):
        return super().get_config() | _serialize(self, "generator", "discriminator")

    @classmethod
    def from_config(cls, config):
        return cls(**_deserialize(config, "generator", "discriminator"))


def _serialize(model, *names):
    one = keras.saving.serialize_keras_object
    return {name: one(getattr(model, name)) for name in names}


def _deserialize(config, *names):
    one = keras.saving.deserialize_keras_object
    return config | {name: one(config[name]) for name in names}


def compile_both(gan):
    gan.compile(*(keras.optimizers.Adam(0.003) for _ in range(2)))


@architecture(
    "examples/generative/dcgan_overriding_train_step",
    images,
    compile=compile_both,
    monitor="g_loss",
    deploy=lambda gan: gan.generator,
    serve=lambda x: draw(LATENT),
    fast=1,
)
def gan():
    """Chollet, 2019, after Radford et al., 2015."""
    return GAN(make_generator(), make_discriminator())


@REGISTERED
class Sampling(layers.Layer):
    """Draws a code from the distribution that an encoder has found."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seeds = keras.random.SeedGenerator(2)

    def call(self, mean, log_variance):
        noise = keras.random.normal(ops.shape(mean), seed=self.seeds)
        return mean + ops.exp(0.5 * log_variance) * noise


def make_encoder():
    inputs = x = keras.Input((16, 16, 1))
    for filters in (8, 16):
        arguments = {"activation": "relu", "strides": 2, "padding": "same"}
        x = layers.Conv2D(filters, 3, **arguments)(x)
    x = layers.Dense(32, activation="relu")(layers.Flatten()(x))
    found = layers.Dense(LATENT, name="mean")(x), layers.Dense(LATENT, name="spread")(x)
    return keras.Model(inputs, [*found, Sampling()(*found)], name="encoder")


def make_decoder():
    inputs = keras.Input((LATENT,))
    x = layers.Dense(4 * 4 * 16, activation="relu")(inputs)
    x = layers.Reshape((4, 4, 16))(x)
    for filters in (16, 8):
        arguments = {"activation": "relu", "strides": 2, "padding": "same"}
        x = layers.Conv2DTranspose(filters, 3, **arguments)(x)
    x = layers.Conv2DTranspose(1, 3, activation="sigmoid", padding="same")(x)
    return keras.Model(inputs, x, name="decoder")


@REGISTERED
class VAE(_OwnStep):
    """An encoder and a decoder."""

    def __init__(self, encoder, decoder, **kwargs):
        super().__init__(**kwargs)
        self.encoder, self.decoder = encoder, decoder

    def list_optimizers(self):
        return [self.optimizer]

    def variable_groups(self):
        return [self.trainable_variables]

    def compute_losses(self, real):
        mean, log_variance, code = self.encoder(real, training=True)
        cost = keras.losses.binary_crossentropy(real, self.decoder(code, training=True))
        misfit = ops.mean(ops.sum(cost, axis=(1, 2)))
        spread = 1 + log_variance - ops.square(mean) - ops.exp(log_variance)
        return (misfit - 0.5 * ops.mean(ops.sum(spread, axis=1)),)

    def name_losses(self, losses):
        return {"loss": losses[0]}

    def get_config(self):
        return super().get_config() | _serialize(self, "encoder", "decoder")

    @classmethod
    def from_config(cls, config):
        return cls(**_deserialize(config, "encoder", "decoder"))


def reconstruct(vae):
    """From an image to what its mean code decodes to."""
    mean = vae.encoder.outputs[0]
    return keras.Model(vae.encoder.inputs, vae.decoder(mean), name="reconstruction")


@architecture(
    "examples/generative/vae",
    images,
    deploy=reconstruct,
    fast=3,
    slow=True,
)
def vae():
    """Chollet, 2020."""
    return VAE(make_encoder(), make_decoder())
