"""Fit the coefficients of kernels.atrial_fibrillation by logistic regression, cross-validated over records.

Run it with the folder of databases (default: VIGIE_ECG, or ``../shared/ecg`` beside the project)::

    python -m bench.accuracy.af_fit

Windows are those of the kernel, one in every 12 kept intervals, labelled by the rhythm at their middle; atrial
flutter is left out. The records are those of all lines of `bench.accuracy.af`, so that ltafdb and mitdb count
twice, with classes of beats and with none. A record weighs by the square root of its windows of each rhythm,
so that one of 24 h does not outvote ten of 30 min.
Printed: the coefficients from all records, and, from five folds over records, their range and the area under
the curve of the records that were left out.
"""

import sys

import numpy as np

from bench.accuracy import af as accuracy
from kernels import atrial_fibrillation as kernel
from kernels._types import F64, Flags

__all__ = ["fit", "main", "windows"]

STRIDE = 12
FOLDS = 5
RIDGE = 1.0


def windows(record: accuracy.Record) -> tuple[F64, Flags]:
    """Give the measures of a record's windows, float64[n, FEATURES], and whether their middle is fibrillation."""
    rr = np.diff(record.beats) / record.rate_hz
    kept = (rr > 0.2) & (rr < 3.0) & ~record.ectopic[1:] & ~record.ectopic[:-1]
    ends, rr = record.beats[1:][kept], rr[kept]
    n = kernel.WINDOW
    rows, labels = [], []
    scratch, out = np.zeros(kernel.scratch_length(n)), np.zeros(kernel.FEATURES)
    for low in range(0, len(rr) - n + 1, STRIDE):
        middle = ends[low + n // 2 - 1]
        if accuracy.inside(middle, record.flutter):
            continue
        kernel.measure(rr[low : low + n], scratch, out)
        rows.append(out.copy())
        labels.append(accuracy.inside(middle, record.fibrillation))
    return np.array(rows).reshape(-1, kernel.FEATURES), np.array(labels, bool)


def fit(x: F64, y: Flags, weight: F64) -> F64:
    """Fit a logistic regression by Newton's method; give the weights and, last, the constant."""
    mean, scale = x.mean(axis=0), x.std(axis=0)
    z = np.column_stack([(x - mean) / scale, np.ones(len(x))])
    penalty = np.diag([RIDGE] * x.shape[1] + [0.0])
    beta = np.zeros(z.shape[1])
    for _ in range(30):
        chance = 1.0 / (1.0 + np.exp(-z @ beta))
        slope = z.T @ (weight * (y - chance)) - penalty @ beta
        curve = (z * (weight * chance * (1.0 - chance))[:, None]).T @ z + penalty
        beta += np.linalg.solve(curve, slope)
    w = beta[:-1] / scale
    return np.append(w, beta[-1] - w @ mean)


def _area(score: F64, y: Flags) -> float:
    rank = np.empty(len(score))
    rank[np.argsort(score)] = np.arange(1, len(score) + 1)
    n = int(y.sum())
    return float((rank[y].sum() - n * (n + 1) / 2) / (n * (len(y) - n)))


def main() -> int:
    """Print the coefficients and their cross-validation."""
    folder = accuracy.folder()
    xs, ys, weights, groups, works = [], [], [], [], []
    for work in accuracy.WORKS:
        for record in accuracy.records(work, folder):
            x, y = windows(record)
            share = np.where(y, 1.0 / np.sqrt(max(y.sum(), 1)), 1.0 / np.sqrt(max((~y).sum(), 1)))
            xs.append(x)
            ys.append(y)
            weights.append(share)
            groups += [f"{work.database} {record.name}"] * len(y)
            works += [work.name] * len(y)
    x, y, weight = np.concatenate(xs), np.concatenate(ys), np.concatenate(weights)
    group, names = np.array(groups), np.array(works)
    print("all records:", np.round(fit(x, y, weight), 3).tolist())
    order = np.random.default_rng(1).permutation(np.unique(group))
    score, each = np.zeros(len(y)), []
    for fold in range(FOLDS):
        test = np.isin(group, order[fold::FOLDS])
        w = fit(x[~test], y[~test], weight[~test])
        each.append(w)
        score[test] = x[test] @ w[:-1] + w[-1]
    print("range over folds:", np.round(np.ptp(each, axis=0), 3).tolist())
    for name in np.unique(names):
        of = names == name
        if y[of].any() and not y[of].all():
            print(f"{name}: area under the curve {_area(score[of], y[of]):.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
