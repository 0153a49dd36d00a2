"""Each rule of the plan by example."""

from __future__ import annotations

import re
from typing import Any

import pytest

from components.kubeflow.admission import CONVERSION
from components.kubeflow.objects import PodReference, Ref, pod_references
from components.kubeflow.plan import Plan, PlanError, as_document, plan
from components.kubeflow.rules import Edge, Rule

Body = dict[str, Any]


def obj(api: str, kind: str, name: str, namespace: str | None = None, **rest: Any) -> Body:
    metadata: Body = {"name": name} | ({"namespace": namespace} if namespace else {})
    metadata |= rest.pop("metadata", {})
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **rest}


def workload(name: str, namespace: str = "apps", kind: str = "Deployment", **spec: Any) -> Body:
    labels = spec.pop("labels", {"app": name})
    pod = {"containers": [{"name": "main", **spec.pop("container", {})}], **spec}
    template = {"metadata": {"labels": labels}, "spec": pod}
    return obj("apps/v1", kind, name, namespace, spec={"template": template})


def crd(group: str, plural: str, kind: str, scope: str = "Namespaced", **spec: Any) -> Body:
    versions = [{"name": "v1", "served": True, "storage": True}]
    names = {"kind": kind, "plural": plural}
    return obj(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        f"{plural}.{group}",
        spec={"group": group, "names": names, "scope": scope, "versions": versions, **spec},
    )


def webhook(
    resources: list[str],
    group: str = "example.org",
    name: str = "hook",
    kind: str = "ValidatingWebhookConfiguration",
    annotations: Body | None = None,
    **spec: Any,
) -> Body:
    hook = {
        "name": f"{name}.example.org",
        "clientConfig": {"service": {"namespace": "hooks", "name": "hook"}},
        "sideEffects": "None",
        "rules": [
            {
                "apiGroups": [group],
                "apiVersions": ["*"],
                "resources": resources,
                "operations": ["CREATE", "UPDATE"],
            }
        ],
        **spec,
    }
    return obj(
        "admissionregistration.k8s.io/v1",
        kind,
        name,
        metadata={"annotations": annotations or {}},
        webhooks=[hook],
    )


def backend(**pod: Any) -> list[Body]:
    """The Service and Deployment behind `webhook()`."""
    return [
        obj("v1", "Namespace", "hooks"),
        obj("v1", "Service", "hook", "hooks", spec={"selector": {"app": "hook"}}),
        workload("hook", "hooks", **pod),
    ]


def waits(planned: Plan, source: str, target: str) -> Rule | None:
    """The rule by which one node waits directly for another."""
    found = {e.rule for e in planned.edges if (str(e.source), str(e.target)) == (source, target)}
    assert len(found) < 2, found
    return next(iter(found), None)


def order(planned: Plan) -> dict[str, int]:
    return {str(node.ref): i for i, node in enumerate(planned.nodes)}


GATE = "AdmissionReady.mlplatform/ValidatingWebhookConfiguration/hook"


def test_an_object_waits_for_its_namespace() -> None:
    planned = plan([obj("v1", "ConfigMap", "c", "apps"), obj("v1", "Namespace", "apps")])
    assert waits(planned, "ConfigMap/apps/c", "Namespace/apps") is Rule.NAMESPACE
    assert [str(n.ref) for n in planned.nodes] == ["Namespace/apps", "ConfigMap/apps/c"]


def test_a_namespaced_object_without_a_namespace_is_in_default() -> None:
    planned = plan([obj("v1", "ConfigMap", "c")])
    assert planned.nodes[0].ref == Ref("ConfigMap", "", "default", "c")


def test_a_namespace_on_a_cluster_wide_object_is_ignored() -> None:
    planned = plan(
        [
            obj("rbac.authorization.k8s.io/v1", "ClusterRole", "r", "apps"),
            obj("v1", "Namespace", "apps"),
        ]
    )
    assert waits(planned, "ClusterRole/r", "Namespace/apps") is None


def test_a_custom_resource_waits_for_its_definition() -> None:
    planned = plan(
        [obj("example.org/v1", "Thing", "t", "apps"), crd("example.org", "things", "Thing")]
    )
    target = "CustomResourceDefinition/things.example.org"
    assert waits(planned, "Thing.example.org/apps/t", target) is Rule.DEFINITION


def test_a_kind_of_the_same_name_in_another_group_does_not_wait_for_the_definition() -> None:
    planned = plan(
        [obj("other.org/v1", "Thing", "t", "apps"), crd("example.org", "things", "Thing")]
    )
    assert planned.edges == ()


