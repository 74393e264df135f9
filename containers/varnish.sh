#!/bin/sh
# Varnish in a container, on port 8080, by the configuration that the server writes into /edge; also
# where the server starts later, or anew with other settings, or nodes come and go. What it has it keeps.
set -eu

folder=/var/lib/varnish/here
vcl=/edge/default.vcl
rm -rf "$folder"
export TMPDIR=/var/lib/varnish

until [ -s "$vcl" ]; do sleep 1; done
loaded=$(sha256sum "$vcl")
varnishd -F -n "$folder" -f "$vcl" -a :8080 -s "malloc,${VARNISH_MEMORY:-256m}" -p vsl_space=16m &
varnish=$!
trap 'kill "$varnish"' TERM INT

number=0
in_use=boot
while kill -0 "$varnish" 2>/dev/null; do
    # In the background, so that a signal need not wait for it.
    sleep 2 &
    wait $! || continue
    now=$(sha256sum "$vcl")
    [ "$now" != "$loaded" ] || continue
    number=$((number + 1))
    if varnishadm -n "$folder" vcl.load "anew$number" "$vcl" &&
        varnishadm -n "$folder" vcl.use "anew$number"; then
        echo "the server has written another configuration: it is in use"
        varnishadm -n "$folder" vcl.discard "$in_use" || true
        in_use=anew$number
    fi
    loaded=$now
done
status=0
wait "$varnish" || status=$?
exit "$status"
