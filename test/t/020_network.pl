# The network's faults.  Judged by the books of the provider's double: what
# could not leave is not_sent and never booked; what may have arrived is unknown,
# arrived once, and is never sent again.

use strict;
use warnings;

use DigipayPeer;
use DigipayTest;
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Socket qw(SOCK_STREAM PF_INET pack_sockaddr_in inet_aton);
use Test::More;

my $BILL = q{'pln', '530000000001'};
# A payment that goes astray shall not hold the test up for ever, nor shall one
# that goes well run into the time-out on a busy machine; and no question shall
# come between, however long all this takes.
my %ROOMY = (timeout => 30_000, status_interval => 3_600_000);
# Where the time-out is to strike, it has to do so after the request has left.
my $STRIKES = 5000;

# Whoever has set a proxy for the server has not meant payments: this one would
# be seen to be asked.
my $proxy = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 8)
  or die "listen: $!";
my $proxy_url = 'http://127.0.0.1:' . $proxy->sockport;

my $node;
{
	local @ENV{qw(http_proxy HTTP_PROXY https_proxy HTTPS_PROXY all_proxy ALL_PROXY)} =
	  ($proxy_url) x 6;
	delete local @ENV{qw(no_proxy NO_PROXY)};
	$node = DigipayTest::new_node('network');
}
my $provider = DigipayTest::start_provider();
DigipayTest::create_account($node, $provider, %ROOMY);

# A server beside the first one, to somewhere else.
sub server
{
	my ($name, %options) = @_;
	DigipayTest::create_account($node, $provider, server => $name, %ROOMY, %options);
	return;
}

sub pay
{
	my ($ref_id, $server) = @_;
	return DigipayTest::row($node,
		"SELECT * FROM digipay_pay($BILL, '$ref_id', NULL, '$server')");
}

# A payment in the background, and its row when it is over.
sub start_pay
{
	my ($ref_id, $server) = @_;
	return DigipayTest::async($node,
		"SELECT state FROM digipay_pay($BILL, '$ref_id', NULL, '$server')");
}

sub row_of
{
	my ($handle, $ref_id) = @_;
	diag($handle->err) if $handle->finish->err ne '';
	return DigipayTest::payment($node, $ref_id);
}

sub event
{
	my ($ref_id) = @_;
	return DigipayTest::rows($node,
		"SELECT * FROM digipay_event WHERE ref_id = '$ref_id' ORDER BY id");
}

# libcurl's code in the first event of a payment
sub curl_code
{
	my ($ref_id) = @_;
	my ($event) = event($ref_id);
	return $event ? $event->{curl_code} // 'null' : 'no event';
}

# Seconds from the request for a payment to its first event, by the server's clock.
sub took
{
	my ($ref_id) = @_;
	return $node->safe_psql('postgres', 'SELECT extract(epoch FROM min(at) - min(requested_at))'
		  . " FROM digipay_event JOIN digipay_payment USING (ref_id, server) WHERE ref_id = '$ref_id'");
}

# Has somebody connected to this listener?
sub was_called
{
	my ($listener) = @_;
	return scalar(IO::Select->new($listener)->can_read(0));
}

