"""Where containers run. Every host gives the same `DockerHost`, so that services never know which one it is.

Here: reaching a Docker engine, asking it for facts, and refusing early what it could not do.
Not here: what runs on it (`components/services`) and arithmetic on the facts (`components/plan`).
"""

from components.hosts.host import DockerHost, connect, survey

__all__ = ["DockerHost", "connect", "survey"]
