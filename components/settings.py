"""The typed configuration of a stack, and the only reader of it.

`Pulumi.yaml` declares the same settings for the Pulumi CLI; a test holds the two together.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pulumi
import pulumi.runtime.config as runtime_config
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel

from components.kubeflow import access
from components.kubeflow.source import REPOSITORY
from toolchain.environment import PROJECT_NAME

ROOT = Path(__file__).resolve().parents[1]
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_NAME = r"^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$"
# Settings that belong to one kind of cluster, by the first word of their names.
_OWNERS = {
    "kube": "existing",
    "kubeconfig": "existing",
    "minikube": "minikube",
    "sandbox": "sandbox",
}
_KUBERNETES = r"^v?1\.\d+\.\d+$"


class SettingsError(ValueError):
    """Settings that can't be used; a line for each names it, its value and what it may be."""


class Settings(BaseModel):
    """Every setting, validated whole before anything is created.

    In `Pulumi.<stack>.yaml` the names are in camel case, after the project's name and a colon.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        strict=True,
        hide_input_in_errors=True,
    )

    cluster: Literal["minikube", "existing", "sandbox"] = "minikube"
    """Where the platform runs."""

    kubeconfig: str = ""
    """existing: path of the kubeconfig; empty for $KUBECONFIG or else ~/.kube/config."""
    kube_context: str = ""
    """existing: context of the kubeconfig; empty for its current one."""

    minikube_profile: Annotated[str, Field(pattern=_NAME)] = "ml-platform"
    """minikube: name of the virtual machine or container and of the context."""
    minikube_driver: str = "auto"
    """minikube: docker, podman, kvm2, qemu2, vfkit, ... or auto for the first one that is there."""
    minikube_nodes: Annotated[int, Field(ge=1, le=10)] = 1
    """minikube: number of nodes."""
    minikube_cpus: Annotated[int, Field(ge=2, le=256)] = 8
    """minikube: CPUs of each node."""
    minikube_memory: Annotated[int, Field(ge=2048)] = 16384
    """minikube: memory of each node in MiB."""
    minikube_disk: Annotated[int, Field(ge=20)] = 60
    """minikube: disk of each node in GiB."""
    minikube_kubernetes_version: Annotated[str, Field(pattern=_KUBERNETES)] = "v1.34.4"
    """minikube: version of Kubernetes."""
    minikube_container_runtime: Literal["containerd", "docker", "cri-o"] = "containerd"
    """minikube: what runs the containers: containerd, docker or cri-o."""
    minikube_allow_data_loss: bool = False
    """minikube: whether a change may delete the cluster, and its data, to make it anew."""
    minikube_running: bool = True
    """minikube: false stops the cluster and keeps its data."""

    sandbox_name: Annotated[str, Field(pattern=_NAME)] = "default"
    """sandbox: which of the embedded control planes on this machine."""
    sandbox_data: str = ""
    """sandbox: folder that holds all of it; empty for the one that its name gives."""

    kubeflow_ref: str = "v1.10.2"
    """Tag, branch or commit of kubeflow/manifests; kubeflow.lock.json pins its content."""
    kubeflow_repository: str = REPOSITORY
    """Git repository of the manifests."""
    kubeflow_path: str = ""
    """Folder with the manifests, instead of repository and ref; relative to the project."""
    kubeflow_components: tuple[str, ...] = ()
    """Components by name, with what they need; empty for the whole platform."""
    kubeflow_patches: tuple[str, ...] = ()
    """Kustomize patches: files, or folders of kustomize Components; relative to the project."""
    kubeflow_transforms: tuple[str, ...] = ()
    """Python functions from object to object (or None to drop it): `path/to/file.py:function`."""

    user_email: str = access.DEFAULT_EMAIL
    """E-mail address with which the first user signs in."""
    user_password: str = Field(default="", repr=False)
    """Password of the first user (secret); generated once when it is empty."""
    dashboard_port: Annotated[int, Field(ge=1, le=65535)] = 8080
    """Local port at which the dashboard is reached through `kubectl port-forward`."""
    timeout_minutes: Annotated[int, Field(ge=1, le=1440)] = 30
    """How long one object may take to become ready, in minutes."""

    @field_validator("user_email")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if not _EMAIL.fullmatch(value):
            raise ValueError("give an e-mail address, like name@example.com")
        return value

    @field_validator("user_password")
    @classmethod
    def _is_usable(cls, value: str) -> str:
        if value:
            access.check_password(value)
        return value

    @field_validator("kubeflow_transforms")
    @classmethod
    def _name_functions(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            if not re.fullmatch(r".+\.py:[A-Za-z_]\w*", entry):
                raise ValueError(f"{entry!r} is not of the form path/to/file.py:function")
        return value

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        for name in Settings.model_fields:
            owner = _OWNERS.get(name.split("_")[0])
            if owner is None or owner == self.cluster:
                continue
            default = Settings.model_fields[name].default
            if name in self.model_fields_set and getattr(self, name) != default:
                raise ValueError(
                    f"{to_camel(name)} is set, but the cluster is {self.cluster!r}, "
                    "which does not use it; remove it, or set cluster"
                )
        return self

    def kubeconfig_path(self, environ: Mapping[str, str] = os.environ) -> Path:
        """The kubeconfig of an existing cluster: the setting, $KUBECONFIG, or ~/.kube/config."""
        chosen = self.kubeconfig or environ.get("KUBECONFIG") or "~/.kube/config"
        return in_project(chosen.split(os.pathsep)[0])


def in_project(path: str) -> Path:
    """A path of a setting: relative ones start at the project's folder."""
    return ROOT / Path(path).expanduser()


