# libcurl bare, one connection: the way the processors are used makes a factor
# of three.

title='libcurl bare; a POST of 200 bytes, answered with the PLN sample'

floor_round()
{
	for scheme in http https; do
		for place in unpinned pinned; do
			[ $place = unpinned ] || pin
			floor "$scheme, $place, kept" $scheme kept 10000
			floor "$scheme, $place, kept, after 400 us asleep" $scheme sleep 2000
			floor "$scheme, $place, kept, after 400 us of other work" $scheme spin 2000
			floor "$scheme, $place, new connection" $scheme new 500
			floor "$scheme, $place, 64 in flight" $scheme multi "$PAYMENTS" 64
			unpin
		done
	done
}

part_floor()
{
	rounds floor_round
}
