"""Navigation: path integration in a box, read out by place cells.

    python -m examples.experiments.single Navigation --manifold torus --seeds 5

An animal walks at random in a square box. The network is told where it starts, as the
activity of place cells, and then its velocity, step by step; it has to predict the
activity of the place cells on its way. Its error is the distance in cm of the position
that its most active cells stand for from the true one, over all steps.

The sizes are the smallest found at which a dense network is as good as that of Mackey et
al. on a CPU. Theirs are

    python -m examples.experiments.single Navigation --units 4096 --cells 512 --box 2.2
        --steps 50 --batch-size 200 --batches 1000 --epochs 30 --learning-rate 1e-4

Source: Banino et al., 2018, and Sorscher et al., 2019, as in Mackey et al., "Geometric
sparsification in recurrent neural networks", 2024, whose walks and place cells these are.
The recurrent kernel starts as the identity (Le et al., 2015), which learns ten times
faster than the uniform one: the state stays where it is until it has learned to move.
"""

import functools
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np

from ..settings import TEST_SEED, Experiment, add_option
from . import register
from ._data import FreshBatches

TIME_STEP = 0.02  # seconds
TURNING = 11.52  # standard deviation of the angular velocity, radians per second
SPEED = 0.13 * 2 * np.pi  # scale of the Rayleigh distribution, meters per second
BORDER = 0.03  # meters from a wall at which the animal turns along it
WIDTH = 0.12  # of a place cell, meters
MOST_ACTIVE = 3  # place cells that are read
VELOCITY_SCALE = 3.0  # of what the network sees, per meter in a step


def draw_walks(
    count: int, steps: int, box: float, rng: np.random.RandomState
) -> np.ndarray:
    """Draws positions (count, steps + 1, 2) in meters of walks that keep to the box."""
    positions = np.empty((count, steps + 1, 2))
    positions[:, 0] = rng.uniform(0, box, (count, 2))
    heading = rng.uniform(0, 2 * np.pi, count)
    turns = TIME_STEP * TURNING * rng.standard_normal((steps, count))
    lengths = TIME_STEP * rng.rayleigh(SPEED, (steps, count))
    for step in range(steps):
        position = positions[:, step]
        turn, slowing = turn_along_wall(position, heading, box)
        heading = heading + turn + turns[step]
        length = slowing * lengths[step]
        way = length[:, None] * np.stack([np.cos(heading), np.sin(heading)], -1)
        positions[:, step + 1] = np.clip(position + way, 0, box)
    return positions


def turn_along_wall(
    position: np.ndarray, heading: np.ndarray, box: float
) -> tuple[np.ndarray, np.ndarray]:
    """Computes how who heads for a wall close by turns along it, and slows down."""
    distances = np.concatenate([box - position, position], -1)  # right, top, left, bottom
    wall = distances.argmin(-1)
    angle = (heading - np.pi / 2 * wall + np.pi) % (2 * np.pi) - np.pi
    blocked = (distances.min(-1) < BORDER) & (np.abs(angle) < np.pi / 2)
    turn = np.sign(angle) * (np.pi / 2 - np.abs(angle))
    return np.where(blocked, turn, 0.0), np.where(blocked, 0.25, 1.0)


def place_cells(cells: int, box: float) -> np.ndarray:
    """Draws where the place cells are: the same for all runs, as the test is."""
    rng = np.random.RandomState(0)
    return rng.uniform(0, box, (cells, 2)).astype("float32")


def activate(positions: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Computes softmax(−d²/2σ²) − softmax(−d²/4σ²), from 0 up and with sum 1."""
    offsets = (positions[..., i, None].astype("float32") - cells[:, i] for i in (0, 1))
    squares = sum(offset**2 for offset in offsets)
    wide = np.exp(-squares / (4 * WIDTH**2))
    bump = _normalize(wide**2) - _normalize(wide)
    bump -= bump.min(-1, keepdims=True)
    return _normalize(bump)


def _normalize(values: np.ndarray) -> np.ndarray:
    return values / values.sum(-1, keepdims=True)


def decode(activity: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Computes the mean of the centers of the most active cells."""
    most = np.argpartition(activity, -MOST_ACTIVE)[..., -MOST_ACTIVE:]
    return cells[most].mean(-2)


@register
@dataclass(frozen=True, kw_only=True)
class Navigation(Experiment):
    """Train a sparse recurrent network to navigate in a box."""

    box: float = add_option(1.1, "side of the box in meters")
    cells: int = add_option(128, "place cells")
    steps: int = add_option(20, "of a walk, of 0.02 s")
    batches: int = add_option(100, "of fresh walks in an epoch")
    batch_size: int = add_option(100, "walks in a batch")
    learning_rate: float = 3e-3
    epochs: int = 20
    sparsity: float = 0.9

    error_name: ClassVar[str] = "position error in cm"
    chance: ClassVar[float] = 57.0  # between two random positions in the box of 1.1 m
    quick: ClassVar[dict[str, Any]] = {"epochs": 5, "batches": 60, "sparsity": 0.3}

    def draw_sequences(self, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Draws what the network is told of velocities, and where the animal was."""
        rng = np.random.RandomState(seed)
        positions = draw_walks(count, self.steps, self.box, rng)
        return VELOCITY_SCALE * np.diff(positions, axis=1).astype("float32"), positions

    def show(self, velocity: np.ndarray, positions: np.ndarray) -> Any:
        """Makes the inputs and targets of the network."""
        activity = activate(positions, place_cells(self.cells, self.box))
        return (velocity, activity[:, 0]), activity[:, 1:]

    def build_network(self) -> keras.Model:
        velocity = keras.Input((self.steps, 2))
        start = keras.Input((self.cells,))
        encoder = keras.layers.Dense(self.units, use_bias=False, name="encoder")
        decoder = keras.layers.Dense(self.cells, use_bias=False, name="decoder")
        layer = self.build_recurrent(
            activation="relu",
            use_bias=False,
            return_sequences=True,
            recurrent_initializer="identity",
        )
        states = layer(velocity, initial_state=encoder(start))
        model = keras.Model([velocity, start], decoder(states))
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        model.compile(self.make_optimizer(global_clipnorm=1.0), loss)
        return model

    def make_training(self) -> dict[str, Any]:
        return {
            "x": FreshBatches(
                self.draw_sequences, self.seed, self.batches, self.batch_size, self.show
            )
        }

    def measure_error(self, model: keras.Model) -> float:
        """Measures the mean distance in cm of decoded from true positions."""
        inputs, positions = _draw_test_walks(self.cells, self.box, self.steps)
        activity = model.predict(inputs, batch_size=500, verbose=0)
        positions_read = decode(activity, place_cells(self.cells, self.box))
        return float(
            100 * np.linalg.norm(positions_read - positions[:, 1:], axis=-1).mean()
        )


@functools.cache
def _draw_test_walks(cells: int, box: float, steps: int) -> tuple[Any, np.ndarray]:
    task = Navigation(cells=cells, box=box, steps=steps)
    velocity, positions = task.draw_sequences(1000, TEST_SEED)
    return task.show(velocity, positions)[0], positions
