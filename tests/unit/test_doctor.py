"""What the doctor says of each fault, of a healthy platform, and to scripts."""

import json
from datetime import timedelta

import pytest

from doctor import ask as asking
from doctor import cli
from doctor.ask import Refused, Unreachable, ask
from doctor.cli import document, main
from doctor.diagnose import diagnose
from doctor.model import Snapshot, Usage
from tests.support.doctor_world import (
    LONG_AGO,
    NOW,
    certificate,
    container,
    event,
    metadata,
    pod,
    waiting,
)


def of(**world):
    return diagnose(Snapshot(NOW, **world))


def only(**world):
    (found,) = of(**world)
    return found


def ended(code=1, message="", reason="Error"):
    return {"exitCode": code, "reason": reason, "message": message}


# --- pods -------------------------------------------------------------------------------------


def test_a_healthy_platform():
    ready = {"type": "Ready", "status": "True"}
    fine = pod("fine", {**container(running={}), "ready": True}, conditions=[ready])
    # It ended once, and is ready again.
    again = pod("again", {**container(running={}, last=ended()), "ready": True}, conditions=[ready])
    done = pod("done", container(terminated=ended(0, reason="Completed")), phase="Succeeded")
    young = pod("young", container(**waiting("ContainerCreating")))
    young["status"]["conditions"][0]["lastTransitionTime"] = NOW.isoformat()
    leaving = pod("leaving", container(terminated=ended(137)))
    leaving["metadata"]["deletionTimestamp"] = NOW.isoformat()
    node = {"metadata": {"name": "node"}, "status": {"conditions": [ready]}}
    assert of(pods=[fine, again, done, young, leaving], nodes=[node]) == []


@pytest.mark.parametrize(
    ("message", "code", "remedy"),
    [
        ('rpc error: "docker.io/app:1": not found', "image-pull", "correct its name or tag"),
        ("pull access denied, unauthorized", "image-pull", "imagePullSecret"),
        ("429 Too Many Requests", "image-pull", "limits how often"),
        ("dial tcp: lookup registry: no such host", "image-pull", "network, DNS and proxy"),
        ("x509: certificate signed by unknown authority", "image-pull", "authority"),
        ("tls: first record does not look like a TLS handshake", "image-pull", "without TLS"),
        (
            "no match for platform in manifest: not found",
            "image-architecture",
            "another processor",
        ),
    ],
)
def test_an_image_that_cannot_be_pulled(message, code, remedy):
    found = only(pods=[pod("app", container(**waiting("ErrImagePull", message)))])
    assert (found.severity, found.code) == ("error", code)
    assert found.where == "Pod team/app, container main"
    assert "app:1" in found.problem
    assert message in found.problem
    assert remedy in found.remedy


def test_a_pull_that_waits_is_explained_by_its_event():
    bad = pod("app", container(**waiting("ImagePullBackOff", 'Back-off pulling image "app:1"')))
    said = event("Pod", "app", 'Failed to pull image "app:1": unauthorized')
    other = event("Pod", "another", 'Failed to pull image "app:1": not found')
    later = event("Pod", "app", 'Back-off pulling image "app:1"', at="2026-05-02T00:00:00Z")
    found = only(pods=[bad], events=[later, other, said])
    assert "unauthorized" in found.problem
    assert "imagePullSecret" in found.remedy


def test_an_image_name_that_is_none():
    found = only(pods=[pod("app", container("A b", **waiting("InvalidImageName", "bad")))])
    assert found.remedy == "correct the image's name"


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ("0/3 nodes are available: 3 Insufficient memory.", "no node has enough memory left"),
        ("0/1 nodes: 1 Insufficient nvidia.com/gpu.", "no node has enough nvidia.com/gpu"),
        (
            "0/1 nodes: 1 node(s) had untolerated taint {gpu: true}.",
            "nodes repel it by the taint gpu: true",
        ),
        ("pod has unbound immediate PersistentVolumeClaims", "see the claim"),
        ("1 node(s) didn't match Pod's node affinity/selector", "no node has the labels"),
        ("1 node(s) had volume node affinity conflict", "on a node or in a zone"),
        ('persistentvolumeclaim "data" not found', "create the claim data"),
        ("no nodes available to schedule pods", "no node that takes pods"),
        ("something new", "see the scheduler's reason"),
    ],
)
def test_a_pod_that_no_node_takes(message, remedy):
    condition = {"type": "PodScheduled", "status": "False", "message": message}
    found = only(pods=[pod("app", phase="Pending", conditions=[condition])])
    assert found.code == "unschedulable"
    assert message in found.problem
    assert remedy in found.remedy


