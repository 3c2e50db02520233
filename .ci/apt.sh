# Debian packages unpacked beside the system, never installed: the machine stays as it is, and no root is needed.
# Where the system has no package lists (a bare container) or they are too old, fresh ones go into a private apt directory.
#
# Sourced by the scripts beside it, from the top of the clone. They call `beside` with the folder to work in; what is made there is named
# by $cache. Never touches dpkg's database.

say() { echo "$(basename "$0"): $*" >&2; }

beside() { # folder: made, and held alone while this script runs, for two builds in one clone must not unpack over each other
    mkdir -p "$1/bin" "$1/debs" "$1/apt/lists/partial" "$1/apt/archives/partial"
    cache=$(cd "$1" && pwd)
    if command -v flock >/dev/null; then
        exec 9>"$cache/lock"
        flock 9
    fi
    # As root, apt would hand the download to a user who may not read this directory.
    apt_options=(-qq -o APT::Sandbox::User="$(id -un)" -o Dir::Cache="$cache/apt" -o Dir::Cache::Archives="$cache/apt/archives/")
    private_lists=(-o Dir::State="$cache/apt" -o Dir::State::Lists="$cache/apt/lists" -o Dir::State::Status=/var/lib/dpkg/status)
    lists=()
}

with_lists() { # command, arguments …: it, and once more with fresh package lists if those at hand are missing or too old
    "$@" && return
    if [ ${#lists[@]} -eq 0 ]; then
        say "the system's package lists do not do for $*, reading fresh ones into $cache/apt"
        lists=("${private_lists[@]}")
        apt-get "${apt_options[@]}" "${lists[@]}" update 2>"$cache/apt/error" && "$@" && return
    fi
    say "apt does not do $*: $(tail -n 1 "$cache/apt/error")"
    return 1
}

download() { # packages: the newest ones that the package lists know, into $cache/debs
    (cd "$cache/debs" && apt-get "${apt_options[@]}" "${lists[@]}" download "$@") 2>"$cache/apt/error"
}

fetch() { # package
    rm -f "$cache/debs/$1"_*.deb
    with_lists download "$1"
}

lacking() { # packages: print them and what they depend on that this system lacks
    local answer
    answer=$(apt-get "${apt_options[@]}" "${lists[@]}" -o Debug::NoLocking=1 --reinstall --no-install-recommends --print-uris --yes install "$@" 2>"$cache/apt/error") || return 1
    sed -n "s/^'[^']*' \([^_]*\)_.*/\1/p" <<<"$answer"
}

unpack_together() { # name, packages: with all they need, into $cache/NAME, complete or not at all
    local name=$1 each wanted
    shift
    with_lists lacking "$@" >"$cache/debs/$name.wanted" || return 1
    mapfile -t wanted <"$cache/debs/$name.wanted"
    rm -rf "$cache/$name" "$cache/$name.partial"
    mkdir "$cache/$name.partial"
    with_lists download "${wanted[@]}" || return 1
    for each in "${wanted[@]}"; do
        dpkg -x "$cache/debs/$each"_*.deb "$cache/$name.partial"
        rm -f "$cache/debs/$each"_*.deb
    done
    mv "$cache/$name.partial" "$cache/$name"
}
