# What is about the account, not about a bill: the balance, and deposit tickets.
# An error means that there is no trustworthy answer, and says why in the
# provider's words; of a ticket, it says whether there may be one.

use strict;
use warnings;

use DigipayPeer;
use DigipayTest;
use Digest::MD5 qw(md5_hex);
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep);

my $DIGIFLAZZ = $DigipayTest::DIALECT eq 'digiflazz';
(my $STEM = $DigipayTest::PATH) =~ s/transaction$//;

my $node = DigipayTest::new_node('account', 'digipay.shutdown_grace' => '300ms');
my $provider = DigipayTest::start_provider(balance => 12345);
DigipayTest::create_account($node, $provider);

# A peer that answers with what the first of these files says: status, a blank
# line, the body; or in another way.
my $dir = PostgreSQL::Test::Utils::tempdir('digipay_answer');
my $peer = DigipayPeer::start(sub {
	my ($socket, $request) = @_;
	my ($status, $body) = split /\n/, PostgreSQL::Test::Utils::slurp_file("$dir/answer"), 2;
	return 0 if $status eq 'close';
	return DigipayPeer::hold($socket) if $status eq 'hang';
	print $socket "HTTP/1.1 $status X\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
	return 1;
});
DigipayTest::create_account($node, $provider, server => 'peer', username => 'peer',
	endpoint => 'http://127.0.0.1:' . $peer->port . $DigipayTest::PATH, timeout => 60000);

sub value { return $node->safe_psql('postgres', $_[0]) }

