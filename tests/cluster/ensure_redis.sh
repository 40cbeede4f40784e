#!/bin/sh
# Makes sure that there is a Redis server for the tests: Debian's is installed when none is there.
set -eu

command -v redis-server >/dev/null && exit 0
command -v valkey-server >/dev/null && exit 0
if [ "$(id -u)" -eq 0 ]; then as_root=""; else as_root="sudo"; fi
$as_root apt-get update -qq
# RUNLEVEL: Debian's package would start one for the whole machine.
$as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
    apt-get install -y -qq --no-install-recommends redis-server >&2
