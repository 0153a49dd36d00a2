"""Real traffic through the gateway on real nodes: for each feature, requests and what came of them.

One gateway with one set of routes (`tests/support/gateway_routes.yaml`) serves all tests. In the
image under the controller's official name runs this project's stand-in for it, with a real nginx.
"""

import base64
import concurrent.futures
import gzip
import json
import re
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from sandbox.controlplane import RunningSandbox
from tests.support import gateway_bed
from tests.support.gateway_bed import BACKENDS, Bed
from tests.support.gateway_client import Answer, Client, many, statuses, tally
from tests.support.kube import Kubectl, eventually

ROUTES = Path(__file__).parents[1] / "support" / "gateway_routes.yaml"
APP = "app.test"
ECHO = {"echo-0", "echo-1", "echo-2"}


@pytest.fixture(scope="module")
def bed(real_sandbox: RunningSandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    kubectl = Kubectl(real_sandbox)
    yield gateway_bed.bring_up(kubectl, tmp_path_factory.mktemp("gateway"), ROUTES.read_text())
    gateway_bed.take_down(kubectl)


@pytest.fixture(scope="module")
def client(bed: Bed) -> Client:
    return bed.client


@pytest.fixture
def ask(client: Client) -> Callable[..., Answer]:
    def asked(path: str, host: str = APP, **more: object) -> Answer:
        return client.ask(path, host, **more)  # type: ignore[arg-type]

    return asked


Ask = Callable[..., Answer]

# --- balancer ------------------------------------------------------------------------------------


def test_each_endpoint_in_turn(ask: Ask):
    # One after the other; turns are counted over all workers.
    assert tally(ask("/") for _ in range(30)) == dict.fromkeys(ECHO, 10)


def test_the_endpoint_with_the_fewest_connections(ask: Ask):
    """Two slow requests keep their endpoints busy; the third one gets what comes meanwhile."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        slow = [pool.submit(ask, "/least?delay=3") for _ in range(2)]
        time.sleep(0.7)
        quick = {ask("/least").pod for _ in range(12)}
    busy = {one.result().pod for one in slow}
    assert len(busy) == 2
    assert quick == ECHO - busy


@pytest.mark.parametrize(
    ("path", "header"),
    [("/by-header", "X-User: {}"), ("/by-cookie", "Cookie: user={}")],
)
def test_a_client_comes_back_to_its_endpoint_and_only_those_of_a_lost_one_move(
    ask: Ask, bed: Bed, path: str, header: str
):
    def owners() -> dict[int, str]:
        def of(number: int) -> Answer:
            name, _, value = header.partition(": ")
            return ask(path, headers={name: value.format(f"user-{number}")})

        return {number: answer.pod for number, answer in enumerate(many(120, of))}

    before = owners()
    assert owners() == before
    shares = tally_of(before)
    assert set(shares) == ECHO
    assert all(share >= 15 for share in shares.values()), shares
    with without(bed, "echo-1"):
        eventually(lambda: "echo-1" not in owners().values(), "echo-1 is left out")
        after = owners()
    moved = {number for number, pod in after.items() if pod != before[number]}
    assert moved == {number for number, pod in before.items() if pod == "echo-1"}
    eventually(lambda: owners() == before, "all are where they were")


def test_a_client_address_has_one_endpoint(ask: Ask):
    assert len({ask("/by-address").pod for _ in range(20)}) == 1


def test_weights_are_shares_of_requests(ask: Ask):
    found = tally(many(300, lambda _: ask("/weights")))
    assert set(found) == ECHO | {"canary"}
    # 60 are expected; five standard deviations of a binomial distribution either way.
    assert 25 <= found["canary"] <= 95, found


def test_a_canary_takes_those_who_ask_for_it(ask: Ask):
    assert {ask("/asked", headers={"X-Canary": "always"}).pod for _ in range(5)} == {"canary"}
    assert "canary" not in {ask("/asked", headers={"X-Canary": "no"}).pod for _ in range(5)}
    assert "canary" not in {ask("/asked").pod for _ in range(5)}


def test_a_silent_backend_is_given_up_in_time(ask: Ask):
    began = time.monotonic()
    assert ask("/hurried?delay=5").status == 504
    assert time.monotonic() - began < 4
    assert ask("/hurried?delay=0.2").status == 200


def test_a_request_that_fails_is_sent_to_another_endpoint_where_it_may_be(ask: Ask, bed: Bed):
    """Every endpoint refuses, and says how often it was asked."""
    before = requests_served(bed)
    assert ask("/again?status=503").status == 503
    after = requests_served(bed)
    assert sum(after.values()) - sum(before.values()) == 3
    # What may have had an effect is sent once only.
    eventually(lambda: ask("/again").status == 200, "endpoints are taken back in")
    before = requests_served(bed)
    assert ask("/again?status=503", method="POST", body=b"x").status == 503
    assert sum(requests_served(bed).values()) - sum(before.values()) == 1
    eventually(lambda: ask("/again").status == 200, "endpoints are taken back in")


def test_no_request_is_lost_that_could_be_retried_when_a_backend_dies(
    ask: Ask, bed: Bed, client: Client
):
    stop, answers, lost = threading.Event(), list[tuple[float, Answer]](), list[str]()

    def load() -> None:
        while not stop.is_set():
            try:
                answers.append((time.monotonic(), ask("/again?delay=0.02")))
            except OSError as error:
                lost.append(repr(error))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: len(answers) > 50, "requests are answered")
        bed.kubectl.run("delete", "pod", "echo-2", "-n", BACKENDS, "--grace-period=0", "--force")
        died = time.monotonic()
        eventually(lambda: sum(at > died for at, _ in answers) > 200, "more are answered")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        bed.kubectl.apply(gateway_bed.echo("echo-2", "echo"))
        bed.kubectl.run(
            *("wait", "-n", BACKENDS, "--for=condition=Ready", "--timeout=60s", "pod/echo-2")
        )
    assert not lost
    assert statuses(answer for _, answer in answers) == {200: len(answers)}
    late = [at - died for at, answer in answers if answer.pod == "echo-2"]
    # What had been on its way to the endpoint may still come; nothing after a few seconds does.
    assert not late or max(late) < 5
    eventually(lambda: tally(many(30, lambda _: ask("/")))["echo-2"], "the new pod is asked")


def test_a_backup_is_asked_where_no_endpoint_is_left(ask: Ask):
    """It sees of a request what a backend would, and nothing that a client claims to be."""
    claimed = {"X-Consumer-Username": "eve", "X-Request-ID": "mine"}
    answer = ask("/spared/x?y=1", method="POST", body=b"some", headers=claimed)
    assert (answer.status, answer.pod) == (200, "canary")
    assert (answer.report["path"], answer.report["body"]) == ("/other/x?y=1", 4)
    assert answer.seen("X-Consumer-Username") == ""
    assert answer.seen("X-Request-ID") == "mine"


def test_no_endpoint_has_more_connections_than_it_may(ask: Ask):
    """The zone of an upstream counts over all workers; what finds no room is refused."""
    found = many(12, lambda _: ask("/narrow?delay=1"), at_once=12)
    assert statuses(found)[200] >= 2
    assert set(statuses(found)) == {200, 502}
    assert statuses(found)[200] <= 4
    assert ask("/narrow").status == 200


def test_connections_are_passed_on(client: Client):
    with socket.create_connection((client.address, 7000), timeout=10) as link:
        link.sendall(b"GET /through HTTP/1.0\r\n\r\n")
        received = b""
        while part := link.recv(65536):
            received += part
    report = json.loads(received.partition(b"\r\n\r\n")[2])
    # No proxy of HTTP has touched it.
    assert (report["path"], report["headers"]) == ("/through", [])


# --- reverse proxy -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "pod", "seen"),
    [
        ("/exact", {"canary"}, "/exact"),
        ("/exact/more", ECHO, "/exact/more"),
        ("/api", ECHO, "/v2"),
        ("/api/users?a=1&b=2", ECHO, "/v2/users?a=1&b=2"),
        ("/apis", ECHO, "/apis"),
        ("/items/42", ECHO, "/things/42"),
        ("/items/x", ECHO, "/items/x"),
        ("/items/42/more", ECHO, "/items/42/more"),
    ],
)
def test_paths_are_routed_and_rewritten(ask: Ask, path: str, pod: set[str], seen: str):
    answer = ask(path)
    assert answer.pod in pod
    assert answer.report["path"] == seen


def test_hosts_are_kept_apart(ask: Ask, client: Client):
    assert ask("/exact", "both.test").pod in ECHO
    assert ask("/", "plain.test", tls=False).status == 200
    # A host that there is not, and one that has no TLS.
    assert ask("/", "nobody.test", tls=False).status == 404
    with pytest.raises(ssl.SSLError):
        ask("/", "nobody.test")


def test_headers_and_methods_are_matched(ask: Ask):
    assert ask("/matched", headers={"X-Stage": "new"}).pod == "canary"
    assert ask("/matched", headers={"X-Stage": "newer"}).pod in ECHO
    assert ask("/matched").pod in ECHO
    assert ask("/methods").pod in ECHO


def test_the_backend_sees_who_asked_and_how(ask: Ask):
    answer = ask("/", headers={"X-Forwarded-For": "192.0.2.1"})
    assert answer.seen("Host") == APP
    assert answer.seen("X-Forwarded-Proto") == "https"
    # A client's own word comes before what the gateway saw, or is not passed on at all.
    assert answer.seen("X-Forwarded-For").split(", ")[-1] == answer.seen("X-Real-IP")
    assert answer.seen("X-Real-IP") != "192.0.2.1"


def test_plain_http_is_answered_with_a_redirect_unless_told_otherwise(ask: Ask):
    answer = ask("/a?b=c", tls=False)
    assert (answer.status, answer.header("Location")) == (301, f"https://{APP}/a?b=c")
    assert ask("/", "both.test", tls=False).status == 200


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_the_versions_of_tls_that_are_offered(client: Client):
    def version(least: ssl.TLSVersion, most: ssl.TLSVersion) -> str | None:
        context = client.context()
        # OpenSSL itself would refuse old versions otherwise, and never ask the gateway.
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version, context.maximum_version = least, most
        try:
            with client.connect(APP, context=context) as link:
                return link.version() if isinstance(link, ssl.SSLSocket) else None
        except (ssl.SSLError, ConnectionError):
            return None

    versions = ssl.TLSVersion
    assert version(versions.TLSv1_2, versions.TLSv1_3) == "TLSv1.3"
    assert version(versions.TLSv1_2, versions.TLSv1_2) == "TLSv1.2"
    assert version(versions.TLSv1_1, versions.TLSv1_1) is None
    assert version(versions.TLSv1, versions.TLSv1) is None


@pytest.mark.parametrize(
    ("ciphers", "chosen"),
    [
        ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        ("ECDHE-ECDSA-AES256-GCM-SHA384", None),
        ("ECDHE-ECDSA-AES128-SHA256", None),
        ("AES128-SHA", None),
    ],
)
def test_the_ciphers_that_are_offered(client: Client, ciphers: str, chosen: str | None):
    context = client.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(ciphers)
    try:
        with client.connect(APP, context=context) as link:
            assert isinstance(link, ssl.SSLSocket)
            found = link.cipher()
    except (ssl.SSLError, ConnectionError):
        found = None
    assert (found[0] if found else None) == chosen


def test_http_2_is_negotiated(client: Client):
    def chosen(*offered: str) -> str | None:
        context = client.context()
        context.set_alpn_protocols(list(offered))
        with client.connect(APP, context=context) as link:
            assert isinstance(link, ssl.SSLSocket)
            return link.selected_alpn_protocol()

    assert chosen("h2", "http/1.1") == "h2"
    assert chosen("http/1.1") == "http/1.1"


def test_responses_are_compressed_for_those_who_take_it(ask: Ask):
    path = "/gzip?size=20000&type=text/plain"
    packed = ask(path, headers={"Accept-Encoding": "gzip"})
    plain = ask(path)
    assert packed.header("Content-Encoding") == "gzip"
    assert plain.header("Content-Encoding") == ""
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) < len(plain.body) / 20
    # Too small, or already packed, or a route that does not ask for it.
    for other in ("/gzip?size=100&type=text/plain", "/gzip?size=20000&type=image/png"):
        assert ask(other, headers={"Accept-Encoding": "gzip"}).header("Content-Encoding") == ""
    other = "/?size=20000&type=text/plain"
    assert ask(other, headers={"Accept-Encoding": "gzip"}).header("Content-Encoding") == ""


def test_a_response_is_kept_and_given_again(ask: Ask):
    counts = {ask("/cache/one").report["count"] for _ in range(10)}
    assert len(counts) == 1
    assert ask("/cache/two").report["count"] not in counts
    # What may not be shared, and what has an effect, is asked for each time.
    private = {ask("/cache/three?set-Cache-Control=private").report["count"] for _ in range(3)}
    assert len(private) == 3
    posted = {ask("/cache/one", method="POST", body=b"").report["count"] for _ in range(3)}
    assert len(posted) == 3


def test_each_consumer_has_its_own_kept_response(ask: Ask, bed: Bed):
    def seen(consumer: str) -> int:
        key = bed.keys[f"key-{consumer}"]
        return int(ask("/cache-each", headers={"X-API-Key": key}).report["count"])

    assert seen("alice") == seen("alice")
    assert seen("alice") != seen("bob")
    assert ask("/cache-each").status == 401


def test_larger_bodies_are_refused(ask: Ask):
    assert ask("/small", method="POST", body=b"x" * 1024).report["body"] == 1024
    assert ask("/small", method="POST", body=b"x" * 1025).status == 413
    # Without a length, too.
    chunks = b"400\r\n" + b"x" * 1024 + b"\r\n1\r\nx\r\n0\r\n\r\n"
    head = {"Transfer-Encoding": "chunked"}
    assert ask("/small", method="POST", body=chunks, headers=head).status == 413


def test_larger_headers_are_refused(ask: Ask):
    """The limit is 8 KiB in all, of which one header may be a quarter."""
    assert ask("/", headers={"X-Large": "x" * 1_500}).status == 200
    assert ask("/", headers={"X-Large": "x" * 3_000}).status == 400
    assert ask("/", headers={f"X-{i}": "x" * 1_900 for i in range(6)}).status == 400


def test_addresses_are_denied_and_allowed(ask: Ask):
    assert ask("/", "closed.test").status == 403
    assert ask("/elsewhere").status == 403
    # What a client says of itself changes nothing.
    assert ask("/elsewhere", headers={"X-Forwarded-For": "192.0.2.7"}).status == 403
    assert ask("/elsewhere", headers={"X-Real-IP": "192.0.2.7"}).status == 403


def test_requests_are_filtered(ask: Ask):
    assert ask("/filter").status == 200
    assert ask("/filter", method="DELETE").status == 403
    # A query is matched as it was sent: an expression must know how spaces are written.
    for query in ("1%20union%20select%202", "1+union+select"):
        assert ask(f"/filter?q={query}").status == 403
        assert ask(f"/?q={query}").status == 200
    assert ask("/filter", headers={"User-Agent": "sqlmap/1.7"}).status == 403
    assert ask("/", headers={"User-Agent": "sqlmap/1.7"}).status == 200


def test_websocket(client: Client):
    pod, _, text = client.websocket("/talk", APP, b"hello").partition(b":")
    assert pod.decode() in ECHO
    assert text == b"hello"


def test_grpc(client: Client):
    options = [
        ("grpc.ssl_target_name_override", APP),
        ("grpc.default_authority", APP),
        ("grpc.enable_http_proxy", 0),
    ]
    trusted = grpc.ssl_channel_credentials(client.authority.encode())
    with grpc.secure_channel(f"{client.address}:443", trusted, options) as channel:
        call = channel.unary_unary("/calls.Echo/Say")
        assert call(b"hello", timeout=20) == b"hello"
        with pytest.raises(grpc.RpcError) as error:
            channel.unary_unary("/elsewhere/Say")(b"", timeout=20)
    assert error.value.code() != grpc.StatusCode.OK


# --- API gateway ---------------------------------------------------------------------------------


def test_a_key_is_asked_for(ask: Ask, bed: Bed):
    assert ask("/key").status == 401
    assert ask("/key", headers={"X-API-Key": "wrong"}).status in (401, 403)
    for consumer in ("alice", "bob"):
        key = bed.keys[f"key-{consumer}"]
        assert ask("/key", headers={"X-API-Key": key}).status == 200


def test_a_password_is_asked_for(ask: Ask, bed: Bed):
    def basic(user: str, password: str) -> Answer:
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        return ask("/password", headers={"Authorization": f"Basic {pair}"})

    refused = ask("/password")
    assert refused.status == 401
    assert refused.header("WWW-Authenticate").startswith("Basic ")
    assert basic("alice", "wrong").status == 401
    # A consumer of another policy.
    assert basic("bob", bed.keys["password-alice"]).status == 401
    assert basic("alice", bed.keys["password-alice"]).status == 200


def test_what_is_above_the_rate_is_refused(ask: Ask):
    """One a minute each twelve seconds: the first passes, the rest of a group does not."""
    found = statuses(many(12, lambda _: ask("/few")))
    assert set(found) == {200, 429}
    assert found[200] <= 2


def test_each_client_has_a_rate_of_its_own(ask: Ask):
    def group(client: str) -> list[int]:
        return [ask("/few-each", headers={"X-Client": client}).status for _ in range(8)]

    for name in ("one", "two"):
        found = group(name)
        # The rate's one, and the burst of two at once; one more may have come due meanwhile.
        assert found[:3] == [200] * 3
        assert found.count(429) >= 4
        assert set(found) == {200, 429}


def test_a_browser_is_sent_to_sign_in(ask: Ask):
    """What is asked stands for the platform's oauth2-proxy."""
    sent = ask("/private/a?b=c")
    assert sent.status == 302
    assert sent.header("Location") == "https://dex.example.com/auth"
    # Nobody says by a header who they are.
    claimed = ask("/private", headers={"X-Auth-Request-Email": "eve@example.com"})
    assert claimed.status == 302
    known = ask(
        "/private", headers={"Cookie": "session=good", "X-Auth-Request-Email": "eve@example.com"}
    )
    assert known.status == 200
    assert known.seen("X-Auth-Request-Email") == "ann@example.com"


def test_headers_are_changed_on_both_ways(ask: Ask):
    given = {"X-Team": "mine", "X-Secret": "s", "X-Other": "o"}
    answer = ask("/headers?set-X-Backend-Secret=s&set-X-Frame-Options=ALLOW", headers=given)
    assert answer.seen("X-Team") == "ml"
    assert answer.seen("X-Secret") == ""
    assert answer.seen("X-Other") == "o"
    assert answer.header("X-Frame-Options") == "DENY"
    assert answer.header("X-Backend-Secret") == ""


def test_other_origins_may_do_what_they_may(ask: Ask):
    origin = {"Origin": "https://app.example.com"}
    answer = ask("/cors", headers=origin)
    assert answer.status == 200
    assert answer.header("Access-Control-Allow-Origin") == "https://app.example.com"
    assert answer.header("Access-Control-Allow-Credentials") == "true"
    asked = {**origin, "Access-Control-Request-Method": "PUT"}
    preflight = ask("/cors", method="OPTIONS", headers=asked)
    assert preflight.status in (200, 204)
    assert "PUT" in preflight.header("Access-Control-Allow-Methods")
    assert "X-Own" in preflight.header("Access-Control-Allow-Headers")
    assert preflight.header("Access-Control-Max-Age") == "600"
    assert preflight.pod == ""
    stranger = ask("/cors", headers={"Origin": "https://evil.example.com"})
    allowed = stranger.header("Access-Control-Allow-Origin")
    assert allowed not in ("*", "https://evil.example.com")


def test_ids_of_requests_and_contexts_of_traces_are_passed_on(ask: Ask, bed: Bed):
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    answer = ask("/", headers={"traceparent": trace, "tracestate": "a=b", "X-Request-ID": "mine"})
    assert answer.seen("traceparent").startswith("00-4bf92f3577b34da6a3ce929d0e0e4736-")
    assert answer.seen("tracestate") == "a=b"
    assert answer.seen("X-Request-ID") == "mine"
    made = {ask("/").seen("X-Request-ID") for _ in range(3)}
    assert len(made) == 3
    assert "" not in made


def test_every_request_is_a_line_of_json_in_the_log(ask: Ask, bed: Bed):
    strange = 'quote" back\\slash'
    ask("/logged?a=1", headers={"User-Agent": strange, "X-API-Key": "hidden-key"})

    def found() -> list[str]:
        return [line for line in bed.log() if "/logged" in line]

    eventually(found, "the request is in the log")
    [line] = found()
    entry = json.loads(line)
    assert "200" in {str(value) for value in entry.values()}
    assert strange in entry.values()
    assert "hidden-key" not in line
    # Whatever else is written there is JSON, too.
    access = [line for line in bed.log() if line.startswith("{")]
    assert all(json.loads(one) for one in access)


def test_metrics_count_requests(ask: Ask, bed: Bed):
    code = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())"

    def count() -> float:
        # From a namespace that is let in.
        url = f"http://{bed.pods[0]}:9113/metrics"
        words = ("exec", "-n", BACKENDS, "canary", "--", "python3", "-c", code, url)
        text = bed.kubectl.run(*words)
        found = re.search(r"^nginx_ingress_nginx_http_requests_total\S* (\S+)$", text, re.MULTILINE)
        assert found, text
        return float(found[1])

    before = count()
    many(20, lambda _: ask("/"))
    assert count() - before >= 20


