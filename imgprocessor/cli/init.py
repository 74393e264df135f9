"""`init`: a working set of files in an empty folder."""

import sys
from importlib.util import find_spec
from pathlib import Path

import click

from imgprocessor.cli.options import FILE
from imgprocessor.errors import ConfigurationError
from imgprocessor.program import delivered

WSGI = '''"""What Apache loads, in the folder of imgprocessor.ini."""

from pathlib import Path

from imgprocessor.app import create_app

application = create_app(Path("imgprocessor.ini").resolve())
'''

_EMPTY = ("originals", "logs", "cache")


@click.command(help="Write settings, policy, virtual host and page into an empty folder.")
@click.argument("folder", type=FILE, metavar="DIR")
def init(folder: Path) -> None:
    """Write them, and say what to do next."""
    folder = folder.resolve()
    try:
        if folder.exists() and any(folder.iterdir()):
            raise ConfigurationError(f"{folder} is not empty: name a folder that is, or a new one")
        _write(folder)
    except OSError as error:
        raise ConfigurationError(f"{error.filename}: {error.strerror}") from error
    print(f"{folder}: settings in conf/imgprocessor.ini, the policy in conf/policy.ini.")
    print(f"Put pictures into {folder}/originals, then try")
    print(f"  imgprocessor serve --conf {folder}/conf/imgprocessor.ini")
    print(f"For Apache: apache/imgprocessor.conf. {', '.join(_EMPTY[1:])} must be its user's.")


def _write(folder: Path) -> None:
    # Not all that lies in them: in a project's own conf/ there may be secrets.
    for name, pattern in (("conf", "*.ini"), ("static", "*.*")):
        (folder / name).mkdir(parents=True)
        for file in delivered(name).glob(pattern):
            _create(folder / name / file.name, file.read_bytes())
    for name in (*_EMPTY, "apache"):
        (folder / name).mkdir()
    _create(folder / "imgprocessor.wsgi", WSGI.encode())
    _create(folder / "apache" / "imgprocessor.conf", _virtual_host(folder).encode())


def _create(file: Path, content: bytes) -> None:
    """Write a new file, never through a link that was put in its place."""
    with file.open("xb") as created:
        created.write(content)


def _virtual_host(folder: Path) -> str:
    """Return the virtual host with the folder's paths, and those of this very Python."""
    text = (delivered("apache") / "imgprocessor.conf").read_text(encoding="utf-8")
    for told, here in {
        "Define IMG_ROOT /srv/imgprocessor": f'Define IMG_ROOT "{folder}"',
        "Define IMG_CONF /srv/imgprocessor/conf": f'Define IMG_CONF "{folder}/conf"',
        "${IMG_ROOT}/.venv/mod_wsgi.so": str(_module()),
        "${IMG_ROOT}/.venv": sys.prefix,
    }.items():
        text = text.replace(told, here)
    return text


def _module() -> Path:
    """Return Apache's module for this Python; its place in `.venv` where it is not installed."""
    found = find_spec("mod_wsgi")
    known = Path(found.origin).parent if found is not None and found.origin else Path()
    return next(known.glob("server/mod_wsgi-py*.so"), Path(sys.prefix) / "mod_wsgi.so")
