"""The gate between a machine and what is declared on it: its preparation has ended well, and Docker answers over SSH.

Here: the one question put to a machine (probe.py), waiting for the right answer (wait.py), and the resource over both.
Not here: the preparation itself (`components/hosts/preparation`).
"""
