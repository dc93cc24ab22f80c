# What becomes of a payment whose answer left its outcome open, or whose outcome is
# spoken of again: by questions, call-backs, a person's hand, and the days that pass.
# Judged by the double's books: however often it is asked about, it is received once.
#
# The numbers are those of doc/faults.md.

use strict;
use warnings;

use DigipayShim;
use DigipayTest;
use Digest::SHA qw(hmac_sha1_hex);
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $CUSTOMER = '530000000001';
my $BILL = "'pln', '$CUSTOMER'";
my $SECRET = 'S3CRET-of-the-webhook';

DigipayShim::available() or plan skip_all => 'no C compiler for test/t/lib/shim.c';
my $node = DigipayShim::under(sub { DigipayTest::new_node('open_outcomes', max_worker_processes => 16) });
my $provider = DigipayTest::start_provider();
# what takes minutes and days shall take seconds here; the time-out is one that a
# process survives that is stopped for a while, and strikes where no answer comes
my %fast = (status_interval => 200, mapping => { webhook_secret => $SECRET });
DigipayTest::create_account($node, $provider, %fast);
DigipayTest::create_account($node, $provider, %fast, server => 'raw', port => $provider->raw_port);
DigipayTest::create_account($node, $provider, %fast, server => 'hang', port => $provider->raw_port, timeout => 4000);

sub call
{
	my ($query) = @_;
	return DigipayTest::row($node, "SELECT * FROM $query");
}

