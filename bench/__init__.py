"""Benchmarks beside the baselines, in one run, as ratios: `make bench`, or `make bench ONLY=gateway|routing`.

Not tests: nothing here decides whether the project works, and nothing is timed by the tests.
"""