@pytest.mark.parametrize(
    ("spec", "target"),
    [
        ({"serviceAccountName": "a"}, "ServiceAccount/apps/a"),
        ({"serviceAccount": "a"}, "ServiceAccount/apps/a"),
        ({"imagePullSecrets": [{"name": "s"}]}, "Secret/apps/s"),
        ({"priorityClassName": "p"}, "PriorityClass/p"),
        ({"runtimeClassName": "r"}, "RuntimeClass/r"),
        ({"volumes": [{"name": "v", "configMap": {"name": "c"}}]}, "ConfigMap/apps/c"),
        ({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}, "Secret/apps/s"),
        (
            {"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "s"}}]}}]},
            "Secret/apps/s",
        ),
        (
            {"volumes": [{"name": "v", "projected": {"sources": [{"configMap": {"name": "c"}}]}}]},
            "ConfigMap/apps/c",
        ),
        (
            {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "d"}}]},
            "PersistentVolumeClaim/apps/d",
        ),
        (
            {"volumes": [{"name": "v", "csi": {"nodePublishSecretRef": {"name": "s"}}}]},
            "Secret/apps/s",
        ),
        ({"container": {"envFrom": [{"configMapRef": {"name": "c"}}]}}, "ConfigMap/apps/c"),
        ({"container": {"envFrom": [{"secretRef": {"name": "s"}}]}}, "Secret/apps/s"),
        (
            {"container": {"env": [{"valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}]}},
            "ConfigMap/apps/c",
        ),
        (
            {"container": {"env": [{"valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}},
            "Secret/apps/s",
        ),
        ({"initContainers": [{"envFrom": [{"secretRef": {"name": "s"}}]}]}, "Secret/apps/s"),
    ],
)
@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
def test_a_workload_waits_for_what_its_pods_name(kind: str, spec: Body, target: str) -> None:
    needed = [
        obj("v1", "ServiceAccount", "a", "apps"),
        obj("v1", "Secret", "s", "apps"),
        obj("v1", "ConfigMap", "c", "apps"),
        obj("v1", "PersistentVolumeClaim", "d", "apps"),
        obj("scheduling.k8s.io/v1", "PriorityClass", "p"),
        obj("node.k8s.io/v1", "RuntimeClass", "r"),
    ]
    planned = plan([workload("w", kind=kind, **spec), *needed])
    assert waits(planned, f"{kind}/apps/w", target) is Rule.POD
    assert len(planned.edges) == 1


@pytest.mark.parametrize("api,kind", [("batch/v1", "Job"), ("batch/v1", "CronJob"), ("v1", "Pod")])
def test_jobs_and_bare_pods_are_workloads_too(api: str, kind: str) -> None:
    pod = {"serviceAccountName": "a", "containers": []}
    spec: Body = {"template": {"spec": pod}}
    spec = {"Job": spec, "CronJob": {"jobTemplate": {"spec": spec}}, "Pod": pod}[kind]
    planned = plan(
        [obj(api, kind, "w", "apps", spec=spec), obj("v1", "ServiceAccount", "a", "apps")]
    )
    assert waits(planned, f"{kind}/apps/w", "ServiceAccount/apps/a") is Rule.POD


@pytest.mark.parametrize(
    "spec",
    [
        {"volumes": [{"name": "v", "configMap": {"name": "c", "optional": True}}]},
        {"volumes": [{"name": "v", "secret": {"secretName": "s", "optional": True}}]},
        {"container": {"envFrom": [{"configMapRef": {"name": "c", "optional": True}}]}},
        {"container": {"env": [{"valueFrom": {"secretKeyRef": {"name": "s", "optional": True}}}]}},
    ],
)
def test_optional_references_are_no_reason_to_wait(spec: Body) -> None:
    needed = [obj("v1", "Secret", "s", "apps"), obj("v1", "ConfigMap", "c", "apps")]
    assert plan([workload("w", **spec), *needed]).edges == ()


def test_a_name_in_another_namespace_is_another_object() -> None:
    planned = plan(
        [workload("w", serviceAccountName="a"), obj("v1", "ServiceAccount", "a", "other")]
    )
    assert planned.edges == ()


RBAC = "rbac.authorization.k8s.io"


def binding(
    kind: str, name: str, role: str, role_name: str, namespace: str | None, *subjects: Body
) -> Body:
    return obj(
        f"{RBAC}/v1",
        kind,
        name,
        namespace,
        roleRef={"kind": role, "name": role_name},
        subjects=list(subjects),
    )


ACCOUNT = {"kind": "ServiceAccount", "name": "a", "namespace": "apps"}


def test_a_binding_waits_for_role_and_account_and_the_workload_for_the_binding() -> None:
    planned = plan(
        [
            workload("w", serviceAccountName="a"),
            obj("v1", "ServiceAccount", "a", "apps"),
            obj(f"{RBAC}/v1", "Role", "r", "apps"),
            obj(f"{RBAC}/v1", "ClusterRole", "c"),
            binding(
                "RoleBinding", "rb", "Role", "r", "apps", {"kind": "ServiceAccount", "name": "a"}
            ),
            binding("ClusterRoleBinding", "crb", "ClusterRole", "c", None, ACCOUNT),
        ]
    )
    assert waits(planned, "RoleBinding/apps/rb", "Role/apps/r") is Rule.BINDING
    assert waits(planned, "RoleBinding/apps/rb", "ServiceAccount/apps/a") is Rule.BINDING
    assert waits(planned, "ClusterRoleBinding/crb", "ClusterRole/c") is Rule.BINDING
    assert waits(planned, "Deployment/apps/w", "RoleBinding/apps/rb") is Rule.PERMISSION
    assert waits(planned, "Deployment/apps/w", "ClusterRoleBinding/crb") is Rule.PERMISSION


def test_permissions_by_group_reach_only_the_namespace_they_are_bound_in() -> None:
    group = {"kind": "Group", "name": "system:serviceaccounts:apps"}
    planned = plan(
        [
            workload("w"),
            workload("w", "other"),
            binding("RoleBinding", "rb", "Role", "r", "apps", group),
            binding("RoleBinding", "rb", "Role", "r", "other", group),
        ]
    )
    assert waits(planned, "Deployment/apps/w", "RoleBinding/apps/rb") is Rule.PERMISSION
    assert len(planned.edges) == 1


def test_an_aggregated_role_waits_for_its_parts_unless_they_wait_for_it() -> None:
    def role(name: str, labels: Body, wants: Body) -> Body:
        rule = {"clusterRoleSelectors": [{"matchLabels": wants}]}
        return obj(
            f"{RBAC}/v1", "ClusterRole", name, metadata={"labels": labels}, aggregationRule=rule
        )

    planned = plan([role("a", {"x": "1"}, {"y": "1"}), role("b", {"y": "1"}, {"z": "1"})])
    assert waits(planned, "ClusterRole/a", "ClusterRole/b") is Rule.AGGREGATION
    circular = plan([role("a", {"x": "1"}, {"y": "1"}), role("b", {"y": "1"}, {"x": "1"})])
    assert len(circular.edges) == len(circular.yielded) == 1


def test_certificates_wait_for_issuers_and_mounts_for_certificates() -> None:
    certificate = {"secretName": "tls", "issuerRef": {"name": "i"}}
    planned = plan(
        [
            workload("w", volumes=[{"name": "v", "secret": {"secretName": "tls"}}]),
            obj("cert-manager.io/v1", "Certificate", "c", "apps", spec=certificate),
            obj("cert-manager.io/v1", "Issuer", "i", "apps", spec={"ca": {"secretName": "ca"}}),
            obj("v1", "Secret", "ca", "apps"),
        ]
    )
    issuer, made = "Issuer.cert-manager.io/apps/i", "Certificate.cert-manager.io/apps/c"
    assert waits(planned, "Deployment/apps/w", made) is Rule.CERTIFICATE
    assert waits(planned, made, issuer) is Rule.ISSUER
    assert waits(planned, issuer, "Secret/apps/ca") is Rule.CERTIFICATE
    conditions = {str(node.ref): node.condition for node in planned.nodes}
    assert conditions[made] == conditions[issuer] == "Ready"
    assert conditions["Deployment/apps/w"] is None


def test_a_cluster_issuer_is_looked_for_outside_the_namespace() -> None:
    spec = {"secretName": "tls", "issuerRef": {"name": "i", "kind": "ClusterIssuer"}}
    planned = plan(
        [
            obj("cert-manager.io/v1", "Certificate", "c", "apps", spec=spec),
            obj("cert-manager.io/v1", "ClusterIssuer", "i", spec={"ca": {"secretName": "ca"}}),
            obj("v1", "Secret", "ca", "cert-manager"),
        ]
    )
    issuer = "ClusterIssuer.cert-manager.io/i"
    assert waits(planned, "Certificate.cert-manager.io/apps/c", issuer) is Rule.ISSUER
    assert waits(planned, issuer, "Secret/cert-manager/ca") is Rule.CERTIFICATE


def test_nobody_waits_for_a_certificate_that_nobody_needs() -> None:
    planned = plan(
        [obj("cert-manager.io/v1", "Certificate", "c", "apps", spec={"secretName": "s"})]
    )
    assert planned.nodes[0].condition is None


def test_claims_wait_for_class_and_volume() -> None:
    spec = {"storageClassName": "fast", "volumeName": "pv"}
    planned = plan(
        [
            obj("v1", "PersistentVolumeClaim", "d", "apps", spec=spec),
            obj("storage.k8s.io/v1", "StorageClass", "fast"),
            obj("v1", "PersistentVolume", "pv"),
        ]
    )
    assert waits(planned, "PersistentVolumeClaim/apps/d", "StorageClass/fast") is Rule.STORAGE
    assert waits(planned, "PersistentVolumeClaim/apps/d", "PersistentVolume/pv") is Rule.STORAGE


def test_a_token_waits_for_its_account() -> None:
    annotations = {"kubernetes.io/service-account.name": "a"}
    planned = plan(
        [
            obj(
                "v1",
                "Secret",
                "t",
                "apps",
                metadata={"annotations": annotations},
                type="kubernetes.io/service-account-token",
            ),
            obj("v1", "ServiceAccount", "a", "apps"),
        ]
    )
    assert waits(planned, "Secret/apps/t", "ServiceAccount/apps/a") is Rule.TOKEN


THING = obj("example.org/v1", "Thing", "t", "apps", metadata={"labels": {"tier": "one"}})
DEFINED = crd("example.org", "things", "Thing")


def test_an_admitted_object_waits_for_the_gate_and_the_gate_for_the_backend() -> None:
    planned = plan([THING, DEFINED, webhook(["things"]), *backend()])
    assert waits(planned, "Thing.example.org/apps/t", GATE) is Rule.ADMISSION
    for target in (
        "ValidatingWebhookConfiguration/hook",
        "Service/hooks/hook",
        "Deployment/hooks/hook",
        "CustomResourceDefinition/things.example.org",
    ):
        assert waits(planned, GATE, target) is Rule.WEBHOOK
    gate = next(node.gate for node in planned.nodes if node.gate)
    assert [hook.name for hook in gate.webhooks] == ["hook.example.org"]
    assert gate.probes == (THING,)


@pytest.mark.parametrize(
    ("rule", "matched"),
    [
        ({"resources": ["*"]}, True),
        ({"resources": ["*/*"]}, True),
        ({"resources": ["things/*"]}, True),
        ({"resources": ["things/status"]}, False),
        ({"resources": ["others"]}, False),
        ({"apiGroups": ["*"]}, True),
        ({"apiGroups": ["other.org"]}, False),
        ({"apiVersions": ["v9"]}, True),  # matchPolicy Equivalent
        ({"operations": ["CONNECT"]}, False),
        ({"operations": ["DELETE"]}, True),
        ({"scope": "Namespaced"}, True),
        ({"scope": "Cluster"}, False),
    ],
)
def test_rules_of_a_webhook(rule: Body, matched: bool) -> None:
    hook = webhook(["things"])
    hook["webhooks"][0]["rules"][0] |= rule
    planned = plan([THING, DEFINED, hook, *backend()])
    assert (waits(planned, "Thing.example.org/apps/t", GATE) is Rule.ADMISSION) is matched


@pytest.mark.parametrize(
    ("spec", "matched"),
    [
        ({"failurePolicy": "Fail"}, True),
        ({"failurePolicy": "Ignore"}, False),
        ({"objectSelector": {"matchLabels": {"tier": "one"}}}, True),
        ({"objectSelector": {"matchLabels": {"tier": "two"}}}, False),
        ({"objectSelector": {"matchExpressions": [{"key": "tier", "operator": "Exists"}]}}, True),
        (
            {"objectSelector": {"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}},
            False,
        ),
        (
            {
                "objectSelector": {
                    "matchExpressions": [{"key": "tier", "operator": "In", "values": ["one"]}]
                }
            },
            True,
        ),
        (
            {
                "objectSelector": {
                    "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["one"]}]
                }
            },
            False,
        ),
        ({"namespaceSelector": {"matchLabels": {"team": "ml"}}}, True),
        ({"namespaceSelector": {"matchLabels": {"team": "web"}}}, False),
        ({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "apps"}}}, True),
        ({"clientConfig": {"url": "https://example.org"}}, False),
    ],
)
def test_selectors_and_policy_of_a_webhook(spec: Body, matched: bool) -> None:
    namespace = obj("v1", "Namespace", "apps", metadata={"labels": {"team": "ml"}})
    planned = plan([THING, DEFINED, namespace, webhook(["things"], **spec), *backend()])
    assert (waits(planned, "Thing.example.org/apps/t", GATE) is Rule.ADMISSION) is matched


def test_an_unknown_selector_operator_is_an_error() -> None:
    bad = {"objectSelector": {"matchExpressions": [{"key": "tier", "operator": "Like"}]}}
    with pytest.raises(PlanError, match=r"'tier' has the operator 'Like'"):
        plan([THING, DEFINED, webhook(["things"], **bad), *backend()])


def test_a_namespace_is_selected_by_its_own_labels() -> None:
    selector = {"namespaceSelector": {"matchLabels": {"team": "ml"}}}
    planned = plan(
        [
            obj("v1", "Namespace", "a", metadata={"labels": {"team": "ml"}}),
            obj("v1", "Namespace", "b"),
            webhook(["namespaces"], group="", **selector),
            *backend(),
        ]
    )
    assert waits(planned, "Namespace/a", GATE) is Rule.ADMISSION
    assert waits(planned, "Namespace/b", GATE) is None


def test_a_workload_waits_for_the_webhook_that_admits_its_pods() -> None:
    hook = webhook(["pods"], group="", namespaceSelector={"matchLabels": {"inject": "yes"}})
    planned = plan(
        [
            obj("v1", "Namespace", "apps", metadata={"labels": {"inject": "yes"}}),
            obj("v1", "ServiceAccount", "a", "apps"),
            workload("w", serviceAccountName="a"),
            hook,
            *backend(),
        ]
    )
    assert waits(planned, "Deployment/apps/w", GATE) is Rule.ADMISSION
    assert waits(planned, "Deployment/hooks/hook", GATE) is None
    assert waits(planned, GATE, "ServiceAccount/apps/a") is Rule.WEBHOOK
    gate = next(node.gate for node in planned.nodes if node.gate)
    (probe,) = gate.probes
    assert (probe["kind"], probe["metadata"]["labels"]) == ("Pod", {"app": "w"})
    assert probe["spec"]["serviceAccountName"] == "a"


def test_a_webhook_with_side_effects_is_not_probed() -> None:
    planned = plan([THING, DEFINED, webhook(["things"], sideEffects="Some"), *backend()])
    gate = next(node.gate for node in planned.nodes if node.gate)
    assert gate.probes == ()


@pytest.mark.parametrize(
    "annotation,secret",
    [
        ({"cert-manager.io/inject-ca-from": "hooks/c"}, None),
        ({"cert-manager.io/inject-ca-from-secret": "hooks/s"}, "Secret/hooks/s"),
    ],
)
def test_a_gate_waits_for_what_its_authority_comes_from(
    annotation: Body, secret: str | None
) -> None:
    planned = plan(
        [
            THING,
            DEFINED,
            webhook(["things"], annotations=annotation),
            obj("cert-manager.io/v1", "Certificate", "c", "hooks", spec={"secretName": "s"}),
            obj("v1", "Secret", "s", "hooks"),
            *backend(),
        ]
    )
    assert waits(planned, GATE, "Certificate.cert-manager.io/hooks/c") is Rule.CERTIFICATE
    assert secret is None or waits(planned, GATE, secret) is Rule.CERTIFICATE


def test_conversion_is_admission_too() -> None:
    client = {"service": {"namespace": "hooks", "name": "hook"}}
    conversion = {"strategy": "Webhook", "webhook": {"clientConfig": client}}
    planned = plan(
        [THING, crd("example.org", "things", "Thing", conversion=conversion), *backend()]
    )
    gate = "AdmissionReady.mlplatform/CustomResourceDefinition/things.example.org"
    assert waits(planned, "Thing.example.org/apps/t", gate) is Rule.ADMISSION
    assert waits(planned, gate, "Deployment/hooks/hook") is Rule.WEBHOOK


def test_webhook_configurations_are_admitted_by_nobody() -> None:
    everything = webhook(["*"], group="*", name="all", objectSelector={"matchLabels": {"x": "y"}})
    other = webhook(["things"], name="other")
    other["metadata"]["labels"] = {"x": "y"}
    planned = plan([everything, other, *backend()])
    assert [e for e in planned.edges if e.rule is Rule.ADMISSION] == []


def controlled(verbs: list[str], resources: list[str]) -> Plan:
    return plan(
        [
            THING,
            DEFINED,
            workload("c", serviceAccountName="a"),
            obj(
                f"{RBAC}/v1",
                "ClusterRole",
                "r",
                rules=[{"apiGroups": ["example.org"], "resources": resources, "verbs": verbs}],
            ),
            binding("ClusterRoleBinding", "b", "ClusterRole", "r", None, ACCOUNT),
        ]
    )


@pytest.mark.parametrize(
    ("verbs", "resources", "expected"),
    [
        (["update"], ["things/status"], True),
        (["patch"], ["things/finalizers"], True),
        (["*"], ["*"], True),
        (["get"], ["things/status"], False),
        (["update"], ["things"], False),
        (["update"], ["others/status"], False),
    ],
)
def test_a_custom_resource_waits_for_its_controller(
    verbs: list[str], resources: list[str], expected: bool
) -> None:
    planned = controlled(verbs, resources)
    rule = waits(planned, "Thing.example.org/apps/t", "Deployment/apps/c")
    assert rule is (Rule.CONTROLLER if expected else None)


@pytest.mark.parametrize("verbs,expected", [(["watch"], True), (["get"], False)])
def test_a_controller_waits_for_the_kinds_it_watches(verbs: list[str], expected: bool) -> None:
    planned = controlled(verbs, ["things"])
    rule = waits(planned, "Deployment/apps/c", "CustomResourceDefinition/things.example.org")
    assert rule is (Rule.CONTROLLER if expected else None)


def test_rules_of_aggregated_roles_count_for_the_controller() -> None:
    part = obj(
        f"{RBAC}/v1",
        "ClusterRole",
        "part",
        metadata={"labels": {"to": "r"}},
        rules=[{"apiGroups": ["example.org"], "resources": ["things/status"], "verbs": ["update"]}],
    )
    whole = obj(
        f"{RBAC}/v1",
        "ClusterRole",
        "r",
        aggregationRule={"clusterRoleSelectors": [{"matchLabels": {"to": "r"}}]},
    )
    bound = binding("ClusterRoleBinding", "b", "ClusterRole", "r", None, ACCOUNT)
    planned = plan([THING, DEFINED, workload("c", serviceAccountName="a"), part, whole, bound])
    assert waits(planned, "Thing.example.org/apps/t", "Deployment/apps/c") is Rule.CONTROLLER


def test_a_soft_edge_yields_to_a_hard_one() -> None:
    # The controller mounts the secret of a certificate that it works on itself.
    rules = [{"apiGroups": ["cert-manager.io"], "resources": ["*"], "verbs": ["*"]}]
    planned = plan(
        [
            crd("cert-manager.io", "certificates", "Certificate"),
            obj("cert-manager.io/v1", "Certificate", "c", "apps", spec={"secretName": "s"}),
            workload(
                "m",
                serviceAccountName="a",
                volumes=[{"name": "v", "secret": {"secretName": "s"}}],
            ),
            obj(f"{RBAC}/v1", "ClusterRole", "r", rules=rules),
            binding("ClusterRoleBinding", "b", "ClusterRole", "r", None, ACCOUNT),
        ]
    )
    made = "Certificate.cert-manager.io/apps/c"
    assert waits(planned, "Deployment/apps/m", made) is Rule.CERTIFICATE
    assert waits(planned, made, "Deployment/apps/m") is None
    assert [(str(e.source), e.rule) for e in planned.yielded] == [(made, Rule.CONTROLLER)]


def test_a_webhook_that_its_own_backend_needs_is_an_error_with_the_path() -> None:
    hook = webhook(["pods"], group="")
    with pytest.raises(PlanError) as caught:
        plan([hook, *backend()])
    lines = str(caught.value).splitlines()
    assert "wait for each other" in lines[0]
    steps = [re.fullmatch(r"  (\S+) .* (\S+)", line) for line in lines[1:-1]]
    assert len(steps) == 2 and all(steps)
    named = {step.group(1) for step in steps if step}
    assert named == {"Deployment/hooks/hook", GATE}
    assert "namespaceSelector" in lines[-1] and "failurePolicy" in lines[-1]


def test_two_objects_of_one_identity_are_an_error() -> None:
    twice = [obj("v1", "ConfigMap", "c", "apps"), obj("v1", "ConfigMap", "c", "apps", data={})]
    with pytest.raises(PlanError, match=r"ConfigMap/apps/c is there twice"):
        plan(twice)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"kind": "ConfigMap", "metadata": {"name": "c"}}, "no apiVersion or kind"),
        ({"apiVersion": "v1", "metadata": {"name": "c"}}, "no apiVersion or kind"),
        ({"apiVersion": "v1", "kind": "ConfigMap"}, r"a ConfigMap \(v1\) has no metadata.name"),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": ""}}, "no metadata.name"),
    ],
)
def test_what_is_no_object_is_an_error(body: Body, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        plan([body])


def test_the_fewest_edges_keep_the_order() -> None:
    planned = plan(
        [
            obj("v1", "Namespace", "apps"),
            obj("v1", "ServiceAccount", "a", "apps"),
            workload("w", serviceAccountName="a"),
        ]
    )
    needed = {str(ref): [str(r) for r in out] for ref, out in planned.needed.items()}
    assert needed["Deployment/apps/w"] == ["ServiceAccount/apps/a"]
    assert len(planned.waits_for[Ref("Deployment", "apps", "apps", "w")]) == 2
    assert order(planned)["Namespace/apps"] == 0


def sentences(planned: Plan) -> list[str]:
    return [f"{edge.source} {edge.reason} {edge.target}" for edge in planned.edges]


def test_a_pod_template_says_what_it_needs_and_for_what() -> None:
    spec = {
        "imagePullSecrets": [{"name": "p"}],
        "priorityClassName": "urgent",
        "runtimeClassName": "gvisor",
        "volumes": [
            {"name": "v1", "configMap": {"name": "c"}},
            {"name": "v2", "secret": {"secretName": "s"}},
            {"name": "v3", "persistentVolumeClaim": {"claimName": "d"}},
            {"name": "v4", "csi": {"nodePublishSecretRef": {"name": "n"}}},
        ],
        "containers": [{"name": "main", "envFrom": [{"configMapRef": {"name": "e"}}]}],
    }
    assert list(pod_references({"spec": spec})) == [
        PodReference("ServiceAccount", "", "default", "runs as"),
        PodReference("Secret", "", "p", "pulls images with"),
        PodReference("PriorityClass", "scheduling.k8s.io", "urgent", "has the priority"),
        PodReference("RuntimeClass", "node.k8s.io", "gvisor", "runs in"),
        PodReference("ConfigMap", "", "c", "has as volume 'v1'"),
        PodReference("Secret", "", "s", "has as volume 'v2'"),
        PodReference("PersistentVolumeClaim", "", "d", "has as volume 'v3'"),
        PodReference("Secret", "", "n", "has as volume 'v4'"),
        PodReference("ConfigMap", "", "e", "sets the environment of container 'main' from"),
    ]


def test_edges_read_as_sentences() -> None:
    annotations = {"kubernetes.io/service-account.name": "a"}
    certificate = {"secretName": "tls", "issuerRef": {"name": "i"}}
    volumes = [
        {"name": "t", "secret": {"secretName": "tls"}},
        {"name": "s", "secret": {"secretName": "s"}},
        {"name": "c", "configMap": {"name": "c"}},
    ]
    aggregation = {"clusterRoleSelectors": [{"matchLabels": {"to": "r"}}]}
    rule = {"apiGroups": ["example.org"], "resources": ["*"], "verbs": ["*"]}
    planned = plan(
        [
            THING,
            DEFINED,
            obj("v1", "Namespace", "apps"),
            workload("w", serviceAccountName="a", volumes=volumes),
            obj("v1", "ServiceAccount", "a", "apps"),
            obj("v1", "ConfigMap", "c", "apps"),
            obj("v1", "Secret", "s", "apps", metadata={"annotations": annotations})
            | {"type": "kubernetes.io/service-account-token"},
            obj("cert-manager.io/v1", "Certificate", "c", "apps", spec=certificate),
            obj("cert-manager.io/v1", "Issuer", "i", "apps", spec={"ca": {"secretName": "s"}}),
            obj("v1", "PersistentVolumeClaim", "d", "apps", spec={"storageClassName": "fast"}),
            obj("storage.k8s.io/v1", "StorageClass", "fast"),
            obj(f"{RBAC}/v1", "ClusterRole", "r", aggregationRule=aggregation),
            obj(f"{RBAC}/v1", "ClusterRole", "part", metadata={"labels": {"to": "r"}})
            | {"rules": [rule]},
            binding("ClusterRoleBinding", "b", "ClusterRole", "r", None, ACCOUNT),
        ]
    )
    inside = [line for line in sentences(planned) if not line.endswith(" lives in Namespace/apps")]
    assert len(planned.edges) - len(inside) == 8
    assert sorted(inside) == [
        "Certificate.cert-manager.io/apps/c is signed by Issuer.cert-manager.io/apps/i",
        "ClusterRole/r takes rules from ClusterRole/part",
        "ClusterRoleBinding/b binds the account ServiceAccount/apps/a",
        "ClusterRoleBinding/b binds the role ClusterRole/r",
        "Deployment/apps/w has as volume 'c' ConfigMap/apps/c",
        "Deployment/apps/w has as volume 's' Secret/apps/s",
        "Deployment/apps/w has as volume 't' the secret 'tls', which is filled by "
        "Certificate.cert-manager.io/apps/c",
        "Deployment/apps/w is permitted what it does by ClusterRoleBinding/b",
        "Deployment/apps/w runs as ServiceAccount/apps/a",
        "Deployment/apps/w watches the kind of CustomResourceDefinition/things.example.org",
        "Issuer.cert-manager.io/apps/i signs with the key of Secret/apps/s",
        "PersistentVolumeClaim/apps/d is provisioned from StorageClass/fast",
        "Secret/apps/s holds a token of ServiceAccount/apps/a",
        "Thing.example.org/apps/t is of the kind that is defined by "
        "CustomResourceDefinition/things.example.org",
        "Thing.example.org/apps/t is worked on by Deployment/apps/w",
    ]
    soft = (Rule.AGGREGATION, Rule.CONTROLLER)
    assert all(edge.soft is (edge.rule in soft) for edge in planned.edges)


@pytest.mark.parametrize(
    "annotation,trusted",
    [("inject-ca-from", "Certificate.cert-manager.io"), ("inject-ca-from-secret", "Secret")],
)
def test_edges_of_a_gate_read_as_sentences(annotation: str, trusted: str) -> None:
    hook = webhook(
        ["pods", "things"], group="*", annotations={f"cert-manager.io/{annotation}": "hooks/c"}
    )
    hook["webhooks"][0]["namespaceSelector"] = {"matchLabels": {"inject": "yes"}}
    planned = plan(
        [
            THING,
            obj("v1", "Namespace", "apps", metadata={"labels": {"inject": "yes"}}),
            workload("w", serviceAccountName="a"),
            obj("v1", "ServiceAccount", "a", "apps"),
            obj("cert-manager.io/v1", "Certificate", "c", "hooks"),
            obj("v1", "Secret", "c", "hooks"),
            hook,
            *backend(),
        ]
    )
    assert sorted(line for line in sentences(planned) if GATE in line) == [
        f"{GATE} is answered by the pods of Deployment/hooks/hook",
        f"{GATE} is reached through Service/hooks/hook",
        f"{GATE} is trusted through {trusted}/hooks/c",
        f"{GATE} opens when it answers ValidatingWebhookConfiguration/hook",
        f"{GATE} tries it with an object that needs Namespace/apps",
        f"{GATE} tries it with an object that needs ServiceAccount/apps/a",
        f"Deployment/apps/w has its pods admitted by 'hook.example.org' of {GATE}",
        f"Thing.example.org/apps/t is admitted by 'hook.example.org' of {GATE}",
    ]


def test_the_probe_of_a_workload_is_a_pod_that_every_security_standard_allows() -> None:
    planned = plan(
        [
            workload("w"),
            webhook(["pods"], group="", objectSelector={"matchLabels": {"app": "w"}}),
            *backend(),
        ]
    )
    gate = next(node.gate for node in planned.nodes if node.gate)
    drop = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert gate.probes == (
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "w", "namespace": "apps", "labels": {"app": "w"}},
            "spec": {
                "automountServiceAccountToken": False,
                "serviceAccountName": "default",
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": 65532,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [
                    {"name": "probe", "image": "probe.invalid/none", "securityContext": drop}
                ],
            },
        },
    )


