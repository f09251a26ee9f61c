"""What runs on a DockerHost: networks, Ollama, PostgreSQL with pgvector.

Here: components that map settings and plan to Docker resources. Not here: decisions that can be made without a resource
(`components/plan`), models (`components/models`), and the inside of the database (`components/database`).
"""

from components.services.network import Networks
from components.services.ollama import OllamaArgs, OllamaServer
from components.services.pgvector import Pgvector, PgvectorArgs

__all__ = ["Networks", "OllamaArgs", "OllamaServer", "Pgvector", "PgvectorArgs"]
