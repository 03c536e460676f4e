"""What a request costs: secguard beside hand-written code and its peers, measured in one run.

`make bench` runs all of it; `python -m tests.benchmarks --help` tells how to run a part.

1. Every case is the same small Starlette app with something around it. The cost of a case is what it adds to that app.
2. Cases take turns, round after round, so that a machine that slows down slows all of them. Medians, with quartiles.
3. Ratios are the result. Microseconds beside them only tell what machine it was.
4. The floor does the work of everything that is on, inlined by hand. tests/test_benchmarks.py holds it to that.
"""
