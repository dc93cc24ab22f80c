#!/bin/sh
#
# Measures what a payment costs, beside what the same work costs bare.  The
# figures of one run compare with each other and with nothing else.
#
#	sh test/bench/run.sh			all parts
#	sh test/bench/run.sh one		one session: the ratio to two flushed
#									commits and one POST, interleaved
#	sh test/bench/run.sh flat		10,000 calls, half errors: what grows?
#	sh test/bench/run.sh many		64 payments at once against a slow peer
#
# From the environment:
#	N, RUNS			iterations and repetitions of "one" (2000, 3)
#	CALLS			calls of "flat" (10000)
#	CPUS			run everything on these CPUs, as taskset wants them
#	DISK			where the data directory goes (/var/tmp): not memory

here=$(cd "$(dirname "$0")/../.." && pwd)
if [ -n "${CPUS:-}" ] && [ -z "${PINNED:-}" ]; then
	PINNED=yes exec taskset -c "$CPUS" sh "$0" "$@"
fi
. "$here/script/lib.sh"
. "$here/test/bench/disk.sh"

PARTS='one flat many'
USERNAME=bench
API_KEY=bench-key

# Say what this machine is, for the figures' record.
describe()
{
	echo "date     $(date -u +%Y-%m-%d)"
	echo "machine  $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(nproc) CPUs in use${CPUS:+ (taskset -c $CPUS)}"
	echo "system   $(. /etc/os-release && echo "$PRETTY_NAME"), Linux $(uname -r)"
	echo "disk     $(df --output=fstype "$disk" | tail -1), fsync and synchronous_commit on"
	echo "versions $("$PG_CONFIG" --version), libcurl $(pkg-config --modversion libcurl)"
}

# The body of a signed payment, filled up to 200 bytes.
body()
{
	signature=$(printf '%s%s%s' $USERNAME $API_KEY floor | md5sum | cut -d' ' -f1)
	text='{"command":"pay-pasca","username":"'$USERNAME'","code":"pln","customer_no":"530000000001","ref_id":"floor","sign":"'$signature'"}'
	printf '%s%*s}' "${text%\}}" $((200 - ${#text})) ''
}

# Create a server $1 whose endpoint is at port $2.
create_server()
{
	sql -c "CREATE SERVER $1 FOREIGN DATA WRAPPER digipay OPTIONS (
			endpoint 'http://127.0.0.1:$2/v1/user/api/transaction', allow_private_address 'true')" \
		-c "CREATE USER MAPPING FOR PUBLIC SERVER $1 OPTIONS (username '$USERNAME', api_key '$API_KEY')"
}

part_one()
{
	echo
	echo "== one session, http, kept connection; microseconds"
	"$work/bench" one "$DIGIPAY_ENDPOINT" "$(body)" "${N:-2000}" "${RUNS:-3}"
}

part_flat()
{
	echo
	echo "== what grows; kB"
	"$work/bench" flat "${CALLS:-10000}"
}

part_many()
{
	echo
	echo "== 64 sessions against a peer that takes 1000 ms"
	fast=$provider_pid
	start_provider --username $USERNAME --api-key $API_KEY --delay 1000
	create_server slow "$http_port"
	"$work/bench" many 64
	echo "the provider's books: $(curl -s "$DIGIPAY_BOOKS?summary=1" | jq -c '{bookings, max_in_flight, connections}')"
	stop_provider
	provider_pid=$fast
}

for part in "$@"; do
	case " $PARTS " in
		*" $part "*) ;;
		*) die "no such part: $part (there are: $PARTS)" ;;
	esac
done
# shellcheck disable=SC2086	# a list of words
[ $# != 0 ] || set -- $PARTS

make_work
make_disk
install_needed jq
say 'Building ...'
copy_tree "$here" "$work/tree"
build_extension "$work/tree" "$work/root" with_llvm=no || die 'digipay could not be built'
build_provider "$work/tree" || die "the provider's double could not be built"
# shellcheck disable=SC2046	# words
gcc -std=gnu99 -O2 -Wall -Wextra -o "$work/bench" "$here/test/bench/bench.c" \
	-I"$("$PG_CONFIG" --includedir)" -L"$("$PG_CONFIG" --libdir)" -lpq \
	$(pkg-config --cflags --libs libcurl) || die 'bench.c could not be built'
start_provider --username $USERNAME --api-key $API_KEY || die "the provider's double did not start"
start_server "$disk/server" "$work/root" </dev/null || die 'the server did not start'
describe
sql -c 'CREATE EXTENSION digipay' \
	-c 'CREATE TABLE bench_floor (id text PRIMARY KEY, state text NOT NULL)'
create_server digipay "$http_port"
create_server raw "$(sed -n 's/.*raw=\([0-9]*\).*/\1/p' "$out")"
create_server down 9
for part in "$@"; do
	"part_$part"
done
