# An outage that has left 100,000 open outcomes does not become a storm when it
# ends: never more than 64 questions in any second, by the provider's books,
# while payments go on.

use strict;
use warnings;

use DigipayTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $MANY = $ENV{DIGIPAY_FEW} ? 5000 : 100_000;
my $SECONDS = 15;

my $node = DigipayTest::new_node('outcomes_load', max_connections => 60, max_wal_size => '2GB');
my $provider = DigipayTest::start_provider();
DigipayTest::create_account($node, $provider);

my $bill = q{'pln', '530000000001'};

sub sql { return $node->safe_psql('postgres', $_[0]) }

is(sql("SELECT state FROM digipay_pay($bill, 'first')"), 'succeeded', 'a payment');
sql(qq{INSERT INTO digipay_payment (ref_id, state, code, customer_no, testing, requested_at, sent_at, next_check_at,
		server, account, requested_by, origin)
	SELECT 'open-' || i, CASE WHEN i % 2 = 0 THEN 'unknown' ELSE 'pending' END::digipay_state, $bill, false,
		now() - interval '2 h', now() - interval '2 h', now() - i * interval '1 ms',
		'digipay', 'demo\@127.0.0.1', 'postgres', origin FROM generate_series(1, $MANY) i, digipay_fence});
is(sql(q{SELECT count(*) FROM digipay_unsettled}), $MANY, "$MANY open outcomes, all due");
$provider->reset;

# While they are asked about: payments; one who holds locks, so that the worker
# stumbles; and in the end a session that asks for itself, as somebody does who
# goes through digipay_unsettled.
my $begun = time;
my ($asker, $asker_at);
my $locker = DigipayTest::session($node);
my $n = 0;
my @took = ([], []);		# without locks, and with them
while (!$asker || time - $asker_at < $SECONDS / 3)
{
	# (a machine that has much else to do takes longer until enough is asked)
	if (!$asker && time - $begun > $SECONDS * 2 / 3
		&& ($provider->call('GET', '/books?summary=1')->{requests} > 20 * $SECONDS + 2 * $n || time - $begun > 4 * $SECONDS))
	{
		$asker_at = time;
		$asker = DigipayTest::async($node, q{SELECT count(digipay_status(ref_id))
			FROM (SELECT ref_id FROM digipay_payment WHERE ref_id LIKE 'open-%' ORDER BY next_check_at DESC LIMIT 3000) x});
	}
	my $ref_id = 'beside-' . ++$n;
	# by the server's clock: how long psql takes to start says nothing
	my $row = DigipayTest::row($node, qq{SELECT state, extract(epoch FROM clock_timestamp() - now()) AS took
		FROM digipay_pay($bill, '$ref_id')});
	push @{ $took[ $n % 10 > 3 && $n % 10 <= 7 ? 1 : 0 ] }, $row->{took};
	die "$ref_id: $row->{state}" if $row->{state} ne 'succeeded';
	sql("SET client_min_messages = error; SELECT digipay_submit($bill, 'queued-$n')");
	$locker->query(q{BEGIN; SELECT count(*) FROM (SELECT FROM digipay_payment WHERE state = 'unknown' AND ref_id LIKE 'open-%' LIMIT 500 FOR UPDATE) x}) if $n % 10 == 3;
	$locker->query('ROLLBACK') if $n % 10 == 7;
	sleep 0.1;
}
$locker->quit;
for my $locked (0, 1)
{
	# a single one may be held up by whatever else the machine has to do
	my @sorted = sort { $a <=> $b } @{ $took[$locked] };
	my $what = @sorted . ' payments beside' . ($locked ? ' locks' : '');
	cmp_ok($sorted[ @sorted / 2 ], '<', 1.5, "$what are not held up") or diag("@sorted");
	cmp_ok($sorted[-1], '<', 30, "$what: none until all is asked");
}
ok(eval { DigipayTest::wait_until {
	sql(q{SELECT count(*) FROM digipay_payment WHERE ref_id LIKE 'queued-%' AND state = 'succeeded'}) == $n } 30 },
	'nor are those of the queue') or diag(sql(q{SELECT state, count(*) FROM digipay_payment WHERE ref_id LIKE 'queued-%' GROUP BY 1}));

my $refs = $provider->books->{refs};
my (@asked, $twice);
for my $ref_id (grep { /^open-/ } keys %$refs)
{
	push @asked, @{ $refs->{$ref_id}{arrived_at} };
	$twice .= " $ref_id" if ($refs->{$ref_id}{status_requests} // 0) > 1;
	fail("$ref_id was paid") if $refs->{$ref_id}{pay_requests};
}
@asked = sort { $a <=> $b } @asked;
is($twice, undef, 'none is asked about twice within the interval');

# The most within so many seconds, of these times.  With quiet not within a second
# of a pause, which there is none of unless something has been stopped: what was on
# its way to a double that stands still it counts when it goes on, all at once.
sub busiest
{
	my ($seconds, $at, %params) = @_;
	my $worst = 0;
	my $first = 0;
	my $pause = $at->[0];
	for my $last (0 .. $#$at)
	{
		$pause = $at->[$last] if $last && $at->[$last] - $at->[ $last - 1 ] >= 0.1;
		$first++ while $at->[$last] - $at->[$first] >= $seconds;
		next if $params{quiet} && $at->[$first] - $pause <= 1;
		$worst = $last - $first + 1 if $last - $first + 1 > $worst;
	}
	return $worst;
}

my @alone = grep { $_ < $asker_at } @asked;
note sprintf('%d questions in %.1f s', scalar @asked, $asked[-1] - $asked[0]);
cmp_ok(busiest(1, \@alone, quiet => 1), '<=', 64, 'never more than 64 questions in any second');
cmp_ok(busiest(1, \@asked, quiet => 1), '<=', 64, 'not even when a session asks for itself');
cmp_ok(busiest(5, \@asked), '<=', 5 * 64, 'nor on the average of any five seconds');
# a quarter of the places, a burst, and the session's
cmp_ok(busiest(1, \@asked), '<=', 64 + 16 + 6 + 1, 'nor more than what was on its way besides, after a stop');
note join(', ', map { busiest(1, $_, quiet => 1) . ' of ' . busiest(1, $_) } \@alone, \@asked), ' in the busiest second';
cmp_ok(scalar @alone, '>', 16 * $SECONDS, 'and they do not stand still');
cmp_ok(sql(q{SELECT count(*) FROM digipay_payment WHERE ref_id LIKE 'open-%' AND status_checks > 1}), '==', 0, 'the rows say so, too');
$asker->cancel;
$asker->finish;
cmp_ok($provider->books->{max_in_flight}, '<=', 64, 'within max_in_flight');
is(join(',', grep { !/names another bill|witness/ } $provider->complaints), '', 'the provider has no complaints');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/PANIC|terminated by signal|TRAP/, 'nothing has crashed');
done_testing();
