#!/bin/sh
#
# Does the simulator see what it is there for?  Plants one bug after another
# (plants/NAME.patch) in a copy of the tree, and runs the simulator until it
# objects.  Ends with a table, and with 1 when a bug went unseen.
#
#	sh test/sim/planted.sh			all of them
#	sh test/sim/planted.sh no-flush		these

here=$(cd "$(dirname "$0")/../.." && pwd)
. "$here/script/lib.sh"

SEEDS='1 2 3'			# tried in turn until one shows the bug

# After how many payments the simulator objected, and to what, in output $1.
objections()
{
	sed -n 's/^BROKEN after \([0-9]*\) payments: \([^:]*\):.*/\1\t\2/p' "$1" |
		awk -F '\t' 'seen[$2]++ { next }
			{ printf "%s%s", (NR == 1 ? $1 "\t" : "; "), $2 }'
}

# Plant bug $1 and look for it.
try_plant()
{
	plant=$1
	say "== $plant"
	copy_tree "$here" "$work/$plant/tree"
	patch -s -p1 -d "$work/$plant/tree" <"$here/test/sim/plants/$plant.patch" >&2 ||
		{ say "$plant.patch does not fit any more"; return 1; }
	build_extension "$work/$plant/tree" "$work/$plant/root" with_llvm=no \
		COPT=-DDIGIPAY_FAULT_POINTS || return 1
	for seed in $SEEDS; do
		run=$work/$plant/$seed
		chmod 711 "$work/$plant"
		DIGIPAY_SEED=$seed simulate "$run" "$work/$plant/root" --payments 3000 \
			--worker-kills 40 --postmaster-kills 4 --stop-at-first 2>/dev/null || :
		objection=$(objections "$run/out")
		if [ -n "$objection" ]; then
			printf '%s\t%s\t%s\n' "$plant" "$seed" "$objection" >>"$work/table"
			return 0
		fi
		tail -3 "$run/out" >&2
	done
	return 1
}

make_work
install_needed patch
[ $# != 0 ] || set -- $(cd "$here/test/sim/plants" && ls ./*.patch | sed 's/^..//; s/\.patch$//')
say 'Building ...'
copy_tree "$here" "$work/tree"
build_provider "$work/tree" || die "the provider's double could not be built"
build_simulator "$work/tree" || die 'the simulator could not be built'
unseen=0
for name in "$@"; do
	try_plant "$name" || { unseen=$((unseen + 1)); printf '%s\t\t\tNOT SEEN\n' "$name" >>"$work/table"; }
done
printf '%-16s %5s %9s  %s\n' planted seed payments 'what the simulator objected to'
while IFS='	' read -r name seed payments invariant; do
	printf '%-16s %5s %9s  %s\n' "$name" "$seed" "$payments" "$invariant"
done <"$work/table"
echo "$(($# - unseen)) passed, $unseen failed"
[ $unseen = 0 ]
