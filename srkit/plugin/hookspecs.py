"""The hook that a plugin implements."""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from srkit.plugin.component import Component

hookspec = pluggy.HookspecMarker("srkit")
hookimpl = pluggy.HookimplMarker("srkit")


@hookspec
def srkit_components() -> Iterable[Component]:  # type: ignore[empty-body]
    """Return the components that this plugin gives, as a list or by yielding them.

    Called once, when the plugin is loaded. It only declares: what a component's target needs (torch, numpy) is
    imported when the component is used.
    """
