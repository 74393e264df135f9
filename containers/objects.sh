#!/bin/sh
# SeaweedFS in a container: S3 on port 8333, with the one bucket that nodes share. Whatever else it has
# listens on this container's own loopback, but for port 18333: share its network with nobody who has not
# its keys anyway.
set -eu

secret() { sed -n "s/^$1 = //p" /secrets/buckets; }
AWS_ACCESS_KEY_ID=$(secret access_key_id)
AWS_SECRET_ACCESS_KEY=$(secret secret_access_key)
export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
cd /dev/shm

weed server -s3 -dir=/data -ip=127.0.0.1 -ip.bind=127.0.0.1 -s3.ip.bind=0.0.0.0 \
    -master.telemetry=false -master.electionTimeout=1s -master.volumeSizeLimitMB=1024 -volume.max=0 \
    -filer.localSocket=/dev/shm/filer.sock -s3.localSocket=/dev/shm/s3.sock -debug.port=0 \
    -s3.iam=false -s3.port.iceberg=0 -s3.port.lance=0 \
    -s3.allowDeleteBucketNotEmpty=false -s3.autoCreateBucket=false &
weed=$!
trap 'kill "$weed"' TERM INT

# Once: the bucket, in which the renditions that nodes share expire by themselves.
shell() { printf '%s\n' "$@" | weed shell -master=127.0.0.1:9333; }
until shell s3.bucket.list | grep -q '^ *pictures\b'; do
    shell 'fs.configure -locationPrefix=/buckets/pictures/store/renditions/ -ttl=30d -apply' \
        's3.bucket.create -name pictures' || true
    sleep 1
done &

status=0
while kill -0 "$weed" 2>/dev/null; do
    status=0
    wait "$weed" || status=$?
done
exit "$status"