@pytest.mark.parametrize(
    ("words", "code", "remedy"),
    [
        ("panic: nil map", "crash", "kubectl logs -n team app -c main --previous"),
        ("failed to create fsnotify watcher: too many open files", "inotify", "sudo sysctl"),
        ("exec /manager: exec format error", "image-architecture", "another processor"),
        ("write /data/x: no space left on device", "volume-full", "make the volume larger"),
    ],
)
def test_a_container_that_crashes_by_its_last_words(words, code, remedy):
    crashing = container(**waiting("CrashLoopBackOff", "back-off"), last=ended(2))
    found = only(pods=[pod("app", crashing)], words={("team", "app", "main"): f"x\n{words}\n"})
    assert found.code == code
    assert f"(exit code 2) and was started again 3 times: x\n{words}" in found.problem
    assert remedy in found.remedy


def test_the_status_has_the_last_words_where_no_log_is_left():
    for state in (
        container(terminated=ended(1, "exec format error")),
        container(**waiting("CrashLoopBackOff"), last=ended(1, "exec format error")),
    ):
        assert only(pods=[pod("app", state)]).code == "image-architecture"


def test_a_container_that_needed_more_memory():
    crashing = container(running={}, last=ended(137, reason="OOMKilled"))
    found = only(pods=[pod("app", crashing)])
    assert found.code == "out-of-memory"
    assert "limits.memory" in found.remedy


def test_init_containers_count():
    bad = pod("app", initContainerStatuses=[container(**waiting("ErrImagePull", "not found"))])
    assert only(pods=[bad]).code == "image-pull"


def test_a_container_that_lacks_a_secret():
    state = container(**waiting("CreateContainerConfigError", 'secret "a" not found'))
    found = only(pods=[pod("app", state)])
    assert (found.code, 'secret "a" not found' in found.problem) == ("container-config", True)


def test_a_mount_that_fails_is_explained_by_its_event():
    bad = pod("app", container(**waiting("ContainerCreating")))
    said = event("Pod", "app", 'MountVolume.SetUp failed: secret "tls" not found')
    found = only(pods=[bad], events=[said])
    assert found.code == "mount"
    assert 'secret "tls" not found' in found.problem


def test_a_pod_that_runs_and_is_not_ready():
    bad = pod("app", container(running={}))
    assert only(pods=[bad]).code == "not-ready"
    said = event("Pod", "app", "Readiness probe failed: HTTP 503")
    assert "HTTP 503" in only(pods=[bad], events=[said]).problem


def test_a_pod_that_stays():
    bad = pod("app")
    bad["metadata"] |= {"deletionTimestamp": LONG_AGO, "finalizers": ["a/b"]}
    found = only(pods=[bad])
    assert (found.severity, found.code) == ("warning", "stuck")
    assert "held by a/b" in found.problem


def test_an_evicted_pod():
    found = only(pods=[pod("app", phase="Failed", reason="Evicted", message="low on memory")])
    assert (found.severity, found.code) == ("warning", "evicted")


def test_a_node():
    bad = {
        "metadata": {"name": "one"},
        "status": {
            "conditions": [
                {"type": "Ready", "status": "Unknown", "message": "Kubelet stopped"},
                {"type": "DiskPressure", "status": "True", "message": "full"},
            ]
        },
    }
    found = of(nodes=[bad])
    assert [one.code for one in found] == ["node-not-ready", "node-pressure"]
    assert "Kubelet stopped" in found[0].problem


# --- volumes ----------------------------------------------------------------------------------


def claim(phase="Pending", created=LONG_AGO, **spec):
    body = {"metadata": metadata("data"), "spec": spec, "status": {"phase": phase}}
    body["metadata"]["creationTimestamp"] = created
    return body


def storage_class(name="standard", mode="Immediate", default="true"):
    annotations = {"storageclass.kubernetes.io/is-default-class": default}
    return {
        "metadata": {"name": name, "annotations": annotations},
        "volumeBindingMode": mode,
    }


