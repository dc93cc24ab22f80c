# The floor programs beside wrk: the same requests, the same peer, as many
# connections.

title='the floor programs beside wrk; ratio of the rates'

# Take a reading of wrk: case, scheme, connections, seconds.
wrk_reading()
{
	open_books
	# shellcheck disable=SC2086	# words
	BODIES=$work/bodies $pinned wrk -t1 -c"$3" -d"$4"s --timeout 10s -s "$here/test/bench/post.lua" \
		"$(endpoint_of "$2")" >"$work/wrk" || die 'wrk failed'
	! grep -E 'Non-2xx|Socket errors' "$work/wrk" || die 'wrk had errors'
	reading "$1" rate "$(sed -n 's/^Requests.sec: *//p' "$work/wrk")" 1/s
}

# Floor and wrk, one after the other: scheme, connections, place, requests,
# seconds.
fair_pair()
{
	if [ "$2" = 1 ]; then
		floor "$1, $2, $3, floor" "$1" kept "$4"
	else
		floor "$1, $2, $3, floor" "$1" multi "$4" "$2"
	fi
	wrk_reading "$1, $2, $3, wrk" "$1" "$2" "${5:-2}"
}

fair_round()
{
	for scheme in http https; do
		for place in unpinned pinned; do
			[ $place = unpinned ] || pin
			fair_pair $scheme 1 $place 10000
			fair_pair $scheme 64 $place "$PAYMENTS"
			unpin
		done
	done
	control '{"delay": 200}'
	fair_pair http 64 '200 ms' 1600 5
	fair_pair http 1000 '200 ms' 25000 5
	control '{"delay": 0}'
}

part_fair()
{
	"$work/floor" bodies w 20000 >"$work/bodies"
	rounds fair_round
	for scheme in http https; do
		for place in unpinned pinned; do
			for connections in 1 64; do
				case="$scheme, $connections, $place"
				ratio "floor to wrk: $case" "$case, floor" rate "$case, wrk" rate '0.9 to 1.1'
			done
		done
	done
	for connections in 64 1000; do
		case="http, $connections, 200 ms"
		ratio "floor to wrk: $case" "$case, floor" rate "$case, wrk" rate '0.9 to 1.1'
	done
}
