"""A policy scanner over everything that the program makes on AWS, in stacks that differ.

A new part of the stack is scanned once its settings are in `STACKS`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.aws import scanner, terraform
from tests.aws.conftest import RanOnAws, in_moto
from tests.aws.moto_mocks import ACCOUNT, Aws
from tests.aws.platform import GATEWAY, run_platform
from tests.aws.store_rules import violations

ADMIN = f"arn:aws:iam::{ACCOUNT}:role/admin"
ROUTES = Path(__file__).parents[1] / "support" / "gateway_aws_routes.yaml"
REDIS = {"redisProvider": "aws", "redisTopology": "replicated"}
STACKS: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "everything": {
        **GATEWAY,
        **REDIS,
        "gatewayHost": "ml.example.com",
        "awsDomain": "ml.example.com",
        "awsHostedZone": "example.com",
        "awsSignIn": "cognito",
        "userEmail": "me@example.com",
        "awsEntry": "internet",
        "awsEntryCidrs": ["203.0.113.0/24"],
        "awsNat": "per-zone",
        "awsEfs": True,
        "awsArtifactProfiles": ["team"],
        "awsDatabaseType": "db.t4g.medium",
        "awsDatabaseStandby": True,
        "awsTags": ["team=ml"],
        "awsBudget": 500,
        "awsBudgetEmail": "me@example.com",
        "eksPublicCidrs": ["203.0.113.0/24"],
        "eksAdmins": [ADMIN],
        "eksSpotTypes": ["m6i.2xlarge"],
        "eksGpuTypes": ["g5.xlarge"],
    },
    "shards": {
        **REDIS,
        **GATEWAY,
        "redisTopology": "sharded",
        "redisEngine": "redis",
        "gatewayHost": "ml.example.com",
        "gatewayRoutes": str(ROUTES),
        "awsDomain": "ml.example.com",
        "awsHostedZone": "example.com",
        "awsApiHosts": ["models.example.com"],
    },
    "edge": {
        **GATEWAY,
        "gatewayHost": "ml.example.com",
        "awsDomain": "ml.example.com",
        "awsHostedZone": "example.com",
        "awsEntryCidrs": ["203.0.113.0/24"],
        "awsEdge": "cloudfront",
    },
    "regions": {**REDIS, "redisTopology": "active-active", "awsProtect": False},
}
"""Settings of the stacks, over those of Pulumi.aws.yaml."""
UNJUDGED = {
    "aws_acm_certificate_validation",
    "aws_apigatewayv2_api_mapping",
    "aws_apigatewayv2_authorizer",
    "aws_apigatewayv2_domain_name",
    "aws_apigatewayv2_integration",
    "aws_apigatewayv2_vpc_link",
    "aws_budgets_budget",
    "aws_cloudfront_function",
    "aws_cloudfront_vpc_origin",
    "aws_cognito_user",
    "aws_cognito_user_pool",
    "aws_cognito_user_pool_client",
    "aws_cognito_user_pool_domain",
    "aws_db_parameter_group",
    "aws_db_subnet_group",
    "aws_default_security_group",
    "aws_efs_backup_policy",
    "aws_efs_file_system_policy",
    "aws_efs_mount_target",
    "aws_eks_access_entry",
    "aws_eks_access_policy_association",
    "aws_eks_addon",
    "aws_eks_pod_identity_association",
    "aws_elasticache_parameter_group",
    "aws_elasticache_subnet_group",
    "aws_elasticache_user",
    "aws_elasticache_user_group",
    "aws_flow_log",
    "aws_internet_gateway",
    "aws_kms_alias",
    "aws_memorydb_acl",
    "aws_memorydb_multi_region_cluster",
    "aws_memorydb_subnet_group",
    "aws_memorydb_user",
    "aws_nat_gateway",
    "aws_route_table_association",
    "aws_s3_bucket_server_side_encryption_configuration",
    "aws_s3_bucket_versioning",
    "aws_vpc_endpoint",
    "aws_wafv2_ip_set",
    "aws_wafv2_web_acl_logging_configuration",
}
"""Types that no check of Checkov looks at by themselves."""


@dataclass(frozen=True)
class Harm:
    """A change for the worse of a resource's values, and the check that must see it."""

    stack: str
    address: str
    check: str
    change: Callable[[dict[str, Any]], object]


def sets(**values: object) -> Callable[[dict[str, Any]], object]:
    return lambda found: found.update(values)


def of_block(block: str, **values: object) -> Callable[[dict[str, Any]], object]:
    return lambda found: found[block][0].update(values)


