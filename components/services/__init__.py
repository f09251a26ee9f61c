"""What runs on a DockerHost: networks, the gateway, Ollama, PostgreSQL with pgvector.

Here: components that map settings and plan to Docker resources. Not here: decisions that can be made without a resource
(`components/plan`), models (`components/models`), and the inside of the database (`components/database`).
"""

from components.services.gateway import Gateway
from components.services.network import Networks
from components.services.ollama import OllamaArgs, OllamaServer
from components.services.pgvector import Pgvector
from components.services.site import Site

__all__ = ["Gateway", "Networks", "OllamaArgs", "OllamaServer", "Pgvector", "Site"]
