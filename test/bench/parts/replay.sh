# A payment that is final already, beside a look at its row.

title='digipay_pay of a final payment, beside SELECT * by the primary key'

# Both in turn in a loop inside the server, without the way to a client.
replay_inside()
{
	value "SELECT * FROM bench_replay('$1', ${N:-2000})" | tr '|' '\n' |
		paste -d, "$work/names" - | sed 's/$/,us/' | record 'inside the server'
}

replay_round()
{
	readings_of 'from a client' "$work/bench" replay http replayed "${N:-2000}"
	replay_inside replayed
}

part_replay()
{
	printf '%s\n' select_p50 select_p99 pay_p50 pay_p99 >"$work/names"
	sql -f "$here/test/bench/replay.sql"
	open_books
	sql -c "SELECT digipay_pay($BILL, 'replayed', server => 'http')" >/dev/null
	rounds replay_round
	check_books 1
	for where in 'from a client' 'inside the server'; do
		ratio "digipay_pay to SELECT, $where" "$where" pay_p50 "$where" select_p50 'at most 2'
	done
}
