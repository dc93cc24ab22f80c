# How often the worker parses the authorities, and what a later new connection
# costs.  The authorities are Debian's bundle and the double's certificate, in a
# file that only the worker opens; inotify counts how often.

title="https with Debian's bundle of authorities: parses, and new connections"

# Milliseconds that a payment takes in a session of its own.
pay_ms()
{
	value "SELECT bench_pay_ms('$1')"
}

# Start the worker anew, without any https.
new_worker()
{
	sql -c 'SELECT digipay_worker_stop()' -c "SELECT digipay_pay($BILL, 'tls-http-$round', server => 'http')" >/dev/null
	worker=$(worker_pid)
}

# The worker's processor time for 64 payments at once.
cpu_of_64()
{
	before=$(cpu_of "$worker")
	submit "tls-$1-$round" 64 tls >/dev/null
	wait_until_final
	check_payments "tls-$1-$round" tls 64
	echo $(($(cpu_of "$worker") - before))
}

tls_round()
{
	open_books
	new_worker
	inotifywait -q -m -e open "$bundle" >"$work/opens" 2>/dev/null &
	watcher=$!
	providers="$watcher $providers"
	sleep 0.5
	first=$(pay_ms "tls-first-$round")
	reading 'first https payment of a worker' time "$first" ms
	kept=$(value "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY bench_pay_ms('tls-one-$round-' || i)) FROM generate_series(1, 500) AS i")
	reading 'payment, kept connection' time "$kept" ms
	for again in 1 2; do
		sleep 11	# kept connections are not used after 10 s
		later=$(pay_ms "tls-later-$round-$again")
		reading 'payment, new connection after 11 s' time "$later" ms
		reading 'a later new connection' 'more than kept' "$(echo "$later $kept" | awk '{print $1 - $2}')" ms
	done
	control '{"delay": 200}'
	new=$(cpu_of_64 new)
	kept=$(cpu_of_64 kept)
	control '{"delay": 0}'
	reading 'a later new connection' 'processor time of the worker' "$(echo "$new $kept" | awk '{print ($1 - $2) / 63}')" us
	reading "the worker's life" 'connections' "$(curl -s "$provider_url/books?summary=1" | jq .connections)" 1
	reading "the worker's life" 'times that the bundle was opened' "$(grep -c OPEN "$work/opens")" 1
	end_helper "$watcher"
	[ "$(worker_pid)" = "$worker" ] || die "$part, round $round: the worker is another one now"
	check_books $((1 + 1 + 500 + 2 + 128))
	floor 'libcurl bare, new connection' https new 300
}

part_tls()
{
	bundle=$work/tls-authorities.pem
	cp "$authorities" "$bundle"
	create_server tls "$(endpoint_of https)" "ca_file '$bundle'"
	sql <<-SQL
		CREATE FUNCTION bench_pay_ms(ref_id text) RETURNS numeric LANGUAGE plpgsql AS \$\$
		DECLARE
			begun timestamptz := clock_timestamp();
		BEGIN
			IF (digipay_pay($BILL, ref_id, server => 'tls')).state <> 'succeeded' THEN
				RAISE 'payment % has not succeeded', ref_id;
			END IF;
			RETURN 1000 * extract(epoch FROM clock_timestamp() - begun);
		END
		\$\$
	SQL
	rounds tls_round
}
