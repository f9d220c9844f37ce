"""Fit a line by least squares, with nothing but Python."""

import random
import statistics

chance = random.Random(0)
xs = [chance.uniform(0, 10) for _ in range(200)]
ys = [3 * x + 2 + chance.gauss(0, 0.1) for x in xs]
slope, intercept = statistics.linear_regression(xs, ys)
assert abs(slope - 3) < 0.05, slope
assert abs(intercept - 2) < 0.1, intercept
print(f"smoke: slope {slope:.2f}, intercept {intercept:.2f}")