sub pay
{
	my ($ref_id, $server, $customer) = @_;
	return call("digipay_pay('pln', '" . ($customer // $CUSTOMER) . "', '$ref_id', NULL, '" . ($server // 'digipay') . q{')});
}

# One test: the outcome that digipay_pay has returned is open, and will be asked about.
# Who is slow to read his row finds that it has been asked about: that is as good.
sub is_open
{
	my ($state, $next_check_at, $status_checks, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $open = $status_checks > 0 ? 'unknown' : $state;
	return is("$open " . (defined $next_check_at || $status_checks > 0 ? 'asked about' : 'left alone'), 'unknown asked about', $name);
}

sub books
{
	my ($ref_id, $double) = @_;
	my $books = ($double // $provider)->books($ref_id);
	return { map { $_ => $books->{$_} // 0 } qw(pay_requests booked status_requests) };
}

sub standing
{
	my ($ref_id, $double) = @_;
	return join ' ', @{ books($ref_id, $double) }{qw(pay_requests booked)};
}

sub reply
{
	my ($ref_id, %change) = @_;
	my %data = (ref_id => $ref_id, customer_no => $CUSTOMER, code => 'pln', rc => '00', status => 'Sukses', message => 'ok', price => 10000,
		sn => 'SN-1', %change);
	delete @data{ grep { !defined $data{$_} } keys %data };
	return JSON::PP->new->canonical->encode({ data => DigipayTest::spoken_object(%data) });
}

sub refusal { my ($ref_id, $rc, $status, %change) = @_; return reply($ref_id, rc => $rc, status => $status // 'Gagal', price => undef, sn => undef, %change) }

sub script
{
	my ($ref_id, $body, %more) = @_;
	my $book = delete $more{book} // 1;
	my $double = delete $more{double} // $provider;
	$double->control(script => { ref_id => $ref_id, body => $body, book => $book ? JSON::PP::true() : JSON::PP::false(), %more });
	return;
}

sub status_script { my ($ref_id, $body) = @_; return script($ref_id, $body, command => 'status-pasca', book => 0) }

sub webhook
{
	my ($body, %how) = @_;
	my $signature = $how{signature} // 'sha1=' . hmac_sha1_hex($body, $SECRET);
	return "digipay_webhook(decode('" . unpack('H*', $body) . "', 'hex'), " . DigipayTest::literal($signature) . ')';
}

# Tests that a payment comes to a state by itself, by questions, and was received once.
sub becomes
{
	my ($ref_id, $state, $booked, $name, %how) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $row = eval { DigipayTest::wait_for_state($node, $ref_id, $state, seconds => 90) } // DigipayTest::payment($node, $ref_id);
	my $books = books($ref_id, $how{double});

	is("$row->{state} $books->{pay_requests} $books->{booked}", "$state 1 $booked", "$name: then $state, received once");
	cmp_ok($books->{status_requests}, '>=', $how{questions} // 1, "$name: by asking");
	my $parked = $state eq 'review';
	is(defined $row->{final_at} ? 'final' : 'not final', $parked ? 'not final' : 'final', "$name: and that is " . ($parked ? 'a person\'s to end' : 'final'));
	return $row;
}

# ---------------------------------------------------------------------------
# No answer, or none that counts; then a question.  All are paid first.

my @no_answer = (
	[ N07 => 'reset-1', 'raw', 'reset after the request, booked', 'succeeded' ],
	[ N08 => 'reset-nobook-1', 'raw', 'reset after the request, not booked', 'review' ],
	[ N09 => 'close-1', 'raw', 'closed without an answer', 'succeeded' ],
	[ N10 => 'hang-1', 'hang', 'no answer in time', 'succeeded' ],
	[ N13 => 'half-1', 'raw', 'half an answer', 'succeeded' ],
	[ N17 => 'nolast-1', 'raw', 'an answer without its end', 'succeeded' ]);
for my $case ([ H14 => 500, 1 ], [ H14 => 500, 0 ], [ H15 => 502, 1 ], [ H15 => 503, 1 ], [ H15 => 504, 1 ])
{
	my ($id, $status, $booked) = @$case;
	my $ref_id = "gateway-$status-$booked";
	script($ref_id, '<html>', http_status => $status, content_type => 'text/html', book => $booked);
	push @no_answer, [ $id => $ref_id, 'digipay', "$status, " . ($booked ? 'booked' : 'not booked'), $booked ? 'succeeded' : 'review' ];
}
my @contradictions = (
	[ S01 => 'rc-00-gagal', 'rc 00 with Gagal', { status => 'Gagal' } ], [ S01 => 'rc-00-pending', 'rc 00 with Pending', { status => 'Pending' } ],
	[ S02 => 'rc-02-sukses', 'rc 02 with Sukses', { rc => '02' } ], [ S03 => 'no-rc', 'no rc', { rc => undef } ],
	[ S06 => 'other-ref', 'another ref_id', { ref_id => 'other' } ], [ S06 => 'no-ref', 'no ref_id', { ref_id => undef } ],
	[ S06 => 'case-ref', 'the ref_id in capitals', { ref_id => 'CASE-REF' } ],
	[ S07 => 'other-customer', 'another customer_no', { customer_no => '530000000002' } ], [ S07 => 'other-code', 'another code', { code => 'pdam' } ],
	[ S14 => 'rc-01', 'rc 01', { rc => '01', status => 'Gagal' } ], [ S14 => 'rc-70', 'rc 70', { rc => '70', status => 'Gagal' } ]);
for my $case (@contradictions)
{
	my ($id, $ref_id, $name, $change) = @$case;
	script($ref_id, reply($ref_id, %$change));
	push @no_answer, [ $id => $ref_id, 'digipay', $name, 'succeeded' ];
}
# the one that takes as long as its time-out goes on beside the others
my $hanging = DigipayTest::async($node,
	"SELECT state, next_check_at, status_checks FROM digipay_pay($BILL, 'hang-1', NULL, 'hang')");
for my $case (grep { $_->[2] ne 'hang' } @no_answer)
{
	my ($id, $ref_id, $server, $name) = @$case;
	is_open(@{ pay($ref_id, $server) }{qw(state next_check_at status_checks)}, "$id $name: unknown");
}
for my $case (sort { ($a->[2] eq 'hang') <=> ($b->[2] eq 'hang') } @no_answer)
{
	my ($id, $ref_id, $server, $name, $state) = @$case;
	is_open((map { $_ eq '' ? undef : $_ } split /\|/, $hanging->out, -1), "$id $name: unknown") if $server eq 'hang';
	my $row = becomes($ref_id, $state, $state eq 'succeeded' ? 1 : 0, "$id $name", questions => $state eq 'review' ? 2 : 1);
	is($row->{price} // 'null', $state eq 'succeeded' ? '10000' : 'null', "$id $name: with the amount, if there is one");
	ok(defined $row->{error}, "$id $name: and the reason") if $state eq 'review';
}

# not found once is nothing yet: it takes two, fifteen intervals apart, by the clock of
# who has heard them
my $apart = $node->safe_psql('postgres', q{SELECT extract(epoch FROM p.replied_at - (SELECT min(e.at) FROM digipay_event e
	WHERE e.ref_id = p.ref_id AND e.kind = 'not_found')) FROM digipay_payment p WHERE p.ref_id = 'reset-nobook-1'});
cmp_ok($apart, '>=', 15 * 0.2, 'N08: review came of answers fifteen intervals apart');
is(pay('reset-nobook-1', 'raw')->{state}, 'review', 'N08: paid for again, it is review');
is(standing('reset-nobook-1'), '1 0', 'N08: and nothing is sent');

# ---------------------------------------------------------------------------
# The limit of the provider's patience

my %double = map { $_ => DigipayTest::start_provider(username => $_) } qw(limited busy);
DigipayTest::create_account($node, $double{$_}, %fast, server => $_, username => $_) for sort keys %double;
script('limit-1', refusal('limit-1', '85'), book => 0, double => $double{limited});
is(pay('limit-1', 'limited')->{state}, 'failed', 'S24 rc 85: failed');
script('busy-1', '<html>', http_status => 429, headers => { 'Retry-After' => '1' }, double => $double{busy});
is_open(@{ pay('busy-1', 'busy') }{qw(state next_check_at status_checks)}, 'H13 429: unknown');
for my $case ([ S24 => 'limited', 'limit' ], [ H13 => 'busy', 'busy' ])
{
	my ($id, $server, $prefix) = @$case;
	my $before = $double{$server}->books->{refs};
	DigipayTest::fails_with($node, "SELECT digipay_pay($BILL, '$prefix-2', NULL, '$server')", 'PY004', "$id: no further payment for a while");
	is(standing("$prefix-2", $double{$server}), '0 0', "$id: nothing was sent");
	is(call("digipay_submit($BILL, '$prefix-3', server => '$server')")->{state}, 'queued', "$id: what is queued waits");
	is(pay("$server-meanwhile")->{state}, 'succeeded', "$id: other servers go on");
}
becomes('busy-1', 'succeeded', 1, 'H13 429', double => $double{busy});
is(standing('limit-1', $double{limited}), '1 0', 'S24: of what failed there was one request');
is(standing($_->[0], $double{ $_->[1] }) . ' ' . DigipayTest::payment($node, $_->[0])->{state}, '0 0 queued', "$_->[0]: still waits")
  for [ 'limit-3', 'limited' ], [ 'busy-3', 'busy' ];
is(call("digipay_cancel('$_->[0]', '$_->[1]')")->{state}, 'cancelled', "$_->[0]: and is taken back") for [ 'limit-3', 'limited' ], [ 'busy-3', 'busy' ];

# ---------------------------------------------------------------------------
# S13: the ref_id is one that the provider already has

$provider->control(unique_ref_id => 1);
is(pay('unique-1')->{state}, 'succeeded', 'S13: paid');
$node->safe_psql('postgres', q{DELETE FROM digipay_payment WHERE ref_id = 'unique-1'});
my $row = pay('unique-1');
is("$row->{state} $row->{rc}", 'review 49', 'S13 rc 49: review');
is(standing('unique-1'), '2 1', 'S13: booked once, in the life before');
sleep 0.3;
$row = call(q{digipay_status('unique-1', refresh => true)});
is("$row->{state} $row->{price} " . standing('unique-1'), 'succeeded 10000 2 1', 'S13: a question settles what it was, and its reply is in the row');
$provider->control(unique_ref_id => 0);
# to a question it says nothing about the payment
script('unique-2', '<html>', http_status => 502);
status_script('unique-2', refusal('unique-2', '49'));
is(pay('unique-2')->{state}, 'unknown', 'S13 no answer: unknown');
DigipayTest::wait_until { books('unique-2')->{status_requests} >= 2 };
is(DigipayTest::payment($node, 'unique-2')->{state}, 'unknown', 'S13 rc 49 to a question: still unknown');
status_script('unique-2', reply('unique-2'));
becomes('unique-2', 'succeeded', 1, 'S13 rc 49 to a question, then an answer');

# ---------------------------------------------------------------------------
# An outcome is spoken of again

is(pay($_)->{state}, 'succeeded', "$_: paid") for qw(refunded-1 refunded-2 doubted-1 doubted-2 agreed-1);
status_script('refunded-1', refusal('refunded-1', '74'));
status_script('doubted-1', refusal('doubted-1', '02'));
sleep 0.3;
$row = call(q{digipay_status('refunded-1', refresh => true)});
is("$row->{state} $row->{rc}", 'refunded 74', 'S16 success, then rc 74 by a question: refunded');
$row = call(webhook(refusal('refunded-2', '74')));
is("$row->{ref_id} $row->{state}", 'refunded-2 refunded', 'S16 success, then rc 74 by call-back: refunded');
is(call(webhook(reply('refunded-2')))->{state}, 'refunded', 'S16: a success that comes late changes nothing');
my %before = map { $_ => DigipayTest::payment($node, $_) } qw(doubted-1 doubted-2);
$row = call(q{digipay_status('doubted-1', refresh => true)});
is($row->{state}, 'review', 'S17 success, then Gagal by a question: review');
is(call(webhook(refusal('doubted-2', '02')))->{state}, 'review', 'S17 success, then Gagal by call-back: review');
for my $ref_id (qw(doubted-1 doubted-2))
{
	$row = DigipayTest::payment($node, $ref_id);
	is(join(' ', @$row{qw(rc status sn price)}), join(' ', @{ $before{$ref_id} }{qw(rc status sn price)}), "S17 $ref_id: the success is not overwritten");
	ok(defined $row->{error}, "S17 $ref_id: and the row says why it is in doubt");
	is($node->safe_psql('postgres', "SELECT count(*) > 0 FROM digipay_event WHERE ref_id = '$ref_id' AND body IS NOT NULL"), 't', "S17 $ref_id: the words are kept");
	is(pay($ref_id)->{state} . ' ' . standing($ref_id), 'review 1 1', "S17 $ref_id: paid for again, nothing is sent");
}
is(call(webhook(refusal('doubted-2', '02')))->{state}, 'review', 'S17: said again, it is still for a person');
$row = call(q{digipay_settle('doubted-2', 'succeeded', 'seen on the receipt')});
is($row->{state} . ' ' . standing('doubted-2'), 'succeeded 1 1', 'S17: who settles it');
is(call(webhook(refusal('agreed-1', '03', 'Pending')))->{state}, 'succeeded', 'S15: a Pending that comes late changes nothing');

# ---------------------------------------------------------------------------
# S25: call-backs, true and false

my $stats = sub { return DigipayTest::row($node, 'SELECT webhooks, webhooks_refused FROM digipay_stats()') };
script('hook-1', '<html>', http_status => 502);
status_script('hook-1', '<html>');
is(pay('hook-1')->{state}, 'unknown', 'S25 an open payment');
my $success = reply('hook-1');
my $counted = $stats->();
my $rows = $node->safe_psql('postgres', q{SELECT count(*) FROM digipay_payment});
my $right = hmac_sha1_hex($success, $SECRET);
for my $case ([ 'of another secret', 'sha1=' . hmac_sha1_hex($success, 'other') ], [ 'of another body', 'sha1=' . hmac_sha1_hex("$success ", $SECRET) ],
	[ 'empty', '' ], [ 'cut short', 'sha1=' . substr($right, 0, 39) ], [ 'with more behind it', "sha1=${right}0" ], [ 'of no kind', "md5=$right" ],
	[ 'of zeroes', 'sha1=' . '0' x 40 ])
{
	my ($name, $signature) = @$case;
	DigipayTest::fails_with($node, 'SELECT ' . webhook($success, signature => $signature), '42501', "S25 a signature $name: 42501");
}
is(DigipayTest::payment($node, 'hook-1')->{state}, 'unknown', 'S25: nothing has changed');
is($stats->()->{webhooks_refused} - $counted->{webhooks_refused}, 7, 'S25: but they are counted');
like(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/(?:LOG|WARNING):  [^\n]*signature/,
	'S25: and in the log');
for my $time (1, 2, 3)
{
	$row = call(webhook($success));
	is("$row->{ref_id} $row->{state} $row->{price}", 'hook-1 succeeded 10000', "S25 the true one, time $time: succeeded");
}
my $final = DigipayTest::payment($node, 'hook-1')->{final_at};
call(webhook($success));
is(DigipayTest::payment($node, 'hook-1')->{final_at}, $final, 'S25: repeated, it changes nothing');
is(standing('hook-1'), '1 1', 'S25: received and booked once');
is($node->safe_psql('postgres', 'SELECT count(*) FROM digipay_payment'), $rows, 'S25: so far there is no row more');
# of a payment that we do not know
$row = call(webhook(reply('stranger-1')));
is("$row->{ref_id} $row->{state}", 'stranger-1 review', 'S25 an unknown ref_id: a row for a person to look at');
is(pay('stranger-1')->{state} . ' ' . standing('stranger-1'), 'review 0 0', 'S25: which nothing pays any more');
# what the caller undoes stays done
$node->safe_psql('postgres', 'BEGIN; SELECT ' . webhook(reply('stranger-2')) . '; ROLLBACK');
is((DigipayTest::payment($node, 'stranger-2') // { state => 'none' })->{state}, 'review', 'S25: a ROLLBACK loses nothing of it');
# one that has nothing to say
for my $body ('{"sed":"x","hook_id":"1","hook":{}}', '{"data":', '', '[]', reply(''), reply('hook-1') . 'x')
{
	DigipayTest::error_of($node, 'SELECT ' . webhook($body));
	is(DigipayTest::payment($node, 'hook-1')->{state}, 'succeeded', 'S25 well signed, and nothing to it: ' . substr($body, 0, 20));
}

# X18: by an ordinary role
$node->safe_psql('postgres', 'CREATE ROLE regress_ordinary; CREATE ROLE regress_hook; GRANT EXECUTE ON FUNCTION digipay_webhook TO regress_hook;'
	  . 'GRANT USAGE ON FOREIGN SERVER digipay TO regress_hook');
script('hook-2', '<html>', http_status => 502);
status_script('hook-2', '<html>');
pay('hook-2');
DigipayTest::fails_with($node, 'SELECT ' . webhook(reply('hook-2')), '42501', 'X18 without EXECUTE, even well signed: 42501', role => 'regress_ordinary');
DigipayTest::fails_with($node, 'SELECT ' . webhook(reply('hook-2'), signature => 'sha1=' . 'a' x 40), '42501', 'X18 with EXECUTE, but forged: 42501',
	role => 'regress_hook');
is(DigipayTest::payment($node, 'hook-2')->{state}, 'unknown', 'X18: nothing has changed');

# ---------------------------------------------------------------------------
# S18: what was rejected for want of an inquiry leaves again by digipay_retry only

$provider->control(insist_on_inquiry => 1);
is(pay('inquiry-1')->{rc}, '62', 'S18 without an inquiry: rejected');
$node->safe_psql('postgres', "SELECT digipay_inquire($BILL, 'inquiry-1')");
is(pay('inquiry-1')->{state} . ' ' . standing('inquiry-1'), 'rejected 1 0', 'S18: after the inquiry digipay_pay sends nothing');
is(call(q{digipay_retry('inquiry-1')})->{state} . ' ' . standing('inquiry-1'), 'succeeded 2 1', 'S18: but digipay_retry does, and it is booked once');
DigipayTest::error_of($node, q{SELECT digipay_retry('inquiry-1')});
is(standing('inquiry-1'), '2 1', 'S18: what has succeeded is never sent again');
$provider->control(insist_on_inquiry => 0);

# ---------------------------------------------------------------------------
# X17: restored elsewhere, the fence is up

my $dir = PostgreSQL::Test::Utils::tempdir('digipay_dump');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/dump", $node->connstr('postgres') ], 'X17 a dump');
$node->safe_psql('postgres', 'CREATE DATABASE regress_clone TEMPLATE template0');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('regress_clone'), "$dir/dump" ], 'X17 restored');
DigipayTest::fails_with($node, "SELECT digipay_pay($BILL, 'clone-1')", 'PY004', 'X17: there the fence is up', db => 'regress_clone', hint => qr/digipay_take_over/);
DigipayTest::fails_with($node, "SELECT digipay_submit($BILL, 'clone-1')", 'PY004', 'X17: for the queue, too', db => 'regress_clone');
is($node->safe_psql('regress_clone', "SELECT state FROM digipay_pay($BILL, 'hook-1')"), 'succeeded', 'X17: what is known is known there');
is($provider->books('clone-1')->{pay_requests} // 0, 0, 'X17: nothing was sent');
$node->safe_psql('regress_clone', 'SELECT digipay_take_over(lost_nothing => true)');
is($node->safe_psql('regress_clone', "SELECT state FROM digipay_pay($BILL, 'clone-1')") . ' ' . standing('clone-1'), 'succeeded 1 1', 'X17: until it is taken over');
$node->safe_psql('postgres', 'DROP DATABASE regress_clone (FORCE)');

# ---------------------------------------------------------------------------
# Days pass.  The interval is the usual one, so the answers come by the jumps only.

DigipayTest::create_account($node, $provider, server => 'daily', endpoint => 'http://localhost:' . $provider->http_port . $DigipayTest::PATH,
	mapping => { webhook_secret => $SECRET });
my %doubt = (
	'stays-contradicted' => [ S01 => reply('stays-contradicted', status => 'Gagal') ],
	'stays-doubtful' => [ S14 => refusal('stays-doubtful', '70') ],
	'stays-foreign' => [ S06 => reply('stays-foreign', ref_id => 'foreign') ]);
for my $ref_id (sort keys %doubt)
{
	my ($id, $body) = @{ $doubt{$ref_id} };
	script($ref_id, $body);
	status_script($ref_id, $body);
	is(pay($ref_id, 'daily')->{state}, 'unknown', "$id $ref_id: unknown");
}
$provider->control(pending => 1_000_000_000);
is(pay('days', 'daily', '630000000001')->{state}, 'pending', 'S15 rc 03: pending');
my @waiting = (sort(keys %doubt), 'days');
# Questions about a payment whose answers have been dealt with: of a doubt each answer
# is an event, and whoever is not asked about waits for the next one.
my $dealt_with = sub
{
	my ($ref_id) = @_;
	return $ref_id eq 'days' || $node->safe_psql('postgres',
		"SELECT count(*) FROM digipay_event WHERE ref_id = '$ref_id' AND kind = 'doubtful'") >= books($ref_id)->{status_requests};
};
my %state;
for my $hours (0.05, 26, 52, 80)
{
	my %asked = map { $_ => books($_)->{status_requests} } @waiting;
	DigipayShim::jump(int($hours * 3600));
	# the slow poll, every five seconds, is what sees that time has passed
	for my $ref_id (grep { ($state{$_} // '') ne 'review' } @waiting)
	{
		eval { DigipayTest::wait_until { books($ref_id)->{status_requests} > $asked{$ref_id} && $dealt_with->($ref_id) } 90; 1 }
		  or fail("$ref_id is asked about after $hours h");
	}
	sleep 0.3;
	%state = map { $_ => DigipayTest::payment($node, $_)->{state} } @waiting;
	is(join(' ', map { $state{$_} } sort keys %doubt), 'unknown unknown unknown', 'S01, S06, S14: the same doubt is no reason at once') if $hours < 1;
	is($state{days}, 'pending', "S15 after $hours h: still pending");
}
for my $ref_id (sort keys %doubt)
{
	my ($id) = @{ $doubt{$ref_id} };
	is("$state{$ref_id} " . standing($ref_id), 'review 1 1', "$id $ref_id: the same doubt three times over a day is for a person to look at");
}
$row = call(webhook(reply('days', customer_no => '630000000001')) =~ s/\)\z/, 'daily')/r);
is("$row->{ref_id} $row->{state}", 'days succeeded', 'S15 more than three days later, by call-back: succeeded');
$final = $row->{final_at};
$provider->control(pending => 0);
$row = call(q{digipay_status('days', 'daily', refresh => true)});
is("$row->{state} " . ($row->{final_at} eq $final ? 'as before' : 'anew'), 'succeeded as before', 'S15: and by a question, which changes nothing');
is(standing('days'), '1 1', 'S15: received and booked once');
DigipayShim::jump(0);

# ---------------------------------------------------------------------------

my $refs = $provider->books->{refs};
my %again = map { $_ => 1 } qw(unique-1 inquiry-1);
is(join(' ', grep { $refs->{$_}{booked} > 1 || $refs->{$_}{pay_requests} > 1 && !$again{$_} } sort keys %$refs), '',
	'nothing was booked twice, nor received again without a hand\'s order');
%state = map { $_->{ref_id} => $_->{state} } DigipayTest::rows($node, 'SELECT ref_id, state FROM digipay_payment');
is(join(' ', grep { $refs->{$_}{booked} && ($state{$_} // '') =~ /^(?:not_sent|rejected|cancelled|failed)?$/ } sort keys %$refs), 'clone-1',
	'nothing was booked that the journal denies, but for what the other database has paid');
is(scalar(grep { /names another bill/ } $provider->complaints), 0, 'every question named the bill that was paid');

done_testing();
