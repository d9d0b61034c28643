"""Figures of seeds: pairs, intervals, and whether penalties differ at all.

Differences are paired: each seed of a setting against the same seed of the control, with
the 95 % interval of their mean by bootstrap over seeds. In percent they are the geometric
mean of ratios, which a seed whose error is ten times as large does not govern.

Whether the penalties of a table differ at all is asked of all together: how likely ranks
as different would be if within each seed all errors were at random places, by permutation
(Friedman's test, whose limit for many seeds would be far off for five).
"""

import math
from collections.abc import Iterable

import numpy as np
from scipy.stats import bootstrap, permutation_test, rankdata

Seeds = dict[int, float]
FEWEST = 3  # seeds of which a difference is shown
PERMUTATIONS = 2000


def pair_seeds(ours: Seeds, theirs: Seeds) -> list[tuple[float, float]]:
    """Pairs the figures of the seeds that both have."""
    return [(ours[seed], theirs[seed]) for seed in sorted(set(ours) & set(theirs))]


def compute_differences(ours: Seeds, theirs: Seeds) -> list[float]:
    """Computes the differences of the seeds that both have."""
    return [a - b for a, b in pair_seeds(ours, theirs)]


def compute_log_ratios(ours: Seeds, theirs: Seeds) -> list[float]:
    """Computes the logarithms of the ratios of the seeds that both have."""
    return [math.log(a / b) for a, b in pair_seeds(ours, theirs)]


def estimate_interval(values: np.ndarray) -> tuple[float, float]:
    """Estimates the 95 % interval of a mean, by bootstrap."""
    if values.min() == values.max():
        return values.min(), values.max()
    generator = np.random.default_rng(0)
    outcome = bootstrap((values,), np.mean, method="percentile", rng=generator)
    return outcome.confidence_interval


def judge(values: list[float]) -> int:
    """Judges a difference: its sign if the interval leaves zero out, 0 otherwise."""
    low, high = estimate_interval(np.array(values))
    return int(low > 0) - int(high < 0)


def align_seeds(settings: Iterable[Seeds]) -> tuple[list[int], list[list[float]]]:
    """Lists seeds, and their errors, of the settings that have as many as any other."""
    settings = list(settings)
    most = max(map(len, settings), default=0)
    whole = [errors for errors in settings if len(errors) == most]
    seeds = sorted(set.intersection(*map(set, whole))) if whole else []
    return seeds, [[errors[seed] for seed in seeds] for errors in whole]


def compare_ranks(settings: Iterable[Seeds]) -> float | None:
    """Computes how likely settings that do not differ have ranks as different as these.

    Returns:
        The p-value, or None of too few settings or seeds.
    """
    seeds, errors = align_seeds(settings)
    if len(errors) < FEWEST or len(seeds) < FEWEST:
        return None
    outcome = permutation_test(
        tuple(rankdata(errors, axis=0)),
        lambda *ranks, axis: np.var(np.mean(ranks, axis=axis), axis=0),
        permutation_type="samples",
        alternative="greater",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        rng=np.random.default_rng(0),
    )
    return float(outcome.pvalue)
