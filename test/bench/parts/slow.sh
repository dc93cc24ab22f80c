# A peer that takes 200 ms: what counts is how many are in flight.

title='a peer that takes 200 ms'

slow_round()
{
	for in_flight in 64 1000; do
		allow_in_flight $in_flight
		for scheme in http https; do
			floor "$scheme, $in_flight in flight, floor" $scheme multi $((in_flight * 25)) $in_flight
			queue "$scheme, $in_flight in flight, queue" $scheme $((in_flight * 25)) $in_flight
		done
	done
}

part_slow()
{
	control '{"delay": 200}'
	rounds slow_round
	control '{"delay": 0}'
	allow_in_flight 64
	for scheme in http https; do
		ratio "$scheme: 64 in flight" "$scheme, 64 in flight, queue" rate "$scheme, 64 in flight, floor" rate 'at least 0.95'
		ratio "$scheme: 1,000 in flight" "$scheme, 1000 in flight, queue" rate "$scheme, 1000 in flight, floor" rate 'at least 0.9'
	done
}
