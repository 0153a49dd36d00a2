"""A stand-in for minikube, for tests: its commands change a file instead of machines.

Behaves as minikube v1.38 by its documentation and sources (cmd/minikube/cmd) for the commands that
the program uses: flags it doesn't know, settings that can't change, refused downgrades, exit codes,
what happens to $KUBECONFIG. $FAKE_MINIKUBE is a folder:

    log.jsonl         every call: its words, and the kubeconfig that it would touch
    profiles/*.json   the clusters
    hang-at           a word: the command waits there (after it has begun) until it is killed
    fail-at           a word: the command fails there
    port              the port that the next start gives to the API server; 8443 without it
"""

import base64
import json
import os
import sys
import time
from pathlib import Path

HOME = Path(os.environ["FAKE_MINIKUBE"])
USAGE, GUEST_NOT_FOUND, DOWNGRADE = 14, 85, 106
START_FLAGS = {
    "--profile",
    "--driver",
    "--cpus",
    "--memory",
    "--disk-size",
    "--kubernetes-version",
    "--container-runtime",
    "--cni",
    "--embed-certs",
    "--wait",
    "--interactive",
    "--nodes",
    "--keep-context",
}
FIXED = {"--memory": "memory size", "--cpus": "CPUs", "--disk-size": "disk size"}


def fail(code, message):
    print(f"X Exiting due to {message}", file=sys.stderr)
    sys.exit(code)


def flags(words, allowed):
    """Flags and other words; flags that there aren't are refused, as minikube does."""
    found, rest = {}, []
    for index, word in enumerate(words):
        if word == "--":
            return found, [*rest, *words[index + 1 :]]
        if word.startswith("-"):
            name, _, value = word.partition("=")
            if name not in allowed:
                fail(USAGE, f"unknown flag: {name}")
            found[name] = value or "true"
        else:
            rest.append(word)
    return found, rest


def kubeconfig():
    return Path(os.environ.get("KUBECONFIG") or Path(os.environ["HOME"]) / ".kube" / "config")


def read_kubeconfig():
    try:
        return json.loads(kubeconfig().read_text())
    except FileNotFoundError:
        return {"clusters": [], "users": [], "contexts": []}


def write_kubeconfig(config):
    kubeconfig().parent.mkdir(parents=True, exist_ok=True)
    kubeconfig().write_text(json.dumps(config))


def forget(name):
    config = read_kubeconfig()
    for section in ("clusters", "users", "contexts"):
        config[section] = [entry for entry in config[section] if entry["name"] != name]
    write_kubeconfig(config)


def path(name):
    return HOME / "profiles" / f"{name}.json"


def load(name):
    try:
        return json.loads(path(name).read_text())
    except FileNotFoundError:
        return None


def save(profile):
    path(profile["Name"]).parent.mkdir(parents=True, exist_ok=True)
    path(profile["Name"]).write_text(json.dumps(profile))


def existing(name):
    profile = load(name)
    if profile is None:
        print(f'* Profile "{name}" not found. Run "minikube profile list" to view all profiles.')
        sys.exit(GUEST_NOT_FOUND)
    return profile


def reached(word):
    """A point at which a test may let the command hang or fail."""
    for file in ("hang-at", "fail-at"):
        try:
            chosen = (HOME / file).read_text().strip()
        except FileNotFoundError:
            continue
        if chosen == word and file == "fail-at":
            fail(80, f"GUEST_{word.upper()}: told to fail")
        if chosen == word:
            (HOME / "hangs").touch()
            time.sleep(600)


def version(words):
    print("v1.38.0")


def profile_list(words):
    flags(words, {"--output", "--light"})
    valid = [json.loads(file.read_text()) for file in sorted((HOME / "profiles").glob("*.json"))]
    listed = [{"Name": p["Name"], "Status": "Skipped", "Config": p} for p in valid]
    notice()
    sys.stdout.write(json.dumps({"invalid": [], "valid": listed}))


def notice():
    """Asked for JSON, minikube says in JSON, too, what it has to say in passing."""
    event = {"type": "io.k8s.sigs.minikube.info", "data": {"message": "minikube 9 is available"}}
    print(json.dumps(event))


def status(words):
    given, _ = flags(words, {"--profile", "--output"})
    profile = existing(given["--profile"])
    servers = {c["name"]: c["cluster"]["server"] for c in read_kubeconfig()["clusters"]}
    here = servers.get(profile["Name"]) == f"https://127.0.0.1:{profile['Port']}"
    nodes, code = [], 0
    for index, node in enumerate(profile["Nodes"]):
        host = node["Host"]
        works = host == "Running"
        config = ("Configured" if here else "Misconfigured") if works else host
        nodes.append(
            {
                "Name": node["Name"],
                "Host": host,
                "Kubelet": host,
                "APIServer": "Irrelevant" if index and works else host,
                "Kubeconfig": "Irrelevant" if index and works else config,
                "Worker": bool(index),
            }
        )
        code |= (0 if works else 3) | (0 if nodes[-1]["Kubeconfig"] in OK else 4)
    notice()
    sys.stdout.write(json.dumps(nodes if len(nodes) > 1 else nodes[0]))
    sys.exit(code)


