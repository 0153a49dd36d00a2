"""Stand-in for the plugin `pulumi-language-python`, for a CLI that was built from source modules.

The official host comes with the CLI's archive and is not published as a module. This one runs the
program of this project in its own process, as the Automation API of the SDK does, so that plain
`pulumi up` works. It installs no packages and asks for no plugins.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc

# The SDK's own host for programs in the same process; not public, but uv.lock pins the SDK.
from pulumi.automation._server import LanguageServer
from pulumi.runtime.proto import language_pb2, language_pb2_grpc

from provider.lifetime import end_with_parent

_MAX_MESSAGE: Final = 400 * 1024 * 1024  # the engine's own limit


class Host(LanguageServer):
    """Runs the program in the folder that the engine names."""

    def Handshake(self, request: Any, context: Any) -> Any:  # noqa: ANN401, D102
        self.engine_address = request.engine_address
        return language_pb2.LanguageHandshakeResponse()

    def Run(self, request: Any, context: Any) -> Any:  # noqa: ANN401, D102
        folder = request.info.program_directory or request.pwd
        os.chdir(request.pwd or folder)
        sys.path.insert(0, folder)
        self.program = lambda: _run(os.path.join(folder, request.info.entry_point or "."))  # noqa: PTH118
        # The SDK takes the engine's address from the first argument.
        del request.args[:]
        request.args.append(self.engine_address)
        return super().Run(request, context)  # type: ignore[no-untyped-call]


def _run(path: str) -> None:
    runpy.run_path(path, run_name="__main__")


def main() -> None:
    """Serve until the engine ends the process."""
    engine = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    server = grpc.server(
        ThreadPoolExecutor(4),
        options=[
            ("grpc.max_send_message_length", _MAX_MESSAGE),
            ("grpc.max_receive_message_length", _MAX_MESSAGE),
        ],
    )
    host = Host(lambda: None)
    host.engine_address = engine
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    end_with_parent()
    print(port, flush=True)
    # The engine interrupts its plugins to end them.
    with contextlib.suppress(KeyboardInterrupt):
        server.wait_for_termination()


if __name__ == "__main__":
    main()
