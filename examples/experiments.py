"""What the experiments share: a task in a setting, trained, pruned and tested.

A task is a subclass of `Experiment` that says what its sequences are, and how far off a
network is; the fields of the class are the setting. All networks, penalties, controls and
masks are made here, so that tasks differ in nothing else.
"""

import abc
import inspect
import json
import pathlib
import shlex
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

import keras
import numpy as np
import provenance
import records

import keras_moduli as km

TEST_SEED = 2**31  # no epoch of training has it
# Besides the names of the library, the placements of Mackey et al.
MANIFOLDS: dict[str, Callable[[], km.manifolds.Manifold]] = {
    "6-torus": lambda: km.manifolds.Torus(6),
    "3-sphere": lambda: km.manifolds.Sphere(3, radius=10.0),
    "r9": lambda: km.manifolds.Euclidean(9),
    "sphere x torus": lambda: km.manifolds.Product(
        [km.manifolds.Sphere(), km.manifolds.Torus()]
    ),
}
CONTROLS = ("geometry", "none", "l1", "permuted", "rows", "random")
CELLS = {
    "SimpleRNN": (keras.layers.SimpleRNN, km.layers.ModuliSimpleRNN, 1),
    "GRU": (keras.layers.GRU, km.layers.ModuliGRU, 3),
    "LSTM": (keras.layers.LSTM, km.layers.ModuliLSTM, 4),
}

Arrays = tuple[Any, np.ndarray]


def option(default: Any, text: str, choices: Any = None) -> Any:
    """A field of a setting, with what the command line says of it."""
    return field(default=default, metadata={"help": text, "choices": choices})


