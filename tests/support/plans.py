"""A plan as the engine sees it."""

from components.kubeflow.manifests import resource_name, type_token
from components.kubeflow.objects import CRD_KIND
from components.kubeflow.plan import Node


def name_of(node: Node) -> str:
    """Under which name, "<type>::<name>", the engine has a step of a plan."""
    if node.gate:
        token = "mlplatform:kubernetes:AdmissionReady"
    elif node.ref.kind == CRD_KIND:
        token = "mlplatform:kubernetes:CustomResourceDefinition"
    else:
        token = type_token(node.body or {})
    return f"{token}::{resource_name(node.ref)}"