def test_kinds_of_other_groups_follow_no_rule_of_their_namesakes() -> None:
    group = "other.org/v1"
    annotations = {"kubernetes.io/service-account.name": "a"}
    aggregation = {"clusterRoleSelectors": [{"matchLabels": {"to": "r"}}]}
    token = {"type": "kubernetes.io/service-account-token"}
    hook = webhook(["*"], group="*")
    planned = plan(
        [
            obj("v1", "ServiceAccount", "a", "apps"),
            workload("w"),
            obj("v1", "ConfigMap", "c", "apps"),
            obj("storage.k8s.io/v1", "StorageClass", "fast"),
            obj(f"{RBAC}/v1", "ClusterRole", "part", metadata={"labels": {"to": "r"}}),
            obj(group, "ClusterRole", "r", aggregationRule=aggregation),
            binding(
                "RoleBinding",
                "b",
                "Role",
                "r",
                "apps",
                {"kind": "ServiceAccount", "name": "default"},
            )
            | {"apiVersion": group},
            obj(group, "PersistentVolumeClaim", "d", "apps", spec={"storageClassName": "fast"}),
            obj(group, "Secret", "t", "apps", metadata={"annotations": annotations}, **token),
            hook | {"apiVersion": group},
        ]
    )
    assert planned.edges == ()


