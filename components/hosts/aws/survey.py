"""What is known of a rented machine before AWS is asked: from the catalogue, and from the deploying machine."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from components.hosts.aws import prerequisites
from components.plan import Cost, HostFacts, Machine, cost_of, facts_of_machine, machine_of
from components.settings import Settings
from components.settings.aws import AwsHost


@dataclass(frozen=True, kw_only=True)
class RentedSurvey:
    """`public_key` is what will be sent to the machine; the rest is the catalogue's."""

    machine: Machine
    cost: Cost
    facts: HostFacts
    public_key: str


def survey(settings: Settings) -> RentedSurvey:
    """Raises `StackError` when the type and the accelerator do not go together, or something is missing here."""
    machine = machine_of(settings, project=pulumi.get_project(), stack=pulumi.get_stack())
    return RentedSurvey(
        machine=machine,
        cost=cost_of(settings, machine),
        facts=facts_of_machine(machine, settings.accelerator),
        public_key=prerequisites.require(settings.host.aws or AwsHost()),
    )
