#!/bin/sh
# nginx in a container: TLS on port 8443, for Varnish behind it.
set -eu

resolver=$(awk '$1 == "nameserver" { print $2; exit }' /etc/resolv.conf)
sed "s/RESOLVER/$resolver/" /etc/nginx/tls.conf >/dev/shm/nginx.conf
until [ -r /secrets/tls/key.pem ] && [ -r /secrets/tls/certificate.pem ]; do
    echo "/secrets/tls must have certificate.pem and key.pem, readable for user $(id -u)" >&2
    sleep 5
done
exec /usr/sbin/nginx -e stderr -c /dev/shm/nginx.conf
