"""What a stack may say: one frozen pydantic model per section of the stack file, and one `load()`.

Here: types, sections, the baselines of the profiles, rules between sections, and the wording of refusals.
Not here: anything that touches network, clock or environment, any resource, and any arithmetic on machines (that is
`components/plan`). Only `load` reads `pulumi.Config`.
"""

from components.settings.load import load, parse
from components.settings.stack import Settings

__all__ = ["Settings", "load", "parse"]
