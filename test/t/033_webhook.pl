# The provider's call-backs: who may make one, what each does to a payment, that
# none of them pays anything, and that no transaction of the caller's is in the
# way.  What was paid is told by the provider's books.

use strict;
use warnings;
use utf8;

use Digest::SHA qw(hmac_sha1_hex);
use DigipayTest;
use Encode qw(encode);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $SECRET = 'rahasia-webhook-7c1';
my @BILL = ('pln', '530000000001');
my $LATER = '630000000001';		# Pending first
my $HOUR = 3_600_000;

my $node = DigipayTest::new_node('webhook', max_worker_processes => 16);
my $provider = DigipayTest::start_provider(pending => 100_000_000);
DigipayTest::create_account($node, $provider, mapping => { webhook_secret => $SECRET },
	status_interval => $HOUR);

# A call-back's body, as the provider makes it.
my %status_of = ('00' => 'Sukses', '03' => 'Pending', 99 => 'Pending');
sub body
{
	my ($ref_id, $rc, %more) = @_;
	my ($customer_no, $code, $name) = map { delete $more{$_} } qw(customer_no code name);
	my $status = delete $more{status} // $status_of{$rc} // 'Gagal';
	return encode('UTF-8', DigipayTest::spoken(sprintf
		  '{"data":{"ref_id":"%s","customer_no":"%s","code":"%s","rc":"%s","status":"%s","message":"Kabar","sn":"SN-%s","price":10000%s}}',
		$ref_id, $customer_no // $BILL[1], $code // $BILL[0], $rc, $status, $rc,
		defined $name ? qq(,"name":"$name") : ''));
}