def counts_log4j(found: dict[str, Any]) -> None:
    rules = {rule["name"]: rule for rule in found["rule"]}
    rules["AWSManagedRulesKnownBadInputsRuleSet"]["override_action"] = [{"count": [{}]}]


ADMINISTRATOR = '{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
CACHE, MEMORYDB = "aws_elasticache_replication_group.redis", "aws_memorydb_cluster.redis"
FILES, DATABASE = "aws_efs_file_system.files", "aws_db_instance.database"
BUCKET, BLOCK = "aws_s3_bucket.artifacts", "aws_s3_bucket_public_access_block.artifacts"
RULE = "aws_vpc_security_group_ingress_rule.redis-nodes"
TOKENS = "aws_apigatewayv2_route.api-models_example_com_ANY__churn"
STAGE = "aws_apigatewayv2_stage.api-models_example_com"
ROLE_POLICY = "aws_iam_role_policy.ml-platform-cluster-autoscaler-scale"
EKS, DATA = "aws_eks_cluster.cluster", "aws_kms_key.ml-platform-data"
DISTRIBUTION, ACL = "aws_cloudfront_distribution.edge", "aws_wafv2_web_acl.edge"
LOGS = "aws_cloudwatch_log_group.cluster-logs"
EVERYBODY = {"cidr_ipv4": "0.0.0.0/0"}
ALL_PORTS = {"ip_protocol": "-1", "from_port": 0, "to_port": 65535}
HARMS: Mapping[str, Harm] = {
    "cache-at-rest": Harm(
        "everything", CACHE, "CKV_AWS_29", sets(at_rest_encryption_enabled=False)
    ),
    "cache-on-the-way": Harm(
        "everything", CACHE, "CKV_AWS_30", sets(transit_encryption_enabled=False)
    ),
    "cache-key": Harm("shards", CACHE, "CKV_AWS_191", sets(kms_key_id=None)),
    "memorydb-key": Harm("regions", MEMORYDB, "CKV_AWS_201", sets(kms_key_arn=None)),
    "memorydb-on-the-way": Harm("regions", MEMORYDB, "CKV_AWS_202", sets(tls_enabled=False)),
    "files": Harm("everything", FILES, "CKV_AWS_42", sets(encrypted=False)),
    "files-key": Harm("everything", FILES, "CKV_AWS_184", sets(kms_key_id=None)),
    "database-at-rest": Harm("everything", DATABASE, "CKV_AWS_16", sets(storage_encrypted=False)),
    "database-public": Harm("everything", DATABASE, "CKV_AWS_17", sets(publicly_accessible=True)),
    "bucket-read-by-all": Harm("everything", BUCKET, "CKV_AWS_20", sets(acl="public-read")),
    "bucket-public": Harm("everything", BLOCK, "CKV_AWS_54", sets(block_public_policy=False)),
    "logs-key": Harm("plain", LOGS, "CKV_AWS_158", sets(kms_key_id=None)),
    "key-rotation": Harm("plain", DATA, "CKV_AWS_7", sets(enable_key_rotation=False)),
    "api-tokens": Harm("shards", TOKENS, "CKV_AWS_309", sets(authorization_type="NONE")),
    "api-logs": Harm("shards", STAGE, "CKV_AWS_76", sets(access_log_settings=[])),
    "secrets": Harm("plain", EKS, "CKV_AWS_58", sets(encryption_config=[])),
    "group-opened": Harm("everything", RULE, "CKV_AWS_260", sets(**EVERYBODY, **ALL_PORTS)),
    "ssh-opened": Harm(
        "everything", RULE, "CKV_AWS_24", sets(**EVERYBODY, from_port=22, to_port=22)
    ),
    "api-server-opened": Harm(
        "everything", EKS, "CKV_AWS_38", of_block("vpc_config", public_access_cidrs=["0.0.0.0/0"])
    ),
    "administrator": Harm("plain", ROLE_POLICY, "CKV_AWS_63", sets(policy=ADMINISTRATOR)),
    "firewall-off": Harm("edge", DISTRIBUTION, "CKV_AWS_68", sets(web_acl_id=None)),
    "firewall-without-log4j": Harm("edge", ACL, "CKV_AWS_192", counts_log4j),
    "old-tls-at-the-edge": Harm(
        "edge",
        DISTRIBUTION,
        "CKV_AWS_174",
        of_block("viewer_certificate", minimum_protocol_version="TLSv1"),
    ),
    "plain-http-at-the-edge": Harm(
        "edge",
        DISTRIBUTION,
        "CKV_AWS_34",
        of_block("default_cache_behavior", viewer_protocol_policy="allow-all"),
    ),
    "plain-http-behind-the-edge": Harm(
        "edge", "aws_lb_listener.edge", "CKV_AWS_2", sets(protocol="HTTP")
    ),
    "metadata": Harm(
        "plain",
        "aws_launch_template.ml-platform-cpu",
        "CKV_AWS_79",
        of_block("metadata_options", http_tokens="optional"),
    ),
}


