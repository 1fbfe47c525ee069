#!/bin/bash
# Start or stop a Docker engine of the tests' own: engine.sh start|stop FOLDER.
# Installs Debian's packages where they are missing. Ends with 77, and says why, where no engine
# can be had here.
set -euo pipefail
folder=$2

skip() {
    echo "$1"
    exit 77
}

# A machine may have Docker's own packages, which Debian's would replace: only what is missing.
missing_packages() {
    command -v dockerd > /dev/null || echo docker.io containerd runc
    command -v iptables > /dev/null || echo iptables
    command -v debootstrap > /dev/null || echo debootstrap
    command -v docker-compose > /dev/null || docker compose version > /dev/null 2>&1 ||
        echo docker-compose
}

install_missing() {
    packages=$(missing_packages)
    [ -n "$packages" ] || return 0
    command -v apt-get > /dev/null || skip "there is no apt-get to install $(echo $packages)"
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086 # several words
    { timeout 120 apt-get update && timeout 600 apt-get install -y --no-install-recommends \
        --no-remove -o DPkg::Lock::Timeout=60 $packages; } > "$folder/apt.log" 2>&1 ||
        skip "apt-get cannot install $(echo $packages): $(tail -n 1 "$folder/apt.log")"
}

start() {
    [ "$(id -u)" = 0 ] || skip "an engine of its own needs root"
    install_missing
    [ -e /sys/class/net/docker0 ] && touch "$folder/bridge-was-there"
    # The engine's own words go to a file; it must not hold the caller's output open. Its names in
    # containerd are its own, in case it meets the one of the machine.
    setsid dockerd --data-root "$folder/data" --exec-root "$folder/exec" \
        --pidfile "$folder/dockerd.pid" --host "unix://$folder/docker.sock" \
        --containerd-namespace owt-tests --containerd-plugins-namespace owt-tests-plugins \
        > "$folder/dockerd.log" 2>&1 < /dev/null &
    for _ in $(seq 60); do
        if docker --host "unix://$folder/docker.sock" info > /dev/null 2>&1; then
            chmod 666 "$folder/docker.sock" # the worker in its container is not root
            exit 0
        fi
        kill -0 $! 2> /dev/null || break
        sleep 1
    done
    skip "dockerd does not start: $(tail -n 3 "$folder/dockerd.log" | tr '\n' ' ')"
}

stop() {
    [ -e "$folder/dockerd.log" ] || return 0 # it was never started
    if [ -s "$folder/dockerd.pid" ]; then
        pid=$(cat "$folder/dockerd.pid")
        kill "$pid" || true
        for _ in $(seq 60); do kill -0 "$pid" 2> /dev/null || break; sleep 0.5; done
    fi
    rm -rf "$folder/data" "$folder/exec" # gigabytes, which pytest would keep for two more runs
    # The engine leaves these behind, and "FORWARD DROP" cuts off other bridges of the machine.
    if [ ! -e "$folder/bridge-was-there" ]; then
        iptables -P FORWARD ACCEPT || true
        iptables-save | grep -vi docker | iptables-restore || true
        ip link del docker0 2> /dev/null || true
    fi
}

"$1"
