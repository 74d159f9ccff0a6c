"""The networks of spandrel as architectures, its detection of weights, and srkit's files in programs built on it."""

from collections.abc import Iterator

import srkit


@srkit.hookimpl
def srkit_components() -> Iterator[srkit.Component]:
    """Yield this plugin's components."""
    from srkit_spandrel import zoo

    found = zoo.find()
    if found.missing:
        yield srkit.Component(
            "architecture",
            "spandrel",
            "srkit_spandrel.bridge:networks",
            summary="The networks of spandrel",
            missing=found.missing,
        )
        return
    for network in found.networks:
        yield srkit.Component(
            "architecture",
            network.name,
            f"srkit_spandrel.bridge:{network.attribute}",
            summary=network.summary,
            source=found.source,
            facts=network.facts,
        )
    yield srkit.Component(
        "detector",
        "spandrel",
        "srkit_spandrel.detector:Detector",
        summary="The networks that spandrel knows by their weights",
        source=found.source,
    )


def install() -> None:
    """Let spandrel's `ModelLoader.load_from_file` open srkit's self-describing files, for the rest of this process.

    For programs built on spandrel. Other files are opened as before; a second call changes nothing. Raises ImportError
    where spandrel cannot be imported.
    """
    from srkit_spandrel import host

    host.install()
