#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs the tests of the kernel half on Debian's stock kernels, under qemu without hardware help.
#
#   test/kernels/run.sh 6.1 6.12      each argument is the beginning of a kernel version
#
# LENO_KERNEL_PACKAGES="internal/dataplane" runs all tests of other packages than the file "packages" lists.
# Needs root only for the cache folder. Exit status 0: every test passed on every kernel. What the tests printed is on
# stdout and in $CACHE/<version>/console.log. A kernel stays in the cache until its folder there is removed.
set -eu -o pipefail

CACHE=${LENO_TEST_CACHE:-/var/cache/leno-test}/kernels
TIMEOUT=${LENO_KERNEL_TIMEOUT:-600}	# seconds that one kernel may take, boot to verdict
HERE=$(cd "$(dirname "$0")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
# Drivers that tests may use and that Debian builds as modules; what is built in or absent is left out.
MODULES="veth dummy bridge vrf macvlan sch_netem sch_fq sch_ingress cls_bpf tls tcp_diag inet_diag"

die() { echo "kernels: $*" >&2; exit 2; }
say() { echo "kernels: $*"; }

[ $# -gt 0 ] || die "say which kernels: run.sh 6.1 6.12"
for tool in qemu-system-x86_64 busybox cpio dpkg-deb apt-get go; do
	command -v $tool >/dev/null || die "$tool is missing: test/install.sh qemu-system-x86 busybox-static cpio"
done

work=$(mktemp -d /tmp/leno-kernels.XXXXXX)
trap 'rm -rf "$work"' EXIT

# apt with its own sources, lists and archives: this machine's own are not touched.
private_apt() {
	local tool=$1
	shift
	"$tool" -o Dir::Etc::sourcelist="$work/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
		-o Dir::State::lists="$work/apt/lists" -o Dir::State::status="$work/apt/status" \
		-o Dir::Cache="$work/apt" -o APT::Architecture=amd64 -o APT::Sandbox::User=root "$@"
}

prepare_apt() {
	[ ! -e "$work/apt/ready" ] || return 0
	mkdir -p "$work/apt/lists/partial" "$work/apt/archives/partial"
	: >"$work/apt/status"
	local key=/usr/share/keyrings/debian-archive-keyring.gpg release
	[ -e $key ] || die "$key is missing: test/install.sh debian-archive-keyring"
	for release in bookworm trixie; do
		echo "deb [signed-by=$key] http://deb.debian.org/debian $release main"
		echo "deb [signed-by=$key] http://deb.debian.org/debian-security $release-security main"
	done >"$work/apt/sources.list"
	private_apt apt-get -qq update
	touch "$work/apt/ready"
}

# fetch VERSION: unpacks the newest stock kernel of that version into the cache.
fetch() {
	local dir=$CACHE/$1 package
	[ ! -e "$dir/complete" ] || return 0
	prepare_apt
	package=$(private_apt apt-cache pkgnames linux-image-"$1". |
		grep -E '^linux-image-[0-9.]+(-[0-9]+|\+deb[0-9.]+)-amd64$' | sort -V | tail -1) ||
		die "Debian has no stock kernel $1"
	say "fetching $package"
	(cd "$work" && private_apt apt-get -qq download "$package")
	rm -rf "$dir"
	mkdir -p "$dir"
	dpkg-deb -x "$work"/"$package"_*.deb "$dir"
	rm "$work"/"$package"_*.deb
	[ ! -d "$dir/usr/lib/modules" ] || ln -sfn usr/lib "$dir/lib"
	touch "$dir/complete"
}

# image VERSION FILE: writes the initial file system: busybox, modules, the test binaries and init.
image() {
	local dir=$CACHE/$1 root=$work/root-$1 release module wanted
	release=$(basename "$dir"/lib/modules/*)
	mkdir -p "$root"/{bin,sbin,proc,sys,dev,tmp,run,etc,var/tmp,root,tests,"lib/modules/$release/kernel"}
	cp "$(command -v busybox)" "$root/bin/busybox"
	busybox --list | grep -vx busybox | while read -r applet; do ln -s busybox "$root/bin/$applet"; done
	cp "$HERE/init" "$root/init"
	cp -r "$work/tests/." "$root/tests/"
	echo "root:x:0:0:root:/root:/bin/sh" >"$root/etc/passwd"
	echo "127.0.0.1 localhost" >"$root/etc/hosts"
	cp "$dir/lib/modules/$release"/modules.{builtin,order} "$root/lib/modules/$release/"
	# Everything that may be a dependency of a wanted driver lies in these folders.
	(cd "$dir/lib/modules/$release/kernel" &&
		for wanted in drivers/net/{veth,dummy,vrf,macvlan}.ko* net/{802,8021q,llc,bridge,sched,tls,ipv4,core} lib/crc*; do
			[ ! -e "$wanted" ] || find "$wanted" -name '*.ko*'
		done | cpio -o -H newc --quiet) | (cd "$root/lib/modules/$release/kernel" && cpio -id --quiet)
	find "$root/lib/modules" -name '*.ko.xz' -exec busybox unxz {} +
	busybox depmod -b "$root" "$release"
	for module in $MODULES; do
		! find "$root/lib/modules" -name "$module.ko" | grep -q . || echo "$module"
	done >"$root/etc/modules"
	(cd "$root" && find . | cpio -o -H newc --quiet) | gzip -1 >"$2"
	rm -rf "$root"
}

# binaries: one static test binary for each package that has to pass on every kernel.
binaries() {
	local package only name
	mkdir -p "$work/tests"
	export CGO_ENABLED=0
	say "building leno"
	(cd "$ROOT" && go build -o "$work/tests/leno" ./cmd/leno) || die "leno does not build"
	if [ -n "${LENO_KERNEL_PACKAGES:-}" ]; then
		tr ' ' '\n' <<<"$LENO_KERNEL_PACKAGES"
	else
		sed 's/#.*//' "$HERE/packages"
	fi | while read -r package only; do
		[ -n "$package" ] || continue
		say "building the tests of $package"
		name=$(echo "$package" | tr / -)
		(cd "$ROOT" && go test -c -o "$work/tests/$name.test" "./$package") || die "the tests of $package do not build"
		echo "${only:-.}" >"$work/tests/$name.only"
	done
}

# boot VERSION: 0 when the guest ran everything and all of it passed.
boot() {
	local dir=$CACHE/$1 log=$CACHE/$1/console.log status=0
	image "$1" "$work/initrd-$1"
	say "booting $(basename "$dir"/boot/vmlinuz-*)"
	timeout --foreground --kill-after=5 "$TIMEOUT" qemu-system-x86_64 -accel tcg -cpu max -m 2G -smp 2 -nographic -no-reboot \
		-nodefaults -serial stdio -monitor none -kernel "$dir"/boot/vmlinuz-* -initrd "$work/initrd-$1" \
		-append "console=ttyS0 panic=-1 quiet loglevel=4 oops=panic" </dev/null |
		sed -u 's/\r//; s/\x1b[^a-zA-Z]*[a-zA-Z]//g' | tee "$log" || status=$?
	rm -f "$work/initrd-$1"
	if [ $status -eq 124 ] || [ $status -eq 137 ]; then
		say "$1: FAILED: no verdict within $TIMEOUT seconds"
		return 1
	fi
	if grep -qx 'kernels-guest: all passed' "$log" && ! grep -q '^--- FAIL' "$log"; then
		say "$1: passed ($(grep -c '^ *--- PASS' "$log") tests, $(grep -c '^ *--- SKIP' "$log" || true) skipped)"
		return 0
	fi
	say "$1: FAILED: $(grep '^kernels-guest: FAILED' "$log" || echo 'the guest ended without a verdict (panic?)')"
	return 1
}

binaries
failed=""
for version in "$@"; do
	fetch "$version"
	boot "$version" || failed="$failed $version"
done
[ -z "$failed" ] || { say "FAILED on:$failed"; exit 1; }
say "all passed on: $*"
