"""Whether training that is killed goes on as if it had not been.

    python benchmarks/faults.py

A run of twelve epochs is backed up after each. It is killed by `kill -9`, by turns at a
random moment of an epoch and at a random moment of writing the backup, and started again
until it comes to its end. Its weights, with the sign of their zeros, which is the masks,
its positions, the state of the optimizer and the logs of the last epoch must then have
the bits of a run that was never killed.

`backup` says how it is backed up. `whole`: by `WholeBackup` of `fault_runs.py`, which the
guide shows. `Keras`: by `keras.callbacks.BackupAndRestore` alone. `double`: the same with
`double_checkpoint=True`. `steps`: with `save_freq=3`. The kinds `Keras` and `Dropout`
have nothing of this package. `stuck` counts runs that stop with an error when they are
resumed, `equal` those that come to the same bits.
"""

import importlib.util
import itertools
import os
import pathlib
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from typing import Any

from harness import Row, parser, run

KINDS = ("plain", "RigL", "SET", "blocks", "learned", "Rewire", "Keras", "Dropout")
BACKUPS = ("whole", "Keras", "double", "steps")
MARKS = {"training": b"e", "writing": b"w"}  # what starts then
KEYS = ("backend", "kind", "backup")


def main() -> None:
    found = parser(__doc__, "faults")
    found.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    found.add_argument("--backups", nargs="+", choices=BACKUPS, default=["whole"])
    found.add_argument("--kills", type=int, default=20, help="of each row")
    found.add_argument("--epochs", type=int, default=12)
    found.add_argument("--seed", type=int, default=0, help="of when to kill")
    args = found.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        # A killed process may leave half an entry in a cache of JAX that others read.
        os.environ["JAX_COMPILATION_CACHE_DIR"] = cache
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        run(args, lambda: measure(args), KEYS)


def measure(args: Any) -> Iterator[Row]:
    # Processes are forked from this one, which has imported all and computes nothing.
    if importlib.util.find_spec("tensorflow"):
        importlib.import_module("tensorflow")  # `fit` does, on all backends
    importlib.import_module("fault_runs")

    for kind in args.kinds:
        for backup in args.backups:
            with tempfile.TemporaryDirectory() as folder:
                yield Trial(kind, backup, args, pathlib.Path(folder)).run(args.kills)


class Trial:
    """Runs of one kind, killed so many times in all.

    Args:
        kind: What is trained.
        backup: How it is backed up.
        args: Of the command.
        folder: An empty one.
    """

    def __init__(self, kind: str, backup: str, args: Any, folder: pathlib.Path) -> None:
        self.kind, self.backup, self.folder = kind, backup, folder
        self.epochs = args.epochs
        self.rng = random.Random(f"{args.seed} {kind} {backup}")
        self.kills = dict.fromkeys(MARKS, 0)
        self.resumes = 0

    def run(self, kills: int) -> Row:
        """Returns the row of the table."""
        whole = self.folder / "whole"
        self._measure(whole)
        ends = []
        while sum(self.kills.values()) < kills:
            folder = self.folder / f"run-{len(ends)}"
            ends.append(self._finish(folder, whole, kills))
            shutil.rmtree(folder)
        return {
            "kind": self.kind,
            "backup": self.backup,
            "kills": sum(self.kills.values()),
            "while writing": self.kills["writing"],
            "resumes": self.resumes,
            "runs": len(ends),
            "stuck": ends.count("stuck"),
            "equal": ends.count("equal"),
        }

    def _measure(self, folder: pathlib.Path) -> None:
        """Does the run that is never killed, and sees how long all takes."""
        life = Life(self, folder)
        events = []
        while event := life.read():
            events.append((event, time.monotonic()))
        pairs = list(itertools.pairwise(events))
        self.seconds = {
            mark: statistics.median(
                then - now for (event, now), (_, then) in pairs if event == mark
            )
            for mark in MARKS.values()
        }
        if life.wait():
            raise SystemExit(f"{self.kind}: a run without a kill has failed\n{life.log}")

    def _finish(self, folder: pathlib.Path, whole: pathlib.Path, kills: int) -> str:
        """Does a run that is killed again and again, and says how it ended."""
        while True:
            life = Life(self, folder)
            turn = min(self.kills, key=lambda name: self.kills[name])
            if sum(self.kills.values()) < kills:
                self._kill(life, turn)
            status = life.wait()
            if status == signal.SIGKILL:
                self.kills[turn] += 1
                self.resumes += 1
            elif status:
                print(f"{self.kind}, {self.backup}: {life.log[-300:]}", file=sys.stderr)
                return "stuck"
            else:
                return self._judge(compare(folder, whole))

    def _judge(self, different: list[str]) -> str:
        if different:
            print(
                f"{self.kind}, {self.backup}: other are {different[:5]}", file=sys.stderr
            )
        return "unequal" if different else "equal"

    def _kill(self, life: "Life", turn: str) -> None:
        """Kills at a random moment, if there is training until then."""
        mark = MARKS[turn]
        for _ in range(self.rng.randint(1, 4)):
            while (event := life.read()) != mark:
                if not event:
                    return
        life.kill(self.rng.uniform(0, self.seconds[mark]))


class Life:
    """A process that trains, from its start or its last backup on."""

    def __init__(self, trial: Trial, folder: pathlib.Path) -> None:
        folder.mkdir(exist_ok=True)
        self._log = folder / "log"
        self._pipe, pipe = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            os.close(self._pipe)
            self._live(trial, folder, pipe)
        os.close(pipe)

    def _live(self, trial: Trial, folder: pathlib.Path, pipe: int) -> None:
        import fault_runs

        try:
            fault_runs.train(trial.kind, trial.backup, folder, trial.epochs, pipe)
        except BaseException:
            self._log.write_text(traceback.format_exc())
            os._exit(1)
        os._exit(0)

    @property
    def log(self) -> str:
        """The error that it has ended with."""
        return self._log.read_text()

    def read(self) -> bytes:
        """Returns what it does next, nothing at its end."""
        return os.read(self._pipe, 1)

    def kill(self, delay: float) -> None:
        """Kills it so many seconds from now."""
        time.sleep(delay)
        os.kill(self._pid, signal.SIGKILL)

    def wait(self) -> int:
        """Returns its status, the number of the signal if it was killed."""
        while self.read():
            pass
        os.close(self._pipe)
        return os.waitpid(self._pid, 0)[1]


def compare(folder: pathlib.Path, whole: pathlib.Path) -> list[str]:
    """Returns the names of what has other bits in one of two results."""
    import numpy as np

    def read(archive: Any, name: str) -> Any:
        return (archive[name].dtype, archive[name].tobytes()) if name in archive else None

    with np.load(folder / "result.npz") as one, np.load(whole / "result.npz") as other:
        names = dict.fromkeys([*one.files, *other.files])
        return [name for name in names if read(one, name) != read(other, name)]


if __name__ == "__main__":
    main()
