#!/bin/sh
exec python - <<'PY'
import os

from imgprocessor.jobs.by_celery import make_celery
from imgprocessor.load import default_conf, load_settings

password = open("/secrets/flower-password").read().strip()
os.environ["FLOWER_BASIC_AUTH"] = f"flower:{password}"
jobs = make_celery(load_settings(default_conf()).jobs)
jobs.start(["flower", "--address=0.0.0.0", "--port=5555", "--max-tasks=1000"])
PY
