#!/bin/sh
# Apache in a container, on port 8000: ends warmly by SIGTERM, as `apachectl graceful-stop` does.
set -eu

export IMG_RUNNING=/dev/shm/apache
# Nothing of a container that was killed is taken for running.
rm -rf "$IMG_RUNNING"
mkdir -m 700 "$IMG_RUNNING"

cd /srv/imgprocessor
configure() { .venv/bin/python containers/configure.py "$@"; }
# The addresses of this server, and of others beside it that have its name, for the cache in front.
nodes() { [ -z "${IMG_BACKEND:-}" ] || getent ahostsv4 "${IMG_BACKEND%:*}" | cut -d" " -f1 | sort -u; }

known=$(nodes)
configure "$IMG_RUNNING"
mkdir -p /cache/apache

# They come and go, and the cache must know it.
[ -z "${IMG_BACKEND:-}" ] || while sleep 2; do
    now=$(nodes)
    if [ -n "$now" ] && [ "$now" != "$known" ] && configure; then known=$now; fi
done &

/usr/bin/htcacheclean -d10 -n -p /cache/apache -l300M -P "$IMG_RUNNING/htcacheclean.pid"
/usr/sbin/apache2 -f /srv/imgprocessor/containers/httpd.conf -DFOREGROUND &
apache=$!
trap 'kill -WINCH "$apache"' TERM INT
# A signal ends the wait, and not Apache.
status=0
while kill -0 "$apache" 2>/dev/null; do
    status=0
    wait "$apache" || status=$?
done
exit "$status"
