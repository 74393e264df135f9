"""Packaging: what the server, its Apache module and its tests need. Tools are set up elsewhere."""

import re
from pathlib import Path

from setuptools import find_packages, setup

VERSION = re.search(r'__version__ = "(.+)"', Path("imgprocessor/__init__.py").read_text())[1]

setup(
    name="imgprocessor",
    version=VERSION,
    description="An adaptive image server for Apache.",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=["imgprocessor"]),
    package_data={"imgprocessor": ["calibration.json", "*.jinja"]},
    install_requires=[
        "Flask==3.1.3",
        "Werkzeug==3.1.9",
        # The same Pillow twice: SIMD instructions where the processor has them.
        "pillow-simd==12.1.1.post0; platform_machine == 'x86_64'",
        "pillow==12.1.1; platform_machine != 'x86_64'",
        # Debian 12's own libavif is too old for Pillow's AVIF.
        "pillow-avif-plugin==1.6.0",
        # Counters that several processes add to, in the format that Prometheus reads.
        "prometheus-client==0.26.0",
        # The command line; Flask brings it along.
        "click==8.5.1",
        "rich==15.0.0",
        # Checksums of what is kept on disk, seven times faster than CRC-32.
        "xxhash==4.1.0",
        "waitress==3.0.2",
        # Originals from elsewhere: an HTTP client whose connections a backend of our own may open.
        "httpcore==1.0.9",
    ],
    extras_require={
        "apache": ["mod_wsgi==6.1.1"],
        # With ssimulacra2, which ./run installs without the pillow that it asks for.
        "report": ["numpy==2.4.6", "scipy==1.17.1"],
        "test": [
            # libFuzzer for Python: made for x86-64 alone; its tests are skipped without.
            "atheris==3.0.0; platform_machine == 'x86_64'",
            "hypothesis==6.170.15",
            "mypy==2.4.1",
            "packaging==26.3",
            "pytest==9.2.0",
            # Two files of tests at a time.
            "pytest-xdist==3.8.0",
            "ruff==0.17.5",
            # Requests from docs/openapi.yaml, and answers checked against it.
            "schemathesis==4.32.5",
            # Certificates, for origins that originals are fetched from.
            "trustme==1.2.1",
            "types-waitress==3.0.1.20260724",
        ],
    },
)
