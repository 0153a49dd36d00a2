"""moto's server on loopback, and the few answers of AWS that it does not know.

Everything goes to moto by HTTP but what `Played` answers: simulation of policies (by moto's own
policy evaluator, over the policies that moto's IAM holds), quotas that moto has no value of, and
credentials that have expired.
"""

from __future__ import annotations

import contextlib
import io
import json
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

import boto3
import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.iam import iam_backends
from moto.iam.access_control import IAMPolicy, IAMUserAccessKey, PermissionResult
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

from components.aws.preflight import LIMITS

IAM = "https://iam.amazonaws.com/doc/2010-05-08/"
EVERYTHING = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
STS = "https://sts.amazonaws.com/doc/2011-06-15/"


@dataclass
class Played:
    """A WSGI application in front of moto's.

    `quotas` are values by (service, code), `expired` access keys that are over, `simulated`
    whose policies were evaluated, `calls` the actions that were asked for.
    """

    application: object
    quotas: dict[tuple[str, str], float] = field(default_factory=dict)
    defaults: dict[tuple[str, str], float] = field(default_factory=dict)
    expired: set[str] = field(default_factory=set)
    organization_denies: set[str] = field(default_factory=set)
    simulated: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)

    def __call__(self, environ, start_response):
        size = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(size) if size else b""
        environ["wsgi.input"] = io.BytesIO(body)
        authorization = environ.get("HTTP_AUTHORIZATION", "")
        target = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        form = dict(urllib.parse.parse_qsl(body.decode("utf-8", "replace")))
        action = target or form.get("Action", "")
        self.calls.append(action)
        if any(f"Credential={key}/" in authorization for key in self.expired):
            text = error("ExpiredToken", "The security token included in the request is expired")
            return answer(start_response, "403 Forbidden", "text/xml", text)
        if action == "SimulatePrincipalPolicy":
            text = self.simulate(form)
            return answer(start_response, "200 OK", "text/xml", text)
        if action in ("GetServiceQuota", "GetAWSDefaultServiceQuota"):
            asked = json.loads(body)
            key = (asked["ServiceCode"], asked["QuotaCode"])
            known = self.quotas if action == "GetServiceQuota" else self.defaults
            kind = "application/x-amz-json-1.1"
            if key in known:
                found = {"Quota": {"QuotaCode": key[1], "Value": known[key]}}
                return answer(start_response, "200 OK", kind, json.dumps(found))
            if action == "GetAWSDefaultServiceQuota":
                found = {"__type": "NoSuchResourceException", "message": "no such quota"}
                return answer(start_response, "400 Bad Request", kind, json.dumps(found))
        return self.application(environ, start_response)

    def clear(self) -> None:
        """As at the start, with 64 of every quota."""
        for kept in (self.defaults, self.expired, self.simulated, self.organization_denies):
            kept.clear()
        self.quotas = {(limit.service, limit.code): 64.0 for limit in LIMITS.values()}
        self.calls.clear()

    def simulate(self, form: dict[str, str]) -> str:
        """Decisions by the policies that moto holds of a user; a role may do everything."""
        arn = form["PolicySourceArn"]
        self.simulated.add(arn)
        (resource,) = members(form, "ResourceArns")
        policies = [] if ":user/" in arn else [IAMPolicy(json.dumps(EVERYTHING))]
        if ":user/" in arn:
            user = iam_backends[DEFAULT_ACCOUNT_ID]["aws"].get_user(arn.rpartition("/")[2])
            key = user.access_keys[0].access_key_id
            found = IAMUserAccessKey(DEFAULT_ACCOUNT_ID, "aws", key, {}).collect_policies()
            policies = [IAMPolicy(policy) for policy in found]
        results = "".join(
            self.decision(policies, action, resource) for action in members(form, "ActionNames")
        )
        return (
            f'<SimulatePrincipalPolicyResponse xmlns="{IAM}"><SimulatePrincipalPolicyResult>'
            f"<IsTruncated>false</IsTruncated><EvaluationResults>{results}</EvaluationResults>"
            "</SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>"
        )

    def decision(self, policies: list[IAMPolicy], action: str, resource: str) -> str:
        found = [policy.is_action_permitted(action, resource) for policy in policies]
        decision, detail = "implicitDeny", ""
        if PermissionResult.DENIED in found:
            decision = "explicitDeny"
        elif action in self.organization_denies:
            detail = (
                "<OrganizationsDecisionDetail><AllowedByOrganizations>false"
                "</AllowedByOrganizations></OrganizationsDecisionDetail>"
            )
        elif PermissionResult.PERMITTED in found:
            decision = "allowed"
        return (
            f"<member><EvalActionName>{action}</EvalActionName>"
            f"<EvalResourceName>{escape(resource)}</EvalResourceName>"
            f"<EvalDecision>{decision}</EvalDecision>{detail}</member>"
        )


def members(form: dict[str, str], name: str) -> list[str]:
    """A list of AWS's query protocol: Name.member.1, Name.member.2, ..."""
    found = []
    while (value := form.get(f"{name}.member.{len(found) + 1}")) is not None:
        found.append(value)
    return found


def error(code: str, message: str) -> str:
    return (
        f'<ErrorResponse xmlns="{STS}"><Error><Type>Sender</Type><Code>{code}</Code>'
        f"<Message>{message}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
    )


def answer(start_response, status: str, kind: str, text: str) -> list[bytes]:
    body = text.encode()
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]


@dataclass
class Server:
    """A running server: `url`, and what it plays."""

    url: str
    played: Played

    def session(self, access_key: str, secret_key: str, region: str = "") -> boto3.Session:
        """A session of somebody; where it goes is in AWS_ENDPOINT_URL."""
        return boto3.Session(access_key, secret_key, region_name=region or None)

    def post(self, what: str, body: str = "") -> None:
        """Tell moto itself something: https://docs.getmoto.org/en/latest/docs/configuration/."""
        address = f"{self.url}/moto-api/{what}"
        headers = {"Content-Type": "text/plain"}
        urllib.request.urlopen(
            urllib.request.Request(address, body.encode(), headers, method="POST")
        ).read()

    def clean(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        """Empty, with enough of every quota; nothing of this machine's own AWS is seen."""
        for name in ("PROFILE", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"):
            monkeypatch.delenv(f"AWS_{name}", raising=False)
        monkeypatch.setenv("AWS_ENDPOINT_URL", self.url)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "credentials"))
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        self.played.clear()
        self.post("reset")

    def user(
        self, document: Mapping[str, object] = EVERYTHING, name: str = "builder"
    ) -> tuple[str, str]:
        """Make a user that may do what a policy says: access key and secret key."""
        iam = self.session("root", "root", "us-east-1").client("iam")
        iam.create_user(UserName=name)
        text = json.dumps({"Version": "2012-10-17", **document})
        iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=text)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        self.played.calls.clear()
        return key["AccessKeyId"], key["SecretAccessKey"]


@contextlib.contextmanager
def serve() -> Iterator[Server]:
    """A server on a free port of loopback, until the end."""
    played = Played(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, played, threaded=True, request_handler=MotoRequestHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        host, port = server.server_address[:2]
        yield Server(f"http://{host}:{port}", played)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
