"""Which changes of the code no test sees: a sample of mutmut's mutants, by area.

mutmut makes the mutants and says which tests reach them (CONTRIBUTING.md). Here a sample
of them is tried, each in a fork of one process that has collected the tests: mutmut
collects them anew for each, which takes longer than the tests.

Example:
    mutmut run "keras_moduli.inhibitors.*"
    python benchmarks/mutation.py run --each 40
    python benchmarks/mutation.py table --each 40
"""

import argparse
import collections
import csv
import importlib.util
import itertools
import json
import math
import os
import pathlib
import random
import resource
import signal
import tomllib

import pytest

AREAS = {
    "manifolds": ("manifolds",),
    "inhibitors": ("inhibitors", "_inhibitor"),
    "penalties and cost": ("penalties", "regularizers", "_swaps"),
    "pruning": ("pruning",),
    "sparse": ("sparse",),
}
ROOT = pathlib.Path("mutants")
KILLED = {1, 3, 24, -24, 36, 152, 255}  # mutmut's exit codes, a timeout among them
SURVIVED = 0
Z = 1.96


def list_files(root=ROOT):
    """Returns for each area the files in which mutmut keeps what became of mutants."""
    found = {area: [] for area in AREAS}
    for file in sorted((root / "keras_moduli").glob("**/*.meta")):
        top = file.relative_to(root / "keras_moduli").parts[0].partition(".")[0]
        for area, names in AREAS.items():
            if top in names:
                found[area].append(file)
    return found


def read_codes(files):
    """Returns the exit code of each mutant: None if it was not tried."""
    parts = [json.loads(file.read_text())["exit_code_by_key"] for file in files]
    return {name: code for part in parts for name, code in part.items()}


def sample(names, each, seed):
    """Returns the first `each` of the names in an order that the seed alone says."""
    mixed = random.Random(seed).sample(sorted(names), len(names))
    return mixed[:each]


def wilson(killed, tried):
    """Returns Wilson's interval of 95 % for a share."""
    share, square = killed / tried, Z**2 / tried
    middle = share + square / 2
    half = Z * math.sqrt(share * (1 - share) / tried + square / tried / 4)
    return (middle - half) / (1 + square), (middle + half) / (1 + square)


def make_row(area, codes, each, seed):
    """Returns the row of an area: of its sample what was tried."""
    chosen = [codes[name] for name in sample(codes, each, seed)]
    counts = collections.Counter(code in KILLED for code in chosen if code is not None)
    killed, tried = counts[True], counts.total()
    low, high = wilson(killed, tried) if tried else (math.nan, math.nan)
    return {
        "area": area,
        "mutants": len(codes),
        "tried": tried,
        "killed": killed,
        "share": f"{100 * killed / max(tried, 1):.1f} %",
        "95 % interval": f"{100 * low:.1f} to {100 * high:.1f} %",
    }


class Tries:
    """A plugin of pytest that tries mutants in place of running what was collected."""

    def __init__(self, names, files):
        stats = json.loads((ROOT / "mutmut-stats.json").read_text())
        self.seconds = stats["duration_by_test"]
        self.tests = stats["tests_by_mangled_function_name"]
        self.names = names
        self.files = [file.resolve() for file in files]

    def pytest_runtestloop(self, session):
        """Tries each mutant, and says that this was the run."""
        # What each fork would import for itself, by its first random seed.
        importlib.util.find_spec("tensorflow") and importlib.import_module("tensorflow")
        items = {item.nodeid: item for item in session.items}
        fresh = [test for test in items if test not in self.seconds]
        for name in self.names:
            reached = self.tests.get(name.rpartition("__mutmut_")[0], ())
            known = [test for test in reached if test in items]
            known.sort(key=lambda test: self.seconds.get(test, 0.0))
            known += fresh  # which mutmut has not met yet
            limit = 20 + 3 * sum(self.seconds.get(test, 0.0) for test in known)
            code = self.try_one(name, [items[test] for test in known], int(limit))
            print(f"{code:4} {len(known):4} tests  {name}", flush=True)
            self.keep(name, code)
        return True

    def try_one(self, name, items, limit):
        """Returns the exit code of a fork that runs tests until one fails."""
        if pid := os.fork():
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        from _pytest.runner import runtestprotocol
        from mutmut.mutation.trampoline import set_mutant_under_test

        code = 1
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
            signal.alarm(10 * limit)
            set_mutant_under_test(name)
            for item, after in zip(items, [*items[1:], None], strict=True):
                reports = runtestprotocol(item, nextitem=after, log=False)
                if any(report.failed for report in reports):
                    print(f"     {item.nodeid}", flush=True)
                    break
            else:
                code = SURVIVED
        finally:
            os._exit(code)

    def keep(self, name, code):
        """Writes an exit code to where mutmut has its own."""
        for file in self.files:
            data = json.loads(file.read_text())
            if name in data["exit_code_by_key"]:
                data["exit_code_by_key"][name] = code
                file.write_text(json.dumps(data, indent=4))


def run(files, each, seed, again):
    """Tries what was not tried of the sample of each area, or again what survived."""
    wanted = SURVIVED if again else None
    lists = []
    for part in files.values():
        codes = read_codes(part)
        lists.append(
            [name for name in sample(codes, each, seed) if codes[name] == wanted]
        )
    # In turns: wherever it is stopped, all areas have as many.
    turns = itertools.zip_longest(*lists)
    names = [name for turn in turns for name in turn if name is not None]
    config = tomllib.loads(pathlib.Path("pyproject.toml").read_text())["tool"]["mutmut"]
    tries = Tries(names, [file for part in files.values() for file in part])
    os.environ |= {"MUTANT_UNDER_TEST": "", "PY_IGNORE_IMPORTMISMATCH": "1"}
    os.chdir(ROOT)
    arguments = ["--rootdir=.", "--capture=no", *config["pytest_add_cli_args"]]
    pytest.main(
        [*arguments, *config["pytest_add_cli_args_test_selection"]], plugins=[tries]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["run", "survivors", "table"])
    parser.add_argument("--each", type=int, default=40, help="mutants of each area")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of mutants")
    parser.add_argument("--areas", nargs="*", default=list(AREAS))
    parser.add_argument("--again", action="store_true", help="what survived")
    parser.add_argument("--file", type=argparse.FileType("w"), default="-")
    args = parser.parse_args()
    every = list_files()
    files = {area: every[area] for area in args.areas}
    if args.what == "run":
        run(files, args.each, args.seed, args.again)
        return
    found = {area: read_codes(part) for area, part in files.items()}
    if args.what == "survivors":
        for codes in found.values():
            chosen = sample(codes, args.each, args.seed)
            left = [name for name in chosen if codes[name] not in (*KILLED, None)]
            print(*left, sep="\n", file=args.file)
        return
    rows = [make_row(area, codes, args.each, args.seed) for area, codes in found.items()]
    writer = csv.DictWriter(args.file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


if __name__ == "__main__":
    main()
