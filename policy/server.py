"""The pack as a plugin of Pulumi's engine: `pulumirpc.Analyzer` of its protocol.

The engine starts it for `--policy-pack`, as the plugin `policy-mlplatform` of Pulumi.yaml. It needs
no service and no language host: Pulumi's own SDK for packs in Python would need both the host and
an older protobuf.
"""

from __future__ import annotations

import importlib
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc

from policy.exemptions import exemptions
from policy.resource import Resource
from policy.rules import RULES, violations
from provider.lifetime import end_with_parent
from provider.rpc import MAX_MESSAGE, plugin_pb2
from provider.values import from_struct, plain, redact

# Loaded by the provider without the SDK's own import.
_pb2: Final[Any] = importlib.import_module("pulumi_protocol.analyzer_pb2")
_grpc: Final[Any] = importlib.import_module("pulumi_protocol.analyzer_pb2_grpc")

PACK: Final = "ml-platform"
VERSION: Final = "1.0.0"
SETTING: Final = "ml-platform:policyLevel"
_LEVELS: Final = {
    "off": _pb2.DISABLED,
    "advisory": _pb2.ADVISORY,
    "mandatory": _pb2.MANDATORY,
}
_DEFAULT: Final = "advisory"


class Analyzer(_grpc.AnalyzerServicer):  # type: ignore[misc]
    """Judges each resource by the rules; `policyLevel` of the stack is how strict they are."""

    def __init__(self) -> None:
        self._level = _LEVELS[_DEFAULT]

    def Handshake(self, request: Any, context: Any) -> Any:  # noqa: ANN401, D102
        return _pb2.AnalyzerHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:  # noqa: ANN401, D102
        return plugin_pb2.PluginInfo(version=VERSION)

    def GetAnalyzerInfo(self, request: Any, context: Any) -> Any:  # noqa: ANN401, D102
        policies = [
            _pb2.PolicyInfo(
                name=rule.name,
                displayName=rule.name,
                description=rule.description,
                enforcementLevel=self._level,
                policy_type=_pb2.POLICY_TYPE_RESOURCE,
            )
            for rule in RULES
        ]
        return _pb2.AnalyzerInfo(name=PACK, displayName=PACK, version=VERSION, policies=policies)

    def ConfigureStack(self, request: Any, context: Any) -> Any:  # noqa: ANN401, D102
        self._level = _LEVELS.get(request.config.get(SETTING, _DEFAULT), _LEVELS[_DEFAULT])
        return _pb2.AnalyzerStackConfigureResponse()

    def Configure(self, request: Any, context: Any) -> Any:  # noqa: ANN401, D102
        from google.protobuf import empty_pb2

        return empty_pb2.Empty()

    def Analyze(self, request: Any, context: Any) -> Any:  # noqa: ANN401, D102
        if self._level == _pb2.DISABLED:
            return _pb2.AnalyzeResponse()
        properties = from_struct(request.properties)
        resource = Resource(
            request.type,
            request.name or request.urn.rpartition("::")[2],
            plain(properties),
            request.options.protect,
        )
        return _pb2.AnalyzeResponse(
            diagnostics=[
                _pb2.AnalyzeDiagnostic(
                    policyName=rule.name,
                    policyPackName=PACK,
                    policyPackVersion=VERSION,
                    description=rule.description,
                    message=redact(message, properties),
                    enforcementLevel=self._level,
                    urn=request.urn,
                )
                for rule, message in violations(resource, exemptions())
            ]
        )

    def AnalyzeStack(self, request: Any, context: Any) -> Any:  # noqa: ANN401, D102
        return _pb2.AnalyzeResponse()

    def Remediate(self, request: Any, context: Any) -> Any:  # noqa: ANN401, D102
        return _pb2.RemediateResponse()

    def Cancel(self, request: Any, context: Any) -> Any:  # noqa: ANN401, D102
        from google.protobuf import empty_pb2

        return empty_pb2.Empty()


def main() -> None:
    """Serve until the engine ends the process; prints the port."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    options = [
        ("grpc.max_send_message_length", MAX_MESSAGE),
        ("grpc.max_receive_message_length", MAX_MESSAGE),
        ("grpc.so_reuseport", 0),
    ]
    server = grpc.server(ThreadPoolExecutor(4, thread_name_prefix="rpc"), options=options)
    _grpc.add_AnalyzerServicer_to_server(Analyzer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    if len(sys.argv) > 1:
        end_with_parent()
    print(port, flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
