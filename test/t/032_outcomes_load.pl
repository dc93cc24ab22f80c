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
my (@took, $n);
while (time - $begun < $SECONDS)
{
	if (!$asker && time - $begun > $SECONDS * 2 / 3)
	{
		$asker_at = time;
		$asker = DigipayTest::async($node, q{SELECT count(digipay_status(ref_id))
			FROM (SELECT ref_id FROM digipay_payment WHERE ref_id LIKE 'open-%' ORDER BY next_check_at DESC LIMIT 3000) x}, timeout => 40);
	}
	my $at = time;
	my $ref_id = 'beside-' . ++$n;
	my $row = DigipayTest::row($node, "SELECT state FROM digipay_pay($bill, '$ref_id')");
	push @took, time - $at;
	die "$ref_id: $row->{state}" if $row->{state} ne 'succeeded';
	sql("SET client_min_messages = error; SELECT digipay_submit($bill, 'queued-$n')");
	$locker->query(q{BEGIN; SELECT count(*) FROM (SELECT FROM digipay_payment WHERE state = 'unknown' AND ref_id LIKE 'open-%' LIMIT 500 FOR UPDATE) x}) if $n % 10 == 3;
	$locker->query('ROLLBACK') if $n % 10 == 7;
	sleep 0.1;
}
$locker->quit;
my ($slowest) = sort { $b <=> $a } @took;
cmp_ok($slowest, '<', 1.5, scalar(@took) . ' payments beside are not held up') or diag("@took");
is(sql(q{SELECT count(*) FROM digipay_payment WHERE ref_id LIKE 'queued-%' AND state = 'succeeded'}) >= $n - 10, 1,
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

# The most within a second, of these times.
sub busiest_second
{
	my $worst = 0;
	my $first = 0;
	for my $last (0 .. $#_)
	{
		$first++ while $_[$last] - $_[$first] >= 1;
		$worst = $last - $first + 1 if $last - $first + 1 > $worst;
	}
	return $worst;
}

my @alone = grep { $_ < $asker_at } @asked;
note sprintf('%d questions in %.1f s', scalar @asked, $asked[-1] - $asked[0]);
cmp_ok(busiest_second(@alone), '<=', 64, 'never more than 64 questions in any second');
cmp_ok(busiest_second(@asked), '<=', 64, 'not even when a session asks for itself');
note busiest_second(@alone), ' and ', busiest_second(@asked), ' in the busiest second';
cmp_ok(scalar @alone, '>', 16 * $SECONDS, 'and they do not stand still');
cmp_ok(sql(q{SELECT count(*) FROM digipay_payment WHERE ref_id LIKE 'open-%' AND status_checks > 1}), '==', 0, 'the rows say so, too');
$asker->cancel;
$asker->finish;
cmp_ok($provider->books->{max_in_flight}, '<=', 64, 'within max_in_flight');
is(join(',', grep { !/names another bill|witness/ } $provider->complaints), '', 'the provider has no complaints');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/PANIC|terminated by signal|TRAP/, 'nothing has crashed');
done_testing();
