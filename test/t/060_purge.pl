# Retention: what digipay_purge leaves of old payments, that no stub can be paid
# again, and what it does not touch.  What was paid is told by the provider's books.

use strict;
use warnings;

use Digest::SHA qw(hmac_sha1_hex);
use DigipayTest;
use JSON::PP ();
use Test::More;

my $SECRET = 'rahasia-purge-5d2';
my $BILL = q{'pln', '530000000001'};
my $HOUR = 3_600_000;

my $node = DigipayTest::new_node('purge', max_worker_processes => 16);
my $provider = DigipayTest::start_provider(pending => 100_000_000);
DigipayTest::create_account($node, $provider, mapping => { webhook_secret => $SECRET }, status_interval => $HOUR);

sub value
{
	my ($query) = @_;
	return $node->safe_psql('postgres', $query);
}

sub row_of
{
	my ($ref_id) = @_;
	return value("SELECT p FROM digipay_payment p WHERE ref_id = '$ref_id'");
}

# ---------------------------------------------------------------------------
# One payment in each state, half a year old; two that are old and were settled
# just now or asked for just now; what was inquired about, and what happened.

my %customer_of = ('o-failed' => '530000000006', 'o-pending' => '630000000001');
my %rc_of = ('o-rejected' => '44', 'o-review' => '49', 'o-refunded' => '74', 's-settled' => '49');
$provider->control(script => { ref_id => $_,
	body => qq({"data":{"ref_id":"$_","customer_no":"530000000001","code":"pln","rc":"$rc_of{$_}","status":"Gagal","message":"Maaf"}}) })
  for sort keys %rc_of;
