"""A run's events to its observers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from srkit.errors import located
from srkit.plugin.contracts import Observer
from srkit.plugin.kind import methods

log = logging.getLogger("srkit")

EVENTS = methods(Observer)


class Observers:
    """Passes each event on to the observers that take it. One that raises is dropped with one warning: it only watches.

    `observers.logged(step, values)` calls `logged` of each; the events are those of `srkit.plugin.contracts.Observer`.
    `places` says where a recipe asks for one, by its name: "my.toml:12".
    """

    def __init__(self, observers: Mapping[str, Any], places: Mapping[str, str] | None = None) -> None:
        self._observers, self._places = dict(observers), dict(places or {})

    def __getattr__(self, event: str) -> Callable[..., None]:
        if event not in EVENTS:
            raise AttributeError(f"observers have no event '{event}'; there are: {', '.join(EVENTS)}")

        def tell(*values: Any) -> None:
            for name, observer in list(self._observers.items()):
                method = getattr(observer, event, None)
                if method is None:
                    continue
                try:
                    method(*values)
                except Exception as error:
                    del self._observers[name]
                    place = f"{self._places[name]}: " if name in self._places else ""
                    log.warning("%sobserver '%s' raised %s; it is dropped", place, name, located(error))

        return tell