OK = ("Configured", "Irrelevant")


def number(text):
    return tuple(int(part) for part in text.lstrip("v").split("."))


def start(words):
    given, rest = flags(words, START_FLAGS)
    if rest:
        fail(USAGE, f"unknown words: {rest}")
    name, wanted = given["--profile"], given["--kubernetes-version"]
    profile = load(name)
    print(f"* [{name}] minikube v1.38.0")
    if profile is None:
        profile = {"Name": name, "Flags": given, "Nodes": [{"Name": name, "Host": "Stopped"}]}
    else:
        if number(wanted) < number(profile["KubernetesVersion"]):
            fail(DOWNGRADE, "K8S_DOWNGRADE_UNSUPPORTED: Unable to safely downgrade existing")
        for flag, what in FIXED.items():
            if given.get(flag) != profile["Flags"].get(flag):
                message = f"You cannot change the {what} for an existing minikube cluster."
                print(f"! {message} Please first delete the cluster.", file=sys.stderr)
        if given["--driver"] != profile["Flags"]["--driver"]:
            fail(34, "GUEST_DRIVER_MISMATCH: The existing cluster was created with another driver")
    profile["KubernetesVersion"] = wanted
    profile["Port"] = int(file.read_text()) if (file := HOME / "port").exists() else 8443
    # As minikube does: what is asked for is written down before the machine is made.
    save(profile)
    reached("start")
    for node in profile["Nodes"]:
        node["Host"] = "Running"
    save(profile)
    forget(name)
    config = read_kubeconfig()
    config |= {"apiVersion": "v1", "kind": "Config", "current-context": name}
    key = base64.b64encode(f"private-key-of-{name}".encode()).decode()
    config["clusters"].append(
        {"name": name, "cluster": {"server": f"https://127.0.0.1:{profile['Port']}"}}
    )
    config["users"].append({"name": name, "user": {"client-key-data": key}})
    config["contexts"].append({"name": name, "context": {"cluster": name, "user": name}})
    write_kubeconfig(config)
    print(f'* Done! kubectl is now configured to use "{name}" cluster')


def stop(words):
    given, _ = flags(words, {"--profile", "--keep-context-active"})
    profile = existing(given["--profile"])
    reached("stop")
    for node in profile["Nodes"]:
        node["Host"] = "Stopped"
    save(profile)
    if "--keep-context-active" not in given:
        forget(profile["Name"])


def delete(words):
    given, _ = flags(words, {"--profile"})
    if load(given["--profile"]) is None:
        name = given["--profile"]
        print(f'* "{name}" profile does not exist, trying anyways.', file=sys.stderr)
        return
    reached("delete")
    path(given["--profile"]).unlink()
    forget(given["--profile"])


def node_list(words):
    given, _ = flags(words, {"--profile"})
    for index, node in enumerate(existing(given["--profile"])["Nodes"]):
        print(f"{node['Name']}\t192.168.49.{index + 2}")


def healthy(name):
    profile = existing(name)
    if any(node["Host"] != "Running" for node in profile["Nodes"]):
        fail(83, "GUEST_NOT_RUNNING: the cluster is not running")
    return profile


def node_add(words):
    given, _ = flags(words, {"--profile"})
    profile = healthy(given["--profile"])
    last = profile["Nodes"][-1]["Name"].rpartition("-m")[2]
    index = int(last) + 1 if last.isdecimal() else 2
    reached("node")
    profile["Nodes"].append({"Name": f"{profile['Name']}-m{index:02}", "Host": "Running"})
    save(profile)


def node_delete(words):
    given, (name,) = flags(words, {"--profile"})
    profile = healthy(given["--profile"])
    left = [node for node in profile["Nodes"] if node["Name"] != name]
    if len(left) == len(profile["Nodes"]):
        fail(80, f"GUEST_NODE_DELETE: no node {name}")
    profile["Nodes"] = left
    save(profile)


def ssh(words):
    given, command = flags(words, {"--profile", "--node"})
    if given["--node"] not in [n["Name"] for n in healthy(given["--profile"])["Nodes"]]:
        fail(80, "GUEST_NODE_RETRIEVE")
    print(" ".join(command))


COMMANDS = {
    ("version",): version,
    ("profile", "list"): profile_list,
    ("status",): status,
    ("start",): start,
    ("stop",): stop,
    ("delete",): delete,
    ("node", "list"): node_list,
    ("node", "add"): node_add,
    ("node", "delete"): node_delete,
    ("ssh",): ssh,
}


def main(words):
    with (HOME / "log.jsonl").open("a") as log:
        log.write(json.dumps({"words": words, "kubeconfig": str(kubeconfig())}) + "\n")
    for length in (2, 1):
        if command := COMMANDS.get(tuple(words[:length])):
            return command(words[length:])
    return fail(USAGE, f"unknown command {words}")


main(sys.argv[1:])
