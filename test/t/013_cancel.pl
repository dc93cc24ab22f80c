# The caller goes away: by a cancel, a time-out, a signal or a lost connection.
# Before the worker has the request nothing is sent; after that only the
# waiting ends.

use strict;
use warnings;

use DigipayTest;
use Test::More;
use Time::HiRes qw(sleep);

my $node = DigipayTest::new_node('cancel');
# What shall be in flight while it is looked at is held back by the double: how
# long that takes says nothing about us.
my $provider = DigipayTest::start_provider();
my $slow_provider = DigipayTest::start_provider(username => 'narrow');
DigipayTest::create_account($node, $provider);
DigipayTest::create_account($node, $slow_provider, server => 'narrow', username => 'narrow',
	max_in_flight => 1);
$node->safe_psql('postgres', 'SELECT digipay_worker_start()');

my $bill = q{'pln', '530000000001'};
my $goes_on = qr/digipay payment "([^"]+)", which goes on without this session: call digipay_pay again/;
my $nothing_sent = qr/digipay payment "([^"]+)", taken back before the worker had it: nothing was sent/;

# Is the error a cancel, and does its context name the payment and say that?
sub is_cancel
{
	my ($error, $ref_id, $context, $name, $sqlstate) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($named) = ($error->{context} // '') =~ $context;

	return is_deeply([ $error->{sqlstate}, $named ], [ $sqlstate // '57014', $ref_id ], $name)
	  || diag($error->{text});
}

# The payment comes to its end without a caller, by one request.
sub succeeds_alone
{
	my ($ref_id, $name, $at) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $row = eval { DigipayTest::wait_for_state($node, $ref_id, 'succeeded', seconds => 60) };
	my $books = ($at // $provider)->books($ref_id);

	return is_deeply([ $row ? $row->{state} : $@, $books->{pay_requests}, $books->{booked} ],
		[ 'succeeded', 1, 1 ], $name);
}

# ------------------------------------------------- how soon the caller is back

$node->safe_psql('postgres',
	'CREATE TABLE ended (ref_id text, at timestamptz, began timestamptz, sqlstate text, context text)');

# A statement that pays, and notes when and how that ended.
sub noting
{
	my ($ref_id) = @_;
	return <<"SQL";
DO \$\$
DECLARE
	words text;
BEGIN
	PERFORM digipay_pay($bill, '$ref_id');
	INSERT INTO ended VALUES ('$ref_id', clock_timestamp(), statement_timestamp(), '00000', '');
EXCEPTION WHEN query_canceled THEN
	GET STACKED DIAGNOSTICS words = PG_EXCEPTION_CONTEXT;
	INSERT INTO ended VALUES ('$ref_id', clock_timestamp(), statement_timestamp(), SQLSTATE, words);
END \$\$;
SQL
}

# What the worker of a busy machine has not taken before the time-out strikes is
# taken back; such a round is made again.
my $rounds = 9;
my $patience = 400;
my $session = DigipayTest::session($node);
my @taken;
$session->query_safe("SET statement_timeout = $patience");
$provider->hold;
for (my $try = 1; $try <= 3 * $rounds && @taken < $rounds; $try++)
{
	$session->query_safe(noting("timeout-$try"));
	push @taken, "timeout-$try" if $provider->books("timeout-$try")->{pay_requests};
}
my @rows = DigipayTest::rows($node,
	qq{SELECT ref_id, sqlstate, context, extract(epoch FROM at - began) * 1000 - $patience AS late}
	  . q{ FROM ended WHERE ref_id IN (} . join(',', map { "'$_'" } @taken) . ')');
is(scalar(grep { $_->{sqlstate} eq '57014' } @rows), $rounds, 'statement_timeout: 57014');
is( scalar(grep { $_->{context} =~ $goes_on && $1 eq $_->{ref_id} } @rows),
	$rounds, 'and the context says that the payment goes on');
my $late = DigipayTest::median(map { $_->{late} } @rows);
note("statement_timeout: back after a median of $late ms, at most "
	  . (sort { $b <=> $a } map { $_->{late} } @rows)[0] . ' ms');
cmp_ok($late, '<', 20, 'the caller is back within 20 ms');
cmp_ok(scalar(grep { $_->{late} > 500 } @rows), '<', $rounds / 3, 'and hardly ever much later');
cmp_ok($late, '>', -1, 'but not early');

# pg_cancel_backend, the clock being the server's
$session->query_safe('RESET statement_timeout');
my $pid = $session->query_safe('SELECT pg_backend_pid()');
$node->safe_psql('postgres', 'CREATE TABLE cancelled (ref_id text, at timestamptz)');
my $canceller = DigipayTest::session($node);
for my $ref_id (map { "cancel-$_" } 1 .. $rounds)
{
	$session->{stdin} .= noting($ref_id);
	$session->{run}->pump_nb;
	DigipayTest::wait_until { $provider->books($ref_id)->{pay_requests} };
	# the time is taken before the signal
	$canceller->query_safe(
		"DO \$\$ DECLARE now timestamptz := clock_timestamp(); BEGIN PERFORM pg_cancel_backend($pid);"
		  . " INSERT INTO cancelled VALUES ('$ref_id', now); END \$\$");
	$session->query_safe('SELECT 1');
}
@rows = DigipayTest::rows($node,
	q{SELECT ref_id, sqlstate, context, extract(epoch FROM e.at - c.at) * 1000 AS late}
	  . q{ FROM ended e JOIN cancelled c USING (ref_id)});
is(scalar(grep { $_->{sqlstate} eq '57014' } @rows), $rounds, 'pg_cancel_backend: 57014');
is( scalar(grep { $_->{context} =~ $goes_on && $1 eq $_->{ref_id} } @rows),
	$rounds, 'and the context says that the payment goes on');
$late = DigipayTest::median(map { $_->{late} } @rows);
note("pg_cancel_backend: back after a median of $late ms, at most "
	  . (sort { $b <=> $a } map { $_->{late} } @rows)[0] . ' ms');
cmp_ok($late, '<', 20, 'the caller is back within 20 ms');
cmp_ok(scalar(grep { $_->{late} > 500 } @rows), '<', $rounds / 3, 'and hardly ever much later');
$provider->release;
succeeds_alone($_, "payment $_ succeeds after the time-out") for @taken[ 0, -1 ];
succeeds_alone("cancel-$_", "payment $_ succeeds after the cancel") for 1, $rounds;

# ----------------------------------------------------- what the user is told

$provider->hold;

# Begins a payment, and makes it be in flight; $settings come before it.
sub in_flight
{
	my ($ref_id, $settings) = @_;
	my $handle = DigipayTest::async($node, ($settings // '') . "SELECT state FROM digipay_pay($bill, '$ref_id')");
	DigipayTest::wait_until { $provider->books($ref_id)->{pay_requests} };
	return $handle;
}

my $handle = in_flight('told', "SET statement_timeout = '3s';\n");
my $error = $handle->error;
is_cancel($error, 'told', $goes_on, 'a time-out names the payment and says that it goes on');
like($error->{message}, qr/statement timeout/, q{with PostgreSQL's own message});
is(DigipayTest::payment($node, 'told')->{state}, 'sending', 'the payment is on its way');
# as the context says: call again
$handle = in_flight('told');
DigipayTest::wait_for_waiters($node, 1, q{SELECT state%'told'%});
$provider->release;
is($handle->out, 'succeeded', 'the same call again waits for the outcome');
succeeds_alone('told', 'which is that of the one request');
$provider->hold;

# Ctrl-C
$handle = in_flight('interrupt');
is_cancel($handle->cancel->error, 'interrupt', $goes_on, 'Ctrl-C in psql');
$provider->release;
succeeds_alone('interrupt', 'and the payment succeeds');
$provider->hold;

# an inquiry has nothing to go on for
$handle = DigipayTest::async($node, "SELECT digipay_inquire($bill, 'inquiry')");
DigipayTest::wait_until { $provider->books('inquiry')->{inquiries} };
is_cancel($handle->cancel->error, 'inquiry', qr/digipay inquiry "([^"]+)", whose answer nobody waits for/,
	'an inquiry that is cancelled');

# one session, one transaction: cancelled, caught, and paid
$session->query_safe(q{SET statement_timeout = '3s'});
$session->query_safe('BEGIN');
$session->query_safe('SAVEPOINT s');
$session->query("SELECT digipay_pay($bill, 'same-session')");
like($session->{stderr}, qr/57014/, 'cancelled in a transaction');
$session->{stderr} = '';
$session->query_safe('ROLLBACK TO s');
$session->query_safe('SET LOCAL statement_timeout = 0');
$provider->release;
is($session->query_safe("SELECT state FROM digipay_pay($bill, 'same-session')"),
	'succeeded', 'and the same payment awaited in the same transaction');
is($session->query_safe("SELECT state FROM digipay_pay($bill, 'same-session-2')"),
	'succeeded', 'and another one made');
$session->query_safe('ROLLBACK');
succeeds_alone('same-session', 'one request for the first');
succeeds_alone('same-session-2', 'and one for the second');
$session->query_safe('RESET statement_timeout');

# --------------------------------------------------------- the session ends

$provider->hold;
$handle = in_flight('terminated');
$node->safe_psql('postgres',
	q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%''terminated''%' AND pid <> pg_backend_pid()});
is_cancel($handle->error, 'terminated', $goes_on,
	'pg_terminate_backend: the session ends while the answer is awaited, with its last words', '57P01');
is(DigipayTest::payment($node, 'terminated')->{state}, 'sending', 'and leaves the payment on its way');
$provider->release;
succeeds_alone('terminated', 'which succeeds');

for my $interval ('0', '100ms')
{
	my $ref_id = "lost-$interval";
	$provider->hold;
	$handle = in_flight($ref_id, "SET client_connection_check_interval = '$interval';\n");
	$handle->kill;
	eval { $handle->finish };
	if ($interval ne '0')
	{
		ok( $node->poll_query_until('postgres',
				"SELECT count(*) = 0 FROM pg_stat_activity WHERE query LIKE '%$ref_id%' AND pid <> pg_backend_pid()"),
			'a lost connection is noticed');
		is(DigipayTest::payment($node, $ref_id)->{state}, 'sending', 'while the answer is awaited');
	}
	$provider->release;
	succeeds_alone($ref_id, "connection lost, looked after every $interval: the payment succeeds");
}

# ----------------------------------------- before the worker has the request

# One slow payment takes the server's only place; more wait in the mailbox.
sub blocked
{
	my ($ref_id) = @_;
	$slow_provider->hold;
	my $first = DigipayTest::async($node,
		"SELECT state FROM digipay_pay($bill, '$ref_id', server => 'narrow')");
	DigipayTest::wait_until { $slow_provider->books($ref_id)->{pay_requests} };
	return $first;
}

my $first = blocked('first-1');
$error = DigipayTest::error_of($node, "SELECT digipay_pay($bill, 'waiting-1', server => 'narrow')",
	before => "SET statement_timeout = '1s';\n");
is_cancel($error, 'waiting-1', $nothing_sent, 'a time-out before the worker has it says that nothing was sent');
is(DigipayTest::payment($node, 'waiting-1'), undef, 'the journal has no row');

my $waiting = DigipayTest::async($node, "SELECT digipay_pay($bill, 'waiting-2', server => 'narrow')");
my $terminated = DigipayTest::async($node, "SELECT digipay_pay($bill, 'waiting-3', server => 'narrow')");
my $stays = DigipayTest::async($node, "SELECT state FROM digipay_pay($bill, 'waiting-4', server => 'narrow')");
DigipayTest::wait_for_waiters($node, 3, q{SELECT%'waiting-%});
$node->safe_psql('postgres',
	q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%''waiting-2''%' AND pid <> pg_backend_pid()});
is_cancel($waiting->error, 'waiting-2', $nothing_sent, 'so does pg_cancel_backend');
$node->safe_psql('postgres',
	q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%''waiting-3''%' AND pid <> pg_backend_pid()});
is_cancel($terminated->error, 'waiting-3', $nothing_sent, 'and pg_terminate_backend', '57P01');
is($slow_provider->books('first-1')->{answered_at}[0], undef, 'all that while the first one is in flight')
  or diag(explain($slow_provider->books('first-1')));
is(DigipayTest::row($node, q{SELECT count(*) AS n FROM digipay_payment WHERE ref_id LIKE 'waiting-%'})->{n},
	0, 'and the journal has none of the others');
$node->safe_psql('postgres', "SELECT digipay_pay($bill, 'elsewhere')");
succeeds_alone('elsewhere', 'another server is not held up by that');

$slow_provider->release;
is($first->out, 'succeeded', 'the first one succeeds');
is($stays->out, 'succeeded', 'and so does the one who has waited');
succeeds_alone('waiting-4', 'by one request', $slow_provider);
is_deeply($slow_provider->books("waiting-$_"), {}, "nothing was sent for the one taken back ($_)")
  for 1 .. 3;
is($slow_provider->books->{max_in_flight}, 1, 'max_in_flight was kept');

is( $node->safe_psql('postgres', "SELECT state FROM digipay_pay($bill, 'waiting-1', server => 'narrow')"),
	'succeeded', 'the same ref_id pays as ever');
succeeds_alone('waiting-1', 'once', $slow_provider);

$_->quit for $session, $canceller;

# -------------------------------------------------------------- in the end

my %state = map { $_->{ref_id} => $_->{state} }
  DigipayTest::rows($node, 'SELECT ref_id, state FROM digipay_payment');
for my $double ($provider, $slow_provider)
{
	my $books = $double->books;
	is_deeply([ grep { $books->{refs}{$_}{pay_requests} > 1 } sort keys %{ $books->{refs} } ],
		[], 'no ref_id was asked to be paid twice');
	is_deeply(
		[ grep { $books->{refs}{$_}{booked} && ($state{$_} // '') ne 'succeeded' }
			  sort keys %{ $books->{refs} } ],
		[], 'the journal knows all that is booked');
}

$node->stop('fast');
done_testing();
