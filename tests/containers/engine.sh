#!/bin/bash
# Start or stop a Docker engine of the tests' own: engine.sh start|stop FOLDER.
# Installs Debian's packages where they are missing; ends with 77 where that cannot be done.
set -euo pipefail
folder=$2

start() {
    if ! command -v dockerd > /dev/null; then
        [ "$(id -u)" = 0 ] || { echo "no dockerd, and only root can install it"; exit 77; }
        { apt-get update && apt-get install -y --no-install-recommends \
            docker.io containerd runc iptables debootstrap docker-compose; } > "$folder/apt.log" 2>&1 ||
            { echo "no dockerd, and apt-get cannot install it"; exit 77; }
    fi
    [ -e /sys/class/net/docker0 ] && touch "$folder/bridge-was-there"
    # The engine's own words go to a file; it must not hold the caller's output open.
    setsid dockerd --data-root "$folder/data" --exec-root "$folder/exec" \
        --pidfile "$folder/dockerd.pid" --host "unix://$folder/docker.sock" \
        > "$folder/dockerd.log" 2>&1 < /dev/null &
    for _ in $(seq 60); do
        if docker --host "unix://$folder/docker.sock" info > /dev/null 2>&1; then
            chmod 666 "$folder/docker.sock" # the worker in its container is not root
            exit 0
        fi
        sleep 1
    done
    echo "dockerd does not start: $(tail -n 1 "$folder/dockerd.log")"
    exit 77
}

stop() {
    if [ -s "$folder/dockerd.pid" ]; then
        pid=$(cat "$folder/dockerd.pid")
        kill "$pid" || true
        for _ in $(seq 60); do kill -0 "$pid" 2> /dev/null || break; sleep 0.5; done
    fi
    # The engine leaves these behind, and "FORWARD DROP" cuts off other bridges of the machine.
    if [ ! -e "$folder/bridge-was-there" ]; then
        iptables -P FORWARD ACCEPT || true
        iptables-save | grep -vi docker | iptables-restore || true
        ip link del docker0 2> /dev/null || true
    fi
}

"$1"
