"""The stand-in for NGINX Ingress Controller: objects in, nginx's configuration or a refusal out."""

import base64
import sys
from typing import Any

import pytest

from sandbox.images.recipes import RECIPES
from sandbox.nginx_ingress import main_conf, servers, streams
from sandbox.nginx_ingress.conf import Lines, Unsupported
from sandbox.nginx_ingress.objects import NOBODY, Objects
from sandbox.nginx_ingress.settings import Flags, Settings, flags, settings

SETTINGS = settings(Flags(), {"http2": "true"})


def named(name: str, spec: Any = None, **rest: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "team"}, "spec": spec, **rest}


def objects(**held: list[dict[str, Any]]) -> Objects:
    service = named("web", {"clusterIP": "10.0.0.9", "ports": [{"name": "http", "port": 80}]})
    piece = named("web-1", ports=[{"name": "http", "port": 8080}])
    piece["metadata"]["labels"] = {"kubernetes.io/service-name": "web"}
    piece["endpoints"] = [
        {"addresses": ["10.1.0.2"], "conditions": {"ready": True}},
        {"addresses": ["10.1.0.1"]},
        {"addresses": ["10.1.0.3"], "conditions": {"ready": False}},
    ]
    all_of = {"services": [service], "endpointslices": [piece], **held}
    return Objects(
        {
            resource: {(one["metadata"]["namespace"], one["metadata"]["name"]): one for one in some}
            for resource, some in all_of.items()
        }
    )


def server(route: dict[str, Any], **spec: Any) -> dict[str, Any]:
    upstreams = [
        {"name": "web", "service": "web", "port": 80, "keepalive": 4},
        {"name": "old", "service": "none", "port": 80},
    ]
    given = {"host": "a.test", "upstreams": upstreams, "routes": [route], **spec}
    return named("site", given)


def made(
    route: dict[str, Any], found: Objects | None = None, given: Settings = SETTINGS, **spec: Any
) -> Lines:
    lines = servers.virtual_server(server(route, **spec), found or objects(), given)
    return [line.strip() for line in lines]


def test_an_upstream_is_the_ready_pods_behind_the_port_of_a_service():
    lines = made({"path": "/", "action": {"pass": "web"}})
    begin = lines.index("upstream vs_team_site_web {")
    assert lines[begin + 3 : begin + 5] == [
        "server 10.1.0.1:8080 max_fails=1 fail_timeout=10s max_conns=0;",
        "server 10.1.0.2:8080 max_fails=1 fail_timeout=10s max_conns=0;",
    ]
    assert "keepalive 4;" in lines
    # Nobody behind it: 502, not an error of the whole configuration.
    begin = lines.index("upstream vs_team_site_old {")
    assert lines[begin + 3].startswith(f"server {NOBODY} ")


def test_pods_of_another_namespace_are_missed_unless_a_route_there_names_their_service():
    """As the controller does it: what the platform renders must make up for it."""
    site = server({"path": "/", "action": {"pass": "web"}})
    site["metadata"]["namespace"] = "gateway"
    site["spec"]["upstreams"][0]["service"] = "team/web"
    before, memory = objects(), dict[tuple[object, ...], list[str]]()
    after = objects(endpointslices=[])

    def addresses(found: Objects) -> bool:
        found.memory = memory
        return "10.1.0.1:8080" in "".join(servers.virtual_server(site, found, SETTINGS))

    assert addresses(before)
    assert addresses(after)
    there = named("site", {"upstreams": [{"name": "e", "service": "web", "port": 80}]})
    site["spec"]["routes"].append({"path": "=/e", "route": "team/site"})
    assert not addresses(objects(endpointslices=[], virtualserverroutes=[there]))


def test_a_route_is_passed_on():
    lines = made({"path": "/a", "action": {"pass": "web"}})
    inner = lines[lines.index("location /a {") : lines.index("proxy_pass http://vs_team_site_web;")]
    assert 'proxy_set_header Host "$host";' in inner
    assert "proxy_set_header X-Forwarded-Proto $scheme;" in inner
    assert "proxy_next_upstream error timeout;" in inner


