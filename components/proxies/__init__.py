"""The proxies in front of Ollama: who may do what (`access.py`), their configuration as text, and its delivery.

Everything that renders is a pure function of plain settings. `configuration.py` and `member.py` are the two resources:
a configuration is delivered to a running gateway without closing a connection, and a server is drained before it goes.
Not here: the containers (`components/services`).
"""
