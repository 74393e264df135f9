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
    install_requires=[
        "Flask==3.1.3",
        "Werkzeug==3.1.9",
        # The same Pillow twice: SIMD instructions where the processor has them.
        "pillow-simd==12.1.1.post0; platform_machine == 'x86_64'",
        "pillow==12.1.1; platform_machine != 'x86_64'",
        "waitress==3.0.2",
    ],
    extras_require={
        "apache": ["mod_wsgi==6.1.1"],
        "test": [
            "hypothesis==6.170.15",
            "mypy==2.4.1",
            "pytest==9.2.0",
            "ruff==0.17.5",
            "types-waitress==3.0.1.20260724",
        ],
    },
)
