"""A component and its settings, as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs


@attrs.frozen
class Part:
    """A component's table: the component's name and all its settings, checked against its signature."""

    kind: ClassVar[str] = ""
    type: str
    settings: Mapping[str, Any] = attrs.field(factory=dict)
