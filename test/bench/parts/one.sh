# One session, one payment after another, beside two flushed one-row commits and
# one POST, which take turns in one loop.

title='one session, one digipay_pay after another; floor: two flushed commits and one POST'

one_round()
{
	for scheme in http https; do
		for place in unpinned pinned; do
			[ $place = unpinned ] || pin
			open_books
			# shellcheck disable=SC2046	# words
			readings_of "$scheme, $place" "$work/bench" one "$(endpoint_of $scheme)" $scheme \
				"one-$round-$scheme-$place" "$("$work/floor" bodies one 1)" "${N:-2000}" \
				$([ $scheme = http ] || echo "$authorities")
			# 200 of each before those that count
			check_books $((2 * (${N:-2000} + 200)))
			unpin
		done
	done
}

part_one()
{
	rounds one_round
	for place in unpinned pinned; do
		for scheme in http https; do
			case="$scheme, $place"
			aim=
			[ $place = pinned ] || aim='at most 1.7; 1.4'
			ratio "p50 of digipay_pay to p50 of the floor: $case" "$case" pay_p50 "$case" floor_p50 "$aim"
		done
	done
}