@pytest.mark.parametrize(
    ("world", "code", "words"),
    [
        ({"claims": [claim("Lost", volumeName="v")]}, "volume-lost", "volume v is gone"),
        (
            {"claims": [claim(storageClassName="fast")], "storage_classes": [storage_class()]},
            "volume-pending",
            "no StorageClass fast",
        ),
        (
            {"claims": [claim()], "storage_classes": [storage_class(default="false")]},
            "volume-pending",
            "none is the default",
        ),
        (
            {
                "claims": [claim()],
                "storage_classes": [storage_class()],
                "events": [event("PersistentVolumeClaim", "data", "quota exceeded")],
            },
            "volume-pending",
            "quota exceeded",
        ),
        (
            {
                "claims": [claim(storageClassName="late")],
                "storage_classes": [storage_class("late", "WaitForFirstConsumer")],
            },
            "volume-unused",
            "first pod that uses it",
        ),
        (
            {"claims": [claim("Bound")], "usage": {("team", "data"): Usage(96, 100)}},
            "volume-full",
            "96% of its bytes",
        ),
        (
            {"claims": [claim("Bound")], "usage": {("team", "data"): Usage(1, 100, 90, 100)}},
            "volume-full",
            "90% of its files",
        ),
    ],
)
def test_a_volume(world, code, words):
    found = only(**world)
    assert found.code == code
    assert words in found.problem
    assert found.where == "PersistentVolumeClaim team/data"


def test_a_volume_that_is_well():
    used = pod("app", conditions=[{"type": "Ready", "status": "True"}])
    used["spec"] = {"volumes": [{"persistentVolumeClaim": {"claimName": "data"}}]}
    late = storage_class("late", "WaitForFirstConsumer")
    assert of(claims=[claim(storageClassName="late")], storage_classes=[late], pods=[used]) == []
    assert of(claims=[claim(created=NOW.isoformat())]) == []
    assert of(claims=[claim("Bound")], usage={("team", "data"): Usage(84, 100, 84, 100)}) == []


def test_how_bad_a_full_volume_is():
    severity = [
        only(claims=[claim("Bound")], usage={("team", "data"): Usage(used, 100)}).severity
        for used in (85, 94, 95, 100)
    ]
    assert severity == ["warning", "warning", "error", "error"]


# --- webhooks ---------------------------------------------------------------------------------

VALID = certificate(NOW + timedelta(days=60))


def webhook(policy="Fail", authority=VALID, service="hook"):
    client = {"service": {"namespace": "team", "name": service}, "caBundle": authority}
    return {
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "hooks"},
        "webhooks": [{"name": "a.example", "failurePolicy": policy, "clientConfig": client}],
    }


SERVICE = {"metadata": metadata("hook")}


def endpoints(ready):
    labels = {"kubernetes.io/service-name": "hook"}
    return {
        "metadata": metadata("hook-1", labels=labels),
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}],
    }


def test_a_webhook_that_answers():
    assert of(webhooks=[webhook()], services=[SERVICE], endpoint_slices=[endpoints(True)]) == []


@pytest.mark.parametrize(
    ("services", "slices", "words"),
    [
        ([], [], "there is no Service team/hook"),
        ([SERVICE], [], "no pod behind the Service team/hook is ready"),
        ([SERVICE], [endpoints(False)], "no pod behind the Service team/hook is ready"),
    ],
)
def test_a_webhook_that_cannot_answer(services, slices, words):
    world = {"services": services, "endpoint_slices": slices}
    found = only(webhooks=[webhook()], **world)
    assert (found.severity, found.code) == ("error", "webhook-not-answering")
    assert words in found.problem
    assert found.where == "ValidatingWebhookConfiguration hooks, a.example"
    assert only(webhooks=[webhook("Ignore")], **world).severity == "warning"


def test_the_authority_of_a_webhook():
    world = {"services": [SERVICE], "endpoint_slices": [endpoints(True)]}
    assert only(webhooks=[webhook(authority="")], **world).code == "webhook-without-authority"
    old = certificate(NOW - timedelta(days=1))
    assert only(webhooks=[webhook(authority=old)], **world).code == "certificate-expired"


# --- certificates -----------------------------------------------------------------------------


def tls_secret(until):
    return {"metadata": metadata("tls"), "data": {"tls.crt": certificate(until)}}


def test_certificates_that_run_out():
    assert of(tls_secrets=[tls_secret(NOW + timedelta(days=15))]) == []
    soon = only(tls_secrets=[tls_secret(NOW + timedelta(days=3, hours=1))])
    assert (soon.severity, soon.code) == ("warning", "certificate-expiring")
    assert "in 3 days" in soon.problem
    late = only(tls_secrets=[tls_secret(NOW - timedelta(days=3))])
    assert (late.severity, late.code) == ("error", "certificate-expired")
    assert late.remedy == "put a new certificate into the Secret"
    assert of(tls_secrets=[{"metadata": metadata("tls"), "data": {"tls.crt": "bm9uZQ=="}}]) == []


def issued(status, since=LONG_AGO):
    ready = {"type": "Ready", "status": status, "message": "no issuer", "lastTransitionTime": since}
    return {
        "metadata": metadata("web"),
        "spec": {"secretName": "tls", "issuerRef": {"name": "self"}},
        "status": {"conditions": [ready]},
    }