def test_a_namesake_of_a_namespace_lends_it_no_labels() -> None:
    selector = {"namespaceSelector": {"matchLabels": {"team": "ml"}}}
    namesake = obj("v1", "Secret", "apps", "other", metadata={"labels": {"team": "ml"}})
    namespace = obj("v1", "Namespace", "apps")
    planned = plan(
        [THING, DEFINED, namespace, namesake, webhook(["things"], **selector), *backend()]
    )
    assert waits(planned, "Thing.example.org/apps/t", GATE) is None


def test_a_group_of_all_accounts_reaches_every_namespace() -> None:
    group = {"kind": "Group", "name": "system:serviceaccounts"}
    planned = plan(
        [workload("w"), binding("ClusterRoleBinding", "b", "ClusterRole", "r", None, group)]
    )
    assert waits(planned, "Deployment/apps/w", "ClusterRoleBinding/b") is Rule.PERMISSION


def test_a_binding_in_a_namespace_reaches_cluster_roles_and_accounts_elsewhere() -> None:
    subject = {"kind": "ServiceAccount", "name": "a", "namespace": "other"}
    planned = plan(
        [
            binding("RoleBinding", "b", "ClusterRole", "r", "apps", subject),
            obj(f"{RBAC}/v1", "ClusterRole", "r"),
            obj("v1", "ServiceAccount", "a", "other"),
        ]
    )
    assert waits(planned, "RoleBinding/apps/b", "ClusterRole/r") is Rule.BINDING
    assert waits(planned, "RoleBinding/apps/b", "ServiceAccount/other/a") is Rule.BINDING