@dataclass(frozen=True, kw_only=True)
class Experiment(abc.ABC):
    """One run: a task, its network, penalty and pruning, and the seed of everything."""

    control: str = option(
        "geometry",
        "the penalty: by geometry, or in its place none, L1 of the same mean, the same "
        "coefficients permuted, those of an embedding with permuted rows, or random ones "
        "with the same histogram",
        CONTROLS,
    )
    manifold: str = option(
        "torus", "one of " + ", ".join([*km.manifolds.names(), *MANIFOLDS])
    )
    inhibitor: str = option("dog", "one of " + ", ".join(km.inhibitors.names()))
    density: float = option(
        0.1, "fraction of pairs within the inhibitor's length; 0 for the authors' scale"
    )
    strength: float = option(0.1, "mean cost of a unit weight")
    learned: bool = option(False, "whether the places are learned")
    embedding_rate: float = option(0.01, "learning rate of the places")
    cell: str = option("SimpleRNN", "of the recurrent layer", tuple(CELLS))
    units: int = option(128, "hidden neurons")
    sparsity: float = option(0.95, "fraction of zeros at the end")
    block: str = option("", "as in 8x16: inputs and outputs of blocks to prune at once")
    scope: str = option("global", "within which weights compete: global, layer, erk")
    select: str = option("kernels", "what is pruned: kernels, or recurrent")
    schedule: str = option("cubic", "one of " + ", ".join(km.schedules.names()))
    end: float = option(2 / 3, "fraction of the epochs at which the sparsity is reached")
    epochs: int = option(30, "of training; after each the error is measured")
    learning_rate: float = option(1e-3, "of Adam")
    lottery: bool = option(False, "also train fresh weights under the final mask")
    seed: int = option(0, "of weights, places and data")

    error_name: ClassVar[str]
    quick: ClassVar[dict[str, Any]]
    chance: ClassVar[float]

    def __post_init__(self) -> None:
        for choice in fields(Experiment):
            known = choice.metadata["choices"]
            if known and getattr(self, choice.name) not in known:
                raise ValueError(
                    f"`{choice.name}` must be one of {list(known)}. "
                    f"Received: {choice.name}={getattr(self, choice.name)!r}"
                )
        for name in ("units", "epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1.")
        if not self.learning_rate > 0:
            raise ValueError("`learning_rate` must be above 0.")
        if self.learned and self.control in ("rows", "random"):
            raise ValueError(
                f"`control={self.control!r}` is one of fixed places. With learned ones "
                "take 'permuted', 'l1' or 'none'."
            )
        self.penalty()
        self.pruning()

    # A task says these.

    @abc.abstractmethod
    def network(self) -> keras.Model:
        """A compiled network with `self.recurrent(...)` in it."""

    @abc.abstractmethod
    def training(self) -> dict[str, Any]:
        """The arguments of `fit` that hold the data."""

    @abc.abstractmethod
    def error(self, model: keras.Model) -> float:
        """How far off the network is on sequences never trained on."""

    # The rest is the same for all.

    def geometry(self) -> km.manifolds.Manifold:
        """Where the neurons live."""
        if self.manifold in MANIFOLDS:
            return MANIFOLDS[self.manifold]()
        return km.manifolds.get(self.manifold)

    def price(self) -> km.inhibitors.Inhibitor:
        """The inhibitor, its length tied to the manifold unless `density` is 0.

        The difference of Gaussians is 0 where it is cheapest, as in the authors' scripts.
        """
        cls = type(km.inhibitors.get(self.inhibitor))
        is_dog = cls is km.inhibitors.DifferenceOfGaussians
        settings = {"baseline": "peak"} if is_dog else {}
        if self.density and hasattr(cls, "for_density"):
            return cls.for_density(self.geometry(), self.density, **settings)
        return cls(**settings)

    def penalty(self) -> Any:
        """The penalty on the recurrent kernel, or its control, of one mean cost."""
        if self.control == "none":
            return None
        unit = self._moduli(1.0)
        if not self.strength >= 0:
            raise ValueError(f"`strength` must be at least 0. Received: {self.strength}")
        shape = (self.units, unit.gates * self.units)
        costs = unit.coefficients(shape)
        moduli = self._moduli(self.strength / float(costs.mean()))
        if self.control == "l1":
            return km.matched_l1(moduli, shape)
        if self.control == "random":
            return RandomCosts(symmetric(costs, self.seed), self.strength)
        return moduli

    def _moduli(self, strength: float) -> km.ModuliRegularizer:
        manifold = self.geometry()
        points = None
        if self.control == "rows":
            rows = np.random.RandomState(self.seed).permutation(self.units)
            points = manifold.sample(self.units, self.seed)[rows]
        return km.ModuliRegularizer(
            manifold,
            self.price(),
            strength,
            reduction="mean",
            gates=CELLS[self.cell][2],
            seed=self.seed,
            embedding=points,
            permute_seed=self.seed if self.control == "permuted" else None,
        )

    def recurrent(self, **arguments: Any) -> keras.layers.Layer:
        """The recurrent layer with its penalty; places are fixed, or learned."""
        plain, learning, _ = CELLS[self.cell]
        arguments = {"name": "rnn"} | arguments
        penalty = self.penalty()
        if not self._has_places_to_learn:
            return plain(self.units, recurrent_regularizer=penalty, **arguments)
        return learning(
            self.units,
            manifold=penalty.manifold,
            inhibitor=penalty.inhibitor,
            strength=penalty.strength,
            reduction="mean",
            embedding_seed=self.seed,
            permute_seed=penalty.permute_seed,
            **arguments,
        )

    @property
    def _has_places_to_learn(self) -> bool:
        return self.learned and self.control in ("geometry", "permuted")

    def optimizer(self, **arguments: Any) -> keras.optimizers.Optimizer:
        """Adam, with a rate of its own for learned places."""
        adam = keras.optimizers.Adam(self.learning_rate, **arguments)
        if self._has_places_to_learn:
            return km.embedding_optimizer(adam, self.embedding_rate)
        return adam

    @property
    def end_epoch(self) -> int:
        """The epoch at whose start the final sparsity is reached."""
        return records.target_epoch(self.end, self.epochs)

    def pruning(self) -> km.MagnitudePruning:
        """To what the setting says, and recovery at the final mask."""
        block = blocks(self.block)
        return km.MagnitudePruning(
            self.sparsity,
            schedule=self.schedule,
            end=self.end_epoch,
            scope=self.scope,
            select=self.select,
            block=block,
            balanced=block is not None,
        )

    def train(self, verbose: int = 0) -> tuple[keras.Model, list[float]]:
        """A network, pruned while it learned, and its error after each epoch."""
        keras.utils.set_random_seed(self.seed)
        model = self.network()
        return model, self._fit(model, [self.pruning()], verbose)

    def _fit(self, model: keras.Model, callbacks: list[Any], verbose: int) -> list[float]:
        errors: list[float] = []
        model.fit(
            **self.training(),
            epochs=self.epochs,
            verbose=verbose,
            callbacks=[*callbacks, _Errors(self, errors)],
        )
        return errors

    def run(self, verbose: int = 0) -> tuple[keras.Model, dict[str, Any]]:
        """Trains and tests; the network, and what there is to say of it in one row."""
        start = time.time()
        model, errors = self.train(verbose)
        found: dict[str, Any] = {
            "error": errors[-1],
            "error at target": errors[self.end_epoch],
            "errors": json.dumps([float(f"{error:.5g}") for error in errors]),
        }
        if self.lottery:
            ticket = km.lottery_ticket(model, seed=self.seed + 1)
            found["lottery error"] = self._fit(ticket, [], verbose)[-1]
        report = km.sparsity(model)
        zeros = {r.label: round(r.sparsity, 5) for r in (*report.rows, report.total)}
        reach = [r.distance / r.distance_before for r in report.rows if r.distance]
        found |= {
            "zeros": json.dumps(zeros),
            "reach": round(float(np.mean(reach)), 4) if reach else "",
            "seconds": round(time.time() - start, 1),
            "peak MiB": provenance.peak_memory(),
            "backend": keras.backend.backend(),
            "command": self.command(),
            "machine": provenance.machine(),
            "versions": provenance.versions(),
        }
        return model, asdict(self) | found

    def command(self) -> str:
        """What to type for this run alone."""
        flags = [
            f"--{'' if value is not False else 'no-'}{name.replace('_', '-')}"
            + ("" if isinstance(value, bool) else f" {shlex.quote(str(value))}")
            for name, value in asdict(self).items()
            if value != type(self).__dataclass_fields__[name].default
        ]
        return " ".join([f"python examples/{self.script()}.py", *flags])

    @classmethod
    def script(cls) -> str:
        """The name of the file of the task."""
        return pathlib.Path(inspect.getfile(cls)).stem