$provider->control(script => { ref_id => 'o-unknown', body => "not JSON", book => JSON::PP::true() });
for my $ref_id (qw(o-succeeded o-failed o-pending o-unknown o-rejected o-review o-refunded o-testing s-settled r-recent))
{
	my $customer = $customer_of{$ref_id} // '530000000001';
	my $testing = $ref_id eq 'o-testing' ? 'true' : 'NULL';
	value("SELECT digipay_inquire('pln', '$customer', '$ref_id')") if $ref_id =~ /succeeded|pending|recent/;
	value("SELECT digipay_pay('pln', '$customer', '$ref_id', $testing)");
}
value("BEGIN; SELECT digipay_submit($BILL, 'o-cancelled'); SELECT digipay_cancel('o-cancelled'); COMMIT");
$provider->stop;
DigipayTest::fails_with($node, "SELECT digipay_pay($BILL, 'o-not_sent')", 'PY001', 'o-not_sent: not sent');
$provider->start;
value("SELECT digipay_inquire($BILL, 'o-inquiry')");
for my $ref_id (qw(o-succeeded o-failed o-pending o-unknown o-rejected o-review o-refunded o-cancelled o-not_sent))
{
	is(DigipayTest::payment($node, $ref_id)->{state}, $ref_id =~ s/^o-//r, "$ref_id is there");
}
my $old = q{interval '200 days'};
value("UPDATE digipay_payment SET requested_at = requested_at - $old, sent_at = sent_at - $old,
	replied_at = replied_at - $old, final_at = final_at - $old WHERE ref_id ~ '^[os]-'");
# both kinds of event of everything that is old, and of something else
value(q{INSERT INTO digipay_event (server, ref_id, kind, at) SELECT 'digipay', ref_id, 'untrusted', requested_at FROM digipay_payment});
value(qq{INSERT INTO digipay_event (server, ref_id, kind, at) VALUES ('digipay', '', 'taken_over', now() - $old), ('digipay', '', 'taken_over', now()),
	('digipay', 'o-succeeded', 'asked', now())});
value("UPDATE digipay_event SET at = at - $old WHERE ref_id ~ '^o-' AND kind NOT IN ('asked', 'untrusted')");
value("UPDATE digipay_inquiry SET inquired_at = inquired_at - $old WHERE ref_id ~ '^o-'");
value(q{SELECT digipay_settle('s-settled', 'failed', 'the bank says so')});

# ---------------------------------------------------------------------------
# What is refused

my $today = q{timezone('Asia/Jakarta', now())::date};
DigipayTest::fails_with($node, "SELECT digipay_purge($$_[0])", '22023', "refused: $$_[1]", hint => qr/\S/)
  for [ 'NULL', 'NULL' ], [ q{'infinity'}, 'infinity' ], [ $today, 'today' ], [ "$today - 89", 'a day inside 90' ],
  [ "$today + 1", 'tomorrow' ], [ q{'5874897-12-31'}, 'the last day of all' ];
is(value("SELECT digipay_purge($$_[0])"), 0, "nothing is so old: $$_[1]")
  for [ q{'-infinity'}, '-infinity' ], [ q{'4714-11-24 BC'}, 'the first day of all' ], [ "$today - 200", 'the day itself is kept' ];
DigipayTest::fails_with($node, "BEGIN READ ONLY; SELECT digipay_purge($today - 100)", '25006', 'not in a read-only transaction');
DigipayTest::fails_with($node, "SET session_replication_role = replica; SELECT digipay_purge($today - 100)", '55000', 'not where changes are replicated to');
value('CREATE ROLE keeper');
DigipayTest::fails_with($node, "SELECT digipay_purge($today - 100)", '42501', 'not for everybody', role => 'keeper');

# ---------------------------------------------------------------------------
# What is left

my $PAYMENTS = 'SELECT p FROM digipay_payment p ORDER BY ref_id';
my $sums = q{SELECT 'daily', d::text FROM digipay_daily d UNION ALL SELECT 'products', s::text FROM digipay_product_stats s
	UNION ALL SELECT 'responses', r::text FROM digipay_response_stats r UNION ALL SELECT 'bookings', b::text FROM digipay_booking b
	UNION ALL SELECT 'bills', (ref_id, sum(coalesce(amount, 0) + coalesce(fine, 0) + coalesce(other, 0) + coalesce(admin, 0)))::text
		FROM digipay_bill GROUP BY ref_id ORDER BY 1, 2};
my $sums_before = value($sums);
my $events_before = value('SELECT count(*) FROM digipay_event');
my %before = map { $_->{ref_id} => $_ } DigipayTest::rows($node, 'SELECT * FROM digipay_payment');
like($before{'o-succeeded'}{desc}, qr/detail/, 'there is something to lose');

# ROLLBACK takes it back
my $all = value($PAYMENTS);
is(value("BEGIN; SELECT digipay_purge($today - 100); ROLLBACK"), 7, 'seven are purged');
is(value($PAYMENTS), $all, 'and are back after ROLLBACK');
is(value('SELECT count(*) FROM digipay_event'), $events_before, 'with their events');
is(value(q{SELECT count(*) FROM digipay_inquiry WHERE ref_id ~ '^o-'}), 3, 'and inquiries');

value('GRANT EXECUTE ON FUNCTION digipay_purge TO keeper');
is(value("SET ROLE keeper; SELECT digipay_purge($today - 100)"), 7, 'who is granted it needs no right on the tables');
DigipayTest::fails_with($node, 'SELECT * FROM digipay_payment', '42501', 'and gets none', role => 'keeper');

my %after = map { $_->{ref_id} => $_ } DigipayTest::rows($node, 'SELECT * FROM digipay_payment');
is(join(' ', sort keys %after), join(' ', sort keys %before), 'every ref_id is still there');
my %stub = map { $_ => 1 } qw(o-succeeded o-failed o-rejected o-refunded o-testing o-cancelled o-not_sent);
for my $ref_id (sort keys %before)
{
	my %expected = %{ $before{$ref_id} };
	%expected = (%expected, error => 'purged', map { $_ => undef } qw(name message periode desc reply)) if $stub{$ref_id};
	is_deeply($after{$ref_id}, \%expected, $stub{$ref_id} ? "$ref_id: a stub, and no more lost than that" : "$ref_id: untouched");
}
is(value($sums), $sums_before, 'the sums are what they were');
is(value(q{SELECT string_agg(DISTINCT ref_id, ' ' ORDER BY ref_id) FROM digipay_event WHERE kind = 'untrusted'}),
	'o-pending o-review o-unknown r-recent s-settled', 'the events of what was purged are gone, and no others');
is(value(q{SELECT string_agg(ref_id || ' ' || kind, ', ' ORDER BY ref_id) FROM digipay_event WHERE ref_id = '' OR kind = 'asked'}),
	' taken_over, o-succeeded asked', 'nor is what happened since; old events about no payment are');
is(value(q{SELECT string_agg(ref_id, ' ' ORDER BY ref_id) FROM digipay_inquiry}), 'o-pending r-recent', 'so with the inquiries');

$all = value($PAYMENTS);
is(value("SELECT digipay_purge($today - 100)"), 0, 'once is enough');
is(value($PAYMENTS), $all, 'twice is the same');

# ---------------------------------------------------------------------------
# A stub is not paid again.  The provider has forgotten all, as it does after 90
# days, so what is sent now would be paid.

$provider->reset;
for my $state (qw(succeeded failed refunded))
{
	my $ref_id = "o-$state";
	my $stub = row_of($ref_id);
	is(value("SELECT p FROM digipay_pay($BILL, '$ref_id') p"), $stub, "$ref_id: digipay_pay returns the stub") if $state ne 'failed';
	is(value("SELECT p FROM digipay_submit('pln', '" . $before{$ref_id}{customer_no} . "', '$ref_id') p"), $stub, "$ref_id: so does digipay_submit");
	DigipayTest::fails_with($node, "SELECT digipay_retry('$ref_id')", '55000', "$ref_id: digipay_retry refuses");
	for my $bill (q{'pln', '530000000002'}, q{'pdam', '530000000001'})
	{
		DigipayTest::fails_with($node, "SELECT digipay_$_($bill, '$ref_id')", 'PY002', "$ref_id: digipay_$_: another bill") for qw(pay submit);
	}
	is(row_of($ref_id), $stub, "$ref_id: the stub is as it was");
}
is($provider->books->{requests}, 0, 'nothing was sent for any of them');

# what never was paid may still be
is(value("SELECT state, error IS NULL, \"desc\" IS NOT NULL, name IS NOT NULL FROM digipay_pay($BILL, 'o-not_sent')"), 'succeeded|t|t|t',
	'o-not_sent: sent, and no stub any more');
value(q{SELECT digipay_retry('o-cancelled')});
DigipayTest::wait_for_state($node, 'o-cancelled', 'succeeded');
is($provider->booked($_), 1, "$_: booked once") for qw(o-not_sent o-cancelled);

# ---------------------------------------------------------------------------
# The provider may still be heard of

sub webhook
{
	my ($ref_id, $rc, $status) = @_;
	my $body = DigipayTest::spoken(qq({"data":{"ref_id":"$ref_id","customer_no":"530000000001","code":"pln","rc":"$rc","status":"$status","message":"Kabar","price":10000}}));
	return value(sprintf q{SELECT state FROM digipay_webhook('\x%s', 'sha1=%s')}, unpack('H*', $body), hmac_sha1_hex($body, $SECRET));
}
my $stub = row_of('o-succeeded');
is(webhook('o-succeeded', '00', 'Sukses'), 'succeeded', 'a call-back that says what is known');
is(row_of('o-succeeded'), $stub, 'leaves the stub as it is');
is(webhook('o-succeeded', '03', 'Pending'), 'succeeded', 'so does one that comes too late');
is(row_of('o-succeeded'), $stub, 'as it is');
is(value(q{SELECT state FROM digipay_status('o-succeeded', refresh => true)}), 'succeeded', 'that the provider has forgotten it means nothing');
is(webhook('o-succeeded', '50', 'Gagal'), 'review', 'a contradiction is for a person');
isnt(DigipayTest::payment($node, 'o-succeeded')->{error}, 'purged', 'to whom it says why');
is(value("SELECT digipay_purge($today - 100)"), 0, 'and it is not purged meanwhile');
is(value("SELECT p.state FROM digipay_pay($BILL, 'o-succeeded') p"), 'review', 'nor paid');
is(value(q{SELECT state FROM digipay_settle('o-succeeded', 'succeeded', 'paid, says the bank')}), 'succeeded', 'it is settled');
is(value("SELECT digipay_purge($today - 100)"), 0, 'which is recent');
is($provider->booked('o-succeeded'), 0, 'and nothing was sent');
is_deeply([ grep { !/unknown/ } $provider->complaints ], [], 'the provider has no complaint');

done_testing();