def test_an_issuer_of_another_group_is_waited_for_but_has_no_known_condition() -> None:
    spec = {"secretName": "s", "issuerRef": {"name": "i", "group": "other.org"}}
    planned = plan(
        [
            obj("cert-manager.io/v1", "Certificate", "c", "apps", spec=spec),
            obj("other.org/v1", "Issuer", "i", "apps"),
        ]
    )
    issuer = "Issuer.other.org/apps/i"
    assert waits(planned, "Certificate.cert-manager.io/apps/c", issuer) is Rule.ISSUER
    assert [node.condition for node in planned.nodes] == [None, None]


def test_a_cluster_issuer_that_is_waited_for_must_be_ready() -> None:
    spec = {"secretName": "tls", "issuerRef": {"name": "i", "kind": "ClusterIssuer"}}
    planned = plan(
        [
            obj("cert-manager.io/v1", "Certificate", "c", "apps", spec=spec),
            obj("cert-manager.io/v1", "ClusterIssuer", "i"),
        ]
    )
    assert [node.condition for node in planned.nodes] == ["Ready", None]


def test_a_plural_that_follows_no_rule_is_taken_from_the_definition() -> None:
    client = {"service": {"namespace": "hooks", "name": "hook"}}
    conversion = {"strategy": "Webhook", "webhook": {"clientConfig": client}}
    rule = {"apiGroups": ["example.org"], "resources": ["fish/status"], "verbs": ["update"]}
    planned = plan(
        [
            obj("example.org/v1", "Fish", "f", "apps"),
            crd("example.org", "fish", "Fish", conversion=conversion),
            webhook(["fish"]),
            workload("c", serviceAccountName="a"),
            obj(f"{RBAC}/v1", "ClusterRole", "r", rules=[rule]),
            binding("ClusterRoleBinding", "b", "ClusterRole", "r", None, ACCOUNT),
            *backend(),
        ]
    )
    fish, definition = "Fish.example.org/apps/f", "CustomResourceDefinition/fish.example.org"
    assert waits(planned, fish, definition) is Rule.DEFINITION
    assert waits(planned, fish, GATE) is Rule.ADMISSION
    assert waits(planned, fish, f"AdmissionReady.mlplatform/{definition}") is Rule.ADMISSION
    assert waits(planned, fish, "Deployment/apps/c") is Rule.CONTROLLER
    gates = [node.gate for node in planned.nodes if node.gate]
    assert {hook.name for gate in gates for hook in gate.webhooks} == {
        CONVERSION,
        "hook.example.org",
    }


