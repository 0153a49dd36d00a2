"""What a program registered, written as a plan of Terraform, for scanners that read such.

pulumi-aws is bridged from terraform-provider-aws, so a resource has the same arguments there, under
other names; its Python SDK tells which of them are blocks. What refers to another resource is
written as a reference, so that a scanner sees the graph.
https://developer.hashicorp.com/terraform/internals/json-format#plan-representation
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from provider.values import SIGNATURE
from tests.aws.conftest import RanOnAws
from tests.aws.moto_mocks import whole
from tests.support.programs import Registered

_TYPES = {
    # Those that are not `aws_<module>_<type>`, nor of EC2, whose types have no module.
    "aws:lb/loadBalancer:LoadBalancer": "aws_lb",
    "aws:rds/instance:Instance": "aws_db_instance",
    "aws:rds/parameterGroup:ParameterGroup": "aws_db_parameter_group",
    "aws:rds/subnetGroup:SubnetGroup": "aws_db_subnet_group",
}
_PLURAL_BLOCKS = frozenset({"block_device_mappings", "network_interfaces", "tag_specifications"})
"""Blocks that Terraform, too, names in the plural."""
_NESTED = re.compile(r"ForwardRef\('(\w+Args)'\)")


def type_of(token: str) -> str:
    """Terraform's name of a type: `aws_vpc` of `aws:ec2/vpc:Vpc`."""
    if token in _TYPES:
        return _TYPES[token]
    module, _, name = token.split(":")[1].partition("/")
    return f"aws_{_snake(name)}" if module in ("ec2", "index") else f"aws_{module}_{_snake(name)}"


def address_of(resource: Registered) -> str:
    """`aws_vpc.network`, without a stack."""
    return f"{type_of(resource.type)}.{_identifier(resource.name)}"


def plan(stacks: Mapping[str, Iterable[Mapping[str, Any]]]) -> dict[str, Any]:
    """A plan of several stacks, whose names begin those of their resources."""
    resources = [
        entry for name, found in stacks.items() for entry in (_of_stack(name, one) for one in found)
    ]
    changes = [
        {**entry, "change": {"actions": ["create"], "before": None, "after": entry["values"]}}
        for entry in resources
    ]
    return {
        "format_version": "1.2",
        "terraform_version": "1.9.0",
        "planned_values": {"root_module": {"resources": resources}},
        "resource_changes": changes,
        "configuration": {"root_module": {"resources": []}},
    }


def resources(ran: RanOnAws) -> list[dict[str, Any]]:
    """The resources of AWS that a program registered, as a plan has them.

    Raises:
        KeyError: an input that the SDK does not know.
    """
    return [
        {
            "address": address_of(resource),
            "mode": "managed",
            "type": type_of(resource.type),
            "name": _identifier(resource.name),
            "provider_name": "registry.terraform.io/hashicorp/aws",
            "values": _values(resource, ran),
        }
        for resource in ran.registered
        if resource.type.startswith("aws:")
    ]


def stack_of(address: str) -> tuple[str, str]:
    """Name of the stack, and the address in it, of an address in a plan."""
    type_, _, name = address.partition(".")
    stack, _, rest = name.partition(_BETWEEN)
    return stack, f"{type_}.{rest}"


_BETWEEN = "--"
_REFERENCE = re.compile(r"^(aws_\w+\.)([\w-]+\.(?:id|arn))$")


def _of_stack(stack: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    name = f"{stack}{_BETWEEN}{entry['name']}"
    values = _renamed(entry["values"], stack)
    return {**entry, "name": name, "address": f"{entry['type']}.{name}", "values": values}


def _renamed(value: Any, stack: str) -> Any:
    """The same, with references into the stack."""
    if isinstance(value, str):
        return _REFERENCE.sub(rf"\g<1>{stack}{_BETWEEN}\g<2>", value)
    if isinstance(value, Mapping):
        return {key: _renamed(entry, stack) for key, entry in value.items()}
    return [_renamed(entry, stack) for entry in value] if isinstance(value, list) else value


def _values(resource: Registered, ran: RanOnAws) -> dict[str, Any]:
    module, kind = _class_of(resource.type)
    found_in = importlib.import_module(module)
    # The second name, where a block of another type has the first.
    arguments = getattr(found_in, f"{kind}InitArgs", None) or getattr(found_in, f"{kind}Args")
    found = {}
    for name, value in whole(resource.inputs).items():
        key, rendered = _rendered(resource.type, name, value, arguments)
        known = _identifiers(resource, name, ran)
        found[key] = _referring(rendered, known)
    return found


def _identifiers(resource: Registered, name: str, ran: RanOnAws) -> dict[str, str]:
    """What identifies the resources that an input depends on, by the reference to each."""
    found = {}
    for urn in resource.request.propertyDependencies[name].urns:
        *_, types, other = urn.split("::", 3)
        token = types.rpartition("$")[2]
        if token.startswith("aws:"):
            outputs = ran.mocks.outputs[token, other]
            address = f"{type_of(token)}.{_identifier(other)}"
            found |= dict.fromkeys(_texts(outputs), f"{address}.id")
            if "arn" in outputs:
                found[outputs["arn"]] = f"{address}.arn"
    return found


def _texts(value: Any) -> Iterator[str]:
    """All texts in a value, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for entry in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(entry)


def _referring(value: Any, known: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return known.get(value, value)
    if isinstance(value, Mapping):
        return {key: _referring(entry, known) for key, entry in value.items()}
    return [_referring(entry, known) for entry in value] if isinstance(value, list) else value


def _rendered(token: str, name: str, value: Any, arguments: type) -> tuple[str, Any]:
    """An argument's name and value, as Terraform has them."""
    snake = _snake(name)
    nested, several = _arguments(arguments)[snake]
    value = _unwrapped(value)
    if not nested:
        return snake, value
    blocks = value if isinstance(value, list) else [value]
    if not all(isinstance(block, Mapping) for block in blocks):
        # A policy may be given as text.
        return snake, value
    kind = getattr(importlib.import_module(_inputs_of(token)), nested)
    return _singular(snake) if several else snake, [
        dict(_rendered(token, key, entry, kind) for key, entry in block.items()) for block in blocks
    ]


@functools.cache
def _arguments(kind: type) -> dict[str, tuple[str, bool]]:
    """Arguments of a class of the SDK: the class of what is nested, and whether in a list."""
    found = {}
    for name, parameter in inspect.signature(kind.__init__).parameters.items():
        text = str(parameter.annotation)
        nested = _NESTED.search(text)
        found[name] = (nested[1] if nested else "", "Sequence" in text)
    return found


def _class_of(token: str) -> tuple[str, str]:
    _, path, name = token.split(":")
    module, _, file = path.partition("/")
    parts = ["pulumi_aws", *([] if module == "index" else [module]), _snake(file)]
    return ".".join(parts), name


def _inputs_of(token: str) -> str:
    module = token.split(":")[1].partition("/")[0]
    return f"pulumi_aws{'' if module == 'index' else f'.{module}'}._inputs"


def _unwrapped(value: Any) -> Any:
    if isinstance(value, Mapping) and SIGNATURE in value:
        return value["value"]
    return value


def _singular(name: str) -> str:
    if name in _PLURAL_BLOCKS or name.endswith("ss"):
        return name
    return f"{name[:-3]}y" if name.endswith("ies") else name.removesuffix("s")


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _identifier(name: str) -> str:
    return re.sub(r"[^\w-]", "_", name)
