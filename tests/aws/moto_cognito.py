"""What creates in moto the types of a user pool of Cognito."""

from __future__ import annotations

from typing import Any

from tests.aws.moto_mocks import Aws, Inputs, Made, backs, pascal


def _deep(value: Any) -> Any:
    """Keys with a capital first letter, as the API has them, at any depth."""
    if isinstance(value, dict):
        return {name[0].upper() + name[1:]: _deep(entry) for name, entry in value.items()}
    return [_deep(entry) for entry in value] if isinstance(value, list) else value


@backs("aws:cognito/userPool:UserPool")
def user_pool(aws: Aws, inputs: Inputs) -> Made:
    update = inputs.get("userAttributeUpdateSettings") or {}
    made = aws.cognito_idp.create_user_pool(
        PoolName=inputs["name"],
        **pascal(inputs, "usernameAttributes", "autoVerifiedAttributes", "deletionProtection"),
        UsernameConfiguration=_deep(inputs["usernameConfiguration"]),
        AdminCreateUserConfig=_deep(inputs["adminCreateUserConfig"]),
        AccountRecoverySetting=_deep(inputs["accountRecoverySetting"]),
        Policies={"PasswordPolicy": _deep(inputs["passwordPolicy"])},
        UserAttributeUpdateSettings={
            # The API's name is singular here.
            "AttributesRequireVerificationBeforeUpdate": update[
                "attributesRequireVerificationBeforeUpdates"
            ]
        },
        UserPoolTags=inputs["tags"],
    )["UserPool"]
    token = inputs.get("softwareTokenMfaConfiguration")
    aws.cognito_idp.set_user_pool_mfa_config(
        UserPoolId=made["Id"],
        MfaConfiguration=inputs["mfaConfiguration"],
        **({"SoftwareTokenMfaConfiguration": _deep(token)} if token else {}),
    )
    return made["Id"], {
        "arn": made["Arn"],
        "endpoint": f"cognito-idp.{aws.region}.amazonaws.com/{made['Id']}",
    }


@backs("aws:cognito/userPoolDomain:UserPoolDomain")
def user_pool_domain(aws: Aws, inputs: Inputs) -> Made:
    aws.cognito_idp.create_user_pool_domain(**pascal(inputs, "domain", "userPoolId"))
    return inputs["domain"], {}


@backs("aws:cognito/userPoolClient:UserPoolClient")
def user_pool_client(aws: Aws, inputs: Inputs) -> Made:
    names = ("userPoolId", "generateSecret", "supportedIdentityProviders", "explicitAuthFlows")
    made = aws.cognito_idp.create_user_pool_client(
        ClientName=inputs["name"],
        **pascal(inputs, *names, "preventUserExistenceErrors", "enableTokenRevocation"),
        CallbackURLs=inputs["callbackUrls"],
        AllowedOAuthFlows=inputs["allowedOauthFlows"],
        AllowedOAuthScopes=inputs["allowedOauthScopes"],
        AllowedOAuthFlowsUserPoolClient=inputs["allowedOauthFlowsUserPoolClient"],
    )["UserPoolClient"]
    return made["ClientId"], {"clientSecret": made["ClientSecret"]}


@backs("aws:cognito/user:User")
def user(aws: Aws, inputs: Inputs) -> Made:
    assert not {"password", "temporaryPassword"} & inputs.keys(), "Cognito makes and mails it"
    made = aws.cognito_idp.admin_create_user(
        **pascal(inputs, "userPoolId", "username", "desiredDeliveryMediums"),
        UserAttributes=[
            {"Name": name, "Value": value} for name, value in inputs["attributes"].items()
        ],
    )["User"]
    return f"{inputs['userPoolId']}/{inputs['username']}", {"sub": made["Username"]}
