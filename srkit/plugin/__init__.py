"""From names to callables: what plugins are, what they must do, and where they are found."""
