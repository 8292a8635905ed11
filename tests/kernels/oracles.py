"""Slow, plain answers to what the kernels on spot readings compute: datetimes, fractions, lists and the textbook.

A series is a list of (milliseconds UTC, thousandths), ascending. Results are floats in the signal's unit;
None stands for undetermined.
"""

import itertools
import statistics
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def local(t, zone):
    return (EPOCH + timedelta(milliseconds=t)).astimezone(ZoneInfo(zone))


def local_date(t, zone):
    return local(t, zone).date()


def day_number(day):
    return (day - date(1970, 1, 1)).days


def unit(x):
    return None if x is None else float(Fraction(x) / 1000)


def by_date(series, zone):
    dates = defaultdict(list)
    for t, x in series:
        dates[local_date(t, zone)].append(x)
    return dates


def in_window(series, now, window, in_days, zone):
    if window == 0:
        return list(series)
    if in_days:
        first = local_date(now, zone) - timedelta(days=window - 1)
        return [(t, x) for t, x in series if local_date(t, zone) >= first]
    return [(t, x) for t, x in series if t > now - window]


def last(series):
    return unit(series[-1][1]) if series else None


def minimum(series):
    return unit(min(x for _, x in series)) if series else None


def maximum(series):
    return unit(max(x for _, x in series)) if series else None


def mean(series):
    return unit(statistics.mean(Fraction(x) for _, x in series)) if series else None


def median(series):
    return unit(statistics.median([Fraction(x) for _, x in series])) if series else None


def sd(series):
    return statistics.stdev([Fraction(x, 1000) for _, x in series]) if len(series) > 1 else None


def rise(series, window, in_days, zone):
    if not series:
        return None
    t_last, newest = series[-1]
    if in_days:
        today = local_date(t_last, zone)
        dates = [today - timedelta(days=k) for k in range(1, window + 1)]
        before = [x for t, x in series if local_date(t, zone) in dates]
    else:
        before = [x for t, x in series if t_last - window <= t < t_last]
    return unit(newest - min(before)) if before else None


def one(values, daily):
    return {
        "first": lambda: values[0],
        "last": lambda: values[-1],
        "min": lambda: min(values),
        "max": lambda: max(values),
        "mean": lambda: Fraction(sum(values), len(values)),
    }[daily]()


def change(series, days, daily, zone):
    if not series:
        return None
    t_last, newest = series[-1]
    then = by_date(series, zone).get(local_date(t_last, zone) - timedelta(days=days))
    return unit(newest - one(then, daily)) if then else None


def drift(series, limit):
    return unit(series[-1][1] - round(Fraction(limit) * 1000)) if series else None


def daily_values(series, first, final, daily, zone):
    """Date to value, for the dates from first to final."""
    return {d: one(x, daily) for d, x in sorted(by_date(series, zone).items()) if first <= d <= final}


def until_now(series, now, days, daily, zone):
    today = local_date(now, zone)
    return daily_values(series, today - timedelta(days=days - 1), today, daily, zone)


def weighted(values, length):
    """A day at a time: the past fades, a date with a reading enters."""
    alpha = Fraction(2) / (Fraction(length) + 1)
    total = weights = Fraction(0)
    day = min(values)
    while day <= max(values):
        total *= 1 - alpha
        weights *= 1 - alpha
        if day in values:
            total += values[day]
            weights += 1
        day += timedelta(days=1)
    return total / weights


def ema(series, now, window, length, min_points, daily, zone):
    values = until_now(series, now, window, daily, zone)
    return unit(weighted(values, length)) if values and len(values) >= min_points else None


def macd_simple(series, now, short, long, min_points, daily, zone):
    values = until_now(series, now, long, daily, zone)
    recent = until_now(series, now, short, daily, zone)
    if not recent or len(values) < min_points:
        return None
    return unit(
        statistics.mean(map(Fraction, recent.values())) - statistics.mean(map(Fraction, values.values()))
    )


def macd_exponential(series, now, window, short, long, min_points, daily, zone):
    values = until_now(series, now, window, daily, zone)
    today = local_date(now, zone)
    if len(values) < min_points or not any(today - d < timedelta(days=short) for d in values):
        return None
    return unit(weighted(values, short) - weighted(values, long))


def cusum(series, now, window, k, learn, min_points, daily, side, zone):
    start = local_date(now, zone) - timedelta(days=window - 1)
    one_day = timedelta(days=1)
    learnt = daily_values(series, start - learn * one_day, start - one_day, daily, zone)
    values = daily_values(series, start, date.max, daily, zone)
    if not learnt or len(learnt) < min_points or not values:
        return None
    centre = statistics.median([Fraction(x) for x in learnt.values()])
    c = Fraction(0)
    for day in sorted(values):
        excess = values[day] - centre if side == "up" else centre - values[day]
        c = max(Fraction(0), c + excess - Fraction(k) * 1000)
    return unit(c)


