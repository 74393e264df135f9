"""Warming: what the cells of the policy send, as the queries that ask for it."""

from collections.abc import Collection, Iterator

from imgprocessor.formats import UNIVERSAL
from imgprocessor.policy.table import Policy
from imgprocessor.request.names import spell
from imgprocessor.request.parameters import PARAMETERS


def warming_queries(
    policy: Policy, name: str, screens: Collection[str], bandwidths: Collection[str]
) -> Iterator[str]:
    """Yield what visitors of these rows and columns ask for of an original: those whose browsers
    take all formats that the policy offers, and those that take JPEG and PNG alone.
    """
    kinds = (policy.everything, UNIVERSAL) if policy.newer else (UNIVERSAL,)
    for bandwidth in policy.bandwidths:
        for screen in policy.screens:
            if screen.name in screens and bandwidth.name in bandwidths:
                for formats in kinds:
                    written = PARAMETERS["formats"].value.write(formats)
                    yield (
                        f"name={spell(name)}&bandwidth={bandwidth.name}&screen={screen.name}"
                        f"&formats={written}"
                    )