@dataclass(frozen=True)
class Scanned:
    """The stacks as rendered, and what the scanner said of them and of their harmed resources."""

    entries: Mapping[str, list[dict[str, Any]]]
    scan: scanner.Scan


@pytest.fixture(scope="module")
def ran() -> Mapping[str, RanOnAws]:
    found = {}
    for name, settings in STACKS.items():
        with in_moto():
            aws = Aws()
            aws.iam.create_role(RoleName="admin", AssumeRolePolicyDocument="{}")
            aws.route53.create_hosted_zone(Name="example.com", CallerReference=name)
            found[name] = run_platform("aws", {"awsPreflight": False, **settings})
    return found


@pytest.fixture(scope="module")
def scanned(
    ran: Mapping[str, RanOnAws],
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Scanned:
    """One run of the scanner over all: its start takes longer than a stack."""

    def say(line: str) -> None:
        manager = request.config.pluginmanager.getplugin("capturemanager")
        with manager.global_and_fixture_disabled():
            print(f"\n{line}", flush=True)

    python = scanner.install(say)
    entries = {name: terraform.resources(one) for name, one in ran.items()}
    harmed = {f"harm-{name}": [harmed_entry(entries, harm)] for name, harm in HARMS.items()}
    folder = tmp_path_factory.mktemp("checkov")
    return Scanned(entries, scanner.scan(python, terraform.plan(entries | harmed), folder))


def harmed_entry(entries: Mapping[str, list[dict[str, Any]]], harm: Harm) -> dict[str, Any]:
    [entry] = [one for one in entries[harm.stack] if one["address"] == harm.address]
    entry = copy.deepcopy(entry)
    harm.change(entry["values"])
    return entry


def test_nothing_fails_but_what_is_listed_with_a_reason(scanned: Scanned) -> None:
    listed = scanner.exemptions()
    failed = [finding for finding in scanned.scan.failed if finding.stack in STACKS]
    unlisted = [str(f) for f in failed if not any(one.covers(f) for one in listed)]
    assert not unlisted, f"mend it, or give a reason in {scanner.EXEMPTIONS}:\n" + "\n".join(
        sorted(set(unlisted))
    )


def test_every_exemption_is_needed(scanned: Scanned) -> None:
    failed = [finding for finding in scanned.scan.failed if finding.stack in STACKS]
    for one in scanner.exemptions():
        assert any(one.covers(finding) for finding in failed), f"take away: {one}"


@pytest.mark.parametrize("name", HARMS)
def test_a_harm_is_seen(scanned: Scanned, name: str) -> None:
    harm = HARMS[name]
    passed = {(one.stack, one.check, one.resource) for one in scanned.scan.passed}
    assert (harm.stack, harm.check, harm.address) in passed
    assert (harm.check, harm.address) in scanned.scan.of(f"harm-{name}")


def test_no_wildcard_action_is_allowed_on_a_wildcard_resource(
    scanned: Scanned,
) -> None:
    seen = 0
    for stack, entries in scanned.entries.items():
        for entry in entries:
            if entry["type"] != "aws_iam_role_policy":
                continue
            for statement in json.loads(entry["values"]["policy"])["Statement"]:
                seen += 1
                everywhere = "*" in listed(statement["Resource"])
                wild = [one for one in listed(statement["Action"]) if "*" in one]
                assert not (everywhere and wild), (stack, entry["address"], wild)
    assert seen > 20


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def test_every_type_is_looked_at_or_listed(scanned: Scanned) -> None:
    """A type under a wrong name would be looked at by no check, and nothing would be said."""
    made = {entry["type"] for entries in scanned.entries.values() for entry in entries}
    judged = {
        one.resource.partition(".")[0] for one in (*scanned.scan.passed, *scanned.scan.failed)
    }
    assert made - judged == UNJUDGED, "correct the name in tests/aws/terraform.py, or UNJUDGED"


@pytest.mark.parametrize("name", STACKS)
def test_no_port_is_open_to_the_internet_and_every_store_is_encrypted(
    ran: Mapping[str, RanOnAws], name: str
) -> None:
    """Own rules: Checkov knows some ports alone, and not everything that holds data."""
    protected = STACKS[name].get("awsProtect", True)
    assert violations(ran[name].registered, protected=protected) == []