@pytest.mark.parametrize(
    "group,version,kind,resource",
    [
        ("", "v1", "Endpoints", "endpoints"),
        ("networking.k8s.io", "networking.k8s.io/v1", "Ingress", "ingresses"),
        (
            "admissionregistration.k8s.io",
            "admissionregistration.k8s.io/v1",
            "ValidatingAdmissionPolicy",
            "validatingadmissionpolicies",
        ),
    ],
)
def test_plurals_of_built_in_kinds(group: str, version: str, kind: str, resource: str) -> None:
    planned = plan([obj(version, kind, "x"), webhook([resource], group=group), *backend()])
    (gate,) = [node.gate for node in planned.nodes if node.gate]
    assert gate.probes == (obj(version, kind, "x"),)


def test_scope_is_taken_from_the_definition_or_the_group() -> None:
    planned = plan(
        [
            crd("example.org", "things", "Thing"),
            obj("example.org/v1", "Thing", "t"),
            crd("example.org", "worlds", "World", scope="Cluster"),
            obj("example.org/v1", "World", "w", "apps"),
            obj("networking.k8s.io/v1", "Ingress", "i"),
        ]
    )
    assert {"Thing.example.org/default/t", "World.example.org/w", "Ingress/default/i"} <= {
        *order(planned)
    }


