"""Figures of repeated, interleaved runs. Knows nothing of what was measured."""
import math
import statistics

median = statistics.median


def ratio(values, anchor):
    """The median of the ratios of runs that followed each other, so that a machine that slows down tells on both; that of
    the medians where the counts differ. None where there is nothing to divide by."""
    if not values or not anchor or not all(anchor):
        return None
    if len(values) == len(anchor):
        return median(v / a for v, a in zip(values, anchor))
    return median(values) / median(anchor)


def percentile(values, p):
    """Nearest rank: the smallest value that at least p per cent of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * p / 100) - 1)]


def slope(points):
    """Of the line through (x, y) points with the least squares; 0 for less than two."""
    if len({x for x, _ in points}) < 2:
        return 0.0
    return statistics.linear_regression(*zip(*points)).slope
