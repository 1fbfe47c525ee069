#!/bin/sh
# Start SeaweedFS as an S3 server with one user and the bucket "owt". The user's keys come from the
# environment; runs read them from the volume /run/owt, as AWS tools do.
set -eu
rm -f /run/owt/ready
umask 022
cat > /run/owt/aws <<KEYS
[default]
aws_access_key_id = $S3_KEY
aws_secret_access_key = $S3_SECRET
KEYS
cat > /tmp/s3.json <<CONFIG
{"identities": [{"name": "owt",
  "credentials": [{"accessKey": "$S3_KEY", "secretKey": "$S3_SECRET"}],
  "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}
CONFIG
weed server -dir=/data -ip=seaweedfs -ip.bind=0.0.0.0 -filer -s3 -s3.port=8333 \
    -s3.config=/tmp/s3.json -volume.max=100 -master.volumeSizeLimitMB=1024 &
server=$!
trap 'kill $server; wait $server; exit 0' TERM INT
until echo "s3.bucket.create -name owt" | weed shell -master=seaweedfs:9333 2>&1 \
    | grep -q -e "created bucket" -e "exist"; do
    kill -0 $server
    sleep 1
done
touch /run/owt/ready
wait $server