def test_certificates_of_cert_manager():
    late = only(certificates=[issued("True")], tls_secrets=[tls_secret(NOW)])
    assert "cert-manager should renew it" in late.remedy
    found = only(certificates=[issued("False")])
    assert found.code == "certificate-not-issued"
    assert "no issuer" in found.problem
    assert of(certificates=[issued("False", NOW.isoformat())]) == []


# --- Redis ------------------------------------------------------------------------------------


def part(name, wanted, ready, labels=None):
    component = name.partition("-shard-")[0]
    own = {"app.kubernetes.io/part-of": "redis", "app.kubernetes.io/component": component}
    labels = own if labels is None else labels
    return {
        "metadata": metadata(name, "redis", labels=labels),
        "spec": {"replicas": wanted},
        "status": {"readyReplicas": ready} if ready else {},
    }


@pytest.mark.parametrize(
    ("servers", "sentinels", "proxies", "codes"),
    [
        (3, 3, 2, []),
        (2, 3, 2, ["redis-degraded"]),
        (3, 2, 2, ["redis-degraded"]),
        (3, 1, 2, ["redis-no-majority"]),
        (3, 3, 1, []),
        (0, 3, 0, ["redis-down", "redis-unreachable"]),
        (2, 3, 0, ["redis-no-master", "redis-unreachable"]),
    ],
)
def test_redis(servers, sentinels, proxies, codes):
    found = of(
        stateful_sets=[part("redis", 3, servers), part("redis-sentinel", 3, sentinels)],
        deployments=[part("redis-proxy", 2, proxies)],
    )
    assert [one.code for one in found] == codes


@pytest.mark.parametrize(
    ("ready", "required", "code"),
    [
        (3, 2, []),
        (2, 2, ["redis-no-writes"]),
        (2, 1, ["redis-degraded"]),
        (1, 1, ["redis-no-writes"]),
        (1, 0, ["redis-degraded"]),
    ],
)
def test_a_master_that_refuses_writes(ready, required, code):
    text = f"port 0\nmin-replicas-to-write {required}\nmin-replicas-max-lag 3\n"
    config = {"metadata": metadata("redis-config", "redis"), "data": {"redis.conf": text}}
    elsewhere = {"metadata": metadata("redis-config", "other"), "data": {}}
    found = of(stateful_sets=[part("redis", 3, ready)], redis_configs=[elsewhere, config])
    assert [one.code for one in found] == code


@pytest.mark.parametrize(
    ("ready", "code", "words"),
    [
        (2, [], ""),
        (1, ["redis-degraded"], "1 of 2 Redis are ready"),
        (0, ["redis-down"], "no client reaches the keys of this shard"),
    ],
)
def test_a_shard(ready, code, words):
    sets = [part(f"redis-shard-{number}", 2, 2) for number in range(2)]
    found = of(stateful_sets=[*sets, part("redis-shard-2", 2, ready)])
    assert [one.code for one in found] == code
    for one in found:
        assert one.where == "StatefulSet redis/redis-shard-2"
        assert words in one.problem


def test_a_shard_has_no_sentinel_that_could_tell():
    proxies = [part("redis-proxy", 1, 0)]
    found = of(stateful_sets=[part("redis-shard-0", 2, 1)], deployments=proxies)
    assert [one.code for one in found] == ["redis-unreachable", "redis-degraded"]


def test_what_is_scaled_to_none():
    sets = [part("redis", 0, 0), part("redis-sentinel", 0, 0)]
    found = of(stateful_sets=sets, deployments=[part("redis-proxy", 0, 0)])
    assert {one.code for one in found} == {"redis-down", "redis-no-majority", "redis-unreachable"}
    assert all("it is scaled to 0" in one.problem for one in found)
    assert {one.remedy.partition(" --")[0] for one in found} == {
        "kubectl scale -n redis statefulset redis",
        "kubectl scale -n redis statefulset redis-sentinel",
        "kubectl scale -n redis deployment redis-proxy",
    }


def test_another_redis_is_not_ours():
    assert of(stateful_sets=[part("redis", 3, 0, labels={})]) == []


# --- what is shown ----------------------------------------------------------------------------


def test_what_containers_say_is_without_secrets_and_control_codes():
    words = "\x1b[31mcannot sign in: password=hunter2-correct\x1b[0m \u202e"
    crashing = container(**waiting("CrashLoopBackOff"), last=ended(2))
    found = only(pods=[pod("app", crashing)], words={("team", "app", "main"): words})
    assert "hunter2" not in found.problem
    assert "\x1b" not in found.problem
    assert "\u202e" not in found.problem


