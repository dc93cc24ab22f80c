#!/bin/sh
#
# Measures digipay, and in the same run what the same work costs bare: small
# libcurl programs (floor.c), commits alone, plain SQL.  The figures of one run
# compare with each other and with nothing else.
#
#	sh test/bench/run.sh			all parts: about 40 minutes, 30 GB of disk
#	sh test/bench/run.sh PART...	these
#
#	floor		libcurl bare: http and https, pinned to one processor or not
#	fair		the floor programs beside wrk
#	one			one session, one digipay_pay after another
#	sessions	1, 8 and 64 sessions of digipay_pay, beside the two commits alone
#	queue		50,000 submitted payments, beside libcurl with 64 in flight
#	slow		a peer that takes 200 ms: 64 and 1,000 in flight
#	submit		100,000 digipay_submit in a statement, beside a plain INSERT
#	replay		digipay_pay of a final payment, beside a SELECT by primary key
#	tls			parses of the authorities, and later new connections
#	detail		digipay_detail: 10,000 periods, and a million payments
#	journal		the queue with 1 and 10 million payments in the journal
#	flat		10,000 calls, half errors, and a million payments: what grows?
#	grow		payments a second against in flight, reply size and sessions
#	many		64 payments at once against a peer that takes a second
#
# Every reading goes to OUT/results.csv, medians and ratios to OUT/results.md,
# plots to OUT/*.svg and OUT/*.png.
#
# From the environment:
#	ROUNDS		rounds, in which both sides of a ratio take turns (3)
#	PAYMENTS	payments of each reading of the queue (50000)
#	SUBMITS		rows of "submit" (100000)
#	N			iterations of "one" and "replay" (2000)
#	SECONDS_OF	seconds of each reading of many sessions (5)
#	CALLS		calls of "flat" (10000)
#	MANY		payments of "flat" (1000000)
#	ROWS		at most so many payments in the journal (10000000)
#	OUT			where the results go (./bench-results)
#	DISK		where the data directory goes (/var/tmp): not memory
#	BUILD		a directory to build in and to keep, for the next run
#	CPUS		run everything on these processors, as taskset wants them

here=$(cd "$(dirname "$0")/../.." && pwd)
if [ -n "${CPUS:-}" ] && [ -z "${PINNED:-}" ]; then
	PINNED=yes exec taskset -c "$CPUS" sh "$0" "$@"
fi
. "$here/script/lib.sh"
. "$here/test/bench/disk.sh"
. "$here/test/bench/lib.sh"

PARTS='floor fair one sessions queue slow submit replay tls detail journal flat grow many'
ROUNDS=${ROUNDS:-3}
PAYMENTS=${PAYMENTS:-50000}
OUT=${OUT:-./bench-results}

# Say what this machine is, for the figures' record.
describe()
{
	cat <<-END
	date     $(date -u +%Y-%m-%d)
	machine  $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(nproc) CPUs in use${CPUS:+ (taskset -c $CPUS)}
	system   $(. /etc/os-release && echo "$PRETTY_NAME"), Linux $(uname -r)
	disk     $(df --output=fstype "$disk" | tail -1), fsync and synchronous_commit on
	server   PostgreSQL's defaults, but for $(tr '\n' ',' <"$work/settings" | sed 's/,$//; s/,/, /g')
	versions $("$PG_CONFIG" --version), libcurl $(pkg-config --modversion libcurl)
	END
}

# Compile the C program $1, with further packages of pkg-config.
compile()
{
	program=$1
	shift
	# shellcheck disable=SC2046	# words
	gcc -std=gnu99 -D_GNU_SOURCE -O2 -Wall -Wextra -o "$work/$program" "$here/test/bench/$program.c" \
		-I"$("$PG_CONFIG" --includedir)" -L"$("$PG_CONFIG" --libdir)" -lpq \
		$(pkg-config --cflags --libs libcurl "$@") || die "$program.c could not be built"
}

# Build all that is measured.
build()
{
	say 'Building ...'
	tree=${BUILD:-$work}/tree
	copy_tree "$here" "$tree"
	build_extension "$tree" "$work/root" with_llvm=no || die 'digipay could not be built'
	build_provider "$tree" || die "the provider's double could not be built"
	compile bench
	compile floor nettle
}

# The authorities of https: Debian's, and the double's own certificate.
make_authorities()
{
	make_certificate "$work/peer" || die 'no certificate could be made'
	authorities=$work/authorities.pem
	cat /etc/ssl/certs/ca-certificates.crt "$work/peer.crt" >"$authorities"
}

# Start the double and the server, with an account by http and one by https.
set_scene()
{
	start_provider --username $USERNAME --api-key $API_KEY \
		--cert "$work/peer.crt" --key "$work/peer.key" || die "the provider's double did not start"
	raw_port=$(sed -n 's/.*raw=\([0-9]*\).*/\1/p' "$out")
	# a checkpoint in the middle of a reading is not what is measured
	printf '%s\n' "max_wal_size = '8GB'" "checkpoint_timeout = '30min'" >"$work/settings"
	start_server "$disk/server" "$work/root" <"$work/settings" || die 'the server did not start'
	create_objects
}

# What each database has.
create_objects()
{
	sql -c 'CREATE EXTENSION digipay' \
		-c 'CREATE TABLE bench_floor (id text PRIMARY KEY, state text NOT NULL)'
	create_server http "$(endpoint_of http)" "max_in_flight '64'"
	create_server https "$(endpoint_of https)" "max_in_flight '64', ca_file '$authorities'"
	for server in http https; do
		sql -c "SELECT digipay_pay($BILL, 'first', server => '$server')" >/dev/null
	done
}

for part in "$@"; do
	case " $PARTS " in
		*" $part "*) ;;
		*) die "no such part: $part (there are: $PARTS)" ;;
	esac
done
if [ $# = 0 ]; then
	say 'All parts take about 40 minutes and 30 GB of disk.'
	# shellcheck disable=SC2086	# a list of words
	set -- $PARTS
fi

make_work
make_disk
install_needed jq wrk gnuplot-nox inotify-tools
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
ulimit -n "$(ulimit -H -n)"		# a thousand connections
make_authorities
build
set_scene
describe | tee "$OUT/results.md"
echo 'part,round,case,metric,value,unit' >"$OUT/results.csv"
: >"$work/ratios"
for part in "$@"; do
	. "$here/test/bench/parts/$part.sh"
	printf '\n## %s: %s\n\n' "$part" "$title" | tee -a "$OUT/results.md"
	"part_$part"
	summarize "$part"
done
echo
echo "The results are in $OUT."
