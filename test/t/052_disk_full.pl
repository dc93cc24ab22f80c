# The disk is full: when the intent is written, nothing is sent; when the outcome
# is, it is kept and written later, across a restart if need be.  (T25)

use strict;
use warnings;

use DigipayFault;
use DigipayTest;
use JSON::PP ();
use Test::More;

DigipayFault::need_points($ENV{DIGIPAY_FAULT_POINTS});

my $node = DigipayTest::new_node('disk_full', start => 0, restart_after_crash => 'on',
	# nothing else shall find out first
	autovacuum => 'off', max_worker_processes => 32);
my $provider = DigipayTest::start_provider();
my $shim = DigipayFault::shim();
$shim->start($node);
DigipayTest::create_account($node, $provider, status_interval => 86_400_000);
$node->safe_psql('postgres', <<'SQL');
ALTER DATABASE postgres SET statement_timeout = '20s';
CREATE FUNCTION regress_pay(ref_id text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN (digipay_pay('pln', '530000000001', ref_id)).state;
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate || ' ' || sqlerrm;
END $$;
SQL

sub sql { return $node->safe_psql('postgres', $_[0]) }
sub pay { return sql("SELECT regress_pay('$_[0]')") }
sub requests { return $provider->books($_[0])->{pay_requests} // 0 }
sub agree { is_deeply([ DigipayFault::violations($node, $provider) ], [], $_[0]) }

is(pay('before'), 'succeeded', 'a payment to begin with');

# A reply that fits no page, and cannot be compressed: its outcome needs new
# pages, whatever is free in those that are there.
my $sample = JSON::PP->new->decode(DigipayTest::payment($node, 'before')->{reply});

sub prepare_large
{
	my ($ref_id) = @_;
	srand 1;
	my $blob = join '', map { chr(33 + int rand 90) } 1 .. 60000;
	$blob =~ s/[\\"]/x/g;
	my %data = (%$sample, ref_id => $ref_id, desc => { blob => $blob });
	$provider->control(script => { ref_id => $ref_id, book => JSON::PP::true(),
		body => JSON::PP->new->encode({ data => \%data }) });
	return;
}

# ---------------------------------------------------------------------------
# No page to be had for many payments: each of them is sent and known, or
# refused and not sent.

$shim->set(full_data => 1, strikes => 0);
my %answer = map { ("many-$_" => pay("many-$_")) } 1 .. 150;
cmp_ok($shim->get('strikes'), '>', 0, 'the disk is full');
my @refused = sort grep { $answer{$_} !~ /^(?:succeeded|sending)$/ } keys %answer;
note(scalar(@refused) . " of 150 were refused");
cmp_ok(scalar @refused, '>', 0, 'payments are refused');
my @odd = grep { $answer{$_} !~ /^PY003 the worker (?:could not|cannot) write to the journal/ } @refused;
is_deeply([ map { "$_: $answer{$_}" } @odd ], [], 'because the journal cannot be written');
is_deeply([ grep { requests($_) } @refused ], [], 'and are not sent');
is_deeply([ grep { requests($_) != 1 } grep { $answer{$_} =~ /^s/ } keys %answer ], [],
	'the others are, once');
my $log = PostgreSQL::Test::Utils::slurp_file($node->logfile);
like($log, qr/digipay could not write to the journal: could not extend file/, 'the log says so');

$shim->set(full_data => 0);
DigipayFault::recover($node);
agree('there is room again: the books agree');
DigipayTest::wait_until { pay($refused[0]) eq 'succeeded' };
is_deeply([ grep { pay($_) ne 'succeeded' } @refused ], [], 'what was refused can be paid');
agree('once');

# ---------------------------------------------------------------------------
# No page for an outcome.

sub pay_into_full_disk
{
	my ($ref_id) = @_;
	prepare_large($ref_id);
	$provider->hold;
	my $caller = DigipayTest::async($node, "SELECT regress_pay('$ref_id')");
	DigipayTest::wait_for_state($node, $ref_id, 'sending');
	$shim->set(full_data => 1, strikes => 0);
	$provider->release;
	is($caller->out, 'sending', "$ref_id: the outcome cannot be written, the row is as it stands");
	cmp_ok($shim->get('strikes'), '>', 0, "$ref_id: because of the disk");
	is($provider->booked($ref_id), 1, "$ref_id: it was paid");
	is(pay($ref_id), 'sending', "$ref_id: paid again, it is the same row");
	return;
}

pay_into_full_disk('outcome');
$shim->set(full_data => 0);
is(DigipayTest::wait_for_state($node, 'outcome', [qw(succeeded unknown)], seconds => 90)->{state}, 'succeeded',
	'there is room again: the outcome is written');
is(requests('outcome'), 1, 'of one request');

# the same, and the worker dies meanwhile
for my $how ('KILL', 'TERM')
{
	my $ref_id = "outcome-$how";

	pay_into_full_disk($ref_id);
	kill $how, DigipayTest::worker_pid($node);
	select(undef, undef, undef, 1.5);
	$shim->set(full_data => 0);
	DigipayFault::recover($node);
	eval { DigipayTest::wait_for_state($node, $ref_id, [qw(succeeded unknown)], seconds => 90) };
	is(requests($ref_id), 1, "$how: it was sent once");
	like(pay($ref_id), qr/^(?:unknown|succeeded)$/, "$how: paid again, it is the same row");
	is(requests($ref_id), 1, "$how: and is not sent again");
	agree("$how: the books agree");
}

# ---------------------------------------------------------------------------
# No room for the write-ahead log: PostgreSQL panics, and comes back.

for my $point ('before_intent', 'before_outcome')
{
	my $ref_id = "wal-$point" =~ tr/_/-/r;

	# the worker's commit is the next to write, then
	sql('CHECKPOINT');
	DigipayFault::block($node, $point);
	my $caller = DigipayTest::async($node, "SELECT regress_pay('$ref_id')");
	my $stuck = DigipayFault::wait_until_blocked($node, $point);
	$shim->set(full_wal => 1, strikes => 0);
	DigipayFault::let_go($stuck);
	eval { $caller->finish };
	is($shim->get('strikes'), 1, "$point: the log cannot be written");
	like($caller->{err}, qr/terminating connection|server closed/, "$point: the caller loses the connection");
	DigipayFault::recover($node);
	my $sent = $point eq 'before_outcome' ? 1 : 0;
	is(requests($ref_id), $sent, "$point: sent or not");
	my $state = pay($ref_id);
	$sent
	  ? like($state, qr/^(?:unknown|succeeded)$/, "$point: paid again, it is the same row")
	  # an intent whose commit was not flushed may be there all the same
	  : like($state, qr/^(?:succeeded|unknown)$/, "$point: paid again");
	agree("$point: the books agree");
}

$node->stop('fast');
done_testing();
