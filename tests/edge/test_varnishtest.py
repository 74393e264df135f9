"""What Varnish does with its configuration: one case a file in `varnish/`, run by varnishtest."""

import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from caches import QUICKLY_COMPILED, for_strangers
from conftest import ROOT
from servers import free_port, open_up

from imgprocessor.app import edge_configuration
from imgprocessor.edge.writers import Backend, Site
from imgprocessor.load import load_settings

pytestmark = pytest.mark.caches

VARNISHTEST = Path("/usr/bin/varnishtest")
CASES = sorted((ROOT / "tests/varnish").glob("*.vtc"))

NAME = "nasa.jpeg"

_PROBE = re.compile(r"    \.probe = \{.*?\n    \}\n", re.DOTALL)


def written(folder: Path, ports: list[int]) -> dict[str, Path]:
    """Write configurations: `vcl`; `strict`, which sends nothing old unless the application fails;
    `strangers`, where nobody here may purge; `cluster`, with two nodes.
    """
    settings = load_settings(ROOT / "conf" / "imgprocessor.ini")
    strict = replace(
        settings, freshness=replace(settings.freshness, stale_while_revalidate_seconds=0)
    )
    nodes = [Backend("127.0.0.1", port) for port in ports]
    texts = {
        "vcl": edge_configuration("varnish", settings, Site(nodes[:1])),
        "strict": edge_configuration("varnish", strict, Site(nodes[:1])),
        "strangers": for_strangers(edge_configuration("varnish", settings, Site(nodes[:1]))),
        "cluster": edge_configuration("varnish", strict, Site(nodes)),
    }
    files = {}
    for name, text in texts.items():
        # varnishtest's server answers what the case says, in that order, and no probes.
        plain, count = _PROBE.subn("", text)
        assert count == (len(nodes) if name == "cluster" else 1)
        files[name] = folder / f"{name}.vcl"
        files[name].write_text(plain)
    open_up(folder)
    return files


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_varnish(case: Path, tmp_path: Path) -> None:
    ports = [free_port(), free_port()]
    given = {name: str(file) for name, file in written(tmp_path, ports).items()}
    given |= {f"node{number}": f"127.0.0.1:{port}" for number, port in enumerate(ports, 1)}
    command: list[str | Path] = [VARNISHTEST, "-t", "30", *map(shlex.quote, QUICKLY_COMPILED)]
    for name, value in given.items():
        command += ["-D", f"{name}={value}"]
    # To build long values of: varnishtest takes no longer ones.
    command += ["-D", f"x={'x' * 490}"]
    done = subprocess.run([*command, case], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-20_000:]