def slope(series, now, window, min_points, daily, zone):
    values = until_now(series, now, window, daily, zone)
    if len(values) < max(2, min_points):
        return None
    pairs = itertools.combinations(sorted(values), 2)
    return unit(statistics.median([Fraction(values[q] - values[p]) / (q - p).days for p, q in pairs]))


def learnt(series, window, exclude, min_points, daily, zone):
    if not series:
        return None
    final = local_date(series[-1][0], zone) - timedelta(days=exclude)
    values = daily_values(series, final - timedelta(days=window - 1), final, daily, zone)
    return [Fraction(x) for x in values.values()] if values and len(values) >= min_points else None


def baseline(series, window, exclude, min_points, daily, zone):
    values = learnt(series, window, exclude, min_points, daily, zone)
    return unit(statistics.median(values)) if values else None


def baseline_spread(series, window, exclude, min_points, daily, zone):
    values = learnt(series, window, exclude, min_points, daily, zone)
    if not values:
        return None
    centre = statistics.median(values)
    return 1.4826 * unit(statistics.median([abs(x - centre) for x in values]))


def deviation(series, window, exclude, min_points, daily, zone):
    values = learnt(series, window, exclude, min_points, daily, zone)
    return unit(series[-1][1] - statistics.median(values)) if values else None


def deviation_z(series, window, exclude, min_points, daily, floor, zone):
    difference = deviation(series, window, exclude, min_points, daily, zone)
    spread = baseline_spread(series, window, exclude, min_points, daily, zone)
    return None if difference is None else difference / max(spread, floor)


def in_pattern(series, max_step):
    kept = []
    for t, x in series:
        if kept:
            days = max(Fraction(1), Fraction(t - kept[-1][0], 86_400_000))
            if abs(x - kept[-1][1]) > max_step * days:
                continue
        kept.append((t, x))
    return kept


def home_bp(series, now, window, protocol, halves, zone):
    dates, per_half, min_readings, min_dates, discard = {
        "223": (3, 2, 12, 3, 0),
        "regle3": (3, 3, 18, 3, 0),
        "7days": (7, 2, 12, 4, 1),
    }[protocol]
    today = local_date(now, zone)
    taken = defaultdict(lambda: ([], []))
    for t, x in series:
        at = local(t, zone)
        minute = at.hour * 60 + at.minute
        for half, (begin, end) in enumerate(halves):
            if begin <= minute < end and len(taken[at.date()][half]) < per_half:
                taken[at.date()][half].append(x)
    for back in range(window - dates + 1):
        end = today - timedelta(days=back)
        run = [taken[end - timedelta(days=k)] for k in range(dates)][::-1]
        measured = [morning + evening for morning, evening in run if morning or evening]
        if not run[-1][0] and not run[-1][1]:
            continue
        readings = [x for one_date in measured[discard:] for x in one_date]
        if len(measured) >= min_dates and len(readings) >= min_readings:
            return unit(statistics.mean(map(Fraction, readings)))
    return None


def same_moment(first, second):
    """Newest values with one time."""
    one_of, other = dict(first), dict(second)  # of equal times the last stays
    common = one_of.keys() & other.keys()
    return (one_of[max(common)], other[max(common)]) if common else None


def by_moment(series, begins, ends, zone):
    """Mean of each moment whose last millisecond is from `begins` to `ends`, local minutes, over midnight or not."""
    out = {}
    for t, x in series:
        wall = datetime.fromtimestamp((t - 1) / 1000, tz=ZoneInfo(zone))
        minute = 60 * wall.hour + wall.minute
        if begins <= minute < ends if begins <= ends else not ends <= minute < begins:
            out.setdefault(t, []).append(Fraction(x))
    return {t: statistics.mean(values) for t, values in out.items()}


def total(series, begins, ends, zone):
    moments = by_moment(series, begins, ends, zone)
    return unit(sum(moments.values())) if moments else None


def weighted_mean(series, weights, begins, ends, least, zone):
    moments, weight = by_moment(series, begins, ends, zone), by_moment(weights, begins, ends, zone)
    both = [t for t in moments if weight.get(t)]
    whole = sum(weight[t] for t in both)
    return unit(sum(moments[t] * weight[t] for t in both) / whole) if both and unit(whole) >= least else None


def orthostatic(seated, standing, within_ms):
    if not standing:
        return None
    t, x = standing[-1]
    before = [(s, y) for s, y in seated if s < t]
    return unit(before[-1][1] - x) if before and t - before[-1][0] <= within_ms else None


def adherence(series, now, window, per_day, zone):
    dates = by_date(series, zone)
    today = local_date(now, zone)
    counts = [len(dates.get(today - timedelta(days=k), ())) for k in range(1, window + 1)]
    return sum(min(n, per_day) for n in counts) / (per_day * window)