def test_a_namespace_selector_says_nothing_about_what_lives_in_no_namespace() -> None:
    selector = {"namespaceSelector": {"matchLabels": {"team": "ml"}}}
    planned = plan(
        [
            obj("example.org/v1", "World", "w"),
            crd("example.org", "worlds", "World", scope="Cluster"),
            webhook(["worlds"], **selector),
            *backend(),
        ]
    )
    assert waits(planned, "World.example.org/w", GATE) is Rule.ADMISSION


def test_a_configuration_named_like_a_definition_converts_nothing() -> None:
    planned = plan([THING, DEFINED, webhook(["others"], name="things.example.org"), *backend()])
    assert all(node.gate is None for node in planned.nodes)


def test_a_definition_with_conversion_is_itself_admitted_by_others() -> None:
    client = {"service": {"namespace": "hooks", "name": "hook"}}
    conversion = {"strategy": "Webhook", "webhook": {"clientConfig": client}}
    hook = webhook(["customresourcedefinitions"], group="apiextensions.k8s.io")
    planned = plan([crd("example.org", "things", "Thing", conversion=conversion), hook, *backend()])
    definition = "CustomResourceDefinition/things.example.org"
    assert waits(planned, definition, GATE) is Rule.ADMISSION


def test_only_running_pods_that_the_service_selects_answer_for_it() -> None:
    hook = webhook(["things"])
    missing = {"name": "a.example.org"}
    missing["clientConfig"] = {"service": {"namespace": "absent", "name": "hook"}}
    hook["webhooks"].append(hook["webhooks"][0] | missing)
    same = {"labels": {"app": "hook"}}
    planned = plan(
        [
            THING,
            hook,
            *backend(),
            workload("other", "hooks"),
            workload("elsewhere", "apps", **same),
            workload("set", "hooks", kind="ReplicaSet", **same),
        ]
    )
    answer = [str(e.target) for e in planned.edges if e.reason == "is answered by the pods of"]
    assert answer == ["Deployment/hooks/hook"]


@pytest.mark.parametrize("annotation", ["inject-ca-from", "inject-ca-from-secret"])
def test_an_authority_without_its_namespace_is_not_looked_for(annotation: str) -> None:
    planned = plan(
        [
            THING,
            webhook(["things"], annotations={f"cert-manager.io/{annotation}": "c"}),
            obj("cert-manager.io/v1", "Certificate", "c", spec={"secretName": "c"}),
            *backend(),
        ]
    )
    assert [e for e in planned.edges if e.rule is Rule.CERTIFICATE] == []


