# Where the peers live: sourced, not run. Environments are made once and kept in the user's cache.

# environment NAME REQUIREMENTS: prints the Python of a virtual environment with these pinned packages.
environment() {
    local folder="${XDG_CACHE_HOME:-$HOME/.cache}/evalharness-peers/$1-$(sha256sum <"$2" | cut -c1-12)"
    if [ ! -e "$folder/ready" ]; then
        echo "making $folder" >&2
        python3 -m venv "$folder" && "$folder/bin/pip" install --quiet -r "$2" >&2 && touch "$folder/ready" || return 1
    fi
    echo "$folder/bin/python"
}

# free_port: prints a port of loopback that nobody listens on.
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# peer_versions PYTHON PACKAGE...: prints what is installed.
peer_versions() {
    local python=$1
    shift
    "$python" -c 'import sys; from importlib.metadata import version as v
print("peer: Python", sys.version.split()[0], *(f"{p} {v(p)}," for p in sys.argv[1:]))' "$@" | sed 's/,$//'
}