def blocks(text: str) -> tuple[int, int] | None:
    """The sizes in "8x16", or None of an empty text."""
    if not text:
        return None
    inputs, by, outputs = text.partition("x")
    if not (by and inputs.isdecimal() and outputs.isdecimal()):
        raise ValueError(f"`block` must be like 8x16. Received: block={text!r}")
    return int(inputs), int(outputs)


def symmetric(costs: np.ndarray, seed: int) -> np.ndarray:
    """A symmetric table of costs drawn from another."""
    drawn = np.random.RandomState(seed).choice(costs.ravel(), costs.shape)
    upper = np.triu(drawn, 1)
    return upper + upper.T + np.diag(np.diag(drawn))


@keras.saving.register_keras_serializable("experiments")
class RandomCosts(keras.regularizers.Regularizer):
    """Costs of no geometry: strength · mean(costs · |w|) / mean(costs)."""

    def __init__(self, costs: Any, strength: float) -> None:
        self.costs, self.strength = np.asarray(costs, "float32"), strength

    def __call__(self, kernel: Any) -> Any:
        gates = kernel.shape[-1] // len(self.costs)
        by_gates = keras.ops.reshape(kernel, (len(self.costs), gates, -1))
        share = self.strength / float(self.costs.mean())
        costs = keras.ops.convert_to_tensor(self.costs)
        return share * km.penalties.penalty(by_gates, costs, reduction="mean")

    def get_config(self) -> dict[str, Any]:
        return {"costs": self.costs.tolist(), "strength": self.strength}


def percent_wrong(model: keras.Model, x: np.ndarray, y: np.ndarray) -> float:
    """How many of all sequences get the highest score for another class than theirs."""
    scores = model.predict(x, batch_size=len(x), verbose=0)
    return float(100 * np.mean(scores.argmax(-1) != y))


class _Errors(keras.callbacks.Callback):
    """The test error after each epoch."""

    def __init__(self, experiment: Experiment, errors: list[float]) -> None:
        super().__init__()
        self.experiment, self.errors = experiment, errors

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.errors.append(self.experiment.error(self.model))
        if logs is not None:
            logs["test_error"] = self.errors[-1]


class FreshBatches(keras.utils.PyDataset):
    """Batches that no earlier epoch has shown.

    Args:
        sequences: From a number and a seed to so many inputs and targets.
        seed: Of the run.
        batches: In an epoch.
        batch_size: Sequences in each.
        finish: From a batch of them to what the network sees, if that is larger.
    """

    def __init__(
        self,
        sequences: Callable[[int, int], Arrays],
        seed: int,
        batches: int,
        batch_size: int,
        finish: Callable[[Any, Any], Arrays] = lambda x, y: (x, y),
    ) -> None:
        super().__init__()
        self.sequences, self.finish = sequences, finish
        self.batches, self.batch_size = batches, batch_size
        self.epoch_seed = 100_000 * seed
        self.on_epoch_end()

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, batch: int) -> Arrays:
        rows = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
        return self.finish(self.x[rows], self.y[rows])

    def on_epoch_end(self) -> None:
        count = self.batches * self.batch_size
        self.x, self.y = self.sequences(count, self.epoch_seed)
        self.epoch_seed += 1
