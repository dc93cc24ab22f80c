# 64 sessions that pay at the same moment.

title='64 sessions at once against a peer that takes 1,000 ms'

many_round()
{
	open_books
	readings_of '64 sessions' "$work/bench" many http 64
	[ "$(curl -sf "$provider_url/books?summary=1" | jq .max_in_flight)" = 64 ] ||
		die "$part, round $round: there were never 64 in flight"
	check_books 64
}

part_many()
{
	sql -c "SELECT digipay_pay($BILL, 'many-first', server => 'http')" >/dev/null
	control '{"delay": 1000}'
	rounds many_round
	control '{"delay": 0}'
}
