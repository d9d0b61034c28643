"""What a run can vary, and what a task has to say.

A task is a subclass of `Experiment` that says what its sequences are, and how far off a
network is; the fields of the class are the setting. All layers, penalties, controls and
masks are made here, so that tasks differ in nothing else.
"""

import abc
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import keras

import keras_moduli as km

from .controls import CONTROLS, make_penalty
from .geometry import (
    GATES,
    list_inhibitors,
    list_manifolds,
    make_inhibitor,
    make_manifold,
    make_moduli,
    scale_strength,
)
from .records import find_target_epoch

CELLS = {
    "SimpleRNN": (keras.layers.SimpleRNN, km.layers.ModuliSimpleRNN),
    "GRU": (keras.layers.GRU, km.layers.ModuliGRU),
    "LSTM": (keras.layers.LSTM, km.layers.ModuliLSTM),
}
# Whose placements can be learned, and what the layer is told of them.
LEARNABLE = ("geometry", "permuted")
TEST_SEED = 2**31  # no epoch of training has it


def add_option(default: Any, text: str, choices: Any = None) -> Any:
    """Declares a field of a setting, with what the command line says of it."""
    return field(default=default, metadata={"help": text, "choices": choices})


@dataclass(frozen=True, kw_only=True)
class Experiment(abc.ABC):
    """One run: a task, its network, penalty and pruning, and the seed of everything."""

    control: str = add_option(
        "geometry",
        "the penalty: by geometry, or in its place none, L1 of the same mean, the same "
        "coefficients permuted, those of an embedding with permuted rows, or random ones "
        "with the same histogram",
        tuple(CONTROLS),
    )
    manifold: str = add_option("torus", "one of " + ", ".join(list_manifolds()))
    inhibitor: str = add_option("dog", "one of " + ", ".join(list_inhibitors()))
    density: float = add_option(
        0.1, "fraction of pairs within the inhibitor's length; 0 for the authors' scale"
    )
    strength: float = add_option(0.1, "mean cost of a unit weight")
    learned: bool = add_option(False, "whether the positions are learned")
    embedding_rate: float = add_option(0.01, "learning rate of the positions")
    cell: str = add_option("SimpleRNN", "of the recurrent layer", tuple(GATES))
    units: int = add_option(128, "hidden neurons")
    sparsity: float = add_option(0.95, "fraction of zeros at the end")
    block: str = add_option(
        "", "as in 8x16: inputs and outputs of blocks to prune at once"
    )
    scope: str = add_option("global", "within which weights compete: global, layer, erk")
    select: str = add_option("kernels", "what is pruned: kernels, or recurrent")
    schedule: str = add_option("cubic", "one of " + ", ".join(km.schedules.names()))
    end: float = add_option(
        2 / 3, "fraction of the epochs at which the sparsity is reached"
    )
    epochs: int = add_option(30, "of training; after each the error is measured")
    learning_rate: float = add_option(1e-3, "of Adam")
    lottery: bool = add_option(False, "also train fresh weights under the final mask")
    seed: int = add_option(0, "of weights, positions and data")

    error_name: ClassVar[str]
    quick: ClassVar[dict[str, Any]]
    chance: ClassVar[float]

    def __post_init__(self) -> None:
        self._check_choices()
        for name in ("units", "epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1.")
        if not self.learning_rate > 0:
            raise ValueError("`learning_rate` must be above 0.")
        if self.learned and self.control in ("rows", "random"):
            raise ValueError(
                f"`control={self.control!r}` is one of fixed positions. With learned "
                "ones take 'permuted', 'l1' or 'none'."
            )
        if self.control != "none":
            make_moduli(self, self.strength)
        self.make_pruning()

    def _check_choices(self) -> None:
        for choice in fields(Experiment):
            known = choice.metadata["choices"]
            if known and getattr(self, choice.name) not in known:
                raise ValueError(
                    f"`{choice.name}` must be one of {list(known)}. "
                    f"Received: {choice.name}={getattr(self, choice.name)!r}"
                )

    # A task says these.

    @abc.abstractmethod
    def build_network(self) -> keras.Model:
        """Builds a compiled network with `self.build_recurrent(...)` in it."""

    @abc.abstractmethod
    def make_training(self) -> dict[str, Any]:
        """Makes the arguments of `fit` that hold the data."""

    @abc.abstractmethod
    def measure_error(self, model: keras.Model) -> float:
        """Measures how far off the network is on sequences never trained on."""

    # The rest is the same for all.

    def build_recurrent(self, **arguments: Any) -> keras.layers.Layer:
        """Builds the recurrent layer with its penalty, of fixed or learned positions."""
        arguments = {"name": "rnn"} | arguments
        plain, learning = CELLS[self.cell]
        if not self._learns_positions:
            penalty = make_penalty(self)
            return plain(self.units, recurrent_regularizer=penalty, **arguments)
        permute_seed = self.seed if self.control == "permuted" else None
        return learning(
            self.units,
            manifold=make_manifold(self),
            inhibitor=make_inhibitor(self),
            strength=scale_strength(self, permute_seed=permute_seed),
            reduction="mean",
            embedding_seed=self.seed,
            permute_seed=permute_seed,
            **arguments,
        )

    @property
    def _learns_positions(self) -> bool:
        return self.learned and self.control in LEARNABLE

    def make_optimizer(self, **arguments: Any) -> keras.optimizers.Optimizer:
        """Makes Adam, with a rate of its own for learned positions."""
        adam = keras.optimizers.Adam(self.learning_rate, **arguments)
        if self._learns_positions:
            return km.embedding_optimizer(adam, self.embedding_rate)
        return adam

    @property
    def end_epoch(self) -> int:
        """The epoch at whose start the final sparsity is reached."""
        return find_target_epoch(self.end, self.epochs)

    def make_pruning(self) -> km.MagnitudePruning:
        """Makes the pruning to what the setting says, and recovery at the final mask."""
        return km.MagnitudePruning(
            self.sparsity,
            schedule=self.schedule,
            end=self.end_epoch,
            scope=self.scope,
            select=self.select,
            structure=parse_block(self.block) or "weights",
        )


def parse_block(text: str) -> tuple[int, int] | None:
    """Reads the sizes in "8x16", or None of an empty text."""
    if not text:
        return None
    inputs, by, outputs = text.partition("x")
    if not (by and inputs.isdecimal() and outputs.isdecimal()):
        raise ValueError(f"`block` must be like 8x16. Received: block={text!r}")
    return int(inputs), int(outputs)
