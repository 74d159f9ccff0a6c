"""The contract kit: what a component of each kind must do, as checks with names.

For tests; `srkit check-plugin NAME` runs the same checks.
"""

from __future__ import annotations

from srkit.testing.cases import Case, parametrize_components

__all__ = ["Case", "parametrize_components"]
