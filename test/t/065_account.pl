# What is about the account, not about a bill: the balance.  An error means that
# there is no trustworthy answer, and says why in the provider's words.

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
	sleep 20 if $status eq 'hang';
	print $socket "HTTP/1.1 $status X\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
	return 1;
});
DigipayTest::create_account($node, $provider, server => 'peer', username => 'peer',
	endpoint => 'http://127.0.0.1:' . $peer->port . $DigipayTest::PATH, timeout => 15000);

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

# cancel, time-out, the worker's end
answers('hang');
fails(q{SET statement_timeout = '1s'; SELECT digipay_balance('peer')}, '57014', 'a time-out',
	context => qr/question for the balance, whose answer nobody waits for/);
my $before = scalar $peer->requests;
my $asker = DigipayTest::async($node, q{SELECT digipay_balance('peer')});
DigipayTest::wait_until { scalar($peer->requests) > $before };
value('SELECT digipay_worker_stop()');
is(DigipayTest::parse_error($asker->finish->err)->{sqlstate}, 'PY005', 'the worker is stopped meanwhile');
like($asker->err, qr/the server was stopped before the answer came/, 'which is said');

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
is(value('SET ROLE clerk; SELECT digipay_balance()'), '40000', 'and enough');
fails(q{BEGIN READ ONLY; SELECT digipay_balance()}, '25006', 'not in a read-only transaction');
fails(q{SELECT digipay_balance('nothing')}, '42704', 'no such server');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/demo-key|@{[ md5_hex('peerdemo-keydepo') ]}/, 'no key and no signature in the log');

is(scalar($provider->complaints), 0, 'nobody complains');
$node->stop('fast');
done_testing();
