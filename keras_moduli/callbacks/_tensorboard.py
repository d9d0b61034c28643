"""The geometry in TensorBoard: images, and neurons in the projector."""

import io
import os
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_moduli import _checks, _files, plot
from keras_moduli._repr import write_call
from keras_moduli.report import placement


class TensorBoardGeometry(keras.callbacks.Callback):
    """Shows the sorted matrix among TensorBoard's images, and neurons in its projector.

    Writes only files: it needs the package `tensorboard`, not TensorFlow, and stands
    beside `keras.callbacks.TensorBoard` in the same directory or alone. The projector
    shows the positions of the last epoch, each neuron with its number and how many
    connections it has.

    Args:
        log_dir: Directory of the logs, made if it is not there.
        every: Write at the end of every so many epochs.
        kernel: Name of a layer, or of a weight matrix as `km.geometry` prints it. By
            default the first that has a geometry.

    Raises:
        ImportError: When training starts, if tensorboard or matplotlib is not installed.
        TypeError: If `log_dir` is no path, or `every` no integer.
        ValueError: If `every` is below 1; when training starts, if no weight of the model
            has a geometry; at the end of the first epoch, if the model is only built in
            the first step.

    Examples:
        >>> import keras_moduli as km
        >>> callback = km.callbacks.TensorBoardGeometry("logs", every=5)
        >>> callback  # for `model.fit(..., callbacks=[callback])`
        TensorBoardGeometry(every=5)
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] = "logs",
        every: int = 1,
        *,
        kernel: str | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(log_dir, str | os.PathLike):
            raise TypeError(
                f"`log_dir` must be a path such as 'logs'. Received: log_dir={log_dir!r}"
            )
        self.log_dir = Path(log_dir)
        self.every = _checks.integer("every", every, minimum=1)
        self.kernel = kernel
        self._writer: Any = None

    def __repr__(self) -> str:
        return write_call(self)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Opens the file of events, and checks that there is something to write."""
        if _checks.has_weights(self.model):
            placement(self.model, self.kernel)
        self._writer = _open_writer(self.log_dir)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Writes an image of the matrix, and the positions."""
        if (epoch + 1) % self.every:
            return
        placed = placement(self.model, self.kernel)
        _write_image(self._writer, f"geometry/{placed.label}", placed, epoch)
        _write_projector(self.log_dir, placed)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Closes the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _open_writer(log_dir: Path) -> Any:
    try:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError as error:
        raise ImportError(
            "TensorBoardGeometry needs tensorboard. Type: pip install tensorboard"
        ) from error
    log_dir.mkdir(parents=True, exist_ok=True)
    return EventFileWriter(str(log_dir), filename_suffix=".geometry")


def _write_image(writer: Any, tag: str, placed: Any, step: int) -> None:
    from matplotlib import pyplot
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    figure = plot.matrix(placed).figure
    file = io.BytesIO()
    figure.savefig(file, format="png", bbox_inches=None)
    height, width = (figure.get_size_inches() * figure.dpi).astype(int)[::-1]
    pyplot.close(figure)
    image = Summary.Image(
        height=int(height),
        width=int(width),
        colorspace=3,
        encoded_image_string=file.getvalue(),
    )
    summary = Summary(value=[Summary.Value(tag=tag, image=image)])
    writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
    writer.flush()


def _write_projector(log_dir: Path, placed: Any) -> None:
    """Writes positions, what is known of neurons, and where TensorBoard finds both."""
    name = placed.label.replace("/", "_").replace(" ", "_")
    with _files.replace(log_dir / f"{name}.tsv") as file:
        np.savetxt(file, placed.positions, delimiter="\t", fmt="%.6g")
    degrees = np.bincount(placed.connections.outputs, minlength=len(placed.positions))
    rows = [f"{number}\t{degree}" for number, degree in enumerate(degrees)]
    text = "\n".join(["neuron\tconnections", *rows])
    _files.write_text(log_dir / f"{name}_neurons.tsv", text + "\n")
    config = log_dir / "projector_config.pbtxt"
    entry = (
        "embeddings {\n"
        f'  tensor_name: "{placed.label}"\n'
        f'  tensor_path: "{name}.tsv"\n'
        f'  metadata_path: "{name}_neurons.tsv"\n'
        "}\n"
    )
    known = config.read_text() if config.exists() else ""
    if f'tensor_path: "{name}.tsv"' not in known:
        _files.write_text(config, known + entry)
