"""Real images and models for where neither an image registry nor Ollama's model registry can be reached.

What they are made of comes from package registries (Debian packages, Go modules, Python packages); what comes out is
pushed to one local registry that `docker pull` and Ollama's `/api/pull` really pull from.
`python -m images.stand_ins up | down | overlay | tool NAME`.

To add an image: a folder with a Dockerfile below `dockerfiles/` and a row in `catalogue.IMAGES`.
Not here: running a stack on them; `overlay` prints the settings that point one at them.
"""
