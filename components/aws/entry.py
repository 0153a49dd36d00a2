"""The platform's entry: what the gateway's Service asks of its load balancer, certificate and name.

A Network Load Balancer, made by the AWS Load Balancer Controller from the Service's annotations:
https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/guide/service/annotations/
AWS WAF can't be attached to one, only to what speaks HTTP: with `awsEdge` there is another entry,
that of components/aws/edge.py. AWS Shield Standard covers both by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from pulumi_aws.acm.certificate import Certificate
from pulumi_aws.acm.certificate_validation import CertificateValidation
from pulumi_aws.route53.get_zone import get_zone_output
from pulumi_aws.route53.record import Record

from components.aws.network import Subnets
from components.aws.shape import Aws
from components.aws.site import Site

HTTPS = "443"
TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"
"""TLS 1.2 and 1.3, with forward secrecy."""
_ANNOTATION = "service.beta.kubernetes.io/aws-load-balancer-"
_RECORD_SECONDS = 60


class Name(pulumi.ComponentResource):
    """The platform's name: a certificate of ACM, validated by DNS, and a record for the entry."""

    certificate_arn: pulumi.Output[str]
    """Of the certificate, once it is issued."""
    zone: pulumi.Output[str]
    """The id of the zone of Route 53."""

    def __init__(self, name: str, site: Site, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlplatform:aws:Name", name, None, opts)
        self._name, self._site = name, site
        self._child = pulumi.ResourceOptions(parent=self)
        self.zone = get_zone_output(
            name=site.aws.hosted_zone,
            private_zone=False,
            opts=pulumi.InvokeOutputOptions(provider=site.provider),
        ).zone_id
        asked = _asked(name, site.aws.domain, self._child)
        self._proof = _proof(name, asked, self.zone, self._child)
        self.certificate_arn = _issued(name, asked, self._proof, self._child)
        self.register_outputs({})

    def certificate_in(self, region: str) -> pulumi.Output[str]:
        """The ARN of the name's certificate in another region, once it is issued.

        The record that proves one proves all of the account's:
        https://docs.aws.amazon.com/acm/latest/userguide/dns-validation.html
        """
        if region == self._site.aws.region:
            return self.certificate_arn
        name = f"{self._name}-{region}"
        asked = _asked(name, self._site.aws.domain, self._child, region)
        return _issued(name, asked, self._proof, self._child, region)

    def lead_to(self, address: pulumi.Output[str]) -> None:
        """Make the name an alias of a load balancer's host."""
        self._record(type="CNAME", records=[address], ttl=_RECORD_SECONDS)

    def alias(self, host: pulumi.Output[str], zone: pulumi.Output[str]) -> None:
        """Make the name one for a host of AWS, whose records are in AWS's own `zone`."""
        self._record(
            type="A", aliases=[{"name": host, "zone_id": zone, "evaluate_target_health": False}]
        )

    def _record(self, **to: Any) -> None:  # noqa: ANN401
        Record(
            self._name,
            zone_id=self.zone,
            name=self._site.aws.domain,
            **to,
            # A name has no CNAME beside another record: one goes before the other comes.
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )


def certificate(
    name: str, domain: str, zone: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> pulumi.Output[str]:
    """The ARN of a certificate of ACM for a name, once a record in `zone` has proven it."""
    asked = _asked(name, domain, opts)
    return _issued(name, asked, _proof(name, asked, zone, opts), opts)


def _asked(
    name: str, domain: str, opts: pulumi.ResourceOptions, region: str | None = None
) -> Certificate:
    """A certificate that is asked for, by default in the provider's region."""
    return Certificate(
        name,
        domain_name=domain,
        validation_method="DNS",
        tags={"Name": domain},
        region=region,
        opts=opts,
    )


def _proof(
    name: str, asked: Certificate, zone: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> Record:
    proof = asked.domain_validation_options[0]
    return Record(
        f"{name}-validation",
        zone_id=zone,
        name=proof.resource_record_name,
        type=proof.resource_record_type,
        records=[proof.resource_record_value],
        ttl=_RECORD_SECONDS,
        # ACM asks for the same record again when a certificate of the name is made anew.
        allow_overwrite=True,
        opts=opts,
    )


def _issued(
    name: str,
    asked: Certificate,
    proof: Record,
    opts: pulumi.ResourceOptions,
    region: str | None = None,
) -> pulumi.Output[str]:
    issued = CertificateValidation(
        f"{name}-issued",
        certificate_arn=asked.arn,
        validation_record_fqdns=[proof.fqdn],
        region=region,
        opts=opts,
    )
    arn: pulumi.Output[str] = issued.certificate_arn
    return arn


def balancer_annotations(
    aws: Aws, subnets: Subnets, certificate_arn: pulumi.Output[str] | None
) -> Mapping[str, pulumi.Input[str]]:
    """What a Service of type LoadBalancer needs, to have a load balancer as the settings ask.

    With a certificate, TLS ends at the load balancer, and a second one leads to the gateway, whose
    own certificate it does not check. Pods see the address of the client.
    """
    internet = aws.entry == "internet"
    found: dict[str, pulumi.Input[str]] = {
        f"{_ANNOTATION}type": "external",
        f"{_ANNOTATION}nlb-target-type": "ip",
        f"{_ANNOTATION}scheme": "internet-facing" if internet else "internal",
        f"{_ANNOTATION}subnets": _joined(subnets.public if internet else subnets.private),
        f"{_ANNOTATION}attributes": "load_balancing.cross_zone.enabled=true",
        f"{_ANNOTATION}target-group-attributes": "preserve_client_ip.enabled=true",
    }
    if ranges := allowed(aws):
        found["service.beta.kubernetes.io/load-balancer-source-ranges"] = ",".join(ranges)
    if certificate_arn is not None:
        found |= {
            f"{_ANNOTATION}ssl-cert": certificate_arn,
            f"{_ANNOTATION}ssl-ports": HTTPS,
            f"{_ANNOTATION}ssl-negotiation-policy": TLS_POLICY,
            f"{_ANNOTATION}backend-protocol": "ssl",
        }
    return found


def allowed(aws: Aws) -> Sequence[str]:
    """Networks that may reach the entry; none where only the VPC that is there knows its own."""
    # With an edge they are those who may come to that; the rest is for the network alone.
    if aws.entry_cidrs and not aws.front:
        return (*aws.entry_cidrs, *aws.link_cidrs)
    return () if aws.vpc else (aws.vpc_cidr,)


def _joined(ids: Sequence[pulumi.Output[str]]) -> pulumi.Output[str]:
    return pulumi.Output.all(*ids).apply(",".join)
