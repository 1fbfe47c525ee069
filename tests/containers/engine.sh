#!/bin/bash
# Start or stop a Docker engine of the tests' own: engine.sh start|stop FOLDER.
# Installs Debian's packages where they are missing. Ends with 77, and says why, where no engine
# can be had here.
set -euo pipefail
folder=$2
export DOCKER_HOST=unix://$folder/docker.sock
NEEDED_DISK_GB=${NEEDED_DISK_GB:-15}
NEEDED_MEMORY_GB=${NEEDED_MEMORY_GB:-5}

skip() {
    echo "$*"
    exit 77
}

# What takes no time to find out, before anything is installed.
refuse_unfit_machine() {
    [ "$(id -u)" = 0 ] || skip "an engine of its own needs root"
    local capabilities
    capabilities=$((16#$(awk '/^CapEff/ { print $2 }' /proc/self/status)))
    ((capabilities >> 21 & 1)) || skip "this container lacks CAP_SYS_ADMIN, to mount images"
    ((capabilities >> 12 & 1)) || skip "this container lacks CAP_NET_ADMIN, to make a network"
    # Seccomp and AppArmor may forbid what the capability allows.
    unshare --mount mount -t tmpfs none /mnt 2> "$folder/mount.log" ||
        skip "this container may not mount: $(tail -n 1 "$folder/mount.log")"
    local free_gb memory_gb
    free_gb=$(($(df --output=avail -k "$folder" | tail -n 1) / 1000000))
    [ "$free_gb" -ge "$NEEDED_DISK_GB" ] ||
        skip "images and data take $NEEDED_DISK_GB GB, $folder has $free_gb GB free"
    memory_gb=$(($(awk '/^MemAvailable/ { print $2 }' /proc/meminfo) / 1000000))
    [ "$memory_gb" -ge "$NEEDED_MEMORY_GB" ] ||
        skip "the services take $NEEDED_MEMORY_GB GB of memory, $memory_gb GB are free"
    # Two engines share one bridge and one set of rules, and a start of the second clears them.
    ! runs_already || skip "a Docker engine runs here already, whose network ours would disturb"
}

runs_already() {
    grep -qsx dockerd /proc/[0-9]*/comm
}

# A machine may have Docker's own packages, which Debian's would replace: only what is missing.
missing_packages() {
    command -v dockerd > /dev/null || echo docker.io containerd runc
    # Debian 13 has these apart.
    command -v docker > /dev/null || ! is_offered docker-cli || echo docker-cli
    docker buildx version > /dev/null 2>&1 || ! is_offered docker-buildx || echo docker-buildx
    command -v iptables > /dev/null || echo iptables
    command -v debootstrap > /dev/null || echo debootstrap
    command -v docker-compose > /dev/null || docker compose version > /dev/null 2>&1 ||
        echo docker-compose
    # Where the kernel has AppArmor on, no container starts without its parser.
    ! grep -qs Y /sys/module/apparmor/parameters/enabled ||
        command -v apparmor_parser > /dev/null || echo apparmor
}

is_offered() {
    apt-cache policy "$1" 2> /dev/null | grep -q "Candidate: [0-9]"
}

install_missing() {
    [ -n "$(missing_packages)" ] || return 0
    command -v apt-get > /dev/null ||
        skip "there is no apt-get to install" $(missing_packages)
    export DEBIAN_FRONTEND=noninteractive
    local quick="-o Acquire::Retries=1 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20"
    # shellcheck disable=SC2086,SC2046 # several words
    { timeout 120 apt-get update $quick && timeout 400 apt-get install $quick -y \
        --no-install-recommends --no-remove -o DPkg::Lock::Timeout=60 $(missing_packages); } \
        > "$folder/apt.log" 2>&1 ||
        skip "apt-get cannot install $(missing_packages | tr '\n' ' '): $(tail -n 1 "$folder/apt.log")"
    # Where systemd runs, the package has just started an engine of the machine's own.
    if runs_already; then
        systemctl stop docker.socket docker.service > /dev/null 2>&1 || true
        ! runs_already || skip "the engine that apt-get started does not stop"
    fi
}

start() {
    refuse_unfit_machine
    install_missing
    [ -e /sys/class/net/docker0 ] && touch "$folder/bridge-was-there"
    # The engine's own words go to a file; it must not hold the caller's output open. Its names in
    # containerd are its own, in case it meets the one of the machine.
    setsid dockerd --data-root "$folder/data" --exec-root "$folder/exec" \
        --pidfile "$folder/dockerd.pid" --host "unix://$folder/docker.sock" \
        --containerd-namespace owt-tests --containerd-plugins-namespace owt-tests-plugins \
        > "$folder/dockerd.log" 2>&1 < /dev/null &
    for _ in $(seq 60); do
        if docker info > /dev/null 2>&1; then
            refuse_unfit_engine
            chmod 666 "$folder/docker.sock" # the worker in its container is not root
            exit 0
        fi
        kill -0 $! 2> /dev/null || break
        sleep 1
    done
    skip "dockerd does not start: $(tail -n 3 "$folder/dockerd.log" | tr '\n' ' ')"
}

# An engine that answers may still start no container (cgroups, AppArmor), or hold each layer whole.
refuse_unfit_engine() {
    local driver answer
    driver=$(docker info --format '{{.Driver}}')
    [ "$driver" != vfs ] ||
        skip "no overlay file system on $folder: with the driver vfs images take 40 GB and hours"
    # The smallest image that there is without a registry: a program of this machine, its libraries.
    # shellcheck disable=SC2046 # several words
    tar -chP $(ldd /bin/true | grep -o '/[^ ]*') /bin/true 2> /dev/null |
        docker import - probe > /dev/null
    answer=$(timeout 60 docker run --rm --network none probe /bin/true 2>&1) ||
        skip "the engine starts no container: $(echo "$answer" | head -n 1)"
    docker rmi probe > /dev/null
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
        # Networks of Compose that could not be removed have bridges with such names.
        iptables-save | grep -viE 'docker|br-[0-9a-f]{12}' | iptables-restore || true
        ip link del docker0 2> /dev/null || true
    fi
}

"$1"
