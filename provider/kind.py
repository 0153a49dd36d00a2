"""What one resource type of the plugin does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from provider.rpc import Call, Change, Failure, Properties

if TYPE_CHECKING:
    from provider.mlplatform import MlPlatform


class Kind(ABC):
    """One resource type."""

    @abstractmethod
    def check(self, inputs: Properties) -> list[Failure]:
        """Bad inputs (plain, may hold unknowns)."""

    def check_change(self, plugin: MlPlatform, olds: Properties, news: Properties) -> list[Failure]:
        """Inputs that can't follow those of the state (plain; empty for a new resource)."""
        return []

    @abstractmethod
    def diff(self, olds: Properties, news: Properties) -> list[Change]:
        """Changes (plain)."""

    @abstractmethod
    def write(self, plugin: MlPlatform, call: Call, inputs: Properties) -> tuple[str, Properties]:
        """Create or update; id, and outputs besides the inputs."""

    def change(
        self, plugin: MlPlatform, call: Call, state: Properties, inputs: Properties
    ) -> Properties:
        """Update; outputs besides the inputs. In the same way as it is made, unless overridden."""
        return self.write(plugin, call, inputs)[1]

    @abstractmethod
    def read(
        self, plugin: MlPlatform, call: Call, state: Properties, inputs: Properties
    ) -> tuple[str, Properties, Properties]:
        """Live id, outputs and inputs."""

    @abstractmethod
    def delete(self, plugin: MlPlatform, call: Call, state: Properties) -> None:
        """Remove."""


class Remembered(Kind):
    """A resource type that makes nothing: only the state knows of it."""

    def read(
        self, plugin: MlPlatform, call: Call, state: Properties, inputs: Properties
    ) -> tuple[str, Properties, Properties]:
        """What it was."""
        return call.id, state, inputs

    def delete(self, plugin: MlPlatform, call: Call, state: Properties) -> None:
        """Nothing was made, so nothing is removed."""
