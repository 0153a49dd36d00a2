"""Sign-in by Cognito: the pool in moto, and a platform whose Dex asks it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pulumi
import pytest
import yaml

from components.aws import checks, cost
from components.aws.cognito import Pool, PoolArgs
from components.aws.permissions import PARTS
from components.aws.shape import ShapeError
from components.aws.shape import parse as parse_shape
from components.aws.site import site
from components.settings import SettingsError, parse
from provider.values import SECRET_MARK, SIGNATURE
from tests.aws.conftest import RanOnAws, in_moto, run_on_aws
from tests.aws.moto_mocks import ACCOUNT, REGION, Aws
from tests.aws.platform import GATEWAY, run_platform
from tests.support.graph import Graph

POOL = "aws:cognito/userPool:UserPool"
DOMAIN = "aws:cognito/userPoolDomain:UserPoolDomain"
CALLBACK = "https://ml.example.com/dex/callback"
EMAIL = "Ann@corp.org"
SETTINGS = {
    "cluster": "eks",
    "awsRegion": REGION,
    "awsDomain": "ml.example.com",
    "awsHostedZone": "example.com",
    "awsSignIn": "cognito",
    "gateway": "nginx",
    "gatewayHost": "ml.example.com",
    "userEmail": EMAIL,
}


def make_pool(**settings: Any) -> RanOnAws:
    aws, _ = parse_shape({**settings_of_aws(), **settings}, {}, "v1.10.2")

    def program() -> None:
        Pool("sign-in", PoolArgs(site("ml-platform", aws), CALLBACK, EMAIL))

    return run_on_aws(program)


def settings_of_aws() -> dict[str, Any]:
    return {name: value for name, value in SETTINGS.items() if name.startswith("aws")}


def described(ran: RanOnAws) -> dict[str, Any]:
    id_ = ran.id_of(POOL, "sign-in")
    found: dict[str, Any] = ran.aws.cognito_idp.describe_user_pool(UserPoolId=id_)["UserPool"]
    return found


@pytest.fixture(scope="module")
def pool() -> Iterator[RanOnAws]:
    with in_moto():
        yield make_pool()


def test_only_administrators_make_users_whose_names_are_addresses(pool: RanOnAws) -> None:
    found = described(pool)
    assert found["AdminCreateUserConfig"] == {"AllowAdminCreateUserOnly": True}
    assert found["UsernameAttributes"] == found["AutoVerifiedAttributes"] == ["email"]
    assert found["UsernameConfiguration"] == {"CaseSensitive": False}
    assert found["UserAttributeUpdateSettings"] == {
        "AttributesRequireVerificationBeforeUpdate": ["email"]
    }
    assert found["AccountRecoverySetting"]["RecoveryMechanisms"] == [
        {"Name": "verified_email", "Priority": 1}
    ]
    policy = found["Policies"]["PasswordPolicy"]
    assert policy["MinimumLength"] == 12
    assert all(policy[f"Require{kind}"] for kind in ("Lowercase", "Uppercase", "Numbers"))
    assert found["UserPoolTags"]["ml-platform:stack"] == "ml-platform/test"


def test_the_platform_is_a_client_that_comes_by_the_sign_in_page_only(pool: RanOnAws) -> None:
    id_ = pool.id_of(POOL, "sign-in")
    api = pool.aws.cognito_idp
    [entry] = api.list_user_pool_clients(UserPoolId=id_)["UserPoolClients"]
    client = api.describe_user_pool_client(UserPoolId=id_, ClientId=entry["ClientId"])
    found = client["UserPoolClient"]
    assert found["CallbackURLs"] == [CALLBACK]
    assert found["AllowedOAuthFlows"] == ["code"]
    # Dex asks for these; Cognito refuses a sign-in that asks for another one.
    assert set(found["AllowedOAuthScopes"]) == {"openid", "profile", "email"}
    assert found["AllowedOAuthFlowsUserPoolClient"] is True
    assert found["ExplicitAuthFlows"] == ["ALLOW_REFRESH_TOKEN_AUTH"]
    assert found["SupportedIdentityProviders"] == ["COGNITO"]
    assert found["PreventUserExistenceErrors"] == "ENABLED"
    assert len(found["ClientSecret"]) > 20


def test_the_first_user_is_invited_with_an_address_that_counts(pool: RanOnAws) -> None:
    id_ = pool.id_of(POOL, "sign-in")
    [user] = pool.aws.cognito_idp.list_users(UserPoolId=id_)["Users"]
    attributes = {entry["Name"]: entry["Value"] for entry in user["Attributes"]}
    # The owner of the first user's profile is compared letter by letter.
    assert (attributes["email"], attributes["email_verified"]) == (EMAIL, "true")
    assert user["UserStatus"] == "FORCE_CHANGE_PASSWORD"
    inputs = pool.of("aws:cognito/user:User").inputs
    assert inputs["desiredDeliveryMediums"] == ["EMAIL"]
    assert "messageAction" not in inputs, "the invitation would not be sent"


def test_the_sign_in_page_is_of_the_stack_and_the_account(pool: RanOnAws) -> None:
    assert described(pool)["Domain"] == f"ml-platform-{ACCOUNT}"


@pytest.mark.parametrize(
    ("mfa", "found"), [("off", "OFF"), ("optional", "OPTIONAL"), ("required", "ON")]
)
def test_a_second_factor(aws: Aws, mfa: str, found: str) -> None:
    ran = make_pool(awsSignInMfa=mfa)
    config = ran.aws.cognito_idp.get_user_pool_mfa_config(UserPoolId=ran.id_of(POOL, "sign-in"))
    assert config["MfaConfiguration"] == found
    assert config.get("SoftwareTokenMfaConfiguration") == (
        None if mfa == "off" else {"Enabled": True}
    )


def test_users_are_protected_until_they_are_not(aws: Aws) -> None:
    def protection(ran: RanOnAws) -> tuple[str, set[str]]:
        protected = {r.type for r in ran.registered if r.request.protect}
        return described(ran)["DeletionProtection"], protected

    assert protection(make_pool()) == ("ACTIVE", {POOL})
    assert protection(make_pool(awsProtect=False)) == ("INACTIVE", set())


def test_a_prefix_of_its_own(aws: Aws) -> None:
    assert described(make_pool(awsSignInPrefix="team-ml"))["Domain"] == "team-ml"


# --- the whole platform --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def platform() -> Iterator[tuple[RanOnAws, dict[str, Any]]]:
    """The whole program, and what it exports."""
    exported: dict[str, Any] = {}
    with in_moto(), pytest.MonkeyPatch.context() as patch:
        Aws().route53.create_hosted_zone(Name="example.com", CallerReference="one")
        patch.setattr(pulumi, "export", exported.__setitem__)
        components = {"kubeflowComponents": ["dex", "oauth2-proxy", "user-namespace"]}
        ran = run_platform("aws", {**GATEWAY, **SETTINGS, **components, "awsPreflight": False})
        names = ("password", "url", "userPool", "monthlyCost")
        told = pulumi.Output.all(**{name: exported[name] for name in names})
        yield ran, asyncio.get_event_loop().run_until_complete(told.future())


def client_of(ran: RanOnAws) -> dict[str, Any]:
    id_ = ran.id_of(POOL, "sign-in")
    api = ran.aws.cognito_idp
    [entry] = api.list_user_pool_clients(UserPoolId=id_)["UserPoolClients"]
    found: dict[str, Any] = api.describe_user_pool_client(
        UserPoolId=id_, ClientId=entry["ClientId"]
    )["UserPoolClient"]
    return found


def test_dex_is_given_the_client_that_cognito_made(platform) -> None:
    ran, _ = platform
    client, pool_id = client_of(ran), ran.id_of(POOL, "sign-in")
    [secret] = [r for r in ran.registered if r.name == "auth/dex-passwords"]
    assert secret.inputs["stringData"]["value"] == {
        "SIGN_IN_ISSUER": f"https://cognito-idp.{REGION}.amazonaws.com/{pool_id}",
        "SIGN_IN_CLIENT_ID": client["ClientId"],
        "SIGN_IN_CLIENT_SECRET": client["ClientSecret"],
    }
    [config] = [r for r in ran.registered if r.name == "auth/dex" and r.type.endswith("ConfigMap")]
    dex = yaml.safe_load(config.inputs["data"]["config.yaml"])
    assert dex["issuer"] == "https://ml.example.com/dex"
    assert dex["connectors"][0]["config"]["redirectURI"] == client["CallbackURLs"][0]
    assert "staticPasswords" not in dex
    # Dex reads of the page once, when it starts.
    graph = Graph(ran.registered)
    assert f"{DOMAIN}::sign-in" in graph.needs("kubernetes:apps/v1:Deployment::auth/dex")


def test_the_secret_is_marked_in_one_place_and_nowhere_else(platform) -> None:
    ran, exported = platform
    planted = client_of(ran)["ClientSecret"]
    holders = {r.name for r in ran.registered if planted in json.dumps(r.inputs, default=str)}
    assert holders == {"auth/dex-passwords"}
    assert planted not in json.dumps(exported)
    [secret] = [r for r in ran.registered if r.name == "auth/dex-passwords"]
    fields = secret.request.object.fields["stringData"].struct_value.fields
    marked = fields["SIGN_IN_CLIENT_SECRET"].struct_value.fields
    assert marked[SIGNATURE].string_value == SECRET_MARK
    assert marked["value"].string_value == planted


def test_what_the_stack_says_of_sign_in(platform) -> None:
    ran, exported = platform
    pool_id = ran.id_of(POOL, "sign-in")
    assert exported["url"] == "https://ml.example.com"
    assert exported["userPool"] == pool_id
    assert exported["password"] == (
        f"none: sign in by the account at https://cognito-idp.{REGION}.amazonaws.com/{pool_id}"
    )


# --- settings, permissions, cost -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"awsDomain": "", "awsHostedZone": ""}, "awsSignIn is 'cognito', but awsDomain is empty"),
        ({"signIn": "oidc"}, "signIn is set, but awsSignIn is 'cognito'"),
        ({"signInUrl": "https://a.org"}, "signInUrl is set, but awsSignIn is 'cognito'"),
        ({"oidcIssuer": "https://a.org"}, "oidcIssuer is set, but awsSignIn is 'cognito'"),
        ({"userEmail": "user@example.com"}, "userEmail is .*, but awsSignIn is 'cognito'"),
        ({"userPassword": "hush-hush"}, "userPassword is set, but awsSignIn is 'cognito'"),
        ({"awsSignInPrefix": "my-aws"}, "awsSignInPrefix is 'my-aws': .*'aws'"),
        ({"awsSignInPrefix": "My"}, "awsSignInPrefix is 'My'"),
        ({"eksName": "cognito-ml"}, "eksName is 'cognito-ml', .* set awsSignInPrefix"),
        (
            {"awsSignIn": "dex", "awsSignInMfa": "off"},
            "awsSignInMfa is set, but awsSignIn is 'dex'",
        ),
        ({"awsSignInMfa": "sms"}, "awsSignInMfa is 'sms'"),
    ],
)
def test_a_bad_setting_is_told(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as error:
        parse({**SETTINGS, **change})
    assert "hush" not in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_name_that_cognito_refuses_may_have_another_prefix() -> None:
    found = parse({**SETTINGS, "eksName": "my-aws", "awsSignInPrefix": "ml"}).signs_in()
    assert found is not None
    assert found.callback == CALLBACK


def test_another_cluster_has_no_cognito() -> None:
    with pytest.raises(SettingsError, match="awsSignIn is set, but the cluster is 'minikube'"):
        parse({"awsSignIn": "cognito"})
    with pytest.raises(ShapeError, match="awsSignIn"):
        parse_shape({"awsRegion": REGION, "awsSignIn": "okta"}, {}, "v1.10.2")


def test_permissions_and_cost_tell_of_the_pool() -> None:
    aws, eks = parse_shape(settings_of_aws(), {}, "v1.10.2")
    assert "cognito" in checks.place(aws, eks, ACCOUNT, None).parts <= PARTS.keys()
    assert "not priced" in cost.as_table(cost.estimate(checks.stack(aws, eks, None)))
    plain, _ = parse_shape({"awsRegion": REGION}, {}, "v1.10.2")
    assert "cognito" not in checks.place(plain, eks, ACCOUNT, None).parts
    assert "Cognito" not in cost.as_table(cost.estimate(checks.stack(plain, eks, None)))
