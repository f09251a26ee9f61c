"""The tags of everything a stack has on AWS, from this one place."""

from __future__ import annotations

from components.settings.aws import AwsHost

# By this the snapshot policy finds the data volume, and a person what a stack has left behind.
STACK_TAG = "Stack"


def tags_of(host: AwsHost, *, project: str, stack: str) -> dict[str, str]:
    """The user's own and ours; ours are names that the settings refuse to the user's."""
    return {**host.tags, "Project": project, STACK_TAG: stack_value(project, stack), "ManagedBy": "pulumi"}


def stack_value(project: str, stack: str) -> str:
    return f"{project}-{stack}"