sub sign
{
	my ($body, $secret) = @_;
	return 'sha1=' . hmac_sha1_hex($body, $secret // $SECRET);
}

# The call that delivers it.  signature => undef is NULL.
sub delivery
{
	my ($body, %params) = @_;
	my $signature = exists $params{signature} ? $params{signature} : sign($body, $params{secret});
	my $server = defined $params{server} ? ', ' . DigipayTest::literal($params{server}) : '';
	return sprintf "SELECT state FROM digipay_webhook('\\x%s', %s%s)", unpack('H*', $body),
	  DigipayTest::literal($signature), $server;
}

sub deliver
{
	my ($body, %params) = @_;
	return $node->safe_psql($params{db} // 'postgres', delivery($body, %params));
}

sub value
{
	my ($query, $db) = @_;
	return $node->safe_psql($db // 'postgres', $query);
}

sub state
{
	my ($ref_id) = @_;
	my $row = DigipayTest::payment($node, $ref_id);
	return $row ? $row->{state} : 'none';
}

sub events
{
	my ($ref_id, $db) = @_;
	return value("SELECT coalesce(string_agg(kind, ',' ORDER BY id), '') FROM digipay_event WHERE ref_id = '$ref_id'", $db);
}

# All that a call-back could have changed.
sub everything
{
	return value(q{SELECT md5(string_agg(t, '' ORDER BY t)) FROM (
		SELECT p::text FROM digipay_payment p UNION ALL SELECT e::text FROM digipay_event e
		UNION ALL SELECT i::text FROM digipay_inquiry i UNION ALL SELECT f::text FROM digipay_fence f) x (t)});
}

sub pay
{
	my ($ref_id, $customer_no) = @_;
	$customer_no //= $BILL[1];
	return value("SELECT state FROM digipay_pay('$BILL[0]', '$customer_no', '$ref_id')");
}

sub refused { return value('SELECT webhooks_refused FROM digipay_stats()') }
sub taken { return value('SELECT webhooks FROM digipay_stats()') }
sub option { value("ALTER SERVER digipay OPTIONS ($_[0])"); return }
sub log_text { return PostgreSQL::Test::Utils::slurp_file($node->logfile) }

# Rows as they may stand there, whatever brought them to that state.
sub make_row
{
	my ($ref_ids, $state, $doubted) = @_;
	my $list = join ',', ref $ref_ids ? @$ref_ids : $ref_ids;
	my $open = $state =~ /^(queued|sending|pending|unknown)$/;
	my $next = $state eq 'review' ? "'infinity'" : $open ? "now() + interval '1 hour'" : 'NULL';
	my $final = $open || ($state eq 'review' && !$doubted) ? 'NULL' : 'now()';
	my $sent = $state =~ /^(queued|not_sent|cancelled)$/ ? 'NULL' : 'now()';
	value(qq{INSERT INTO digipay_payment (ref_id, state, code, customer_no, testing, server, account,
		requested_by, origin, requested_at, sent_at, final_at, next_check_at)
		SELECT r, '$state', '$BILL[0]', '$BILL[1]', false, 'digipay', 'demo\@127.0.0.1', 'postgres',
		origin, now(), $sent, $final, $next FROM digipay_fence, unnest('{$list}'::text[]) r});
	return;
}

# ---------------------------------------------------------------------------
# Pending, and then the call-back.

is(pay('p-ok', $LATER), 'pending', 'a pending payment');
is(value(q{SELECT account FROM digipay_payment}), 'demo@127.0.0.1', 'its account, for the rows made below');
is(deliver(body('p-ok', '00', customer_no => $LATER, name => 'Ibu Ani')), 'succeeded', 'succeeds by a call-back');
my $row = DigipayTest::payment($node, 'p-ok');
is("$row->{rc} $row->{sn} $row->{name} $row->{price} $row->{reply}" =~ s/\{.*"sn": "SN-00".*\}/JSON/r,
	'00 SN-00 Ibu Ani 10000 JSON', 'and has what it says');
ok($row->{final_at} && $row->{replied_at} && !$row->{next_check_at} && !defined $row->{error}, 'and is over');
is($provider->books('p-ok')->{status_requests} // 0, 0, 'nobody was asked for that');

for my $case ([ 'p-failed', '02', 'failed' ], [ 'p-refunded', '74', 'refunded' ], [ 'p-pending', '03', 'pending' ])
{
	my ($ref_id, $rc, $state) = @$case;
	pay($ref_id, $LATER);
	is(deliver(body($ref_id, $rc, customer_no => $LATER)), $state, "pending, then rc $rc: $state");
}
is(value(q{SELECT next_check_at > now() FROM digipay_payment WHERE ref_id = 'p-pending'}), 't',
	'what is still pending is still to be asked about');

# The notice is as for any other outcome.
{
	pay('p-notice', $LATER);
	my $listener = DigipayTest::session($node);
	$listener->query_safe('LISTEN digipay');
	deliver(body('p-notice', '00', customer_no => $LATER));
	my $heard = '';
	# psql tells of notices with the next answer
	DigipayTest::wait_until(sub { $heard .= $listener->query('SELECT 1'); $heard =~ /p-notice/ });
	like($heard, qr/\{"server":"digipay","ref_id":"p-notice","state":"succeeded"\}/, 'a call-back is told by NOTIFY');
	$listener->quit;
}

# ---------------------------------------------------------------------------
# Every state, and everything that a call-back can say.

my @RCS = ('00', '02', '62', '74', '03', '01', '49');
my %becomes = (
	queued => [qw(succeeded failed queued refunded pending unknown review)],
	sending => [ ('sending') x 7 ],
	not_sent => [qw(review review not_sent review review review review)],
	pending => [qw(succeeded failed failed refunded pending pending review)],
	unknown => [qw(succeeded failed rejected refunded pending unknown review)],
	succeeded => [qw(succeeded review review refunded succeeded succeeded succeeded)],
	failed => [qw(review failed failed failed failed failed failed)],
	rejected => [qw(review review rejected review review rejected rejected)],
	refunded => [ ('refunded') x 7 ],
	cancelled => [qw(review review cancelled review review review review)],
	review => [qw(succeeded failed failed refunded pending review review)],
	doubted => [ ('review') x 7 ],		# a review by which a final state is in doubt
);
option("ADD paused 'true'");
my $before = $provider->books->{requests};
for my $from (sort keys %becomes)
{
	make_row([ map { "t-$from-$_" } @RCS ], $from eq 'doubted' ? 'review' : $from, $from eq 'doubted');
	my @answers = split /\n/, value(join ';', map { delivery(body("t-$from-$_", $_)) } @RCS);
	is("@answers", "@{ $becomes{$from} }", "$from, and rc @RCS");
	is(value(qq{SELECT string_agg((SELECT state::text FROM digipay_payment WHERE ref_id = 't-$from-' || u.rc), ' ' ORDER BY n)
		FROM unnest('{@{[ join ',', @RCS ]}}'::text[]) WITH ORDINALITY u (rc, n)}), "@answers", '... as the journal has it');
}
is(value(q{SELECT count(*) FROM digipay_payment p WHERE ref_id LIKE 't-%' AND next_check_at IS NULL
	<> (state IN ('not_sent', 'succeeded', 'failed', 'rejected', 'refunded', 'cancelled'))
	OR (state = 'review') <> (coalesce(next_check_at, '-infinity') = 'infinity')}), '0',
	'next_check_at fits each state');
is(value(q{SELECT count(*) FROM digipay_payment p WHERE ref_id LIKE 't-%' AND final_at IS NULL
	AND state IN ('not_sent', 'succeeded', 'failed', 'rejected', 'refunded', 'cancelled')}), '0',
	'and final_at');
is(value(q{SELECT count(*) FROM digipay_payment p WHERE ref_id LIKE 't-%' AND state = 'review'
	AND error IS NULL AND ref_id !~ '^t-(review|doubted)'}), '0', 'whatever went to review says why');
# what has changed nothing is noted; what says the same again need not be
is(value(q{SELECT string_agg(ref_id, ' ' ORDER BY ref_id) FROM digipay_payment p
	WHERE ref_id ~ '^t-(sending|refunded|failed|succeeded)-' AND p.state::text = split_part(ref_id, '-', 2)
	AND NOT EXISTS (SELECT FROM digipay_event e WHERE e.ref_id = p.ref_id)}),
	't-failed-02 t-failed-62 t-refunded-74 t-succeeded-00', 'what changes nothing is an event');

# Nothing of this is paid when the server goes on, but what is still queued.
is($provider->books->{requests}, $before, 'no call-back has made a request');
option("SET paused 'false'");
value(q{UPDATE digipay_payment SET next_check_at = now() WHERE state = 'queued'});
is(value(q{SELECT state FROM digipay_wait('t-queued-62', '60 s')}), 'succeeded', 'what is still queued is paid in the end');
is(join(' ', map { $provider->books("t-queued-$_")->{pay_requests} // 0 } @RCS), '0 0 1 0 0 0 0',
	'a queued payment that the provider already knows is not paid again');
is($provider->booked("t-not_sent-$_"), 0, "not_sent, rc $_: no payment") for @RCS;

# ---------------------------------------------------------------------------
# Repeated, late, out of order.

pay('o-1', $LATER);
my $sukses = body('o-1', '00', customer_no => $LATER);
is(deliver($sukses), 'succeeded', 'a success');
my $first = DigipayTest::row($node, q{SELECT * FROM digipay_payment WHERE ref_id = 'o-1'});
deliver($sukses) for 1 .. 3;
is_deeply(DigipayTest::row($node, q{SELECT * FROM digipay_payment WHERE ref_id = 'o-1'}), $first, 'the same four times changes nothing');
deliver(body('o-1', '03', customer_no => $LATER));
is_deeply(DigipayTest::row($node, q{SELECT * FROM digipay_payment WHERE ref_id = 'o-1'}), $first, 'a late Pending overwrites nothing');
is(deliver(body('o-1', '74', customer_no => $LATER)), 'refunded', 'a refund after it');
is(deliver($sukses), 'refunded', 'the success, once more and late');
is(deliver(body('o-1', '03', customer_no => $LATER)), 'refunded', 'and Pending');

pay('o-2', $LATER);
deliver(body('o-2', '00', customer_no => $LATER));
is(deliver(body('o-2', '02', customer_no => $LATER)), 'review', 'failed after a success: for a person');
$row = DigipayTest::payment($node, 'o-2');
is($row->{sn}, 'SN-00', '... what was known is not overwritten');
like($row->{error}, qr/succeeded.*02/, '... and why');
like(events('o-2'), qr/contradiction/, '... with the bytes in an event');
for my $rc ('00', '02', '74', '03')
{
	is(deliver(body('o-2', $rc, customer_no => $LATER)), 'review', "... whatever comes then (rc $rc)");
}
is(value(q{SELECT state FROM digipay_settle('o-2', 'succeeded', 'seen in the statement')}), 'succeeded', '... until a person says');
pay('o-3', '530000000006');
is(deliver(body('o-3', '00', customer_no => '530000000006')), 'review', 'success after failed: for a person');
$row = DigipayTest::payment($node, 'o-3');
is(value(q{SELECT state FROM digipay_pay('pln', '530000000006', 'o-3')}), 'review', '... and nothing pays it');
is($provider->books('o-3')->{pay_requests}, 1, '... really');

# ---------------------------------------------------------------------------
# On its way, or not yet.

$provider->hold;
$provider->control(script => { ref_id => 's-1', book => JSON::PP::true(), body => body('s-1', '00') });
my $payer = DigipayTest::async($node, "SELECT state FROM digipay_pay('$BILL[0]', '$BILL[1]', 's-1')");
DigipayTest::wait_for_state($node, 's-1', 'sending');
DigipayTest::wait_until(sub { ($provider->books('s-1')->{pay_requests} // 0) == 1 });
is(deliver(body('s-1', '02')), 'sending', 'on its way: its own reply comes first');
$provider->release;
is($payer->out, 'succeeded', '... and counts');
is(events('s-1'), 'ignored', '... the call-back is an event');

option("SET paused 'true'");
value("SELECT digipay_submit('$BILL[0]', '$BILL[1]', 'q-$_')") for 1 .. 2;
is(deliver(body('q-1', '00')), 'succeeded', 'queued, and the server paused: a call-back is applied');
option("SET paused 'false'");
is(value("SELECT state FROM digipay_wait('q-2', '60 s')"), 'succeeded', '... while the other one is paid when the pause ends');
is($provider->books('q-1')->{pay_requests} // 0, 0, '... and the first is not sent');
is($provider->booked('q-2'), 1, '... the other one once');

# ---------------------------------------------------------------------------
# Not signed by the provider.

pay('w-1', $LATER);
my $body = body('w-1', '00', customer_no => $LATER);
my $hex = hmac_sha1_hex($body, $SECRET);
my %wrong = (
	'wrong' => 'sha1=' . ('0' x 40), 'NULL' => undef, 'empty' => '', 'the prefix alone' => 'sha1=',
	'truncated' => 'sha1=' . substr($hex, 0, 39), 'cut in half' => 'sha1=' . substr($hex, 0, 20),
	'too long' => "sha1=${hex}0", 'another prefix' => "sha256=$hex", 'the prefix twice' => "sha1=sha1=$hex",
	'a space behind' => "sha1=$hex ", 'a line feed behind' => "sha1=$hex\n", 'a space before' => " sha1=$hex",
	'no hex' => 'sha1=' . ('z' x 40), 'no ASCII' => 'sha1=' . ('é' x 20),
	'of another body' => sign("$body "), 'of an empty body' => sign(''), 'by the api key' => sign($body, 'demo-key'),
	'one bit' => 'sha1=' . (substr($hex, 0, 1) eq 'f' ? 'e' : 'f') . substr($hex, 1),
	'the last digit' => 'sha1=' . substr($hex, 0, 39) . (substr($hex, 39) eq 'f' ? 'e' : 'f'),
	'very long' => 'a' x 100_000);
my ($all, $count, $lines) = (everything(), refused(), scalar(() = log_text() =~ /LOG:  digipay refused a call-back for server "digipay"/g));
for my $how (sort keys %wrong)
{
	DigipayTest::fails_with($node, encode('UTF-8', delivery($body, signature => $wrong{$how})), '42501', "signature: $how",
		message => qr/signature/, hint => qr/webhook_secret/);
}
is(refused() - $count, scalar(keys %wrong), 'each is counted');
is((() = log_text() =~ /LOG:  digipay refused a call-back for server "digipay"/g) - $lines, scalar(keys %wrong), 'and logged');
is(everything(), $all, 'and nothing has changed');
is(state('w-1'), 'pending', 'nor the payment');

is(deliver($body, signature => $hex), 'succeeded', 'a signature without its prefix');
pay('w-2', $LATER);
$body = body('w-2', '00', customer_no => $LATER);
is(deliver($body, signature => 'sha1=' . uc hmac_sha1_hex($body, $SECRET)), 'succeeded', 'in capitals');

# One signed body is not good for another server with another secret, and a
# server without one takes none.
DigipayTest::create_account($node, $provider, server => 'other', username => 'other', mapping => { webhook_secret => 'another' });
DigipayTest::create_account($node, $provider, server => 'bare', username => 'bare');
DigipayTest::fails_with($node, delivery($body, server => 'other'), '42501', 'another server has another secret');
DigipayTest::fails_with($node, delivery($body, server => 'bare'), '42704', 'a server without a secret', message => qr/webhook_secret/);
DigipayTest::fails_with($node, delivery($body, server => 'bare', secret => ''), '42704', '... is not one with an empty secret');
DigipayTest::fails_with($node, delivery($body, server => 'none'), '42704', 'no such server');
value(q{ALTER USER MAPPING FOR PUBLIC SERVER other OPTIONS (SET webhook_secret 'changed')});
DigipayTest::fails_with($node, delivery(body('x-changed', '00'), server => 'other', secret => 'another'), '42501', 'a changed secret counts at once');
is(deliver(body('x-changed', '00'), server => 'other', secret => 'changed'), 'review', '... the new one');

# ---------------------------------------------------------------------------
# Roles.

value(q{CREATE ROLE teller; CREATE ROLE outsider; CREATE ROLE stranger;
	GRANT EXECUTE ON FUNCTION digipay_webhook TO teller, stranger;
	GRANT USAGE ON FOREIGN SERVER digipay TO teller, outsider});
pay('r-1', $LATER);
$body = body('r-1', '00', customer_no => $LATER);
DigipayTest::fails_with($node, delivery($body), '42501', 'without EXECUTE', role => 'outsider', message => qr/function/);
DigipayTest::fails_with($node, delivery($body), '42501', 'without USAGE', role => 'stranger', message => qr/server/);
is(state('r-1'), 'pending', 'nothing came of these');
my $own = DigipayTest::error_of($node, q{CREATE USER MAPPING FOR CURRENT_USER SERVER digipay OPTIONS (webhook_secret 'own', username 'own', api_key 'own')}, role => 'teller');
note($own ? "a role's own secret is refused: $own->{message}" : "a role's own secret is ignored");
DigipayTest::fails_with($node, delivery($body, secret => 'own'), '42501', 'nobody supplies a secret of his own', role => 'teller');
DigipayTest::fails_with($node, "SELECT 1 FROM digipay_response_code LIMIT 1; SET digipay.server = 'other'; " . delivery($body), '42501', 'nor chooses the server by a setting', role => 'teller', message => qr/digipay\.server/);
is(value('SET ROLE teller; ' . delivery($body)), 'succeeded', 'who may, may');
DigipayTest::fails_with($node, 'SELECT 1 FROM digipay_payment', '42501', '... without a right on the journal', role => 'teller');
DigipayTest::fails_with($node, 'BEGIN READ ONLY; ' . delivery($body), '25006', 'not in a read-only transaction');
DigipayTest::fails_with($node, "SELECT digipay_webhook(NULL, 'sha1=')", '22023', 'no body at all');

# ---------------------------------------------------------------------------
# The caller's transaction.

pay('c-1', $LATER);
my $caller = DigipayTest::session($node);
$caller->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
is($caller->query(delivery(body('c-1', '00', customer_no => $LATER))), 'succeeded', 'in a transaction: the new state is returned');
is($caller->query(q{SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()
	AND relation::regclass::text LIKE 'digipay%'}), '0', 'it holds no lock on our tables');
is(value(q{SET lock_timeout = '20s'; BEGIN; LOCK TABLE digipay_payment, digipay_event, digipay_fence IN ACCESS EXCLUSIVE MODE;
	ALTER TABLE digipay_payment SET (fillfactor = 51); COMMIT; SELECT 'locked'}), 'locked', 'another session can have them');
is(state('c-1'), 'succeeded', 'others see the state before it commits');
$caller->query('ROLLBACK');
is(state('c-1'), 'succeeded', 'a ROLLBACK loses nothing');
# a savepoint, a failing statement, and a statement that calls twice
pay("c-$_", $LATER) for 2 .. 4;
$node->psql('postgres', 'BEGIN; SAVEPOINT s; ' . delivery(body('c-2', '00', customer_no => $LATER)) . '; ROLLBACK TO s; SELECT 1/0');
is(state('c-2'), 'succeeded', 'nor does one to a savepoint');
$caller->query(sprintf q{SELECT digipay_webhook(b, s) FROM (VALUES ('\x%s'::bytea, '%s'), ('\x%s', '%s')) v (b, s)},
	map { my $b = body("c-$_", '00', customer_no => $LATER); (unpack('H*', $b), sign($b)) } 3, 4);
is(state('c-3') . state('c-4'), 'succeededsucceeded', 'two in one statement');

# A payment that the caller's own transaction has queued: nobody deadlocks.
my $begun = time;
$caller->query("BEGIN; SELECT state FROM digipay_submit('$BILL[0]', '$BILL[1]', 'c-own')");
$caller->query(delivery(body('c-own', '00')));
cmp_ok(time - $begun, '<', 20, 'its own, not committed: soon over');
$caller->query('ROLLBACK');
is(state('c-own'), 'none', '... and nothing of it stays') or diag(state('c-own'));

# A row that somebody has locked.
pay('l-1', $LATER);
$caller = DigipayTest::session($node);
$caller->query_safe('SET client_min_messages = error');
$caller->query_safe(q{BEGIN; SELECT 1 FROM digipay_payment WHERE ref_id = 'l-1' FOR UPDATE});
$begun = time;
DigipayTest::fails_with($node, delivery(body('l-1', '00', customer_no => $LATER)), '55P03', 'a locked row: refused for now', hint => qr/again/);
cmp_ok(time - $begun, '<', 20, '... soon');
is(deliver(body('p-pending', '00', customer_no => $LATER)), 'succeeded', '... others are not held up');
$caller->query_safe('COMMIT');
is(deliver(body('l-1', '00', customer_no => $LATER)), 'succeeded', '... and taken again later');
pay('l-2', $LATER);
$caller->query_safe(q{BEGIN; LOCK TABLE digipay_payment IN SHARE MODE});
$begun = time;
my $error = DigipayTest::error_of($node, delivery(body('l-2', '00', customer_no => $LATER)));
is($error->{sqlstate}, '55P03', 'a locked table: refused for now');
cmp_ok(time - $begun, '<', 20, '... soon');
$caller->query_safe('COMMIT');
is(DigipayTest::wait_until(sub { !DigipayTest::error_of($node, delivery(body('l-2', '00', customer_no => $LATER))) && state('l-2') }),
	'succeeded', '... and taken again later');

# ---------------------------------------------------------------------------
# Not known here: nothing may pay it later.

is(deliver(body('u-1', '00', name => 'Siapa')), 'review', 'a payment that we do not know: for a person');
$row = DigipayTest::payment($node, 'u-1');
is("$row->{code} $row->{customer_no} $row->{rc} $row->{sn}", "@BILL 00 SN-00", '... with what is said of it');
ok($row->{error}, '... and why');
like(events('u-1'), qr/webhook/, '... and an event');
is(deliver(body('u-2', '03')), 'review', 'Pending: as well');
is(deliver(body('u-3', '02')), 'review', 'failed: as well');
is(pay("u-$_"), 'review', "u-$_: digipay_pay returns the row") for 1 .. 3;
is(value("SELECT state FROM digipay_submit('$BILL[0]', '$BILL[1]', 'u-1')"), 'review', 'digipay_submit, too');
DigipayTest::fails_with($node, q{SELECT digipay_retry('u-1')}, '55000', 'digipay_retry does not send it');
DigipayTest::fails_with($node, q{SELECT digipay_cancel('u-1')}, '55000', 'digipay_cancel does not take it back');
DigipayTest::fails_with($node, q{SELECT digipay_pay('pln', '530000000002', 'u-1')}, 'PY002', 'it belongs to its bill');
is(value(q{SELECT digipay_worker_stop(); SELECT digipay_worker_start(); SELECT state FROM digipay_status('u-1')}) =~ s/^t\nt\n//r,
	'review', 'nor does a new worker do anything');
is($provider->books("u-$_")->{pay_requests} // 0, 0, "u-$_ was never sent") for 1 .. 3;
is(deliver(body('u-' . 'x' x 62, '00')), 'review', 'the longest ref_id');

# Somebody queues the same ref_id in the same moment: the worker finds his row, and
# waits a fifth of a second for him to commit.  On a busy machine that can be too
# short; then the call-back is refused for now, and the next ref_id is tried.
my $worker = DigipayTest::worker_pid($node);
my $raced;
for my $ref_id (map { "u-race-$_" } 1 .. 20)
{
	$caller->query_safe("BEGIN; SELECT state FROM digipay_submit('$BILL[0]', '$BILL[1]', '$ref_id')");
	my $racer = DigipayTest::async($node, delivery(body($ref_id, '00')));
	my $met = $caller->query(<<"SQL");
DO \$\$
BEGIN
	PERFORM set_config('race.met', 'f', false);
	FOR i IN 1 .. 3000 LOOP
		IF cardinality(pg_blocking_pids($worker)) > 0 THEN
			PERFORM set_config('race.met', 't', false);
			EXIT;
		END IF;
		PERFORM pg_sleep(0.005);
	END LOOP;
END \$\$; COMMIT; SELECT current_setting('race.met');
SQL
	$racer->finish;
	next if $met ne 't';
	if (!$racer->error)
	{
		$raced = $ref_id;
		last;
	}
	is($racer->error->{sqlstate}, '55P03', "$ref_id: refused for now") if $racer->error->{sqlstate} ne '55P03';
}
ok($raced, 'a call-back about what is being queued by somebody else');
sleep 1;
is($provider->books($raced // '-')->{pay_requests} // 0, 0, 'queued while the call-back was being taken: not paid again');
isnt(state($raced // '-'), 'queued', '... nor left to be');

# The account's name has changed: the ref_id is taken, by another account.
value(q{ALTER USER MAPPING FOR PUBLIC SERVER other OPTIONS (SET username 'newname')});
is(DigipayTest::error_of($node, delivery(body('x-changed', '00'), server => 'other', secret => 'changed')), undef,
	'a ref_id of the account as it was: no error that would bring the call-back back for ever');
is(value(q{SELECT account LIKE 'other@%' FROM digipay_payment WHERE ref_id = 'x-changed'}), 't', '... and its row stays');

# ---------------------------------------------------------------------------
# What is no call-back about a payment.

my $ping = '{"sed":"Keep it logically awesome.","hook_id":"Nm1","hook":{"type":"Repository","active":true,"events":["create","update"]}}';
($all, $count) = (everything(), taken());
is(deliver($ping), '', 'a ping is NULL');
is(value(sprintf q{SELECT digipay_webhook('\x%s', '%s') IS NULL}, unpack('H*', $ping), sign($ping)), 't', 'really');
is(everything(), $all, 'and leaves nothing');
is(taken() - $count, 2, 'but is counted');
DigipayTest::fails_with($node, delivery($ping, signature => 'sha1=' . '1' x 40), '42501', 'not if its signature is wrong');

pay('b-1', $LATER);
my $good = body('b-1', '00', customer_no => $LATER);
my %unreadable = (
	'empty' => '', 'no JSON' => 'halo', 'a number' => '1', 'null' => 'null', 'no data' => '{}', 'data is null' => '{"data":null}',
	'data is a list' => '{"data":[]}', 'cut' => substr($good, 0, -1), 'garbage behind' => $good . 'x', 'twice' => $good . $good,
	'a key twice' => $good =~ s/"rc":"00"/"rc":"02","rc":"00"/r, 'data twice' => $good =~ s/\}\}$/},"data":{"ref_id":"b-1"}}/r,
	'the ref_id twice' => $good =~ s/"ref_id":"b-1"/"ref_id":"zzz","ref_id":"b-1"/r,
	'NUL' => $good =~ s/Kabar/Ka\0bar/r, 'an escaped NUL' => $good =~ s/Kabar/Ka\\u0000bar/r,
	'not UTF-8' => $good =~ s/Kabar/Ka\xffbar/r, 'deep' => '[' x 100 . ']' x 100, 'very deep' => '[' x 100_000,
	'no ref_id' => $good =~ s/"ref_id":"b-1",//r, 'ref_id null' => $good =~ s/"b-1"/null/r, 'ref_id a number' => $good =~ s/"b-1"/1/r,
	'an empty ref_id' => $good =~ s/"b-1"/""/r, 'ref_id not ASCII' => encode('UTF-8', $good =~ s/"b-1"/"b-é"/r),
	'ref_id too long' => $good =~ s/b-1/'b' x 65/er, 'a control character in it' => $good =~ s/b-1/b\\n1/r,
	'ref_id in capitals' => $good =~ s/"ref_id"/"REF_ID"/r, 'code too long' => body('b-new', '00', code => 'x' x 65),
	'customer_no too long' => body('b-new', '00', customer_no => '1' x 129), 'form data' => 'payload=%7B%22data%22%3A%7B%7D%7D',
	'a ping with garbage' => $ping . '}');
my $payments = value('SELECT md5(string_agg(p::text, E\'\n\' ORDER BY ref_id)) FROM digipay_payment p');
for my $how (sort keys %unreadable)
{
	my $events = value('SELECT count(*) FROM digipay_event');
	my $answer = eval { deliver($unreadable{$how}) };
	is($answer, '', "well signed, but $how: NULL") or diag($@);
	next if $how =~ /ping/;
	is(value('SELECT count(*) FROM digipay_event') - $events, 1, "... kept as an event ($how)");
	is(value(q{SELECT kind || coalesce(encode(body, 'hex'), '') FROM digipay_event ORDER BY id DESC LIMIT 1}),
		'untrusted' . unpack('H*', $unreadable{$how}), "... with its bytes ($how)");
}
is(value('SELECT md5(string_agg(p::text, E\'\n\' ORDER BY ref_id)) FROM digipay_payment p'), $payments, 'no payment was touched by these');

# Readable, known, but about another bill, or contradicting itself.
for my $case ([ 'customer_no', body('b-1', '00') ], [ 'code', body('b-1', '00', customer_no => $LATER, code => 'pdam') ],
	[ 'status', body('b-1', '00', customer_no => $LATER, status => 'Gagal') ],
	[ 'word', body('b-1', '00', customer_no => $LATER, status => 'sukses') ],
	[ 'rc', body('b-1', 'A1', customer_no => $LATER, status => 'Gagal') ],
	[ 'refusal', body('b-1', '41', customer_no => $LATER) ],
	[ 'refusal that names nothing else', '{"data":{"ref_id":"b-1","rc":"45","status":"Gagal"}}' ])
{
	is(deliver($case->[1]), 'pending', "a foreign or odd $case->[0]: nothing changes");
}
is($provider->books('b-1')->{status_requests} // 0, 0, 'nobody was asked because of these');
is(deliver($good), 'succeeded', 'and then the right one');

# Size.
$node->append_conf('postgresql.conf', 'digipay.max_response_size = 16');
$node->reload;
DigipayTest::wait_until(sub { value(q{SELECT setting FROM pg_file_settings WHERE name = 'digipay.max_response_size'}) eq '16' });
my $big = body('big', '00', name => 'x' x 17_000);
DigipayTest::fails_with($node, delivery($big), '22023', 'a body above digipay.max_response_size', message => qr/body/);
is(state('big'), 'none', '... is not taken');
is(deliver(body('big', '00', name => 'x' x 15_000)), 'review', 'one below it is');
$node->append_conf('postgresql.conf', 'digipay.max_response_size = 4096');
$node->reload;

# ---------------------------------------------------------------------------
# A database that cannot hold what the provider sends.

$node->safe_psql('postgres', q{CREATE DATABASE regress_latin1 TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'});
DigipayTest::create_account($node, $provider, db => 'regress_latin1', mapping => { webhook_secret => $SECRET }, status_interval => $HOUR);
for my $case ([ 'e-1', '北京 王', undef ], [ 'e-2', 'José', '4a6f73e9' ])
{
	my ($ref_id, $name, $bytes) = @$case;
	value("SELECT digipay_pay('$BILL[0]', '$LATER', '$ref_id')", 'regress_latin1');
	is(deliver(body($ref_id, '00', customer_no => $LATER, name => $name), db => 'regress_latin1'), 'succeeded', encode('UTF-8', "LATIN1 and $name: the state is right"));
	is(value("SELECT coalesce(encode(textsend(name), 'hex'), 'NULL') || (error IS NULL) FROM digipay_payment WHERE ref_id = '$ref_id'", 'regress_latin1'),
		($bytes // 'NULL') . (defined $bytes ? 'true' : 'false'), '... the text, or why there is none');
	like(events($ref_id, 'regress_latin1'), defined $bytes ? qr/^$/ : qr/^unstored$/, '... and the bytes, if need be');
}

# ---------------------------------------------------------------------------
# Many at once.

pay("m-$_", $LATER) for 1 .. 4;
my @many = map { my $n = $_; map { DigipayTest::async($node, delivery(body("m-$n", '00', customer_no => $LATER))) } 1 .. 4 } 1 .. 4;
is(join(' ', map { $_->out // $_->err } @many), join(' ', ('succeeded') x 16), 'sixteen at once, four for each');
@many = map { DigipayTest::async($node, delivery(body('m-new', $_ % 2 ? '00' : '03'))) } 1 .. 8;
is(join(' ', sort map { $_->out } @many) =~ s/(review|succeeded|pending)/x/gr, join(' ', ('x') x 8), 'eight about one that is not known');
is(value(q{SELECT count(*) FROM digipay_payment WHERE ref_id = 'm-new'}), '1', '... make one row');
is(pay('m-new') =~ /^(review|succeeded|pending)$/ ? $provider->books('m-new')->{pay_requests} // 0 : 'paid', 0, '... that nothing pays');

# The provider hangs, and all places are taken: its call-backs are what helps.
option("ADD max_in_flight '1'");
pay('h-0');		# so that the limit is known
$provider->hold;
$provider->control(script => { ref_id => 'h-1', book => JSON::PP::true(), body => body('h-1', '00') });
$payer = DigipayTest::async($node, "SELECT state FROM digipay_pay('$BILL[0]', '$BILL[1]', 'h-1')");
DigipayTest::wait_until(sub { ($provider->books('h-1')->{pay_requests} // 0) == 1 });
pay_row_at_hand('h-2');
is(deliver(body('h-2', '00')), 'succeeded', 'all places taken by payments that wait: a call-back is applied');
is(state('h-1'), 'sending', '... while they wait');
$provider->release;
is($payer->out, 'succeeded', 'the payment');
option('DROP max_in_flight');

sub pay_row_at_hand { make_row($_[0], 'pending'); return }

# ---------------------------------------------------------------------------
# Behind PostgREST, as in the README.

value(q{
CREATE ROLE digipay_gate NOLOGIN;
GRANT EXECUTE ON FUNCTION digipay_webhook TO digipay_gate;
GRANT USAGE ON FOREIGN SERVER digipay TO digipay_gate;

CREATE SCHEMA api;
CREATE FUNCTION api.webhook(json) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
	SELECT digipay_webhook(convert_to($1::text, 'UTF8'),
		current_setting('request.headers', true)::json ->> 'x-hub-signature')
$$;
ALTER FUNCTION api.webhook(json) OWNER TO digipay_gate;
REVOKE ALL ON FUNCTION api.webhook(json) FROM PUBLIC;

CREATE ROLE anon NOLOGIN;
GRANT USAGE ON SCHEMA api TO anon;
GRANT EXECUTE ON FUNCTION api.webhook(json) TO anon;
});

# One request: PostgREST's own statements, with the body as a parameter.
sub post
{
	my ($body, $signature) = @_;
	my $headers = JSON::PP->new->canonical->encode({ 'content-type' => 'application/json', 'user-agent' => 'Digiflazz-Pasca-Hookshot',
		defined $signature ? ('x-hub-signature' => $signature) : () });
	my $sql = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL ROLE anon; SET LOCAL \"request.headers\" = "
	  . DigipayTest::literal($headers) . '; PREPARE call (json) AS SELECT api.webhook($1); EXECUTE call('
	  . DigipayTest::literal($body) . '); COMMIT';
	utf8::downgrade($sql);		# these are bytes
	return $sql;
}
pay('a-1', $LATER);
# odd spacing and escapes must come through as they are, or the signature is wrong
$body = DigipayTest::spoken(qq(  { "data" : {"ref_id":"a-1", "customer_no":"$LATER",\n\t"code":"pln","rc":"00","status":"Sukses","message":"\\u00e9 \\/ ))
  . encode('UTF-8', 'é') . qq(", "price":1e4, "sn":"S" } }\n);
DigipayTest::fails_with($node, post($body, 'sha1=' . '0' x 40), '42501', 'PostgREST: a wrong signature');
DigipayTest::fails_with($node, post($body, undef), '42501', 'PostgREST: none');
is(state('a-1'), 'pending', '... change nothing');
is(value(post($body, sign($body))), '', 'PostgREST: the right one');
is(state('a-1'), 'succeeded', '... is applied');
is(value(post($ping, sign($ping))), '', 'PostgREST: a ping');
DigipayTest::fails_with($node, delivery($body), '42501', 'anon calls nothing else', role => 'anon');
DigipayTest::fails_with($node, "SET ROLE anon; CREATE TEMP TABLE digipay_payment (x int); RESET ROLE; "
	  . post($body, 'sha1=' . '0' x 40), '42501', 'nor can a temporary table be put in the way');

# ---------------------------------------------------------------------------
# Behind the fence: applied, and nothing is paid.

make_row('f-queued', 'queued');
make_row('f-pending', 'pending');
value('SELECT digipay_worker_stop(); UPDATE digipay_fence SET inode = inode + 1');
is(deliver(body('f-pending', '00')), 'succeeded', 'the fence is up: a call-back is applied');
is(deliver(body('f-new', '00')), 'review', '... one about an unknown payment as well');
is(deliver(body('f-queued', '00')), 'succeeded', '... and about a queued one');
is($provider->books("f-$_")->{pay_requests} // 0, 0, "f-$_ was never sent") for qw(queued pending new);

# ---------------------------------------------------------------------------

my $log = log_text();
unlike($log, qr/\Q$SECRET\E/, 'the secret is not in the log');
unlike($log, qr/\Q@{[ unpack 'H*', $SECRET ]}\E/, 'nor in hexadecimal');
is(value("SELECT count(*) FROM digipay_event WHERE note LIKE '%$SECRET%'"), '0', 'nor in an event');
unlike($log, qr/PANIC|TRAP|was terminated by signal/, 'nothing has crashed');
is(value(q{SELECT count(*) FROM digipay_payment WHERE state = 'sending' AND ref_id NOT LIKE 't-%'}), '0', 'nothing is left on its way');

my $books = $provider->books->{refs};
is(join(' ', grep { $books->{$_}{booked} > 1 } sort keys %$books), '', 'nothing was booked twice');

done_testing();
