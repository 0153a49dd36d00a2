"""Label selectors, as the API server evaluates them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.kubeflow.objects import ObjectError


def matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector (`matchLabels`, `matchExpressions`) selects the labels.

    A missing or empty selector selects everything.

    Raises:
        ObjectError: an expression has an operator other than In, NotIn, Exists, DoesNotExist.
    """
    if not selector:
        return True
    if not subset(selector.get("matchLabels") or {}, labels):
        return False
    return all(_holds(e, labels) for e in selector.get("matchExpressions") or [])


def subset(wanted: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether the labels have every wanted one with the same value."""
    return all(labels.get(key) == value for key, value in wanted.items())


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or []
    match expression["operator"]:
        case "In":
            return key in labels and labels[key] in values
        case "NotIn":
            return key not in labels or labels[key] not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case other:
            raise ObjectError(
                f"label selector on {key!r} has the operator {other!r}; "
                "Kubernetes knows In, NotIn, Exists and DoesNotExist"
            )
