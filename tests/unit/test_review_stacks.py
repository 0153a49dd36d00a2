"""Which stacks a change touches."""

import subprocess

import pytest

from review import stacks
from review.stacks import changed_files, main, touched

STACKS = ["aws", "local", "sandbox"]


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("docs/redis.md", []),
        ("tests/unit/test_plan.py", []),
        ("README.md", []),
        (".github/workflows/ci.yaml", []),
        ("Makefile", []),
        ("doctor/rules.py", []),
        ("Pulumi.aws.yaml", ["aws"]),
        ("Pulumi.local.yaml", ["local"]),
        ("components/cluster/minikube.py", ["local"]),
        ("components/cluster/minikube_plan.py", ["local"]),
        ("components/cluster/sandbox.py", ["sandbox"]),
        ("sandbox/parts.py", ["sandbox"]),
        ("components/aws/network.py", ["aws"]),
        ("components/gateway/aws_edge.py", ["aws"]),
        ("components/gateway/nginx.py", STACKS),
        ("components/cluster/base.py", STACKS),
        ("components/kubeflow/plan.py", STACKS),
        ("components/redis/scripts/redis-node.sh", STACKS),
        ("provider/diff.py", STACKS),
        ("policy/rules.py", STACKS),
        ("kubeflow.lock.json", STACKS),
        ("Pulumi.yaml", STACKS),
        ("__main__.py", STACKS),
        ("uv.lock", STACKS),
        ("a/new/folder/file", STACKS),
        # Of a stack that is gone, or that never was one.
        ("Pulumi.staging.yaml", []),
    ],
)
def test_a_file(file, expected):
    assert touched([file], STACKS) == expected


def test_files_add_up_in_the_order_of_the_stacks():
    assert touched(["sandbox/a.py", "docs/a.md", "Pulumi.aws.yaml"], STACKS) == ["aws", "sandbox"]
    assert touched([], STACKS) == []


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with two stacks; a file is renamed, and one of `aws` is new."""

    def git(*words):
        done = subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *words],
            cwd=tmp_path, check=True, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout.strip()

    git("init", "--quiet")
    (tmp_path / "review").mkdir()
    for name in ("Pulumi.yaml", "Pulumi.aws.yaml", "Pulumi.local.yaml", "ä.md"):
        (tmp_path / name).write_text(name)
    git("add", ".")
    git("commit", "--quiet", "-m", "base")
    base = git("rev-parse", "HEAD")
    git("mv", "Pulumi.local.yaml", "notes.md")
    git("mv", "ä.md", "ö.md")
    git("commit", "--quiet", "-m", "change")
    monkeypatch.setattr(stacks, "__file__", str(tmp_path / "review" / "stacks.py"))
    return tmp_path, base


def test_of_a_renamed_file_both_names_count(repository):
    folder, base = repository
    files = changed_files(base, "HEAD", folder)
    assert sorted(files) == ["Pulumi.local.yaml", "notes.md", "ä.md", "ö.md"]


def test_the_command_prints_them_for_a_workflow(repository, capsys):
    (repository[0] / "Pulumi.local.yaml").write_text("again")
    assert main([repository[1], "HEAD", "--credentials", '["aws", "other"]']) == 0
    assert capsys.readouterr().out == 'credentials=[]\nsandbox=["local"]\n'
    assert main(["0" * 40, "HEAD", "--credentials", '["aws"]']) == 0
    assert capsys.readouterr().out == 'credentials=["aws"]\nsandbox=["local"]\n'
    assert main([repository[1], "HEAD", "--credentials", ""]) == 0


@pytest.mark.parametrize(
    ("words", "problem"),
    [(["nowhere", "HEAD"], "git:"), (["HEAD", "HEAD", "--credentials", "aws"], "JSON list")],
)
def test_the_command_says_what_is_wrong(repository, capsys, words, problem):
    assert main(words) == 1
    assert problem in capsys.readouterr().err


def test_it_needs_nothing_that_is_not_in_the_standard_library():
    done = subprocess.run(
        ["python3", "-I", "-S", "-c", "import sys; sys.path.insert(0, '.'); import review.stacks"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
