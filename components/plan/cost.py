"""What a rented machine costs by the hour and by the month, and the quota it needs."""

from __future__ import annotations

from dataclasses import dataclass

from components.plan.machines import Machine
from components.settings import Settings
from components.settings.aws import AwsHost, Gp3

# AWS's own month: 730 hours.
HOURS_PER_MONTH = 730
_GIB_IN_MIB = 1024
# gp3 in us-east-1, per month: aws.amazon.com/ebs/pricing.
_GP3_USD_PER_GB, _GP3_USD_PER_IOPS, _GP3_USD_PER_MIB_S = 0.08, 0.005, 0.04
_GP3_FREE_IOPS, _GP3_FREE_MIB_S = 3000, 125
# A public IPv4 address per hour: aws.amazon.com/vpc/pricing.
_PUBLIC_IPV4_USD = 0.005
# (family, purchase) -> code of the quota in vCPUs: "Amazon EC2 endpoints and quotas" in the AWS General Reference.
_QUOTAS = {
    ("G and VT", "on_demand"): "L-DB2E81BA",
    ("G and VT", "spot"): "L-3819A6DF",
    ("Standard", "on_demand"): "L-1216C47A",
    ("Standard", "spot"): "L-34B43A08",
}


@dataclass(frozen=True, kw_only=True)
class Cost:
    """USD at us-east-1 prices, machine on demand. `machine_hourly` stops with the machine, `kept_monthly` (volumes)
    does not. `quota_vcpus` of `quota_code` must be free."""

    machine_hourly: float
    kept_monthly: float
    quota_code: str
    quota_vcpus: int
    spot: bool
    scheduled: bool

    @property
    def hourly(self) -> float:
        """Of everything while the machine runs."""
        return round(self.machine_hourly + self.kept_monthly / HOURS_PER_MONTH, 4)

    @property
    def monthly(self) -> float:
        """Of a machine that always runs."""
        return round(self.machine_hourly * HOURS_PER_MONTH + self.kept_monthly, 2)

    def lines(self) -> list[str]:
        """Readable lines for a preview."""
        purchase = "spot: at most this, usually a third" if self.spot else "on demand"
        scheduled = "; its schedule stops the machine and saves the rest" if self.scheduled else ""
        return [
            f"cost       ${self.hourly:.2f} an hour, ${self.monthly:,.0f} a month of 730 hours ({purchase}, us-east-1 "
            f"prices, without traffic and snapshots{scheduled})",
            f"           ${self.kept_monthly:,.0f} a month of it for the volumes, also while the machine is stopped",
            f"quota      {self.quota_vcpus} vCPUs of {self.quota_code}",
        ]


def cost_of(settings: Settings, machine: Machine) -> Cost:
    """What the settings' machine costs. Snapshots and traffic depend on use and are not counted."""
    host = settings.host.aws or AwsHost()
    address = 0.0 if host.network.vpc_id else _PUBLIC_IPV4_USD
    return Cost(
        machine_hourly=machine.hourly_usd + address,
        kept_monthly=round(_volume(host.root_volume) + _volume(host.data_volume), 2),
        quota_code=_QUOTAS[machine.quota, host.purchase],
        quota_vcpus=machine.vcpus,
        spot=host.purchase == "spot",
        scheduled=host.schedule is not None,
    )


def _volume(volume: Gp3) -> float:
    return (
        volume.size / _GIB_IN_MIB * _GP3_USD_PER_GB
        + max(0, volume.iops - _GP3_FREE_IOPS) * _GP3_USD_PER_IOPS
        + max(0, volume.throughput - _GP3_FREE_MIB_S) * _GP3_USD_PER_MIB_S
    )