sub answers
{
	my ($status, $body) = @_;
	open my $fh, '>', "$dir/answer.new" or die;
	print $fh "$status\n" . ($body // '');
	close $fh;
	rename "$dir/answer.new", "$dir/answer" or die;
	return;
}

# The last request that the peer has had: its path, and its members.
sub last_said
{
	my ($request) = ($peer->requests)[-1];
	my ($path) = $request->{head} =~ /^POST (\S+) HTTP/;
	return ($path, JSON::PP->new->decode($request->{raw}));
}

sub events { return value(q{SELECT count(*) FROM digipay_event WHERE ref_id = ''}) }

sub fails { local $Test::Builder::Level = $Test::Builder::Level + 1; return DigipayTest::fails_with($node, @_) }

# ---------------------------------------------------------------------------
# The balance

is(value('SELECT digipay_balance()'), '12345', 'the balance');
is($provider->books->{calls}{'cek-saldo'}, 1, 'asked once');
value(q{SELECT digipay_pay('pln', '530000000001', 'b1')});
is(value(q{SELECT digipay_balance('digipay')}), '2345', 'and less after a payment');
$provider->control(balance => 0.25);
is(value('SELECT digipay_balance()'), '0.25', 'to the cent');
is(value(q{BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT digipay_balance(); ROLLBACK}), '0.25', 'in any isolation level');

answers(200, '{"data":{"deposit":12345678901234567890.12}}');
is(value(q{SELECT digipay_balance('peer')}), '12345678901234567890.12', 'not through a float');
my ($path, $said) = last_said();
is($path, "${STEM}cek-saldo", 'beside the transactions');
is_deeply($said, { cmd => 'deposit', username => 'peer', sign => md5_hex('peerdemo-keydepo') },
	'with these members and no others');
answers(200, '{"data":{"deposit":"500","other":[1]}}');
is(value(q{SELECT digipay_balance('peer')}), '500', 'a string will do, and more beside it');
answers(200, '{"data":{"deposit":-1}}');
is(value(q{SELECT digipay_balance('peer')}), '-1', 'a debt is a balance');
is(events(), 0, 'all that was believed');

# refusals: in the provider's words
answers(400, '{"data":{"rc":"41","message":"Signature tidak valid"}}');
fails(q{SELECT digipay_balance('peer')}, 'PY005', 'refused', detail => qr/rc 41, "Signature tidak valid"/, hint => qr/user name and key/);
answers(200, '{"data":{"rc":"99","message":"Sistem sibuk, \u00e9\ud83d\ude00","deposit":5}}');
fails(q{SELECT digipay_balance('peer')}, 'PY005', 'an rc beside an amount is a refusal', detail => qr/Sistem sibuk/);
answers(429, '{"data":{"rc":"85","message":"Terlalu sering"}}');
fails(q{SELECT digipay_balance('peer')}, 'PY005', 'too often', detail => qr/Terlalu sering/);
is(value(q{SELECT count(*) FROM digipay_event WHERE ref_id = ''}), 0, 'a refusal can be believed');
$provider->control(balance => 50000);
is(value(q{SELECT state FROM digipay_pay('pln', '530000000001', 'b2')}), 'succeeded', 'payments go on');

# what is no answer
my $n = 0;
for my $bad (
	[ 200, '{"data":{"deposit":null}}', qr/no amount/ ],
	[ 200, '{"data":{"deposit":"NaN"}}', qr/no amount/ ],
	[ 200, '{"data":{"deposit":true}}', qr/no amount/ ],
	[ 200, '{"data":{"saldo":5}}', qr/no amount/ ],
	[ 200, '{"data":{"Deposit":5}}', qr/no amount/ ],
	[ 200, '{"data":{"deposit":5,"deposit":6}}', qr/key twice/ ],
	[ 200, '{"data":{"deposit":5}} x', qr/not JSON/ ],
	[ 200, '{"data":{"deposit":05}}', qr/not JSON/ ],
	[ 200, '{"data":{"x":"\u0000","deposit":5}}', qr/not JSON/ ],
	[ 200, '{"deposit":5}', qr/no object "data"/ ],
	[ 200, '{"data":[{"deposit":5}]}', qr/no object "data"/ ],
	[ 200, '{"data":5}', qr/no object "data"/ ],
	[ 200, "{\"data\":{\"deposit\":5,\"x\":\"\xff\"}}", qr/not UTF-8/ ],
	[ 200, '', qr/empty/ ],
	[ 200, '<html>', qr/not JSON/ ],
	[ 500, '{"data":{"deposit":5}}', qr/HTTP status/ ],
	[ 302, '{"data":{"deposit":5}}', qr/HTTP status/ ],
	[ 'close', '', qr/The reason: / ])
{
	my ($status, $body, $why) = @$bad;
	answers($status, $body);
	fails(q{SELECT digipay_balance('peer')}, 'PY005', "no answer: $status $body", detail => $why, hint => qr/digipay_balance again/);
	is(events(), ++$n, 'and kept');
}
is(value(q{SELECT string_agg(kind || ' ' || coalesce(encode(body, 'escape'), '-'), ', ' ORDER BY id) FROM
	(SELECT * FROM digipay_event WHERE ref_id = '' ORDER BY id DESC LIMIT 2) e}),
	'untrusted {"data":{"deposit":5}}, transport -', 'byte by byte');

# no word of it: nobody listens
DigipayTest::create_account($node, $provider, server => 'nobody', username => 'nobody', endpoint => "http://127.0.0.1:1$DigipayTest::PATH");
fails(q{SELECT digipay_balance('nobody')}, 'PY005', 'nobody listens', detail => qr/connect/i);

# cancel, time-out, the worker's end; the worker has the question before the time is
# over, even if it is stopped for a while
answers('hang');
fails(q{SET statement_timeout = '4s'; SELECT digipay_balance('peer')}, '57014', 'a time-out',
	context => qr/question for the balance, whose answer nobody waits for/);
my $before = scalar $peer->requests;
my $asker = DigipayTest::async($node, q{SELECT digipay_balance('peer')});
DigipayTest::wait_until { scalar($peer->requests) > $before };
value('SELECT digipay_worker_stop()');
is(DigipayTest::parse_error($asker->finish->err)->{sqlstate}, 'PY005', 'the worker is stopped meanwhile');
like($asker->err, qr/the server was stopped before the answer came/, 'which is said');

# ---------------------------------------------------------------------------
# Deposits

my $DEPOSIT = q{digipay_deposit(200000, 'BCA', 'Ayu Lestari'};

sub ticket { return DigipayTest::row($node, 'SELECT * FROM digipay_ticket ORDER BY id DESC LIMIT 1') }
sub tickets { return value('SELECT count(*) FROM digipay_ticket') }

my $row = DigipayTest::row($node, "SELECT * FROM $DEPOSIT)");
is_deeply([ @$row{qw(state rc requested_amount bank owner_name server account error http_status)} ],
	[ 'open', '00', 200000, 'BCA', 'Ayu Lestari', 'digipay', 'demo@127.0.0.1', undef, 200 ], 'a deposit');
cmp_ok($row->{amount}, '>', 200000, 'the sum to be transferred is the provider\'s');
is($row->{notes}, "Transfer tepat Rp $row->{amount} ke BCA", 'and what it says of it');
is_deeply(ticket(), $row, 'its row stays');
is(JSON::PP->new->decode($row->{reply})->{rc}, '00', 'with the reply');
is($provider->books->{calls}{deposit}, 1, 'asked once');
is(value("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1; SELECT state FROM $DEPOSIT); ROLLBACK"), "1\nopen", 'in any isolation level');
is(tickets(), 2, 'and ROLLBACK does not take it back');

answers(200, '{"data":{"rc":"00","amount":200345.0,"notes":null,"more":1}}');
$row = DigipayTest::row($node, "SELECT * FROM $DEPOSIT, 'peer')");
is("$row->{state} $row->{amount} " . ($row->{notes} // '-'), 'open 200345.0 -', 'without notes');
($path, $said) = last_said();
is($path, "${STEM}deposit", 'beside the transactions');
is_deeply($said, { username => 'peer', amount => 200000, bank => 'BCA', owner_name => 'Ayu Lestari',
	sign => md5_hex('peerdemo-key' . ($DIGIFLAZZ ? 'deposit' : 'depo')) }, 'with these members and no others');
like(($peer->requests)[-1]{raw}, qr/"amount":200000,/, 'the amount is a whole number');
value("SELECT digipay_deposit(100000.00, 'BCA', 'x', 'peer')");
like(($peer->requests)[-1]{raw}, qr/"amount":100000,/, 'without a fraction');

# the row is there, committed, before the request leaves
answers('hang');
my $payer = DigipayTest::async($node, "SELECT $DEPOSIT, 'peer')");
my $asked = scalar $peer->requests;
DigipayTest::wait_until { scalar($peer->requests) > $asked || ticket()->{state} eq 'sending' };
is(ticket()->{state}, 'sending', 'written down before it leaves');
$payer->cancel;
like($payer->finish->err, qr/57014.*digipay_ticket will say/s, 'a cancel ends the waiting only');
value('SELECT digipay_worker_stop()');
is(ticket()->{state} . ' ' . ticket()->{error}, 'unknown the server was stopped before the answer came', 'and the row tells its end');

# refusals are rows
answers(400, '{"data":{"rc":"41","message":"Signature tidak valid"}}');
$row = DigipayTest::row($node, "SELECT * FROM $DEPOSIT, 'peer')");
is(join(' ', map { $row->{$_} // '-' } qw(state rc message amount error http_status)), 'refused 41 Signature tidak valid - - 400', 'a refusal');
answers(200, '{"data":{"rc":"02","message":"Gagal","amount":5}}');
is(value("SELECT state FROM $DEPOSIT, 'peer')"), 'refused', 'a failure');

# what is no answer: there may be a ticket
for my $bad (
	[ 200, '{"data":{"rc":"00","amount":0}}', qr/no amount/ ],
	[ 200, '{"data":{"rc":"00","amount":-5}}', qr/no amount/ ],
	[ 200, '{"data":{"rc":"00","amount":"0e9"}}', qr/no amount/ ],
	[ 200, '{"data":{"rc":"00","amount":0e9}}', qr/no amount/ ],
	[ 200, '{"data":{"rc":"00","amount":"NaN"}}', qr/no amount/ ],
	[ 200, '{"data":{"rc":"00"}}', qr/no amount/ ],
	[ 200, '{"data":{"amount":5}}', qr/no rc/ ],
	[ 200, '{"data":{"rc":0,"amount":5}}', qr/no rc/ ],
	[ 500, '{"data":{"rc":"00","amount":5}}', qr/HTTP status/ ],
	[ 503, '{"data":{"rc":"41","message":"x"}}', qr/HTTP status/ ],
	[ 429, '{"data":{"rc":"85","message":"x"}}', qr/HTTP status/ ],
	[ 200, '{"data":{"rc":"03","message":"Menunggu"}}', qr/Menunggu/ ],
	[ 200, '{"data":{"rc":"70","message":"x"}}', qr/reason: \S/ ],
	[ 200, '{"data":{"rc":"49","message":"x"}}', qr/does not go with this call/ ],
	[ 200, '{"data":{"rc":"74","message":"x"}}', qr/does not go with this call/ ],
	[ 200, '{"data":{"rc":"XX","message":"x"}}', qr/not documented/ ],
	[ 200, '{"data":{"rc":"00","amount":5,"amount":5}}', qr/key twice/ ],
	[ 200, '<html>', qr/not JSON/ ],
	[ 'close', '', qr/reason: \S/ ])
{
	my ($status, $body, $why) = @$bad;
	answers($status, $body);
	my $before = events();
	my $error = fails("SELECT $DEPOSIT, 'peer')", 'PY005', "no deposit: $status $body", message => qr/may have been opened/, detail => $why);
	my $last = ticket();
	like($error->{detail}, qr/number $last->{id} of digipay_ticket/, 'with its number');
	is(join(' ', map { $last->{$_} // '-' } qw(state rc amount notes)), 'unknown - - -', 'unknown');
	is(events(), $before + 1, 'its bytes are kept');
}
like(value(q{SELECT note FROM digipay_event WHERE ref_id = '' ORDER BY id DESC LIMIT 1}), qr/^deposit ticket \d+: /, 'with whose they are');
fails("SELECT $DEPOSIT, 'nobody')", 'PY001', 'nobody listens', message => qr/not asked for/, hint => qr/No ticket has been opened/);
is(join(' ', map { ticket()->{$_} // '-' } qw(state sent_at)), 'not_sent -', 'which is certain');

# what is not sent at all
my $tickets = tickets();
my $calls = scalar $peer->requests;
for my $bad ("0, 'BCA', 'x'", "-1, 'BCA', 'x'", "0.5, 'BCA', 'x'", "1000.5, 'BCA', 'x'", "'NaN', 'BCA', 'x'", "1e15, 'BCA', 'x'",
	"NULL, 'BCA', 'x'", "1000, NULL, 'x'", "1000, 'BCA', NULL", "1000, '', 'x'", "1000, 'BCA', ''",
	"1000, 'BCA', ' x'", "1000, E'B\\nA', 'x'", "1000, repeat('x', 65), 'x'", "1000, 'BCA', repeat('x', 129)", "1000, 'BCA', 'Andr\x{c3}\x{a9}'")
{
	fails("SELECT digipay_deposit($bad, 'peer')", '22023', "not sent: $bad");
}
is(value(q{SELECT digipay_deposit(999999999999999, 'BCA', repeat('x', 128), 'nothing')
	FROM pg_foreign_server WHERE false}), '', 'the server is looked at last');
fails("BEGIN READ ONLY; SELECT $DEPOSIT)", '25006', 'nor in a read-only transaction');
{
	my $holder = DigipayTest::session($node);
	$holder->query_safe('BEGIN; LOCK TABLE digipay_ticket');
	fails("SELECT $DEPOSIT, 'peer')", '55P03', 'nor when it cannot be written down', detail => qr/Nothing was sent/);
	$holder->query_safe('ROLLBACK');
	$holder->quit;
}
is(tickets() . ' ' . scalar($peer->requests), "$tickets $calls", 'nothing of that was written down or sent');

# whose outcome cannot be written
answers(200, '{"data":{"rc":"00","amount":200111,"notes":"x"}}');
{
	my $holder = DigipayTest::session($node);
	$provider->hold;
	my $waiting = DigipayTest::async($node, "SELECT $DEPOSIT)");
	DigipayTest::wait_until { ticket()->{state} eq 'sending' };
	$holder->query_safe('BEGIN; SELECT * FROM digipay_ticket FOR UPDATE');
	$provider->release;
	my $error = DigipayTest::parse_error($waiting->finish->err);
	is("$error->{sqlstate} $error->{message}", 'PY005 the answer could not be written to the database', 'its row is locked');
	like($error->{detail}, qr/may have been opened; it is number @{[ ticket()->{id} ]} /, 'which is said');
	is(value(q{SELECT state FROM digipay_pay('pln', '530000000001', 'b3')}), 'succeeded', 'payments go on');
	$holder->query_safe('ROLLBACK');
	$holder->quit;
	DigipayTest::wait_until { ticket()->{state} eq 'open' };
	cmp_ok(ticket()->{amount}, '>', 200000, 'and it is written later');
}

# a crash in between
answers('hang');
my $lost = DigipayTest::async($node, "SELECT $DEPOSIT, 'peer')");
DigipayTest::wait_until { ticket()->{state} eq 'sending' };
DigipayTest::crash($node);
$lost->finish;
$node->start;
{
	my $holder = DigipayTest::session($node);
	# the table as well, for a while: there is no moment without a lock
	$holder->query_safe('BEGIN; SELECT * FROM digipay_ticket FOR UPDATE; SAVEPOINT s; LOCK TABLE digipay_ticket');
	is(value(q{SELECT state FROM digipay_pay('pln', '530000000001', 'b4')}), 'succeeded', 'a lock on the tickets holds up no payment');
	sleep 1.5;
	$holder->query_safe('ROLLBACK TO s');
	sleep 1.5;
	is(ticket()->{state}, 'sending', 'what is locked waits');
	$holder->query_safe('ROLLBACK');
	$holder->quit;
}
DigipayTest::wait_until { ticket()->{state} eq 'unknown' };
like(ticket()->{error}, qr/a ticket may have been opened/, 'a crash leaves it unknown');

# ---------------------------------------------------------------------------
# A database that cannot hold all that the provider may say

value(q{CREATE DATABASE latin1 TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'});
DigipayTest::create_account($node, $provider, db => 'latin1', server => 'peer', username => 'latin1',
	endpoint => 'http://127.0.0.1:' . $peer->port . $DigipayTest::PATH);
for my $case ([ '{"data":{"rc":"41","message":"Al\u00e9"}}', "Al\xc3\xa9" ], [ '{"data":{"rc":"41","message":"Al\ud83d\ude00"}}', 'Al?' ])
{
	answers(400, $case->[0]);
	fails(q{SET client_encoding = 'UTF8'; SELECT digipay_balance('peer')}, 'PY005', 'LATIN1: the provider\'s words', db => 'latin1',
		detail => qr/rc 41, "\Q$case->[1]\E/);
}
answers(200, '{"data":{"rc":"00","amount":200222,"notes":"\ud83d\ude00"}}');
$row = DigipayTest::row($node, "SELECT * FROM $DEPOSIT, 'peer')", db => 'latin1');
is(join(' ', map { $row->{$_} // '-' } qw(state amount notes reply)), 'open 200222 - -', 'LATIN1: a ticket without what it cannot hold');
like($row->{error}, qr/cannot hold/, 'which is said');
is($node->safe_psql('latin1', q{SELECT string_agg(kind || ' ' || length(body), ' ') FROM digipay_event}), 'unstored 59', 'and kept');

# ---------------------------------------------------------------------------
# Where it goes

answers(200, '{"data":{"deposit":7}}');
my $url = 'http://127.0.0.1:' . $peer->port;
value("ALTER SERVER peer OPTIONS (ADD balance_endpoint '$url/elsewhere?x=1')");
is(value(q{SELECT digipay_balance('peer')}), 7, 'an address of its own');
is((last_said())[0], '/elsewhere?x=1', 'is taken as it stands');
value("ALTER SERVER peer OPTIONS (DROP balance_endpoint, SET endpoint '$url/pay')");
fails(q{SELECT digipay_balance('peer')}, 'HV00D', 'an endpoint that tells nothing of it',
	message => qr/has no balance_endpoint/, hint => qr/ADD balance_endpoint/);
value("ALTER SERVER peer OPTIONS (SET endpoint '$url/transaction')");
is(value(q{SELECT digipay_balance('peer')}), 7, 'a short path');
is((last_said())[0], '/cek-saldo', 'and its neighbour');
for my $bad ('http://localhost:' . $peer->port . '/x', 'https://provider.example/x', 'http://127.0.0.2/x', 'nonsense')
{
	fails("ALTER SERVER peer OPTIONS (ADD balance_endpoint '$bad')", 'HV00D', "not at $bad");
}
fails("ALTER SERVER peer OPTIONS (ADD balance_endpoint '$url/x', SET endpoint 'http://localhost/transaction')", 'HV00D',
	'nor may the endpoint go away from it', message => qr/endpoint's host/);
value("ALTER SERVER peer OPTIONS (ADD balance_endpoint 'https://127.0.0.1:9/x')");

# ---------------------------------------------------------------------------
# Who may

value('CREATE ROLE clerk LOGIN');
fails('SELECT digipay_balance()', '42501', 'not everybody', role => 'clerk');
value('GRANT EXECUTE ON FUNCTION digipay_balance TO clerk');
fails('SELECT digipay_balance()', '42501', 'USAGE is needed', role => 'clerk', message => qr/foreign server/);
value('GRANT USAGE ON FOREIGN SERVER digipay TO clerk');
is(value('SET ROLE clerk; SELECT digipay_balance()'), '20000', 'and enough');
fails(q{BEGIN READ ONLY; SELECT digipay_balance()}, '25006', 'not in a read-only transaction');
fails(q{SELECT digipay_balance('nothing')}, '42704', 'no such server');
fails("SELECT $DEPOSIT)", '42501', 'for deposits as well', role => 'clerk');
fails('SELECT * FROM digipay_ticket', '42501', 'and their table', role => 'clerk');
value('GRANT EXECUTE ON FUNCTION digipay_deposit TO clerk');
is(value("SET ROLE clerk; SELECT state || ' ' || requested_by FROM $DEPOSIT)"), 'open clerk', 'no right on the table is needed');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/demo-key|@{[ md5_hex('peerdemo-keydepo') ]}/, 'no key and no signature in the log');

is(scalar($provider->complaints), 0, 'nobody complains');
$node->stop('fast');
done_testing();
