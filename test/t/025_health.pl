# digipay_health: whatever is missing, it says so in a line with a hint, and does
# not raise.

use strict;
use warnings;

use DigipayPeer;
use DigipayTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = DigipayTest::new_node('health', max_worker_processes => 8);
my $provider = DigipayTest::start_provider();
$node->safe_psql('postgres', 'CREATE EXTENSION digipay');

# Asks in the background for the lines for a server.
sub ask
{
	my ($server, %params) = @_;
	my $role = $params{role} ? "SET ROLE $params{role};" : '';
	my $call = defined $server ? "digipay_health('$server')" : 'digipay_health()';

	return DigipayTest::async($node, "\\pset fieldsep '\x1f'\n"
		  . "$role SELECT item, ok, coalesce(detail, ''), coalesce(hint, '') FROM $call");
}

# The lines for a server, as a list; undef when it raised.
sub lines { return answer(ask(@_)) }

sub answer
{
	my ($asked) = @_;
	my ($out, $err) = ($asked->out, $asked->err);

	diag($err) if $err =~ /ERROR/;
	return undef if $err =~ /ERROR/;
	return [ map { my %line; @line{qw(item ok detail hint)} = split /\x1f/, $_, -1; \%line } split /\n/, $out ];
}

# Tests that exactly one thing is amiss, the last that is looked at, and that it
# has a detail and a hint like those given.
sub amiss
{
	my ($lines, $item, $detail, $hint, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	ok($lines, "$name: no error") or return;
	my @bad = grep { $_->{ok} ne 't' } @$lines;
	is(join(' ', map { $_->{item} } @bad), $item, "$name: $item is not ok");
	like($bad[0]{detail} // '', $detail, "$name: the detail says why");
	like($bad[0]{hint} // '', $hint, "$name: the hint says what to do");
	is(scalar(grep { $_->{hint} eq '' || $_->{detail} eq '' } @bad), 0, "$name: nothing is amiss without both");
	return;
}

sub well
{
	my ($lines, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok($lines, "$name: no error") or return;
	is(join(' ', map { $_->{item} } grep { $_->{ok} ne 't' } @$lines), '', "$name: all is well");
	return;
}

# A server with options beyond an endpoint.
my $count = 0;
sub server
{
	my (%options) = @_;
	my $name = 'server_' . ++$count;
	DigipayTest::create_account($node, $provider, server => $name, %options);
	return $name;
}

# ---------------------------------------------------------------------------
# Nothing there yet

amiss(lines(undef), 'server', qr/no server "digipay"/, qr/^CREATE SERVER digipay FOREIGN DATA WRAPPER digipay/, 'no server');
amiss(lines('Kasir 1'), 'server', qr/no server "Kasir 1"/, qr/CREATE SERVER "Kasir 1"/, 'no server of a name that needs quotes');
$node->safe_psql('postgres', 'CREATE FOREIGN DATA WRAPPER regress_other; CREATE SERVER foreigner FOREIGN DATA WRAPPER regress_other');
amiss(lines('foreigner'), 'server', qr/foreign-data wrapper/, qr/./, 'another wrapper\'s server');

$node->safe_psql('postgres', 'CREATE SERVER digipay FOREIGN DATA WRAPPER digipay OPTIONS ('
	  . DigipayTest::option_list(endpoint => $provider->endpoint, allow_private_address => 'true') . ')');
amiss(lines(undef), 'account', qr/no user name/, qr/CREATE USER MAPPING FOR PUBLIC SERVER digipay/, 'no mapping');
$node->safe_psql('postgres', q{CREATE USER MAPPING FOR postgres SERVER digipay OPTIONS (username 'demo', api_key 'demo-key')});
amiss(lines(undef), 'account', qr/no user name/, qr/FOR PUBLIC/, 'only a role\'s own mapping');
$node->safe_psql('postgres', q{CREATE USER MAPPING FOR PUBLIC SERVER digipay OPTIONS (api_key 'demo-key')});
amiss(lines(undef), 'account', qr/no user name/, qr/USER MAPPING FOR PUBLIC/, 'a mapping without a user name');
$node->safe_psql('postgres', q{ALTER USER MAPPING FOR PUBLIC SERVER digipay OPTIONS (ADD username 'demo', DROP api_key)});
amiss(lines(undef), 'key', qr/no key/, qr/ALTER USER MAPPING FOR PUBLIC SERVER digipay OPTIONS \(ADD api_key/, 'a mapping without a key');
is($provider->books->{requests}, 0, 'so far the provider has not been asked');

# each hint was followed: now it is complete
$node->safe_psql('postgres', q{ALTER USER MAPPING FOR PUBLIC SERVER digipay OPTIONS (ADD api_key 'demo-key')});
my $lines = lines(undef);
well($lines, 'all complete');
my %item = map { $_->{item} => $_ } @$lines;
is(join(' ', map { $_->{item} } @$lines),
	'extension preload worker fence server account options key name connection TLS provider signature',
	'the lines, in the order in which a newcomer meets them');
like($item{extension}{detail}, qr/\d+\.\d+.*library \d+\.\d+/, 'with the versions');
is($item{worker}{detail}, 'process ' . DigipayTest::worker_pid($node), 'the worker\'s process');
is($item{account}{detail}, 'demo@127.0.0.1', 'the account');
like($item{preload}{hint}, qr/shared_preload_libraries/, 'and what might be better');

my $books = $provider->books;
is($books->{requests}, 1, 'the provider was asked once');
is($books->{bookings}, 0, 'and no money has moved');
is($node->safe_psql('postgres', 'SELECT (SELECT count(*) FROM digipay_payment), (SELECT count(*) FROM digipay_inquiry), (SELECT count(*) FROM digipay_event)'),
	'0|0|0', 'nor is anything written down');

# ---------------------------------------------------------------------------
# Rights

$node->safe_psql('postgres', 'CREATE ROLE regress_looker; GRANT EXECUTE ON FUNCTION digipay_health TO regress_looker');
amiss(lines(undef, role => 'regress_looker'), 'server', qr/"regress_looker" may not use/,
	qr/^GRANT USAGE ON FOREIGN SERVER digipay TO regress_looker/, 'no USAGE');
is($provider->books->{requests}, 1, 'the provider is not asked in the name of who may not');
$node->safe_psql('postgres', 'GRANT USAGE ON FOREIGN SERVER digipay TO regress_looker');
well(lines(undef, role => 'regress_looker'), 'with USAGE');

# ---------------------------------------------------------------------------
# Options

$node->safe_psql('postgres', q{ALTER SERVER digipay OPTIONS (ADD paused 'true')});
amiss(lines(undef), 'options', qr/paused/, qr/paused 'false'/, 'paused');
is((grep { $_->{item} eq 'signature' } @{ lines(undef) })[0]{ok}, 't', 'paused: questions go on all the same');
DigipayTest::fails_with($node, q{SELECT digipay_pay('pln', '530000000001', 'paused-1')}, 'PY004',
	'paused: nothing is paid', hint => qr/paused 'false'/);
is(scalar(keys %{ $provider->books('paused-1') }), 0, 'paused: nor sent');
is(DigipayTest::payment($node, 'paused-1'), undef, 'paused: nor written down');
$node->safe_psql('postgres', q{ALTER SERVER digipay OPTIONS (SET paused 'false', ADD testing 'true')});
$lines = lines(undef);
well($lines, 'testing');
like((grep { $_->{item} eq 'options' } @$lines)[0]{detail} , qr/testing/, 'testing: it is said');
like((grep { $_->{item} eq 'options' } @$lines)[0]{hint} , qr/tests/, 'testing: and what that means');

# ---------------------------------------------------------------------------
# The way there

amiss(lines(server(endpoint => 'https://digipay-test.invalid/', connect_timeout => 5000)),
	'name', qr/digipay-test\.invalid/, qr/name resolution/, 'a name that nobody knows');
amiss(lines(server(allow_private_address => 'false')), 'connection', qr/allow_private_address/, qr/allow_private_address/,
	'a private address');
$provider->stop;
amiss(lines(undef), 'connection', qr/libcurl code 7/, qr/firewall/, 'provider down');
$provider->start;
well(lines(undef), 'provider up again');
# the time-out is to strike after the request has left, so it is long, and waited for beside the rest
my $hanging = ask(server(timeout => 5000, endpoint => 'http://127.0.0.1:' . $provider->raw_port . '/early-hang/x'));
amiss(lines(server(endpoint => 'http://127.0.0.1:' . $provider->raw_port . '/early-reset/x')),
	'provider', qr/libcurl code (?:55|56)/, qr/./, 'reset');

# ---------------------------------------------------------------------------
# What the provider says

amiss(lines(server(api_key => 'not-the-key')), 'signature', qr/rc 41: Signature tidak valid/, qr/key/, 'a wrong key');
amiss(lines(server(username => 'nobody')), 'signature', qr/rc 42/, qr/user name/, 'a wrong user name');

my %says = (
	'404' => sub { DigipayPeer::reply('404 Not Found', 'text/html', '<html>Not Found</html>') },
	'200-html' => sub { DigipayPeer::reply('200 OK', 'text/html', '<html>Welcome</html>') },
	'500' => sub { DigipayPeer::reply('500 Oops', 'text/plain', 'oops') },
	'empty' => sub { DigipayPeer::reply('200 OK', 'text/plain', '') },
	'302' => sub { "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n" },
	'other' => sub { DigipayPeer::reply('200 OK', 'application/json', '{"data":{"ref_id":"other","customer_no":"530000000001","code":"pln","rc":"00","status":"Sukses"}}') },
	'45' => sub { DigipayPeer::reply('403 Forbidden', 'application/json', '{"data":{"rc":"45","status":"Gagal","message":"IP tidak dikenal"}}') },
	'ansi' => sub { DigipayPeer::reply('400 Bad', 'application/json', '{"data":{"rc":"41","status":"Gagal","message":"\u001b[31m%s%n\u2603"}}') },
	'43' => sub { DigipayPeer::reply('400 Bad', 'application/json', '{"data":{"rc":"43","status":"Gagal","message":"Produk tidak ditemukan"}}') },
	'long' => sub { DigipayPeer::reply('400 Bad', 'application/json', '{"data":{"rc":"41","status":"Gagal","message":"' . 'x' x 100_000 . '"}}') },
);
my $peer = DigipayPeer::start(sub {
	my ($socket, $request) = @_;
	my ($path) = $request->{head} =~ m{^POST /(\S+)};
	print $socket $says{$path}->();
	return 1;
});
my %peer_server = map { $_ => server(endpoint => 'http://127.0.0.1:' . $peer->port . "/$_") } sort keys %says;
amiss(lines($peer_server{404}), 'provider', qr/404/, qr/path of the endpoint/, 'a wrong path');
amiss(lines($peer_server{'200-html'}), 'provider', qr/200/, qr/path of the endpoint/, 'a web page');
amiss(lines($peer_server{500}), 'provider', qr/500/, qr/./, 'a broken provider');
amiss(lines($peer_server{empty}), 'provider', qr/empty/, qr/./, 'an empty answer');
amiss(lines($peer_server{302}), 'provider', qr/302/, qr/./, 'a redirect');
amiss(lines($peer_server{other}), 'provider', qr/ref_id/, qr/./, 'an answer to something else');
amiss(lines($peer_server{45}), 'signature', qr/rc 45: IP tidak dikenal/, qr/address/, 'an address that the provider does not know');
amiss(lines($peer_server{ansi}), 'signature', qr/\?\[31m%s%n\?/, qr/./, 'words with escape sequences');
amiss(lines($peer_server{long}), 'signature', qr/rc 41: x+/, qr/./, 'a long word');
# the product that we ask for may not be in somebody's list: that is no fault
well(lines($peer_server{43}), 'a provider that does not sell electricity');
amiss(answer($hanging), 'provider', qr/libcurl code 28/, qr/./, 'no answer');
for my $request ($peer->requests)
{
	is("$request->{command} $request->{body}{testing}", 'inq-pasca 1', 'what is asked moves no money') or last;
}

# ---------------------------------------------------------------------------
# In a transaction that has failed to find things before and after

is($node->safe_psql('postgres', <<'SQL'), "t\nt\nt", 'several times in one transaction');
BEGIN;
SELECT bool_and(ok) FROM digipay_health();
SAVEPOINT s;
SELECT NOT bool_and(ok) FROM digipay_health('missing');
ROLLBACK TO s;
SELECT bool_and(ok) FROM digipay_health();
COMMIT;
SQL

# ---------------------------------------------------------------------------
# Preloaded; and no room for a worker

$node->append_conf('postgresql.conf', "shared_preload_libraries = 'digipay'\ndigipay.databases = 'other, postgres'\n");
$node->restart;
$lines = lines(undef);
well($lines, 'preloaded');
%item = map { $_->{item} => $_ } @$lines;
like($item{preload}{detail}, qr/starts with the server/, 'preloaded: it is said');
is($item{preload}{hint}, '', 'preloaded: there is nothing to improve');

$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\nmax_worker_processes = 0\n");
$node->restart;
amiss(lines(undef), 'worker', qr/background workers/, qr/max_worker_processes/, 'no place for a worker');

is($provider->books->{bookings}, 0, 'all of it has moved no money');
is($node->safe_psql('postgres', 'SELECT count(*) FROM digipay_payment'), '0', 'and written no payment');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/PANIC|terminated by signal/, 'nothing has crashed');

done_testing();
