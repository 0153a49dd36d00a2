"""The workflows: what they may do, what they use, and what two checkers find in them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from review.stacks import stacks_in

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github" / "workflows"
ACTIONLINT = ROOT / "tests" / "support" / "go" / "actionlint"


def load(name):
    # `on` is a boolean of YAML 1.1.
    return yaml.load((FOLDER / name).read_text(), Loader=yaml.BaseLoader)


WORKFLOWS = {file.name: load(file.name) for file in sorted(FOLDER.glob("*.y*ml"))}


def steps():
    for name, workflow in WORKFLOWS.items():
        for job_name, job in workflow["jobs"].items():
            for step in job["steps"]:
                yield f"{name}:{job_name}", step


def may_write(permissions):
    return {scope for scope, level in (permissions or {}).items() if level == "write"}


def test_the_workflows_that_there_are():
    expected = {"ci.yaml", "preview.yaml", "preview-comment.yaml", "deploy.yaml", "drift.yaml"}
    assert set(WORKFLOWS) == expected


def test_actions_are_pinned_by_commit_with_their_version_beside():
    pins = {}
    for file in FOLDER.iterdir():
        for line in file.read_text().splitlines():
            if "uses:" in line:
                match = re.search(r"uses: ([\w-]+/[\w-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)$", line)
                assert match, f"{file.name}: {line.strip()}"
                pins.setdefault(match[1], set()).add((match[2], match[3]))
    assert all(len(found) == 1 for found in pins.values()), pins


def test_the_token_can_do_nothing_unless_a_job_says_so():
    for name, workflow in WORKFLOWS.items():
        assert not may_write(workflow.get("permissions", {"all": "write"})), name


def test_checkouts_leave_no_token_behind():
    for where, step in steps():
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] == "false", where


def test_no_text_of_others_is_pasted_into_a_script():
    for where, step in steps():
        assert "${{" not in step.get("run", ""), where


def test_what_a_fork_starts_has_neither_secrets_nor_a_token_that_writes():
    for name, workflow in WORKFLOWS.items():
        assert "pull_request_target" not in workflow["on"], name
        if "pull_request" not in workflow["on"]:
            continue
        for job_name, job in workflow["jobs"].items():
            where = f"{name}:{job_name}"
            assert may_write(job.get("permissions")) <= {"id-token"}, where
            secret = "secrets." in str(job) or "id-token" in str(job.get("permissions"))
            # Only for stacks of the list that a fork's run does not get.
            assert secret == (job_name == "credentials"), where
    preview = WORKFLOWS["preview.yaml"]["jobs"]
    (step,) = [step for step in preview["stacks"]["steps"] if step.get("id") == "touched"]
    condition = step["env"]["WITH_CREDENTIALS"]
    own = "github.event.pull_request.head.repo.full_name == github.repository"
    assert condition.startswith(f"${{{{ {own}")
    assert condition.endswith("&& vars.STACKS || '[]' }}")
    assert preview["credentials"]["if"] == "needs.stacks.outputs.credentials != '[]'"


def test_what_writes_the_comment_runs_nothing_of_the_pull_request():
    workflow = WORKFLOWS["preview-comment.yaml"]
    (job,) = workflow["jobs"].values()
    assert may_write(job["permissions"]) == {"pull-requests"}
    assert "secrets." not in str(job)
    for step in job["steps"]:
        if step.get("uses", "").startswith("actions/checkout@"):
            # The default branch: of a workflow_run nothing else is named.
            assert set(step["with"]) == {"persist-credentials"}
        assert "actions/cache@" not in step.get("uses", "")
        if step.get("uses", "").startswith("actions/download-artifact@"):
            assert step["with"]["path"].startswith("${{ runner.temp }}/")


def test_one_run_at_a_time_deploys_a_stack_after_its_environment_allows_it():
    job = WORKFLOWS["deploy.yaml"]["jobs"]["up"]
    assert job["environment"] == "${{ matrix.stack }}"
    assert job["concurrency"] == {
        "group": "stack-${{ matrix.stack }}",
        "cancel-in-progress": "false",
    }
    assert WORKFLOWS["deploy.yaml"]["on"] == {"push": {"branches": ["main"]}}
    # A cache could have been written by a pull request.
    assert "actions/cache@" not in str(job)


def test_what_writes_issues_has_no_credentials_of_a_cloud():
    jobs = WORKFLOWS["drift.yaml"]["jobs"]
    assert may_write(jobs["refresh"]["permissions"]) == {"id-token"}
    assert may_write(jobs["issue"]["permissions"]) == {"issues"}
    assert "secrets." not in str(jobs["issue"])
    assert "cron" in WORKFLOWS["drift.yaml"]["on"]["schedule"][0]


def test_what_the_scripts_call_is_there():
    texts = [step.get("run", "") for _, step in steps()]
    texts += [(ROOT / ".gitlab-ci.yml").read_text(), (ROOT / ".ci" / "preview").read_text()]
    text = "\n".join(texts)
    for module in set(re.findall(r"python3? -m ([\w.]+)", text)):
        path = ROOT.joinpath(*module.split("."))
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
    verbs = set(re.findall(r"-m review (\w+)", text))
    assert verbs == {"report", "comment", "issue"}
    for verb in verbs:
        options = set()
        for call in re.findall(rf"-m review {verb} ((?:.*\\\n)*.*(?:\n\s+--.*)*)", text):
            options |= set(re.findall(r"--[a-z-]+", call))
        done = subprocess.run(
            [sys.executable, "-m", "review", verb, "--help"],
            cwd=ROOT, check=True, capture_output=True, text=True,
        )  # fmt: skip
        assert options <= set(re.findall(r"--[a-z-]+", done.stdout)), verb


def test_gitlab_has_a_job_for_each_stack_that_can_be_deployed():
    jobs = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())
    for stack in set(stacks_in(ROOT)) - {"local", "sandbox"}:
        assert jobs[f"deploy-{stack}"]["resource_group"] == f"stack-{stack}"
        assert jobs[f"deploy-{stack}"]["environment"] == stack
        assert f"drift-{stack}" in jobs
    for job in jobs.values():
        for needed in job.get("needs", []) if isinstance(job, dict) else []:
            assert needed["job"] in jobs
    assert "$CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_PROJECT_ID" in str(jobs["comment"]["rules"])


def actionlint(*files):
    return subprocess.run(
        ["go", "tool", "actionlint", "-no-color", "-shellcheck=", "-pyflakes=", *map(str, files)],
        cwd=ACTIONLINT, check=False, capture_output=True, text=True,
    )  # fmt: skip


def zizmor(*files):
    return subprocess.run(
        [
            str(Path(sys.executable).with_name("zizmor")), "--offline", "--no-progress",
            "--persona", "pedantic", *map(str, files),
        ],
        check=False, capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.skipif(shutil.which("go") is None, reason="needs Go, to build actionlint")
def test_actionlint_finds_nothing_and_would_find_something(tmp_path):
    done = actionlint(*sorted(FOLDER.iterdir()))
    assert done.returncode == 0, done.stdout + done.stderr
    broken = tmp_path / "broken.yaml"
    broken.write_text((FOLDER / "deploy.yaml").read_text().replace("needs.stacks", "needs.stack"))
    assert "stack" in actionlint(broken).stdout


def test_zizmor_finds_nothing_and_would_find_something(tmp_path):
    done = zizmor(*sorted(FOLDER.iterdir()))
    assert done.returncode == 0, done.stdout + done.stderr
    broken = tmp_path / "broken.yaml"
    text = (FOLDER / "preview-comment.yaml").read_text()
    broken.write_text(re.sub(r"actions/checkout@\S+ # ", "actions/checkout@", text))
    assert "unpinned-uses" in zizmor(broken).stdout
