# Many periods and many rows: a bill of 10,000 periods, a million bills read in
# one statement, and the look-ups of a journal that has grown.

use strict;
use warnings;

use DigipayTest;
use JSON::PP ();
use List::Util qw(min);
use PostgreSQL::Test::Utils;
use Test::More;

# what a slow build can do in the time
my $MILLION = $ENV{DIGIPAY_FEW} ? 50_000 : 1_000_000;
my $ROWS = $ENV{DIGIPAY_FEW} ? 20_000 : 300_000;

my $node = DigipayTest::new_node('scale', fsync => 'off', max_wal_size => '2GB', jit => 'off');
my $provider = DigipayTest::start_provider();
DigipayTest::create_account($node, $provider);

sub sql { return $node->safe_psql('postgres', $_[0]) }

# ------------------------------------------------------- P03: 10,000 periods

# A reply with so many periods, some 120 bytes each.
sub reply
{
	my ($ref_id, $count) = @_;
	my @detail = map {
		+{ periode => sprintf('%d%02d', 1200 + int($_ / 12), 1 + $_ % 12), nilai_tagihan => "$_", admin => '1', denda => '2',
			meter_awal => sprintf('%08d', $_), meter_akhir => sprintf('%08d', $_ + 1) }
	} 1 .. $count;
	return JSON::PP::encode_json({ data => {
		ref_id => $ref_id, customer_no => '530000000001', code => 'pln', name => 'A', admin => $count, message => 'ok',
		status => 'Sukses', sn => '', rc => '00', balance => 1, price => 1, selling_price => 1,
		desc => { tarif => 'R1', lembar_tagihan => 1, detail => \@detail } } });
}

for my $count (1000, 10_000)
{
	my $ref_id = "periods-$count";
	my $body = reply($ref_id, $count);
	cmp_ok(length $body, '>', 1e6, 'P03: a reply of over a megabyte') if $count == 10_000;
	$provider->control(script => { ref_id => $ref_id, body => $body, book => JSON::PP::true() });
	is(sql("SELECT state FROM digipay_pay('pln', '530000000001', '$ref_id')"), 'succeeded', "P03: a bill of $count periods is paid");
	is(sql("SELECT count(*), count(DISTINCT no), min(no), max(no), sum(nilai_tagihan), sum(denda), min(meter_awal), max(meter_akhir), count(extra)
		FROM digipay_payment p, digipay_detail(p) WHERE ref_id = '$ref_id'"),
		join('|', $count, $count, 1, $count, $count * ($count + 1) / 2, 2 * $count, '00000001', sprintf('%08d', $count + 1), 0),
		"P03: digipay_detail has all $count, as they are");
	is(sql("SELECT count(*), sum(admin) FROM digipay_bill WHERE ref_id = '$ref_id'"), "$count|$count", "P03: so has digipay_bill");
}

# Milliseconds that the server takes to read a bill's periods so often.
sub took
{
	my ($function, $ref_id, $times) = @_;
	return sql("EXPLAIN (ANALYZE, TIMING OFF, COSTS OFF)
		SELECT count(*) FROM digipay_payment p, generate_series(1, $times) i, LATERAL $function WHERE ref_id = '$ref_id'")
	  =~ /Execution Time: ([\d.]+) ms/ ? $1 : die 'no time';
}
# as many periods in all, so that what a statement costs besides is the same; the best
# of five, by turns, so that both have the same machine
for my $function ('digipay_detail_json(CASE WHEN i > 0 THEN p."desc" END)',
	q{digipay_bill_json(CASE WHEN i > 0 THEN p."desc" END, 'pln', NULL, 1, 1)})
{
	my (@few, @many);
	for (1 .. 5)
	{
		push @few, took($function, 'periods-1000', 50);
		push @many, took($function, 'periods-10000', 5);
	}
	cmp_ok(min(@many), '<', 3 * min(@few) + 50, 'P03: linear time, ' . $function =~ s/\(.*//r);
}

# --------------------------------------------------- P04: a million, one join

{
	my $session = $node->background_psql('postgres');
	my $pid = $session->query('SELECT pg_backend_pid()');
	my $memory = sub { return PostgreSQL::Test::Utils::slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+)/m ? $1 : die 'no RssAnon' };
	my $requests = $provider->books->{requests};

	sql(q{SELECT digipay_pay('pln', '530000000002', 'join')});
	is($provider->books->{requests}, $requests + 1, 'P04: a bill is paid');
	$session->query('SET max_parallel_workers_per_gather = 0');
	# each with a text of its own, or the planner would remember the answer
	my $join = sub {
		return $session->query("SELECT count(*), sum(d.nilai_tagihan) FROM generate_series(1, $_[0]) i
			JOIN digipay_payment p ON p.ref_id = 'join'
			LEFT JOIN LATERAL digipay_detail_json(p.\"desc\" || jsonb_build_object('i', i)) d ON true");
	};
	is($join->(1000), '2000|19500000', 'P04: a thousand bills');
	my $before = $memory->();
	is($join->($MILLION), 2 * $MILLION . '|' . 19500 * $MILLION, "P04: $MILLION bills read in one statement, each period exact");
	cmp_ok($memory->() - $before, '<', 32 * 1024, 'P04: in bounded memory');
	is($provider->books->{requests}, $requests + 1, 'P04: and no request has left');
	$session->quit;
}

# --------------------------------------------------------- P05: a long journal

sql("INSERT INTO digipay_payment (ref_id, state, code, customer_no, testing, requested_at, final_at, server, account, requested_by, origin)
	SELECT 'old-' || i, 'succeeded', 'pln', '530000000001', false, now() - i * interval '1 min', now(), 'digipay', p.account, 'x', p.origin
	FROM generate_series(1, $ROWS) i, digipay_payment p WHERE p.ref_id = 'join'");
sql('ANALYZE digipay_payment');
for my $query (
	q{SELECT * FROM digipay_payment WHERE account = (SELECT account FROM digipay_payment WHERE ref_id = 'join' AND server = 'digipay') AND ref_id = 'old-777'},
	q{SELECT * FROM digipay_payment WHERE server = 'digipay' AND ref_id = 'old-777'},
	q{SELECT ref_id FROM digipay_payment WHERE next_check_at <= now() AND state = 'queued' ORDER BY next_check_at LIMIT 256 FOR UPDATE SKIP LOCKED},
	q{SELECT * FROM digipay_unsettled})
{
	my $plan = sql("EXPLAIN (ANALYZE, COSTS OFF) $query");
	unlike($plan, qr/Seq Scan/, 'P05: by an index: ' . substr($query, 0, 60));
	my @times = sort { $a <=> $b } map { sql("EXPLAIN (ANALYZE, COSTS OFF) $query") =~ /Execution Time: ([\d.]+) ms/ ? $1 : die 'no time' } 1 .. 7;
	cmp_ok($times[3], '<', 5, 'P05: in less than 5 ms');
}
is(sql(q{SELECT state FROM digipay_pay('pln', '530000000001', 'new-1')}), 'succeeded', 'P05: a new payment is made');

$node->stop;
$provider->stop;
done_testing();