@pytest.mark.parametrize(
    "group,verbs,resources,expected",
    [
        ("example.org", ["*"], ["things"], True),
        ("example.org", ["watch"], ["*"], True),
        ("example.org", ["watch"], ["others"], False),
        ("other.org", ["*"], ["*"], False),
    ],
)
def test_a_role_in_the_namespace_permits_a_watch(
    group: str, verbs: list[str], resources: list[str], expected: bool
) -> None:
    rule = {"apiGroups": [group], "resources": resources, "verbs": verbs}
    subject = {"kind": "ServiceAccount", "name": "a"}
    planned = plan(
        [
            DEFINED,
            workload("c", serviceAccountName="a"),
            binding("RoleBinding", "a", "Role", "absent", "apps", subject),
            binding("RoleBinding", "b", "Role", "r", "apps", subject),
            obj(f"{RBAC}/v1", "Role", "r", "apps", rules=[rule]),
        ]
    )
    target = "CustomResourceDefinition/things.example.org"
    watches = waits(planned, "Deployment/apps/c", target)
    assert watches is (Rule.CONTROLLER if expected else None)


def test_a_cluster_role_bound_in_a_namespace_permits_too() -> None:
    rule = {"apiGroups": ["example.org"], "resources": ["things"], "verbs": ["watch"]}
    planned = plan(
        [
            DEFINED,
            workload("c", serviceAccountName="a"),
            binding("RoleBinding", "b", "ClusterRole", "r", "apps", ACCOUNT),
            obj(f"{RBAC}/v1", "ClusterRole", "r", rules=[rule]),
        ]
    )
    target = "CustomResourceDefinition/things.example.org"
    assert waits(planned, "Deployment/apps/c", target) is Rule.CONTROLLER


def test_nodes_carry_their_objects_and_the_versions_that_are_served() -> None:
    versions = [{"name": "v1", "served": True}, {"name": "v1beta1", "served": False}]
    defined = crd("example.org", "things", "Thing", versions=versions)
    planned = plan([THING, defined])
    assert [node.body for node in planned.nodes] == [defined, THING]
    assert [node.versions for node in planned.nodes] == [(), ("v1",)]


def test_a_template_that_is_none_is_left_to_the_api_server() -> None:
    planned = plan([obj("apps/v1", "Deployment", "w", "apps", spec={"template": "text"})])
    assert planned.edges == ()


def aggregating(name: str, wants: str) -> Body:
    rule = {"clusterRoleSelectors": [{"matchLabels": {"name": wants}}]}
    labels = {"labels": {"name": name}}
    return obj(f"{RBAC}/v1", "ClusterRole", name, metadata=labels, aggregationRule=rule)


def test_soft_edges_yield_in_each_circle_they_close() -> None:
    circles = [("a", "b"), ("b", "c"), ("c", "a"), ("x", "y"), ("y", "x")]
    planned = plan([aggregating(*names) for names in circles])
    assert [(edge.source.name, edge.target.name) for edge in planned.edges] == [
        ("b", "c"),
        ("c", "a"),
        ("y", "x"),
    ]
    assert sorted((e.source.name, e.target.name) for e in planned.yielded) == [
        ("a", "b"),
        ("x", "y"),
    ]


def test_a_circle_is_printed_step_by_step() -> None:
    with pytest.raises(PlanError) as caught:
        plan([webhook(["pods"], group=""), *backend()])
    first, *steps = str(caught.value).splitlines()
    assert first == "these objects wait for each other, so none can be the first:"
    assert sorted(steps[:2]) == [
        f"  {GATE} is answered by the pods of Deployment/hooks/hook",
        f"  Deployment/hooks/hook has its pods admitted by 'hook.example.org' of {GATE}",
    ]
    assert steps[2:] == [
        "Exclude what the webhook's own pods need by its namespaceSelector or objectSelector, "
        "or set its failurePolicy to Ignore (a patch will do)."
    ]


@pytest.mark.parametrize("kind", ["", 5])
def test_an_object_without_a_kind_is_shown_in_part(kind: Any) -> None:
    body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "c" * 200}}
    with pytest.raises(PlanError) as caught:
        plan([body])
    assert str(caught.value) == f"an object has no apiVersion or kind: {str(body)[:120]}"


def test_an_unknown_selector_operator_is_named_with_those_that_are_known() -> None:
    bad = {"objectSelector": {"matchExpressions": [{"key": "tier", "operator": "Like"}]}}
    with pytest.raises(PlanError) as caught:
        plan([THING, DEFINED, webhook(["things"], **bad), *backend()])
    assert str(caught.value) == (
        "label selector on 'tier' has the operator 'Like'; "
        "Kubernetes knows In, NotIn, Exists and DoesNotExist"
    )


def test_a_plan_as_plain_data() -> None:
    planned = plan([aggregating("a", "b"), aggregating("b", "c")])
    assert as_document(planned) == {
        "nodes": ["ClusterRole/b", "ClusterRole/a"],
        "edges": [
            {
                "source": "ClusterRole/a",
                "target": "ClusterRole/b",
                "rule": "aggregation",
                "reason": "takes rules from",
                "soft": True,
            }
        ],
    }


def test_a_controller_without_objects_to_work_on_is_waited_for_by_none() -> None:
    rule = {"apiGroups": ["example.org"], "resources": ["things/status"], "verbs": ["update"]}
    role = obj(f"{RBAC}/v1", "ClusterRole", "r", rules=[rule])
    bound = binding("ClusterRoleBinding", "b", "ClusterRole", "r", None, ACCOUNT)
    planned = plan([DEFINED, workload("c", serviceAccountName="a"), role, bound])
    assert [e for e in planned.edges if e.rule is Rule.CONTROLLER] == []


def test_an_edge_that_no_rule_sees_is_kept_as_those_of_rules_are() -> None:
    pods, settings = workload("web"), obj("v1", "ConfigMap", "aaa", "apps")
    edge = Edge(
        Ref("Deployment", "apps", "apps", "web"),
        Ref("ConfigMap", "", "apps", "aaa"),
        Rule.POD,
        "is started with",
    )
    made = plan([pods, settings], [edge])
    assert edge in made.edges and made.needed[edge.source] == (edge.target,)
    assert plan([pods, settings]).edges == ()
    back = Edge(edge.target, edge.source, Rule.POD, "is read by")
    with pytest.raises(PlanError, match="is started with"):
        plan([pods, settings], [edge, back])
