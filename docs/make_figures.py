"""Draws docs/images: `python docs/make_figures.py`, half a minute on JAX."""

import pathlib
import sys

import keras
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from examples.experiments import training
from examples.experiments.tasks.adding_problem import AddingProblem

INK, ACCENT, PALE = "#1f2a44", "#d1495b", "#c9ced9"


def draw_torus(axes, points, kernel, strongest):
    """Neurons, and the largest weights as the shortest lines between them."""
    period = 10.0
    size = np.where(np.eye(len(kernel), dtype=bool), 0, np.abs(kernel))
    for flat in np.argsort(size, axis=None)[-strongest:]:
        j, k = np.unravel_index(flat, size.shape)
        step = (points[k] - points[j] + period / 2) % period - period / 2
        for start, way in ((points[j], step), (points[k], -step)):
            axes.plot(
                *zip(start, start + way, strict=True), color=ACCENT, lw=0.7, alpha=0.6
            )
    axes.scatter(*points.T, s=9, color=INK, zorder=3)
    axes.set(xlim=(0, period), ylim=(0, period), xticks=[], yticks=[], aspect="equal")


def main():
    """Trains one network with a diffusive penalty on the torus and draws what is left."""
    task = AddingProblem(inhibitor="diffusion", strength=1.0)
    model, errors = training.train(task)
    variable = model.layers[0].cell.recurrent_kernel
    kernel = keras.ops.convert_to_numpy(variable.value)
    points, _ = variable.regularizer.positions(kernel.shape)
    distances = variable.regularizer.distances(kernel.shape)
    kept = kernel != 0

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(10, 3.4))
    draw_torus(left, points, kernel, strongest=kept.sum() // 4)
    left.set_title(
        "neurons on a torus,\nthe strongest quarter of what is left", fontsize=9
    )
    middle.imshow(kept, cmap=matplotlib.colors.ListedColormap(["white", INK]))
    middle.set(xticks=[], yticks=[])
    middle.set_title(f"the recurrent matrix,\n{1 - kept.mean():.0%} zeros", fontsize=9)
    bins = np.linspace(0, distances.max(), 25)
    for values, color, label in (
        (distances.ravel(), PALE, "before pruning"),
        (distances[kept], ACCENT, "after"),
    ):
        right.hist(values, bins, density=True, color=color, alpha=0.85, label=label)
    right.set(xlabel="distance that a connection spans", yticks=[])
    right.legend(frameon=False, fontsize=8)
    right.spines[["left", "top", "right"]].set_visible(False)
    right.set_title(f"adding problem,\ntest MSE {errors[-1]:.5f}", fontsize=9)
    figure.tight_layout()
    figure.savefig(HERE / "images" / "torus.png", dpi=130)


if __name__ == "__main__":
    main()