def parse(values: Mapping[str, Any]) -> Settings:
    """Settings from names in camel case to JSON values.

    Raises:
        SettingsError: one line for every setting that can't be used.
    """
    try:
        return Settings.model_validate_json(json.dumps(dict(values)))
    except ValidationError as error:
        lines = [_line(values, problem) for problem in error.errors()]
        raise SettingsError("\n".join(lines)) from None


def load() -> Settings:
    """The settings of the stack whose program this is.

    Raises:
        SettingsError: as `parse`, or a value that is not of its type.
    """
    config = pulumi.Config(PROJECT_NAME)
    values = {key: _value(key, config.require(key)) for key in _configured()}
    settings = parse(values)
    # A declared secret can't have a default, so Pulumi.yaml can't ask for this.
    if settings.user_password and not runtime_config.is_config_secret(
        f"{PROJECT_NAME}:userPassword"
    ):
        raise SettingsError(
            "userPassword is in plain text; encrypt it: pulumi config set --secret userPassword"
        )
    return settings


def of_stack(name: str) -> dict[str, Any]:
    """What the file of a stack sets, by name in camel case; encrypted values are left out.

    Raises:
        SettingsError: there is no such file, or it is not YAML.
    """
    file = ROOT / f"Pulumi.{name}.yaml"
    try:
        document = yaml.safe_load(file.read_text()) or {}
    except OSError:
        stacks = sorted(path.name.split(".")[1] for path in ROOT.glob("Pulumi.*.yaml"))
        raise SettingsError(f"there is no {file}; stacks: {', '.join(stacks)}") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{file} is not YAML: {error}") from None
    prefix = f"{PROJECT_NAME}:"
    return {
        key.removeprefix(prefix): value
        for key, value in (document.get("config") or {}).items()
        if key.startswith(prefix) and not (isinstance(value, dict) and "secure" in value)
    }


def with_overrides(values: Mapping[str, Any], entries: Sequence[str]) -> dict[str, Any]:
    """Settings with those of a command line, SETTING=VALUE each, on top.

    Raises:
        SettingsError: an entry without "=".
    """
    result = dict(values)
    for entry in entries:
        name, separator, value = entry.partition("=")
        if not separator:
            raise SettingsError(f"--set {entry}: give SETTING=VALUE, like kubeflowRef=v1.10.2")
        result[name] = _value(name, value)
    return result


def _configured() -> list[str]:
    """Names of the project's settings that have a value."""
    known = runtime_config.CONFIG.get() or runtime_config.get_config_env()
    prefix = f"{PROJECT_NAME}:"
    return sorted(key.removeprefix(prefix) for key in known if key.startswith(prefix))


def _value(name: str, text: str) -> Any:  # noqa: ANN401
    """The JSON value of a setting's text; Pulumi hands over every value as text."""
    field = _FIELDS.get(name)
    if field is None or field.annotation is str:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


_FIELDS = {field.alias or "": field for field in Settings.model_fields.values()}


def _line(values: Mapping[str, Any], problem: Mapping[str, Any]) -> str:
    path = problem["loc"]
    message = str(problem["msg"]).removeprefix("Value error, ")
    if not path:
        return message
    name = str(path[0])
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, _FIELDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"{name} is not a setting{hint} Settings: {', '.join(sorted(_FIELDS))}"
    shown = "a secret" if name == "userPassword" else repr(values.get(name))
    return f"{name} is {shown}: {message[:1].lower()}{message[1:]}"
