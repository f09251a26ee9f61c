"""Build contexts for container images: derived images, and stand-ins for where no image registry can be reached.

Not here: which images a stack runs (`components.settings`) and how they are run (`components.services`).
"""
