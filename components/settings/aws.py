"""`ragstack:host.aws`: the EC2 machine of a stack, what surrounds it, and what keeps it safe and cheap."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, field_validator, model_validator

from components.settings.base import RuleError, Section
from components.settings.types import MEMORY_ALLOWED, Port, key_path, memory_mib

_GIB_IN_MIB = 1024
# gp3: 3,000 IOPS and 125 MiB/s are included; more up to these bounds, 500 IOPS per GiB and 0.25 MiB/s per IOPS
# (docs.aws.amazon.com/ebs/latest/userguide/general-purpose.html; the older, smaller bounds hold in every region).
_GP3_LARGEST_GIB = 16_384
_GP3_IOPS_PER_GIB = 500
_GP3_IOPS_PER_MIB_S = 4
# A prefix shorter than these is more of the internet than anybody means when they list "our networks".
_WIDEST = {4: 8, 6: 16}
# Set by ragstack itself on everything.
OWN_TAGS = ("Name", "Project", "Stack", "ManagedBy", "RagstackData")
_MOST_TAGS = 40
_PRIVATE = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")))
_CRON_FIELD = r"[0-9A-Za-z*?,/#LW-]+"


def _gib(value: object) -> int:
    mib = memory_mib(value)
    if mib % _GIB_IN_MIB:
        raise ValueError("is no whole number of GiB; allowed: a size such as 100g (powers of 1024)")
    if not _GIB_IN_MIB <= mib <= _GP3_LARGEST_GIB * _GIB_IN_MIB:
        raise ValueError(f"is out of bounds; allowed: 1g to {_GP3_LARGEST_GIB}g")
    return mib


def network_of(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A CIDR as a network. Raises `ValueError` with the right one where bits below its prefix are set."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        try:
            right = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError("is no CIDR; allowed: a network such as 203.0.113.0/24 or 2001:db8::/32") from None
        raise ValueError(f"names an address inside its network; allowed: the network itself, {right}") from None


def _cidr(text: str) -> str:
    return str(network_of(text))


def _own_cidr(text: str) -> str:
    network = network_of(text)
    if network.version == 6 or not any(network.subnet_of(private) for private in _PRIVATE if private.version == 4):
        raise ValueError("is not private; allowed: an IPv4 network within 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16")
    if not 16 <= network.prefixlen <= 28:
        raise ValueError("has a size that AWS refuses; allowed: prefixes from /16 to /28")
    return str(network)


Cidr = Annotated[str, AfterValidator(_cidr)]
# Always MiB once validated; the stack file writes it with a unit, and so does a dump.
VolumeSize = Annotated[int, BeforeValidator(_gib), PlainSerializer("{}m".format, return_type=str)]
KeyPath = Annotated[str, AfterValidator(key_path)]
Cron = Annotated[
    str,
    Field(
        pattern=rf"^{_CRON_FIELD}( {_CRON_FIELD}){{5}}$",
        description="six fields as in EventBridge: minutes hours day-of-month month day-of-week year",
    ),
]


class Ami(Section):
    """The machine's image. `id` pins one; `parameter` names a public SSM parameter to look in; without both it is the
    driver AMI, or Ubuntu for a machine without a GPU. What was found first is kept: write anything new into `taken`,
    such as a date, to take the newest, which replaces the machine."""

    id: str | None = Field(
        default=None,
        pattern=r"^ami-[0-9a-f]{8,17}$",
        examples=["ami-0123456789abcdef0"],
        description="an AMI's id such as ami-0123456789abcdef0",
    )
    parameter: str | None = Field(
        default=None,
        pattern=r"^/[A-Za-z0-9_.\-/]+$",
        examples=["/aws/service/ami/name"],
        description="the name of an SSM parameter such as /aws/service/...",
    )
    taken: str | None = Field(
        default=None, pattern=r"^[\w.-]{1,32}$", examples=["2026-11"], description="up to 32 letters, digits, . - _"
    )

    @model_validator(mode="after")
    def _one_source(self) -> Ami:
        if self.id and self.parameter:
            raise RuleError(
                "names the AMI twice; allowed: id or parameter, not both", field="parameter", mend=("parameter", None)
            )
        return self


class AwsNetwork(Section):
    """A network of its own with `cidr`, or the user's `vpc_id` and `subnet_id`. `gateway_cidrs` may reach the gateway,
    and nobody may reach anything else; `open_to_the_world` says why the whole internet is among them."""

    cidr: Annotated[str, AfterValidator(_own_cidr)] | None = Field(default=None, examples=["10.86.0.0/24"])
    vpc_id: str | None = Field(default=None, pattern=r"^vpc-[0-9a-f]{8,17}$", description="a VPC's id such as vpc-0123")
    subnet_id: str | None = Field(
        default=None, pattern=r"^subnet-[0-9a-f]{8,17}$", description="a subnet's id such as subnet-0123"
    )
    gateway_cidrs: tuple[Cidr, ...] = Field(default=(), examples=[["203.0.113.0/24"]])
    open_to_the_world: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9 ._,:()/-]{10,200}$",
        description="a reason of 10 to 200 letters, digits and plain marks",
    )
    egress_ports: tuple[Port, ...] = (80, 443)
    instance_connect_endpoint: bool = False

    @property
    def own_cidr(self) -> str:
        """The network of one's own; a small private one that few others use, when none is named."""
        return self.cidr or "10.86.0.0/24"

    @model_validator(mode="after")
    def _one_network(self) -> AwsNetwork:
        if self.subnet_id and not self.vpc_id:
            raise RuleError(
                "is set without vpc_id; allowed: both or neither", field="subnet_id", mend=("subnet_id", None)
            )
        if self.vpc_id and not self.subnet_id:
            raise RuleError("is set without subnet_id; allowed: both or neither", field="vpc_id", mend=("vpc_id", None))
        if self.vpc_id and self.cidr:
            raise RuleError(
                "is set although vpc_id names a network that is there; allowed: one of them",
                field="cidr",
                mend=("cidr", None),
            )
        return self

    @model_validator(mode="after")
    def _world_is_meant(self) -> AwsNetwork:
        networks = [network_of(text) for text in self.gateway_cidrs]
        wide = [network for network in networks if network.prefixlen < _WIDEST[network.version]]
        if wide and not self.open_to_the_world:
            raise RuleError(
                f"lets in {wide[0]}, which is most of the internet; allowed: your own networks, or a reason in "
                "open_to_the_world",
                field="gateway_cidrs",
                mend=("gateway_cidrs[0]", "203.0.113.0/24"),
            )
        if self.open_to_the_world and not wide:
            raise RuleError(
                "gives a reason although gateway_cidrs lets in nothing that wide; allowed: with such a network",
                field="open_to_the_world",
                mend=("open_to_the_world", None),
            )
        return self


