# The queue, drained, beside libcurl bare with as many in flight.

title="$PAYMENTS payments in one statement until all are final, 64 in flight"

queue_round()
{
	for scheme in http https; do
		floor "$scheme, floor" $scheme multi "$PAYMENTS" 64
		queue "$scheme, queue" $scheme "$PAYMENTS" 64
	done
}

part_queue()
{
	rounds queue_round
	ratio 'http: queue to floor' 'http, queue' rate 'http, floor' rate 'at least 0.15; 0.20'
	ratio 'https: queue to floor' 'https, queue' rate 'https, floor' rate 'at least 0.25'
	ratio 'http: with the submitting' 'http, queue' whole 'http, floor' rate ''
	ratio 'https: with the submitting' 'https, queue' whole 'https, floor' rate ''
}
