#!/bin/sh
#
# Runs the simulator: a server and doubles of the provider in a throwaway
# directory, random clients, faults and kills, judged by the doubles' books.
#
#	sh test/sim/run.sh				with a seed of its own, which it prints
#	DIGIPAY_SEED=42 sh test/sim/run.sh		the same plan again
#	sh test/sim/run.sh --payments 2000 --worker-kills 10 ...	see main.c
#	DIGIPAY_KEEP=DIR sh test/sim/run.sh	keep the server's log there

here=$(cd "$(dirname "$0")/../.." && pwd)
. "$here/script/lib.sh"

make_work
install_needed
say 'Building ...'
copy_tree "$here" "$work/tree"
build_extension "$work/tree" "$work/root" with_llvm=no COPT=-DDIGIPAY_FAULT_POINTS ||
	die 'digipay could not be built'
build_provider "$work/tree" || die "the provider's double could not be built"
build_simulator "$work/tree" || die 'the simulator could not be built'
simulate "$work/sim" "$work/root" "$@" || status=$?
[ -z "${DIGIPAY_KEEP:-}" ] || cp "$work"/sim/log "$work"/sim/out "$DIGIPAY_KEEP"
exit "${status:-0}"
