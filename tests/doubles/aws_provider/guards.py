"""Snapshots by the day, hours in which a machine is stopped, and the budget."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

from tests.doubles.aws_provider import store
from tests.doubles.aws_provider.base import Resource, listed, pascal
from tests.doubles.aws_provider.calls import Aws


class LifecyclePolicy(Resource):
    """moto has no DLM: kept by the double, after botocore has checked every parameter."""

    token = "aws:dlm/lifecyclePolicy:LifecyclePolicy"
    noun = "DLM Lifecycle Policy"
    mapped = frozenset({"description", "executionRoleArn", "state", "policyDetails", "tags"})
    replaces = frozenset({"policyDetails.policyType"})
    defaults: ClassVar[Mapping[str, Any]] = {"state": "ENABLED"}

    def create(self, aws: Aws, given: dict[str, Any], tags: dict[str, str]) -> str:
        aws.validate("dlm", "CreateLifecyclePolicy", **self._parameters(given), Tags=tags)
        self._check_role(aws, given)
        id_ = f"policy-{secrets.token_hex(8)}0"
        store.put(aws, "lifecycle-policy", id_, {"arn": aws.arn("dlm", f"policy/{id_}"), "state": given["state"]})
        return id_

    def update(self, aws: Aws, id_: str, state: dict[str, Any], new: dict[str, Any], changed: set[str]) -> None:
        aws.validate("dlm", "UpdateLifecyclePolicy", PolicyId=id_, **self._parameters(new))
        self._check_role(aws, new)
        known = store.get(aws, "lifecycle-policy", id_) or {}
        store.put(aws, "lifecycle-policy", id_, {**known, "state": new["state"]})

    def read(self, aws: Aws, id_: str, state: dict[str, Any]) -> dict[str, Any] | None:
        return store.get(aws, "lifecycle-policy", id_)

    def retag(self, aws: Aws, id_: str, tags: dict[str, str], removed: list[str]) -> None:
        aws.validate("dlm", "TagResource", ResourceArn=aws.arn("dlm", f"policy/{id_}"), Tags=tags)

    def delete(self, aws: Aws, id_: str, state: dict[str, Any]) -> None:
        aws.validate("dlm", "DeleteLifecyclePolicy", PolicyId=id_)
        store.delete(aws, "lifecycle-policy", id_)

    @staticmethod
    def _check_role(aws: Aws, given: dict[str, Any]) -> None:
        aws.call("iam", "GetRole", RoleName=given["executionRoleArn"].rpartition("/")[2])

    @staticmethod
    def _parameters(given: dict[str, Any]) -> dict[str, Any]:
        details = pascal({key: value for key, value in given["policyDetails"].items() if key != "targetTags"})
        for key in ("ResourceTypes", "ResourceLocations"):
            # The SDK unpacks lists that hold one item at most.
            if isinstance(details.get(key), str):
                details[key] = [details[key]]
        details["TargetTags"] = listed(given["policyDetails"].get("targetTags") or {})
        for schedule in details.get("Schedules") or []:
            rule = schedule.get("CreateRule") or {}
            if isinstance(rule.get("Times"), str):
                rule["Times"] = [rule["Times"]]
            for key in ("TagsToAdd", "VariableTags"):
                if key in schedule:
                    schedule[key] = listed(schedule[key])
        return {
            "ExecutionRoleArn": given["executionRoleArn"],
            "Description": given["description"],
            "State": given["state"],
            "PolicyDetails": details,
        }


class Schedule(Resource):
    token = "aws:scheduler/schedule:Schedule"
    noun = "EventBridge Scheduler Schedule"
    mapped = frozenset(
        {
            "name", "groupName", "description", "scheduleExpression", "scheduleExpressionTimezone", "state",
            "flexibleTimeWindow", "target",
        }
    )  # fmt: skip
    replaces = frozenset({"name", "groupName"})
    defaults: ClassVar[Mapping[str, Any]] = {
        "groupName": "default",
        "scheduleExpressionTimezone": "UTC",
        "state": "ENABLED",
    }
    autoname = "name"
    tagged = False

    def create(self, aws: Aws, given: dict[str, Any], tags: dict[str, str]) -> str:
        aws.call("scheduler", "CreateSchedule", **self._parameters(given))
        return f"{given['groupName']}/{given['name']}"

    def update(self, aws: Aws, id_: str, state: dict[str, Any], new: dict[str, Any], changed: set[str]) -> None:
        aws.call("scheduler", "UpdateSchedule", **self._parameters(new))

    def read(self, aws: Aws, id_: str, state: dict[str, Any]) -> dict[str, Any] | None:
        group, _, name = id_.partition("/")
        found = aws.find("scheduler", "GetSchedule", GroupName=group, Name=name)
        return {"arn": found["Arn"], "name": name, "state": found["State"]} if found else None

    def delete(self, aws: Aws, id_: str, state: dict[str, Any]) -> None:
        group, _, name = id_.partition("/")
        aws.find("scheduler", "DeleteSchedule", GroupName=group, Name=name)

    @staticmethod
    def _parameters(given: dict[str, Any]) -> dict[str, Any]:
        return dict(pascal({key: given[key] for key in Schedule.mapped if given.get(key) is not None}))


class Budget(Resource):
    """moto has no UpdateBudget and keeps no subscribers: an update is checked by botocore, then made anew."""

    token = "aws:budgets/budget:Budget"
    noun = "Budget"
    mapped = frozenset({"name", "budgetType", "timeUnit", "limitAmount", "limitUnit", "notifications", "tags"})
    replaces = frozenset({"name"})
    computed = ("arn", "accountId")
    autoname = "name"

    def create(self, aws: Aws, given: dict[str, Any], tags: dict[str, str]) -> str:
        notifications = [
            {"Notification": _notification(item), "Subscribers": _subscribers(item)}
            for item in given.get("notifications") or []
        ]
        aws.call(
            "budgets", "CreateBudget", AccountId=aws.account, Budget=self._budget(given),
            NotificationsWithSubscribers=notifications or None,
        )  # fmt: skip
        return f"{aws.account}:{given['name']}"

    def update(self, aws: Aws, id_: str, state: dict[str, Any], new: dict[str, Any], changed: set[str]) -> None:
        aws.validate("budgets", "UpdateBudget", AccountId=aws.account, NewBudget=self._budget(new))
        self.delete(aws, id_, state)
        self.create(aws, new, {})

    def read(self, aws: Aws, id_: str, state: dict[str, Any]) -> dict[str, Any] | None:
        account, _, name = id_.partition(":")
        found = aws.find("budgets", "DescribeBudget", AccountId=account, BudgetName=name)
        if not found:
            return None
        return {"arn": f"arn:aws:budgets::{account}:budget/{name}", "accountId": account, "name": name}

    def retag(self, aws: Aws, id_: str, tags: dict[str, str], removed: list[str]) -> None:
        account, _, name = id_.partition(":")
        arn = f"arn:aws:budgets::{account}:budget/{name}"
        aws.validate("budgets", "TagResource", ResourceARN=arn, ResourceTags=listed(tags))

    def delete(self, aws: Aws, id_: str, state: dict[str, Any]) -> None:
        account, _, name = id_.partition(":")
        aws.find("budgets", "DeleteBudget", AccountId=account, BudgetName=name)

    @staticmethod
    def _budget(given: dict[str, Any]) -> dict[str, Any]:
        return {
            "BudgetName": given["name"],
            "BudgetType": given["budgetType"],
            "TimeUnit": given["timeUnit"],
            "BudgetLimit": {"Amount": given["limitAmount"], "Unit": given["limitUnit"]},
        }


def _notification(item: dict[str, Any]) -> dict[str, Any]:
    keys = ("comparisonOperator", "notificationType", "threshold", "thresholdType")
    return dict(pascal({key: item[key] for key in keys if key in item}))


def _subscribers(item: dict[str, Any]) -> list[dict[str, str]]:
    kinds = {"subscriberEmailAddresses": "EMAIL", "subscriberSnsTopicArns": "SNS"}
    return [
        {"SubscriptionType": kind, "Address": address} for key, kind in kinds.items() for address in item.get(key) or []
    ]
