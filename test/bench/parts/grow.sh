# How cost grows: payments a second, latency and processor time against how many
# are in flight, how large replies are, and how many sessions pay.

title='how cost grows'
. "$here/test/bench/parts/sessions.sh"
title='how cost grows'
IN_FLIGHT='1 2 4 8 16 32 64 128 256 512 1000'
SIZES='400 1000 4000 16000 64000 256000 1000000'

# As many in flight as that, delay, requests.
grow_in_flight()
{
	allow_in_flight "$1"
	floor "$1 in flight, $2 ms, floor" http multi "$3" "$1"
	queue "$1 in flight, $2 ms, queue" http "$3" "$1"
}

# Dictate replies of so many bytes to the ref_ids PREFIX-0 to PREFIX-N: size,
# prefix, N.  A period of the bill has some 120 bytes.
dictate()
{
	rm -rf "$work/scripts"
	mkdir "$work/scripts"
	jq -cn --argjson size "$1" --arg prefix "$2" --argjson n "$3" '
		[range(0; ($size - 280) / 120 | floor) | {periode: "201901", nilai_tagihan: "8000", admin: "2500", denda: "500",
			meter_awal: "00080000", meter_akhir: "00090000", no_ref: "0"}] as $detail
		| range(0; $n + 1) | "\($prefix)-\(.)" as $ref_id
		| {script: {ref_id: $ref_id, book: true, body: ({data: {ref_id: $ref_id, customer_no: "530000000001", code: "pln",
			name: "A", admin: 2500, message: "ok", status: "Sukses", sn: "1", rc: "00", balance: 1, price: 8000,
			selling_price: 8000, desc: {tarif: "R1", daya: 1300, lembar_tagihan: 1, detail: $detail}}} | tojson)}}' |
		split -l 1 -a 4 - "$work/scripts/"
	for script in "$work"/scripts/*; do
		printf 'url = "%s/control"\ndata = "@%s"\noutput = /dev/null\nnext\n' "$provider_url" "$script"
	done | sed '$d' >"$work/dictate"
	curl -sf -K "$work/dictate" || die 'the provider does not take the replies'
}

# Replies of so many bytes.
grow_size()
{
	n=$(($1 > 16000 ? 32000000 / $1 : 500))
	dictate "$1" "size-$1-$round" $n
	floor "replies of $1 bytes, floor" http multi $n 32 "size-$1-$round"
	queue "replies of $1 bytes, queue" http $n 32 "size-$1-$round"
	control '{"script": null}'
}

grow_round()
{
	for in_flight in $IN_FLIGHT; do
		grow_in_flight "$in_flight" 0 $((in_flight < 90 ? 2000 + 200 * in_flight : 20000))
	done
	control '{"delay": 200}'
	for in_flight in $IN_FLIGHT; do
		grow_in_flight "$in_flight" 200 $((in_flight * 10))
	done
	control '{"delay": 0}'
	allow_in_flight 32
	for size in $SIZES; do
		grow_size "$size"
	done
	allow_in_flight 64
	for sessions in 1 2 4 8 16 32 64; do
		sessions_commit $sessions
		sessions_pay $sessions
	done
}

part_grow()
{
	rounds grow_round
	plot
}

# Medians for a plot, "x y..." a line: a regular expression that picks the cases
# and the number in them, then pairs of a case's end and a metric.
plot_data()
{
	pattern=$1
	shift
	columns=
	for pair in "$@"; do
		columns="$columns, percentile_cont(0.5) WITHIN GROUP (ORDER BY value)
			FILTER (WHERE \"case\" LIKE '%${pair%:*}' AND metric = '${pair#*:}')"
	done
	{
		readings_as_sql
		echo "SELECT x $columns FROM (SELECT *, substring(\"case\" FROM '$pattern')::integer AS x FROM reading WHERE part = 'grow') AS r
			WHERE x IS NOT NULL GROUP BY x ORDER BY x;"
	} | sql -At -F ' '
}

# Draw what this part has measured.
plot()
{
	plot_data '^(\d+) in flight' ' 0 ms, floor:rate' ' 0 ms, queue:rate' ' 200 ms, floor:rate' ' 200 ms, queue:rate' \
		' 0 ms, floor:cpu' ' 0 ms, queue:cpu' >"$work/in_flight"
	plot_data 'replies of (\d+)' 'floor:rate' 'queue:rate' 'floor:cpu' 'queue:cpu' >"$work/size"
	plot_data '^(\d+) sessions' 'digipay_pay:p50' 'digipay_pay:p99' 'two commits:p50' 'two commits:p99' >"$work/sessions"
	for terminal in svg png; do
		gnuplot -e "data = '$work'; out = '$OUT'; type = '$terminal'" "$here/test/bench/plot.gp" || die 'gnuplot failed'
	done
}