# --- hostile requests ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/api/../closed",
        "/api/%2e%2e/%2e%2e/etc/passwd",
        "/api/..%2f..%2fetc/passwd",
        "//etc/passwd",
        "/exact/..",
        "/internal_location_splits_0_split_0",
        "/internal_location_matches_0_default",
        "/_validate_apikey_njs",
        "/stub_status",
    ],
)
def test_a_path_leads_nowhere_but_to_backends(client: Client, path: str):
    """Nothing of the gateway's own files or inner locations is given to anybody."""
    text = f"GET {path} HTTP/1.1\r\nHost: {APP}\r\nConnection: close\r\n\r\n"
    received = client.raw(APP, text.encode())
    status = int(received.split(b" ", 2)[1])
    assert b"root:" not in received
    assert b"Active connections" not in received
    if status == 200:
        # Answered by a backend, as the path that routing saw.
        assert b"X-Backend: " in received
    else:
        assert status in (400, 404)


def test_a_path_is_matched_by_what_it_means(ask: Ask):
    """Neither dots nor percent signs get around the policies of a route."""
    for path in ("/x/../key", "/%6bey", "/./key", "//key", "/key/"):
        assert ask(path).status in (400, 401), path


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 4\r\nContent-Length: 40\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Content-Length: 4x\r\n",
        "X-Space : a\r\n",
        "X-Null: a\x00b\r\n",
        "Host: other.test\r\n",
    ],
)
def test_a_request_that_can_be_read_in_two_ways_is_refused(client: Client, head: str):
    """What a backend may read as a second request never comes to it (RFC 9112, section 6.3)."""
    smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    text = f"POST / HTTP/1.1\r\nHost: {APP}\r\nConnection: close\r\n{head}\r\n{smuggled}"
    received = client.raw(APP, text.encode())
    assert b"/smuggled" not in received
    assert received.count(b"HTTP/1.1 ") <= 1
    status = int(received.split(b" ", 2)[1]) if received else 400
    assert status in (400, 501) or (status == 200 and "X-Space" in head), received[:300]


