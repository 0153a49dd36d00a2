"""All that is wrong with a platform, the worst first. Pure."""

from __future__ import annotations

from doctor import admission, certificates, nodes, pods, redis, storage
from doctor.model import Finding, Snapshot
from review.secrets import Redactor
from review.wording import visible


def diagnose(snapshot: Snapshot) -> list[Finding]:
    """Each problem once; what the platform says about it is without secrets and control codes."""
    redactor = Redactor()
    found = {
        Finding(
            one.severity,
            one.code,
            visible(one.where),
            visible(redactor.text(one.problem)),
            one.remedy,
        )
        for part in (nodes, pods, storage, admission, certificates, redis)
        for one in part.findings(snapshot)
    }
    return sorted(found, key=lambda one: (one.severity != "error", one.code, one.where))
