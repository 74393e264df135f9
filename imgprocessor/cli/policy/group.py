"""`policy`: the commands that look into the policy."""

import click

from imgprocessor.cli.policy.check import check
from imgprocessor.cli.policy.digest import digest
from imgprocessor.cli.policy.explain import explain
from imgprocessor.cli.policy.report import report
from imgprocessor.cli.policy.show import show

policy = click.Group(
    "policy",
    [check, show, explain, digest, report],
    help="Check, show, explain or measure the policy.",
)
