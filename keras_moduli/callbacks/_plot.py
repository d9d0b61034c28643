"""Pictures of a geometry while it is trained."""

import os
import warnings
from pathlib import Path
from typing import Any

import keras

from keras_moduli import _checks, _files, plot
from keras_moduli._repr import write_call
from keras_moduli.plot import _style
from keras_moduli.report import placement

_KINDS = ("overview", "neurons", "matrix", "distances")


class PlotGeometry(keras.callbacks.Callback):
    """Writes a picture of the geometry every N epochs, and a film of them in the end.

    `geometry-0000.png` is of the start, if the model is built then, `geometry-0005.png`
    of the end of the fifth epoch; `geometry.gif` shows all. There is none of an epoch at
    whose end all weights are zero, but a warning.

    Args:
        directory: Where to, made if it is not there. Files of the same names are
            replaced.
        every: Draw at the end of every so many epochs.
        kernel: Name of a layer, or of a weight matrix as `km.geometry` prints it. By
            default the first that has a geometry.
        kind: `"overview"`, `"neurons"`, `"matrix"` or `"distances"`: which function of
            `km.plot` draws.
        seconds: How long the film shows each picture.

    Raises:
        ImportError: When training starts, if matplotlib is not installed.
        TypeError: If an argument is of the wrong type.
        ValueError: If one is out of range; when training starts, if no weight of the
            model has a geometry; at the first picture, if the model is only built in the
            first step.

    Examples:
        >>> import os, tempfile, keras, numpy as np, keras_moduli as km
        >>> model = keras.Sequential([keras.Input((5, 2)), km.layers.ModuliSimpleRNN(8)])
        >>> model.compile("adam", "mse")
        >>> folder = tempfile.mkdtemp()
        >>> callback = km.callbacks.PlotGeometry(folder, kind="neurons")
        >>> x, y = np.zeros((4, 5, 2)), np.zeros((4, 8))
        >>> _ = model.fit(x, y, epochs=2, verbose=0, callbacks=[callback])
        >>> sorted(os.listdir(folder))[-1]
        'geometry.gif'
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        every: int = 1,
        *,
        kernel: str | None = None,
        kind: str = "overview",
        seconds: float = 0.3,
    ) -> None:
        super().__init__()
        if not isinstance(directory, str | os.PathLike):
            raise TypeError(
                "`directory` must be a path such as 'pictures'. "
                f"Received: directory={directory!r}"
            )
        self.directory = Path(directory)
        self.every = _checks.integer("every", every, minimum=1)
        self.kernel = kernel
        self.kind = _checks.choice("kind", kind, _KINDS)
        self.seconds = _checks.positive("seconds", seconds)
        self._written: list[Path] = []

    def __repr__(self) -> str:
        return write_call(self)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Draws the start, and checks that there is something to draw."""
        self._written = []
        self.directory.mkdir(parents=True, exist_ok=True)
        if _checks.has_weights(self.model):
            placement(self.model, self.kernel)
            self._draw(0)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Draws."""
        if (epoch + 1) % self.every == 0:
            self._draw(epoch + 1)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Writes the film."""
        if not self._written:
            return
        from PIL import Image  # which matplotlib needs, too

        frames = [Image.open(path).convert("RGB") for path in self._written]
        width, height = (max(frame.size[axis] for frame in frames) for axis in (0, 1))
        first, *others = (_pad(frame, (width, height)) for frame in frames)
        with _files.replace(self.directory / "geometry.gif") as file:
            first.save(
                file,
                format="gif",
                save_all=True,
                append_images=others,
                duration=round(1000 * self.seconds),
                loop=0,
            )

    def _draw(self, epoch: int) -> None:
        placed = placement(self.model, self.kernel)
        try:
            drawn = getattr(plot, self.kind)(placed)
        except ValueError as error:  # no reason to end a training run
            warnings.warn(f"There is no picture of epoch {epoch}: {error}", stacklevel=2)
            return
        figure = getattr(drawn, "figure", drawn)
        figure.suptitle(f"epoch {epoch}", x=0.99, ha="right", fontsize=9)
        path = self.directory / f"geometry-{epoch:04d}.png"
        # Each as large as the others.
        _style.write(figure, path, bbox_inches=None)
        _close(figure)
        self._written.append(path)


def _close(figure: Any) -> None:
    from matplotlib import pyplot

    pyplot.close(figure)


def _pad(frame: Any, size: tuple[int, int]) -> Any:
    from PIL import Image

    if frame.size == size:
        return frame
    padded = Image.new("RGB", size, "white")
    padded.paste(frame)
    return padded
