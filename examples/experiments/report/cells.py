"""What stands in the cells of tables: means, differences and changes over seeds."""

import statistics

import numpy as np

from .markdown import count_places, format_number
from .statistics import FEWEST, Seeds, compute_log_ratios, estimate_interval, pair_seeds


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
    gains = np.array([a - b for a, b in pair_seeds(ours, theirs)])
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


def _write_interval(mean: float, low: float, high: float, places: int) -> str:
    mean, low, high = (format_number(x, places, signed=True) for x in (mean, low, high))
    return f"{mean} [{low}, {high}]"