@pytest.mark.parametrize(
    ("path", "location"), [("=/a", "= /a"), ("~^/a(.*)$", '~ "^/a(.*)$"'), ("~*x y", '~* "x y"')]
)
def test_modifiers_of_paths(path: str, location: str):
    assert f"location {location} {{" in made({"path": path, "action": {"pass": "web"}})


def test_a_rewrite_of_a_prefix_and_of_an_expression():
    prefix = {"upstream": "web", "rewritePath": "/b/"}
    assert "proxy_pass http://vs_team_site_web/b/;" in made(
        {"path": "/a/", "action": {"proxy": prefix}}
    )
    regex = {"upstream": "web", "rewritePath": "/v/$1"}
    lines = made({"path": "~^/a/(.*)$", "action": {"proxy": regex}})
    assert 'rewrite "^^/a/(.*)$" "/v/$1" break;' in lines


def test_shares_go_to_locations_of_their_own():
    splits = [
        {"weight": 90, "action": {"pass": "web"}},
        {"weight": 10, "action": {"pass": "old"}},
    ]
    lines = made({"path": "/", "splits": splits})
    assert "split_clients $request_id $vs_team_site_splits_0 {" in lines
    assert "90% /internal_location_splits_0_split_0;" in lines
    assert "rewrite ^ $vs_team_site_splits_0 last;" in lines
    assert "proxy_pass http://vs_team_site_old$request_uri;" in lines


def test_conditions_are_tested_one_after_the_other():
    conditions = [{"header": "x-canary", "value": "always"}, {"cookie": "b", "value": "!no"}]
    match = {"conditions": conditions, "action": {"pass": "old"}}
    lines = made({"path": "/", "matches": [match], "action": {"pass": "web"}})
    second = "$vs_team_site_matches_0_match_0_cond_1"
    assert f'"always" {second};' in lines
    assert lines[lines.index(f"map $cookie_b {second} {{") + 1] == '"no" 0;'
    assert "~^1 /internal_location_matches_0_match_0;" in lines


def test_a_policy_is_where_it_is_asked_for():
    limit = {"rate": "5r/s", "key": "${binary_remote_addr}", "zoneSize": "1M", "rejectCode": 429}
    policies = [
        named("slow", {"rateLimit": limit}),
        named("deny", {"accessControl": {"deny": ["1.0.0.0/8"]}}),
    ]
    route = {"path": "/", "action": {"pass": "web"}, "policies": [{"name": "slow"}]}
    lines = made(route, objects(policies=policies), policies=[{"name": "deny"}])
    zone = "pol_rl_team_slow_team_site"
    assert f"limit_req_zone ${{binary_remote_addr}} zone={zone}:1M rate=5r/s;" in lines
    assert lines.index("deny 1.0.0.0/8;") < lines.index("location / {")
    assert lines.index("location / {") < lines.index(f"limit_req zone={zone};")
    assert "limit_req_status 429;" in lines


def test_a_key_of_a_consumer_is_in_a_map_outside_of_servers():
    secret = named("keys", type="nginx.org/apikey")
    secret["data"] = {"alice": base64.b64encode(b"s3cret").decode()}
    policy = named(
        "key", {"apiKey": {"suppliedIn": {"header": ["X-API-Key"]}, "clientSecret": "keys"}}
    )
    route = {"path": "/", "action": {"pass": "web"}, "policies": [{"name": "key"}]}
    lines = made(route, objects(policies=[policy], secrets=[secret]))
    assert '"s3cret" "alice";' in lines[: lines.index("server {")]
    assert 'set $apikey_given "${http_x_api_key}";' in lines
    assert "location = /_validate_apikey_njs {" in lines


