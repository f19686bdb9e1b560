"""Figures of repeated, interleaved runs: a value for each repetition, None where a run does not count. Knows nothing of
what was measured."""
import math
import statistics


def counted(values):
    return [value for value in values if value is not None]


def median(values):
    """None of none."""
    return statistics.median(counted(values)) if counted(values) else None


def ratio(values, anchor):
    """The median of the ratios of runs of the same repetition, so that a machine that slows down tells on both. None
    where there is nothing to divide by."""
    return median([v / a for v, a in zip(values, anchor or []) if v is not None and a])


def percentile(values, p):
    """Nearest rank: the smallest value that at least p per cent of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * p / 100) - 1)]


def slope(points):
    """Of the line through (x, y) points with the least squares; 0 for less than two."""
    if len({x for x, _ in points}) < 2:
        return 0.0
    return statistics.linear_regression(*zip(*points)).slope
