"""What keeps the bill small: hours in which the machine is stopped, and mail before a month becomes too dear."""

from __future__ import annotations

import json

import pulumi
import pulumi_aws as aws

from components.hosts.aws.identity import allow, service_role
from components.settings.aws import Budget, Schedule


class StopStartSchedule(pulumi.ComponentResource):
    """Stops and starts one machine by EventBridge Scheduler, which may do just that to just this machine."""

    def __init__(
        self,
        name: str,
        schedule: Schedule,
        instance: aws.ec2.Instance,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("ragstack:aws:StopStartSchedule", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        role = service_role(f"{name}-role", "scheduler.amazonaws.com", "Stops and starts a ragstack machine", child)
        allow(f"{name}-machine", role, ("ec2:StartInstances", "ec2:StopInstances"), instance.arn, child)
        for action, cron in (("stop", schedule.stop), ("start", schedule.start)):
            aws.scheduler.Schedule(
                f"{name}-{action}",
                schedule_expression=f"cron({cron})",
                schedule_expression_timezone=schedule.timezone,
                flexible_time_window=aws.scheduler.ScheduleFlexibleTimeWindowArgs(mode="OFF"),
                target=aws.scheduler.ScheduleTargetArgs(
                    arn=f"arn:aws:scheduler:::aws-sdk:ec2:{action}Instances",
                    role_arn=role.arn,
                    input=instance.id.apply(lambda id_: json.dumps({"InstanceIds": [id_]})),
                ),
                opts=child,
            )
        self.register_outputs({})


def budget_alarm(name: str, budget: Budget, opts: pulumi.ResourceOptions) -> aws.budgets.Budget:
    """Mail when the account's month costs, or is forecast to cost, more than it should.

    Over the whole account: a budget that filters by tag stays silent until somebody has activated that tag for cost
    allocation, and an alarm that may be dead is none.
    """
    notifications = [
        aws.budgets.BudgetNotificationArgs(
            comparison_operator="GREATER_THAN",
            threshold=threshold,
            threshold_type="PERCENTAGE",
            notification_type=kind,
            subscriber_email_addresses=list(budget.emails),
        )
        for kind, threshold in (("ACTUAL", budget.alert_at_percent), ("FORECASTED", 100))
    ]
    return aws.budgets.Budget(
        name,
        budget_type="COST",
        time_unit="MONTHLY",
        limit_amount=f"{budget.monthly_usd:g}",
        limit_unit="USD",
        notifications=notifications,
        opts=opts,
    )