class Gp3(Section):
    """An encrypted gp3 volume. `iops` per second; `throughput` in MiB/s, which is how fast a model loads."""

    size: VolumeSize = Field(default="100g", examples=["100g"], description=MEMORY_ALLOWED)  # type: ignore[assignment]
    iops: Annotated[int, Field(ge=3000, le=16_000)] = 3000
    throughput: Annotated[int, Field(ge=125, le=1000)] = 250

    @model_validator(mode="after")
    def _as_gp3_allows(self) -> Gp3:
        most = max(3000, self.size // _GIB_IN_MIB * _GP3_IOPS_PER_GIB)
        if self.iops > most:
            raise RuleError(
                f"is more than a gp3 volume of this size gives; allowed: up to {most}",
                field="iops",
                mend=("iops", str(most)),
            )
        if self.throughput * _GP3_IOPS_PER_MIB_S > self.iops:
            raise RuleError(
                f"is more than {self.iops} IOPS carry; allowed: up to {self.iops // _GP3_IOPS_PER_MIB_S}",
                field="throughput",
                mend=("throughput", str(self.iops // _GP3_IOPS_PER_MIB_S)),
            )
        return self


class RootVolume(Gp3):
    """System and container images; goes with the machine. The Ollama image with CUDA takes several GB."""

    size: VolumeSize = Field(default="80g", examples=["80g"], description=MEMORY_ALLOWED)  # type: ignore[assignment]


class DataVolume(Gp3):
    """Rows and models; stays. Without `kms_key_id` it is encrypted by the account's own EBS key."""

    throughput: Annotated[int, Field(ge=125, le=1000)] = 500
    kms_key_id: str | None = Field(
        default=None, pattern=r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/\S+$", description="the ARN of a KMS key"
    )


class Snapshots(Section):
    """Copies of the data volume every `every_hours` hours counted from `at` (UTC); the newest `keep` stay."""

    enabled: bool = True
    at: str = Field(default="03:00", pattern=r"^([01]\d|2[0-3]):[0-5]\d$", description="a time such as 03:00")
    every_hours: Literal[1, 2, 3, 4, 6, 8, 12, 24] = 24
    keep: Annotated[int, Field(ge=1, le=1000)] = 14


class Schedule(Section):
    """Hours in which the machine is stopped and started again, by EventBridge cron fields in a time zone."""

    stop: Cron = Field(examples=["0 20 ? * MON-FRI *"])
    start: Cron = Field(examples=["0 7 ? * MON-FRI *"])
    timezone: str = Field(
        default="UTC", pattern=r"^[A-Za-z]+(/[A-Za-z0-9_+-]+){0,2}$", description="a name such as Europe/Berlin"
    )


class Budget(Section):
    """Mail when the account's month costs over `alert_at_percent` of `monthly_usd`, or is forecast to exceed it."""

    monthly_usd: Annotated[float, Field(gt=0, le=1_000_000)]
    emails: tuple[Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")], ...] = Field(
        min_length=1, max_length=10, description="one to ten mail addresses"
    )
    alert_at_percent: Annotated[int, Field(ge=1, le=100)] = 80


class Monitoring(Section):
    """`cloudwatch_agent` reports memory, disk and GPUs; `detailed` gives EC2's own metrics every minute."""

    cloudwatch_agent: bool = False
    detailed: bool = False


class AwsHost(Section):
    """One EC2 machine. `key` is the user's own private key, of which only the `.pub` beside it is ever read; `access`
    is how ssh gets to a machine that listens to nobody."""

    region: str = Field(
        default="us-east-1",
        pattern=r"^[a-z]{2}(-[a-z]+)+-\d$",
        examples=["us-east-1"],
        description="an AWS region such as us-east-1",
    )
    availability_zone: str | None = Field(
        default=None, pattern=r"^[a-z]{2}(-[a-z]+)+-\d[a-z]$", description="a zone of the region such as us-east-1a"
    )
    instance_type: str = Field(
        default="g5.xlarge",
        pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$",
        examples=["g5.xlarge"],
        description="an EC2 instance type such as g5.xlarge",
    )
    profile: str | None = Field(
        default=None, pattern=r"^[\w.@+-]{1,64}$", description="a profile of the AWS CLI's configuration"
    )
    key: KeyPath = Field(default="~/.ssh/id_ed25519", examples=["~/.ssh/id_ed25519"])
    user: str = Field(default="ubuntu", pattern=r"^[a-z_][a-z0-9_-]{0,31}$", description="the login user of the AMI")
    access: Literal["session_manager", "instance_connect"] = "session_manager"
    purchase: Literal["on_demand", "spot"] = "on_demand"
    max_hourly_usd: Annotated[float, Field(gt=0, le=1000)] | None = None
    ami: Ami = Ami()
    network: AwsNetwork = AwsNetwork()
    root_volume: RootVolume = RootVolume()
    data_volume: DataVolume = DataVolume()
    snapshots: Snapshots = Snapshots()
    schedule: Schedule | None = None
    budget: Budget | None = None
    monitoring: Monitoring = Monitoring()
    tags: dict[str, str] = Field(default={}, max_length=_MOST_TAGS)

    @field_validator("tags")
    @classmethod
    def _aws_takes_them(cls, tags: dict[str, str]) -> dict[str, str]:
        for key, value in tags.items():
            if key in OWN_TAGS or key.lower().startswith("aws:"):
                raise ValueError(
                    f"holds a key that is not yours to set; allowed: any but aws:* and {', '.join(OWN_TAGS)}"
                )
            if not re.fullmatch(r"[\w .:/=+@-]{1,128}", key) or not re.fullmatch(r"[\w .:/=+@-]{0,256}", value):
                raise ValueError("holds a tag that AWS refuses; allowed: letters, digits, spaces and _.:/=+-@")
        return tags

    @model_validator(mode="after")
    def _zone_is_in_the_region(self) -> AwsHost:
        if self.availability_zone and self.availability_zone[:-1] != self.region:
            raise RuleError(
                f"is no zone of {self.region}; allowed: {self.region}a and its neighbours",
                field="availability_zone",
                mend=("availability_zone", f"{self.region}a"),
            )
        return self

    @model_validator(mode="after")
    def _spot_alone(self) -> AwsHost:
        if self.purchase == "spot" and self.schedule:
            raise RuleError(
                "is set although purchase is spot: a stopped spot machine may never get its capacity back; allowed: "
                "with purchase: on_demand",
                field="schedule",
                mend=("schedule", None),
            )
        if self.max_hourly_usd is not None and self.purchase != "spot":
            raise RuleError(
                "is set although purchase is on_demand; allowed: with purchase: spot",
                field="max_hourly_usd",
                mend=("max_hourly_usd", None),
            )
        return self

    @model_validator(mode="after")
    def _the_way_in_is_there(self) -> AwsHost:
        if self.access == "instance_connect" and not self.network.instance_connect_endpoint:
            raise RuleError(
                "is instance_connect without an endpoint; allowed: with network.instance_connect_endpoint: true",
                field="access",
                mend=("network.instance_connect_endpoint", "true"),
            )
        return self
