"""What stands in the cells of tables: means, differences and changes over seeds."""

import statistics

import numpy as np

from .markdown import count_places, format_number
from .statistics import (
    FEWEST,
    Seeds,
    compute_differences,
    compute_log_ratios,
    estimate_interval,
    judge,
)

NO_DIFFERENCE = "no difference"


def write_mean(values: Seeds) -> str:
    """Writes mean and standard deviation over seeds."""
    errors = list(values.values())
    places = count_places(statistics.fmean(errors))
    mean = format_number(statistics.fmean(errors), places)
    if len(errors) == 1:
        return mean
    return f"{mean} ± {format_number(statistics.stdev(errors), places)}"


def write_difference(ours: Seeds, theirs: Seeds) -> str:
    """Writes the mean of the paired differences over seeds, and its interval."""
    gains = np.array(compute_differences(ours, theirs))
    if len(gains) < FEWEST:
        return ""
    places = count_places(statistics.fmean(ours.values()))
    return _write_interval(gains.mean(), *estimate_interval(gains), places)


def write_ratio(ours: Seeds, theirs: Seeds) -> str:
    """Writes the mean of the paired ratios over seeds, for errors of many sizes."""
    logs = compute_log_ratios(ours, theirs)
    return write_percent(logs) if len(logs) >= FEWEST else ""


def write_percent(logs: list[float]) -> str:
    """Writes the mean of logarithms of ratios as a change in percent, with interval."""
    figures = np.expm1([np.mean(logs), *estimate_interval(np.array(logs))]) * 100
    return _write_interval(*figures, places=1 if np.abs(figures).max() < 20 else 0)


def spell_verdict(gains: list[float]) -> str:
    """Spells whether errors are lower or higher, beyond the interval."""
    return {-1: "better", 0: NO_DIFFERENCE, 1: "worse"}[judge(gains)]


def write_verdict(gains: dict[str, list[float]]) -> str:
    """Writes than which others errors are lower or higher, beyond their intervals.

    Args:
        gains: For each of the others the differences of all seeds, or log ratios.
    """
    signs = {name: judge(one) for name, one in gains.items() if len(one) >= FEWEST}
    words = [
        f"{word} than {_list_names(signs, sign)}"
        for sign, word in ((-1, "better"), (1, "worse"))
        if sign in signs.values()
    ]
    return "; ".join(words) if words else NO_DIFFERENCE if signs else ""


def _list_names(signs: dict[str, int], sign: int) -> str:
    names = [name for name, found in signs.items() if found == sign]
    return "all" if len(names) == len(signs) > 2 else ", ".join(names)


def _write_interval(mean: float, low: float, high: float, places: int) -> str:
    mean, low, high = (format_number(x, places, signed=True) for x in (mean, low, high))
    return f"{mean} [{low}, {high}]"
