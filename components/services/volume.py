"""What every volume of a stack shares: it outlives containers, stacks, and whoever made it."""

from __future__ import annotations

import pulumi

from components.settings import Settings


def kept_options(settings: Settings) -> pulumi.ResourceOptions:
    """The volume stays when the resource goes, is protected in prod, and is taken over as it is.

    A volume of an earlier stack, or of `trial`, carries that one's labels. Docker cannot relabel it, so a difference
    would replace the volume and its container on every update. On AWS the data volume underneath is what is protected:
    protection here would keep the machine itself from being replaced or taken down.
    """
    return pulumi.ResourceOptions(
        retain_on_delete=True,
        protect=settings.profile == "prod" and settings.host.type != "aws",
        ignore_changes=["labels", "driverOpts"],
    )
