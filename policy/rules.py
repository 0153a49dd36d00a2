"""All rules, and what they say about a resource that no exemption lets pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from policy.data import protected
from policy.exemptions import Exemption, allowed
from policy.exposure import allow_lists, no_default_passwords
from policy.pods import fixed_images, restricted
from policy.resource import Resource, Rule

RULES: Final = (
    Rule("fixed-images", "Images have a version or a digest.", fixed_images),
    Rule("pod-security", "Pods keep to the restricted Pod Security Standard.", restricted),
    Rule("no-default-passwords", "No password is a known one.", no_default_passwords),
    Rule("allow-lists", "No public endpoint is without an allow list.", allow_lists),
    Rule("protected-data", "What holds data is protected from deletion.", protected),
)


def violations(resource: Resource, exemptions: Sequence[Exemption]) -> Iterator[tuple[Rule, str]]:
    """What is wrong with a resource, rule by rule."""
    for rule in RULES:
        found = list(rule.check(resource))
        if found and allowed(exemptions, rule.name, resource) is None:
            for message in found:
                yield rule, message