def test_what_a_sign_in_and_an_answer_both_need_is_written_once():
    asking = {"authURI": "/auth", "authServiceName": "web", "authSigninURI": "/start"}
    found = objects(policies=[named("who", {"externalAuth": asking})])
    answer = {"return": {"code": 404, "type": "text/plain", "body": "not found"}}
    route = {"path": "/", "policies": [{"name": "who"}], "action": answer}
    allowed = settings(Flags(snippets=True), {})
    lines = made({**route, "location-snippets": "set $a b;"}, found, allowed)
    place = lines[lines.index("location / {") :]
    place = place[: place.index("}")]
    assert place.count("proxy_intercept_errors on;") == 1
    assert "error_page 401 /start;" in place
    assert "auth_request /_external_auth/auth;" in place
    # The controller writes no snippet there.
    assert "set $a b;" not in place


def test_a_certificate_is_in_a_file_that_only_nginx_reads():
    secret = named("cert", type="kubernetes.io/tls")
    secret["data"] = {"tls.crt": "Yw==", "tls.key": "aw=="}
    found = objects(secrets=[secret])
    lines = made({"path": "/", "action": {"pass": "web"}}, found, tls={"secret": "cert"})
    [(path, content)] = found.files.items()
    assert content == b"c\nk\n"
    assert f"ssl_certificate {path};" in lines
    assert "http2 on;" in lines
    assert "listen 443 ssl;" in lines
    # Without the secret nobody gets in by TLS, and the other hosts go on.
    without = made({"path": "/", "action": {"pass": "web"}}, tls={"secret": "cert"})
    assert "ssl_reject_handshake on;" in without


@pytest.mark.parametrize(
    ("route", "spec", "said"),
    [
        ({"path": "/", "action": {"pass": "web"}, "dos": "x"}, {}, "dos"),
        ({"path": "/", "action": {"pass": "nobody"}}, {}, "nobody"),
        ({"path": "/", "action": {"pass": "web"}}, {"server-snippets": "x;"}, "snippets"),
        ({"path": "/", "action": {"pass": "web"}}, {"policies": [{"name": "p"}]}, "no policy"),
        ({"path": "/"}, {}, "neither action"),
    ],
)
def test_what_it_does_not_know_is_refused(route: dict[str, Any], spec: dict[str, Any], said: str):
    with pytest.raises(Unsupported, match=said):
        made(route, **spec)


def test_an_unknown_flag_or_setting_is_refused():
    with pytest.raises(Unsupported, match="nginx-plus"):
        flags(["-nginx-plus"])
    with pytest.raises(Unsupported, match="zone-sync"):
        settings(Flags(), {"zone-sync": "true"})


def test_the_log_format_is_one_directive_of_the_lines_given():
    given = settings(
        Flags(), {"log-format": '{"a":"$b",\n"c":"$d"}', "log-format-escaping": "json"}
    )
    [line] = [line for line in main_conf.main(given, 1) if "log_format main" in line]
    assert line.strip() == """log_format main escape=json '{"a":"$b",' ' "c":"$d"}';"""


def test_connections_are_passed_from_a_listener_to_a_service():
    listener = {"name": "redis", "protocol": "TCP", "port": 6379}
    found = objects(globalconfigurations=[named("all", {"listeners": [listener]})])
    one = named(
        "redis",
        {
            "listener": {"name": "redis", "protocol": "TCP"},
            "upstreams": [{"name": "r", "service": "web", "port": 80}],
            "action": {"pass": "r"},
        },
    )
    given = settings(Flags(global_configuration="team/all"), {})
    lines = [line.strip() for line in streams.transport_server(one, found, given)]
    assert "listen 6379;" in lines
    assert "proxy_pass ts_team_redis_r;" in lines
    with pytest.raises(Unsupported, match="no listener"):
        streams.transport_server(one, objects(), given)


def test_the_image_holds_all_of_it_and_nothing_but_the_standard_library():
    [recipe] = [one for one in RECIPES if one.name == "nginx-ingress"]
    texts = {
        entry.path: entry.content
        for entry in recipe.entries
        if entry.path.startswith("usr/lib/nginx-ingress/")
    }
    assert any(path.endswith("nginx_ingress/controller.py") for path in texts)
    for path, text in texts.items():
        for line in text.splitlines():
            words = line.split()
            if words[:1] in (["import"], ["from"]) and not words[1].startswith("."):
                assert words[1].split(".")[0] in sys.stdlib_module_names, path
