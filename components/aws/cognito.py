"""A user pool of Amazon Cognito, which the platform's Dex asks who comes.

https://docs.aws.amazon.com/cognito/latest/developerguide/cognito-user-pools.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_aws.cognito.user import User
from pulumi_aws.cognito.user_pool import UserPool
from pulumi_aws.cognito.user_pool_client import UserPoolClient
from pulumi_aws.cognito.user_pool_domain import UserPoolDomain

from components.aws.site import Site
from components.cluster.base import Cluster
from components.cluster.eks import Eks
from components.kubeflow.sign_in import Client

OUTPUT: Final = "userPool"
"""The stack output with the pool's id, by which users are added."""
PASSWORD_LENGTH: Final = 12
_MFA = {"off": "OFF", "optional": "OPTIONAL", "required": "ON"}
_INVITATION_DAYS = 7


@dataclass(frozen=True)
class PoolArgs:
    """Where the pool is, where people come back to, and the first of them.

    `callback` is Dex's, letter by letter.
    """

    site: Site
    callback: str
    user_email: str


class Pool(pulumi.ComponentResource):
    """Users, their sign-in page, the platform as its client, and the first user.

    Only administrators make users: whoever is in the pool may enter the platform.
    """

    pool: pulumi.Output[str]
    """Its id."""
    client: Client

    def __init__(
        self, name: str, args: PoolArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        site = args.site
        super().__init__(
            "mlplatform:aws:Pool", name, None, pulumi.ResourceOptions.merge(site.options(), opts)
        )
        self._child = child = pulumi.ResourceOptions(parent=self)
        pool = self._pool(name, site)
        domain = UserPoolDomain(
            name,
            domain=site.scope.apply(
                lambda scope: site.aws.sign_in_prefix or f"{site.name}-{scope.account}"
            ),
            user_pool_id=pool.id,
            opts=child,
        )
        client = UserPoolClient(
            name,
            name=site.name,
            user_pool_id=pool.id,
            generate_secret=True,
            allowed_oauth_flows_user_pool_client=True,
            allowed_oauth_flows=["code"],
            allowed_oauth_scopes=["openid", "profile", "email"],
            callback_urls=[args.callback],
            supported_identity_providers=["COGNITO"],
            # No way in but the sign-in page: no call of the API takes a password.
            explicit_auth_flows=["ALLOW_REFRESH_TOKEN_AUTH"],
            # Who guesses addresses is not told which of them are users.
            prevent_user_existence_errors="ENABLED",
            enable_token_revocation=True,
            opts=child,
        )
        # No password: Cognito makes one that is good for once, and mails it.
        User(
            name,
            user_pool_id=pool.id,
            username=args.user_email,
            # Dex and OAuth2-Proxy refuse an address that is not verified.
            attributes={"email": args.user_email, "email_verified": "true"},
            desired_delivery_mediums=["EMAIL"],
            opts=child,
        )
        self.pool = pool.id
        # Dex reads the discovery document once, when it starts, and that names the sign-in page.
        issuer = pulumi.Output.all(pool.endpoint, domain.domain).apply(
            lambda values: f"https://{values[0]}"
        )
        self.client = Client(issuer, client.id, pulumi.Output.secret(client.client_secret))
        self.register_outputs({OUTPUT: self.pool})

    def _pool(self, name: str, site: Site) -> UserPool:
        aws = site.aws
        return UserPool(
            name,
            name=site.name,
            # The address is the name, and no matter in which letters.
            username_attributes=["email"],
            username_configuration={"case_sensitive": False},
            auto_verified_attributes=["email"],
            # A new address counts only once it is verified: by it the platform knows people.
            user_attribute_update_settings={
                "attributes_require_verification_before_updates": ["email"]
            },
            admin_create_user_config={"allow_admin_create_user_only": True},
            account_recovery_setting={
                "recovery_mechanisms": [{"name": "verified_email", "priority": 1}]
            },
            password_policy={
                "minimum_length": PASSWORD_LENGTH,
                "require_lowercase": True,
                "require_uppercase": True,
                "require_numbers": True,
                "require_symbols": True,
                "temporary_password_validity_days": _INVITATION_DAYS,
            },
            mfa_configuration=_MFA[aws.sign_in_mfa],
            software_token_mfa_configuration=(
                None if aws.sign_in_mfa == "off" else {"enabled": True}
            ),
            deletion_protection="ACTIVE" if aws.protect else "INACTIVE",
            opts=pulumi.ResourceOptions(parent=self, protect=aws.protect),
        )


def beside(name: str, cluster: Cluster, callback: str, user_email: str) -> Client:
    """The client of a pool on the site of an EKS cluster; its id is exported.

    Raises:
        TypeError: the cluster is another one.
    """
    if not isinstance(cluster, Eks):
        raise TypeError(f"Cognito needs EKS; this is {type(cluster).__name__}")
    made = Pool(name, PoolArgs(cluster.args.site, callback, user_email))
    pulumi.export(OUTPUT, made.pool)
    return made.client
