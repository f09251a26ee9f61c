"""What a key of scope `inference` may call. Everything else needs `admin`, however it is written.

The list is of exact paths, and it is the only list: a path that Ollama might yet read as an administrative one, such as
`//api/pull`, `/api/./pull`, `/API/pull` or `/api/%70ull`, is on no list and hence for administrators alone.
Paths are those of Ollama's `server/routes.go`, 0.17 to 0.33.
"""

from __future__ import annotations

READ = ("/", "/api/version", "/api/tags", "/api/ps", "/v1/models")
CONVERSATIONS = (
    "/api/chat",
    "/api/generate",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
)
EMBEDDINGS = ("/api/embed", "/api/embeddings", "/v1/embeddings")
DESCRIPTIONS = ("/api/show",)
# The name of a model below /v1/models. No part may begin with a dot, so that no path climbs.
ONE_MODEL = r"^/v1/models/[A-Za-z0-9_][A-Za-z0-9._:-]*(/[A-Za-z0-9_][A-Za-z0-9._:-]*){0,2}$"