# Tests that the payment fails with PY001, and nothing has left.
sub not_sent
{
	my ($ref_id, $server, $detail, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	DigipayTest::fails_with($node, "SELECT digipay_pay($BILL, '$ref_id', NULL, '$server')",
		'PY001', "$name: PY001, with the reason and what to do",
		message => qr/^payment "\Q$ref_id\E" was not sent/,
		detail => $detail, hint => qr/digipay_pay/);
	my $row = DigipayTest::payment($node, $ref_id);
	is(join(' ', map { $_ // 'null' } @$row{qw(state sent_at next_check_at replied_at)}),
		'not_sent null null null', "$name: not_sent, and so final");
	like($row->{error}, $detail, "$name: the row says why");
	is(scalar(keys %{ $provider->books($ref_id) }), 0, "$name: the provider knows nothing of it")
	  if $provider->running;
	return $row;
}

# Tests that a payment came to nothing that can be believed, and went once.
sub unknown_once
{
	my ($row, $name, %wanted) = @_;
	my $ref_id = $row->{ref_id};
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is($row->{state}, 'unknown', "$name: unknown");
	like($row->{error} // '', $wanted{error} // qr/\(libcurl code $wanted{curl_code}\)/,
		"$name: the row says why");
	ok(defined $row->{next_check_at} && !defined $row->{final_at} && defined $row->{sent_at},
		"$name: it is open");
	my @events = event($ref_id);
	is(join(' ', map { ($_->{kind}, $_->{curl_code} // 'null') } @events),
		($wanted{kind} // 'transport') . ' ' . ($wanted{curl_code} // 'null'),
		"$name: one event");
	return if $wanted{peer};
	my $books = $provider->books($ref_id);
	is("$books->{pay_requests} $books->{booked}",
		'1 ' . ($wanted{booked} // 1), "$name: one request, as the provider's books say");
	return;
}

# ---------------------------------------------------------------------------
# It cannot leave

$provider->stop;
my $row = not_sent('down-1', 'digipay', qr/libcurl code 7/, 'provider down');
my @events = event('down-1');
is(join(' ', map { "$_->{kind} $_->{curl_code}" } @events), 'transport 7',
	'an event has libcurl\'s code');

DigipayTest::fails_with($node, "SELECT digipay_pay($BILL, 'down-1')", 'PY001',
	'still down: the same error again');
$provider->start;
$row = pay('down-1', 'digipay');
is($row->{state}, 'succeeded', 'the provider is back: the same ref_id is paid');
ok(!defined $row->{error}, 'of the former trouble the row says nothing more');
is($provider->booked('down-1'), 1, 'it is booked once');
is($provider->books('down-1')->{pay_requests}, 1, 'of one request');

# a listener whose queue is full answers no connection any more
socket(my $full, PF_INET, SOCK_STREAM, 0) or die "socket: $!";
bind($full, pack_sockaddr_in(0, inet_aton('127.0.0.1'))) or die "bind: $!";
listen($full, 0) or die "listen: $!";
my $full_port = (Socket::unpack_sockaddr_in(getsockname($full)))[0];
my @fill = map {
	IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $full_port, Blocking => 0)
} 1 .. 4;
server('blackhole', endpoint => "http://127.0.0.1:$full_port/", connect_timeout => 400,
	timeout => 90_000);
not_sent('blackhole-1', 'blackhole', qr/libcurl code 28/, 'no connection in time');
cmp_ok(took('blackhole-1'), '<', 40, 'after connect_timeout, not timeout');
close $_ for grep { defined } @fill, $full;

server('nowhere', endpoint => 'https://digipay-test.invalid/v1/user/api/transaction',
	connect_timeout => 5000);
not_sent('nowhere-1', 'nowhere', qr/digipay-test\.invalid.*libcurl code (?:6|28)/,
	'a name that nobody knows');

# ---------------------------------------------------------------------------
# Payments that only the time-out ends; they wait for it together, and beside
# what comes next

server('mute', port => $provider->raw_port, timeout => $STRIKES);
server('early_hang', endpoint => 'http://127.0.0.1:' . $provider->raw_port . '/early-hang/x',
	timeout => $STRIKES);
# a byte every tenth of a second, for much longer than that
my $dripper = DigipayPeer::start(sub {
	my ($socket) = @_;
	print $socket "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n";
	while (print $socket ' ') { select(undef, undef, undef, 0.1) }
	return 0;
});
server('dripper', endpoint => $dripper->endpoint, timeout => $STRIKES);
my %struck = (map({ $_ => start_pay($_, 'mute') } 'hang-1', 'hdr-1'),
	'early-2' => start_pay('early-2', 'early_hang'), drip => start_pay('drip', 'dripper'));

# ---------------------------------------------------------------------------
# Addresses

my $private = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 8) or die "listen: $!";
my $private_port = $private->sockport;
server('private_http', endpoint => "http://127.0.0.1:$private_port/",
	allow_private_address => 'false');
not_sent('private-1', 'private_http', qr/allow_private_address/,
	'a loopback address that was not allowed');
server('private_https', endpoint => "https://localhost:$private_port/",
	allow_private_address => 'false');
not_sent('private-2', 'private_https', qr/allow_private_address/,
	'a name that leads to a loopback address');
ok(!was_called($private), 'nobody has connected there');
$node->safe_psql('postgres',
	q{ALTER SERVER private_http OPTIONS (SET allow_private_address 'true')});
my $allowed = start_pay('private-3', 'private_http');
IO::Select->new($private)->can_read(60);
ok(was_called($private), 'it has connected this time');
{
	my $caller = $private->accept;
	my $heard = '';
	1 while $heard !~ /"private-3"/ && $caller->sysread($heard, 65536, length $heard);
	close $caller;
}
is(row_of($allowed, 'private-3')->{state}, 'unknown', 'allowed: it leaves, and the listener never answers');

# link-local: where a cloud's metadata are
for my $address ('169.254.169.254', '10.1.2.3', '192.168.0.1', '172.16.0.1', '[fe80::1]',
	'[::ffff:127.0.0.1]', '0.0.0.0', '2130706433')
{
	(my $name = "at_$address") =~ s/\W/_/g;
	server($name, endpoint => "https://$address:$private_port/", allow_private_address => 'false',
		connect_timeout => 5000);
	DigipayTest::fails_with($node, "SELECT digipay_pay($BILL, '$name', NULL, '$name')", 'PY001',
		"the private address $address is refused", detail => qr/allow_private_address/);
}

for my $endpoint ('http://example.com/', 'http://127.0.0.1.example.com/',
	'http://localhost.example.com/', 'http://127.0.0.1@example.com/', 'http://10.0.0.1/',
	'ftp://127.0.0.1/', 'file:///etc/passwd', 'https://user:secret@example.com/')
{
	my $error = DigipayTest::error_of($node,
		"CREATE SERVER refused FOREIGN DATA WRAPPER digipay OPTIONS (endpoint '$endpoint')");
	is($error->{sqlstate}, 'HV00D', "no server at $endpoint");
	unlike($error->{message}, qr/secret/, 'and its password is not repeated')
	  if $endpoint =~ /secret/;
}

# ---------------------------------------------------------------------------
# The answer does not come, or not whole

server('raw', port => $provider->raw_port, timeout => 90_000);
my %curl = (reset => '(?:55|56)', close => 52, half => 18, hang => 28, hdr => 28);
# those that have been waiting come last
for my $fault (sort { !!$struck{"$a-1"} <=> !!$struck{"$b-1"} || $a cmp $b } keys %curl)
{
	my $waiting = $struck{"$fault-1"};
	$row = $waiting ? row_of($waiting, "$fault-1") : pay("$fault-1", 'raw');
	like(curl_code("$fault-1"), qr/^$curl{$fault}$/, "$fault: libcurl's code");
	unknown_once($row, $fault, curl_code => curl_code("$fault-1"));
	# without it, the ones would wait for ever, and the others for a minute and a half
	cmp_ok(took("$fault-1"), '<', 60, "$fault: no longer than the time-out");
	# the row stays as it is, and nothing is sent, when somebody asks again
	is_deeply(pay("$fault-1", 'raw'), $row, "$fault: asked again, the same row");
	is($provider->books("$fault-1")->{pay_requests}, 1, "$fault: and still one request");
}
$row = pay('reset-nobook-1', 'raw');
unknown_once($row, 'reset, not booked', booked => 0, curl_code => curl_code('reset-nobook-1'));

# before the request is read: nobody can tell that it was not
server('early', endpoint => 'http://127.0.0.1:' . $provider->raw_port . '/early-reset/x');
$row = pay('early-1', 'early');
is($row->{state}, 'unknown', 'reset while the request was being sent: unknown');
is(row_of($struck{'early-2'}, 'early-2')->{state}, 'unknown', 'never read: unknown');
is(row_of($struck{drip}, 'drip')->{state}, 'unknown', 'HTTP drip: unknown');
is(scalar($dripper->requests('drip')), 1, 'HTTP drip: one request');
is(curl_code('drip'), 28, 'HTTP drip: its end was not waited for');
is(scalar(event('drip')), 1, 'HTTP drip: one event');
$provider->control(accept_fault => 'reset');
$row = eval { pay('early-3', 'raw') } // DigipayTest::payment($node, 'early-3');
like($row->{state}, qr/^(?:unknown|not_sent)$/, 'reset as soon as connected: by whether it left');
is($row->{state} eq 'unknown', defined $row->{sent_at}, 'and the row says whether it did');
is($provider->booked('early-3'), 0, 'it is not booked');
$provider->control(accept_fault => undef);

# ---------------------------------------------------------------------------
# A kept connection that dies under its second payment.  libcurl by itself would
# send that again and report success.

$node->safe_psql('postgres', 'SELECT digipay_worker_stop()');
my $before = $provider->books->{connections};
is(pay('dead-1', 'raw')->{state}, 'succeeded', 'the first payment of a connection');
$row = pay('dead-2', 'raw');
is($provider->books->{connections} - $before, 1, 'the second one took the same connection');
unknown_once($row, 'dead under it', curl_code => curl_code('dead-2'));
is($provider->books('dead-1')->{pay_requests}, 1, 'the first was requested once, too');
is(pay('dead-3', 'raw')->{state}, 'succeeded', 'the next one gets a new connection');

# The same with a connection that is closed while nobody uses it.  That it is
# says a file, and by shutdown it is so whoever else has the socket still open.
my $closed = PostgreSQL::Test::Utils::tempdir('digipay_closer') . '/closed';
my $closer = DigipayPeer::start(sub {
	my ($socket, $request) = @_;
	print $socket DigipayPeer::reply(200, 'application/json',
		answer($request->{ref_id}));
	shutdown($socket, 2);
	PostgreSQL::Test::Utils::append_to_file($closed, "$request->{ref_id}\n");
	return 0;
});
server('closer', endpoint => $closer->endpoint);
is(pay('closer-1', 'closer')->{state}, 'succeeded', 'a peer that closes after its answer');
DigipayTest::wait_until { -s $closed };
is(pay('closer-2', 'closer')->{state}, 'succeeded', 'is connected to anew');
is(scalar($closer->requests), 2, 'with one request each');

# ---------------------------------------------------------------------------
# HTTP as it should not be, by a peer that says anything

sub answer
{
	my ($ref_id, $pad) = @_;
	return DigipayTest::spoken(qq({"data":{"ref_id":"$ref_id","customer_no":"530000000001","code":"pln",)
		  . qq("rc":"00","status":"Sukses","message":"ok","price":10000)
		  . ($pad ? qq(,"pad":"$pad") : '') . '}}');
}

sub chunk
{
	my ($text) = @_;
	return sprintf("%x\r\n%s\r\n", length $text, $text);
}

my $ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
# id => [ what is said, expected state, libcurl's code; a string says it, code does it ]
my %says = (
	'longer-than-declared' => [ sub { "${ok}Content-Length: " . length($_[1]) . "\r\n\r\n$_[1]garbage" }, 'succeeded' ],
	'chunked' => [ sub { "${ok}Transfer-Encoding: chunked\r\n\r\n" . chunk(substr($_[1], 0, 9)) . chunk(substr($_[1], 9)) . "0\r\n\r\n" }, 'succeeded' ],
	'chunk-broken' => [ sub { "${ok}Transfer-Encoding: chunked\r\n\r\nxyz\r\n$_[1]" }, 'unknown' ],
	'chunk-unfinished' => [ sub { "${ok}Transfer-Encoding: chunked\r\n\r\n" . chunk($_[1]) }, 'unknown' ],
	'until-close' => [ sub { "$ok\r\n$_[1]" }, 'succeeded' ],
	'until-close-cut' => [ sub { "$ok\r\n" . substr($_[1], 0, -3) }, 'unknown' ],
	'http-1.0' => [ sub { "HTTP/1.0 200 OK\r\nContent-Length: " . length($_[1]) . "\r\n\r\n$_[1]" }, 'succeeded' ],
	'http-0.9' => [ sub { $_[1] }, 'unknown' ],
	'status-not-a-number' => [ sub { "HTTP/1.1 abc\r\nContent-Length: " . length($_[1]) . "\r\n\r\n$_[1]" }, 'unknown' ],
	'status-999' => [ sub { "HTTP/1.1 999 Odd\r\nContent-Length: " . length($_[1]) . "\r\n\r\n$_[1]" }, 'unknown' ],
	'continue-first' => [ sub { "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" . DigipayPeer::reply(200, 'application/json', $_[1]) }, 'succeeded' ],
	'gzip-unasked' => [ sub { "${ok}Content-Encoding: gzip\r\nContent-Length: 20\r\n\r\n\x1f\x8b\x08" . "\0" x 17 }, 'unknown' ],
	'many-headers' => [ sub { $ok . "X-Header: 0123456789\r\n" x 10000 . "Content-Length: " . length($_[1]) . "\r\n\r\n$_[1]" }, 'unknown' ],
	'large-header' => [ sub { "${ok}X-Header: " . 'x' x 1_000_000 . "\r\nContent-Length: " . length($_[1]) . "\r\n\r\n$_[1]" }, 'unknown' ],
	'half-a-header' => [ sub { 'HTTP/1.1 200 O' }, 'unknown' ],
	'nothing' => [ sub { '' }, 'unknown' ],
);
my $peer = DigipayPeer::start(sub {
	my ($socket, $request) = @_;
	print $socket $says{ $request->{ref_id} }[0]->($socket, answer($request->{ref_id}));
	return 0;
});
server('peer', endpoint => $peer->endpoint);
for my $name (sort keys %says)
{
	$row = pay($name, 'peer');
	is($row->{state}, $says{$name}[1], "HTTP $name: $says{$name}[1]");
	is(scalar($peer->requests($name)), 1, "HTTP $name: one request");
	next if $row->{state} eq 'succeeded';
	ok(defined $row->{error}, "HTTP $name: the row says why");
	is(scalar(event($name)), 1, "HTTP $name: one event");
}

# ---------------------------------------------------------------------------
# A redirect is not followed, wherever it leads

for my $place ("http://127.0.0.1:$private_port/", $provider->endpoint, 'file:///etc/passwd')
{
	(my $ref_id = "redirect-$place") =~ s/\W+/-/g;
	$ref_id =~ s/-+$//;
	for my $status (302, 307)
	{
		$provider->control(script => { ref_id => "$ref_id-$status", http_status => $status,
			headers => { Location => $place }, body => answer("$ref_id-$status"), book => JSON::PP::true() });
		$row = pay("$ref_id-$status", 'digipay');
		unknown_once($row, "$status to $place", kind => 'untrusted', error => qr/HTTP status/);
		is($row->{http_status}, $status, "$status to $place: the row has the status");
	}
}
ok(!was_called($private), 'nobody has gone there');
is(scalar(grep { was_called($_) } $proxy), 0, 'no payment has asked the proxy of the environment');

# ---------------------------------------------------------------------------
# A reply that is too large

# Sets it, for a new worker: that has what a new session has.
sub set_max_response_size
{
	my ($size) = @_;
	$node->append_conf('postgresql.conf', "digipay.max_response_size = '$size'");
	$node->reload;
	DigipayTest::wait_until(sub {
		$node->safe_psql('postgres', q{LOAD 'digipay'; SHOW digipay.max_response_size}) eq $size;
	});
	$node->safe_psql('postgres', 'SELECT digipay_worker_stop()');
	return;
}

set_max_response_size('2kB');
for my $size (1000, 3000)
{
	$provider->control(script => { ref_id => "size-$size", book => JSON::PP::true(),
		body => answer("size-$size", 'x' x $size) });
}
is(pay('size-1000', 'digipay')->{state}, 'succeeded', 'a reply within max_response_size');
$row = pay('size-3000', 'digipay');
unknown_once($row, 'a larger one', curl_code => 23, error => qr/digipay\.max_response_size/);
cmp_ok($node->safe_psql('postgres',
		q{SELECT coalesce(length(body), 0) FROM digipay_event WHERE ref_id = 'size-3000'}),
	'<=', 2048, 'of which no more is kept than the setting says');
# (which must not go through a temporary file: there may be no room for it)
$node->append_conf('postgresql.conf', "work_mem = 64kB\ntemp_file_limit = 0");
set_max_response_size('4MB');
for my $size (3_000_000, 5_000_000)
{
	$provider->control(script => { ref_id => "size-$size", book => JSON::PP::true(),
		body => answer("size-$size", 'x' x $size) });
}
{
	local $ENV{PGOPTIONS} = '-c work_mem=64MB';	# the session itself has to hold the row
	is(pay('size-3000000', 'digipay')->{state}, 'succeeded', 'with 4 MB allowed, 3 MB are read');
	is(pay('size-5000000', 'digipay')->{state}, 'unknown', 'and 5 MB are not');
}
is($provider->books('size-5000000')->{pay_requests}, 1, 'requested once');

# ---------------------------------------------------------------------------
# Connections are kept

$node->safe_psql('postgres', 'SELECT digipay_worker_stop()');
$before = $provider->books;
is($node->safe_psql('postgres',
		"SELECT count(*) FROM generate_series(1, 50) i, digipay_pay($BILL, 'kept-' || i) p"
		  . q{ WHERE p.state = 'succeeded'}),
	'50', 'fifty payments one after the other');
my $after = $provider->books;
is($after->{requests} - $before->{requests}, 50, 'are fifty requests');
is($after->{connections} - $before->{connections}, 1, 'over one connection');

my @both = map {
	DigipayTest::async($node,
		"SELECT count(*) FROM generate_series(1, 25) i, digipay_pay($BILL, 'both-$_-' || i) p"
		  . q{ WHERE p.state = 'succeeded'})
} 1 .. 2;
is(join(' ', map { $_->out } @both), '25 25', 'two sessions, twenty-five payments each');
cmp_ok($provider->books->{connections} - $after->{connections}, '<=', 2,
	'share their connections');

# ---------------------------------------------------------------------------
# What all of it amounts to: booked at most once, and never what we deny

my $books = $provider->books->{refs};
is(join(' ', grep { $books->{$_}{booked} > 1 || $books->{$_}{pay_requests} > 1 } sort keys %$books),
	'', 'every ref_id was requested and booked once at most');
my %state = map { $_->{ref_id} => $_->{state} }
  DigipayTest::rows($node, 'SELECT ref_id, state FROM digipay_payment');
is(join(' ', grep { $books->{$_}{booked} && ($state{$_} // '') !~ /^(?:succeeded|unknown)$/ }
		sort keys %$books), '', 'nothing was booked that the journal denies');
is(join(' ', grep { $state{$_} eq 'sending' } sort keys %state), '', 'nothing is left in sending');

done_testing();
