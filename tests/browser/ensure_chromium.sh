#!/bin/sh
# Makes sure that there is a Chromium for the browser test, and prints which one is used.
# Debian's is installed when none is there, with a font: without any, pages show no text.
set -eu

install() {
    if [ "$(id -u)" -eq 0 ]; then as_root=""; else as_root="sudo"; fi
    $as_root apt-get update -qq
    $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@" >&2
}

command -v chromium >/dev/null || install chromium
[ -n "$(find /usr/share/fonts -name '*.ttf' -o -name '*.otf' 2>/dev/null | head -n 1)" ] \
    || install fonts-dejavu-core

printf '%s: ' "$(command -v chromium)"
chromium --version --no-sandbox 2>/dev/null
