"""An Ollama model as a resource, and the HTTP client that it stands on.

names.py      model references as Ollama reads them; pure
errors.py     the server's own reasons turned into messages with a mend; pure
api.py        Ollama's HTTP API over requests; knows nothing of Pulumi
pull.py       one pull: its stream, its stalls, and taking it up again
progress.py   a pull's stream of events as one status line
lifecycle.py  what creating, checking and removing a model means; knows nothing of Pulumi
model.py      the Pulumi resource: a thin dynamic provider over lifecycle.py
models.py     the models a stack declares, each such a resource

Not here: the server itself (services), how much memory a model needs (plan), which models a stack declares (settings).
"""