def test_a_header_can_hold_no_second_one(ask: Ask):
    """A rewritten path with an encoded line end stays one line."""
    answer = ask("/items/42%0d%0aX-Injected:%201")
    assert answer.header("X-Injected") == ""
    answer = ask("/api/a%0d%0aX-Injected:%201")
    assert answer.seen("X-Injected") == ""
    redirected = ask("/a%0d%0aX-Injected:%201", tls=False)
    assert redirected.header("X-Injected") == ""


# --- helpers -------------------------------------------------------------------------------------


def tally_of(owners: dict[int, str]) -> dict[str, int]:
    return {pod: list(owners.values()).count(pod) for pod in set(owners.values())}


class without:
    """A backend is taken out of its Service for as long as the block runs; it goes on serving."""

    def __init__(self, bed: Bed, pod: str) -> None:
        self._label = ("label", "pod", pod, "-n", BACKENDS, "--overwrite")
        self._bed = bed

    def __enter__(self) -> None:
        self._bed.kubectl.run(*self._label, "app=out")

    def __exit__(self, *_: object) -> None:
        self._bed.kubectl.run(*self._label, "app=echo")


def requests_served(bed: Bed) -> dict[str, int]:
    """How many requests each backend has had, asked behind the gateway's back."""
    found = bed.kubectl.get("pods", "-n", BACKENDS, "-l", "app=echo")["items"]
    counts = {}
    for pod in found:
        url = f"http://{pod['status']['podIP']}:8080/healthy"
        with urllib.request.urlopen(url, timeout=10) as answer:
            counts[pod["metadata"]["name"]] = json.load(answer)["count"]
    return counts