def test_errors_come_first():
    soon = tls_secret(NOW + timedelta(days=1))
    found = of(tls_secrets=[soon], pods=[pod("app", container(running={}))])
    assert [one.severity for one in found] == ["error", "warning"]


def test_json_for_scripts():
    snapshot = Snapshot(NOW, tls_secrets=[tls_secret(NOW)], unread=[("events", "no")])
    told = json.loads(document(snapshot, diagnose(snapshot)))
    assert told["healthy"] is False
    assert set(told["findings"][0]) == {"severity", "code", "where", "problem", "remedy"}
    assert told["unread"] == [{"what": "events", "why": "no"}]


# --- asking -----------------------------------------------------------------------------------


class Server:
    """Answers from what it has, in pages of two."""

    def __init__(self, **lists):
        self.paths = []
        self.lists = lists
        self.refused = {}

    def __call__(self, path):
        self.paths.append(path)
        for part_, code in self.refused.items():
            if part_ in path:
                raise Refused(code, "no")
        if "/log?" in path:
            return f"said at {path}".encode()
        if "stats/summary" in path:
            volume = {
                "pvcRef": {"namespace": "team", "name": "data"},
                "usedBytes": 99, "capacityBytes": 100, "inodesUsed": 1, "inodes": 100,
            }  # fmt: skip
            return json.dumps({"pods": [{"volume": [volume, {"name": "tmp"}]}]}).encode()
        name = path.partition("?")[0].rpartition("/")[2]
        items = self.lists.get(name, [])
        start = int(path.partition("&continue=")[2] or 0)
        more = {"continue": str(start + 2)} if start + 2 < len(items) else {}
        return json.dumps({"items": items[start : start + 2], "metadata": more}).encode()


def test_asking_reads_all_pages_logs_and_volumes():
    crashing = pod("crashing", container(**waiting("CrashLoopBackOff"), last=ended()))
    stopped = pod("stopped", container(terminated=ended()))
    server = Server(
        pods=[pod("a"), pod("b"), pod("c"), crashing, stopped],
        nodes=[{"metadata": {"name": "one"}}],
        validatingwebhookconfigurations=[{"metadata": {"name": "v"}}],
        mutatingwebhookconfigurations=[{"metadata": {"name": "m"}}],
    )
    snapshot = ask(server, NOW)
    assert len(snapshot.pods) == 5
    assert snapshot.usage == {("team", "data"): Usage(99, 100, 1, 100)}
    assert "previous=true" in snapshot.words["team", "crashing", "main"]
    assert "previous" not in snapshot.words["team", "stopped", "main"]
    assert len(snapshot.words) == 2
    assert [body["kind"] for body in snapshot.webhooks] == [
        "ValidatingWebhookConfiguration",
        "MutatingWebhookConfiguration",
    ]
    assert snapshot.unread == []


def test_what_may_not_be_read_is_told_and_the_rest_is_read():
    server = Server(pods=[pod("a")], nodes=[{"metadata": {"name": "one"}}])
    server.refused = {"secrets": 403, "stats": 403, "certificates": 404, "/log?": 404}
    snapshot = ask(server, NOW)
    assert len(snapshot.pods) == 1
    assert [what for what, _ in snapshot.unread] == ["tls secrets", "volumes of the node one"]


@pytest.fixture
def asked(monkeypatch):
    """The command asks this server."""
    server = Server(pods=[], nodes=[])
    monkeypatch.setattr(cli, "connection", lambda *words: server)
    return server


def test_exit_codes(asked, capsys, monkeypatch, tmp_path):
    assert main([]) == 0
    assert "0 pods on 0 nodes: 0 errors, 0 warnings" in capsys.readouterr().out
    asked.lists["pods"] = [pod("app", container(**waiting("ErrImagePull", "not found")))]
    assert main([]) == 1
    assert main(["--json"]) == 1
    out = capsys.readouterr().out
    assert json.loads(out[out.index("{") :])["findings"][0]["code"] == "image-pull"
    monkeypatch.setattr(cli, "connection", asking.connection)
    assert main(["--kubeconfig", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("doctor: ")


def test_a_cluster_that_does_not_answer(tmp_path):
    file = tmp_path / "kubeconfig"
    file.write_text(
        json.dumps(
            {
                "current-context": "a",
                "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
                "clusters": [{"name": "a", "cluster": {"server": "http://127.0.0.1:1"}}],
                "users": [{"name": "a", "user": {"token": "t"}}],
            }
        )
    )
    with pytest.raises(Unreachable, match="unreachable"):
        ask(asking.connection(file, ""))
    with pytest.raises(Unreachable):
        asking.connection(file, "other")
