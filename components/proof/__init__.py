"""The proof at the end of an update: the models run where they were declared to, and together they answer.

Here: the one resource that fails an update whose inference would silently run on the CPU, and the round trip that it
and `make smoke` share. Not here: the rule of what lies where (`components/models/placement.py`).
"""
