# The network's faults that take a hand on the clock, on names, on TLS or on single
# bytes; the plainer ones are in 020_network.pl and 021_tls.pl.  Judged by the
# double's books: what could not leave was never received, what may have left is
# unknown, was received once at most, and is never sent again.
#
# The numbers are those of doc/faults.md.

use strict;
use warnings;

use Compress::Zlib ();
use DigipayPeer;
use DigipayShim;
use DigipayTest;
use IO::Select;
use IO::Socket::INET;
use IPC::Open2 ();
use JSON::PP ();
use MIME::Base64 qw(encode_base64);
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $BILL = q{'pln', '530000000001'};

DigipayShim::available() or plan skip_all => 'no C compiler for test/t/lib/shim.c';

my %names = (
	'pay.digipay.test' => ['127.0.0.1'],
	'a.b.digipay.test' => ['127.0.0.1'],
	'servfail.digipay.test' => 'SERVFAIL',
	'empty.digipay.test' => 'EMPTY',
	'silent.digipay.test' => 'SILENT',
	'two.digipay.test' => [ '127.0.0.1', '127.0.0.2' ],
	'six.digipay.test' => [ '::1', '127.0.0.1' ],
	'private.digipay.test' => ['10.1.2.3'],
	'metadata.digipay.test' => ['169.254.169.254'],
	'loopback6.digipay.test' => ['::1'],
	'local6.digipay.test' => ['fd00::1'],
	'mapped.digipay.test' => ['::ffff:127.0.0.1'],
	'both.digipay.test' => [ '10.1.2.3', '127.0.0.1' ]);
my $names = DigipayShim::start_names(%names);

# What others have set for themselves: a proxy that would be seen to be asked, a
# password that would be seen to be sent.
my $proxy = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 8) or die "listen: $!";
my $home = PostgreSQL::Test::Utils::tempdir('digipay_home');
PostgreSQL::Test::Utils::append_to_file("$home/.netrc", "default login netrc-user password netrc-secret\n");
chmod 0600, "$home/.netrc";
my $node;
{
	local @ENV{qw(http_proxy https_proxy HTTPS_PROXY all_proxy ALL_PROXY)} =
	  ('http://127.0.0.1:' . $proxy->sockport) x 5;
	delete local @ENV{qw(no_proxy NO_PROXY)};
	local @ENV{qw(HOME NETRC)} = ($home, "$home/.netrc");
	$node = DigipayShim::under(sub { DigipayTest::new_node('faults') });
}
my $provider = DigipayTest::start_provider(https => 1);
# Time-outs that nothing reaches which is merely slow, unless a test is about them;
# and what is unknown is not asked about for as long as this takes.
my %roomy = (timeout => 30000, connect_timeout => 20000, status_interval => 86400000);
DigipayTest::create_account($node, $provider, %roomy);

sub server
{
	my ($name, %options) = @_;
	DigipayTest::create_account($node, $provider, server => $name, %roomy, %options);
	return;
}

sub pay
{
	my ($ref_id, $server) = @_;
	return DigipayTest::row($node,
		"SELECT * FROM digipay_pay($BILL, '$ref_id', NULL, '" . ($server // 'digipay') . q{')});
}

# How often it was received and booked.
sub received
{
	my ($ref_id) = @_;
	my $books = $provider->books($ref_id);
	return ($books->{pay_requests} // 0) . ' ' . ($books->{booked} // 0);
}

# Tests that the payment fails with PY001, and nothing was received.
sub not_sent
{
	my ($ref_id, $server, $detail, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	DigipayTest::fails_with($node, "SELECT digipay_pay($BILL, '$ref_id', NULL, '$server')",
		'PY001', "$name: PY001, with the reason", detail => $detail);
	my $row = DigipayTest::payment($node, $ref_id) // {};
	is(join(' ', $row->{state} // 'no row', $row->{sent_at} // 'null', received($ref_id)), 'not_sent null 0 0',
		"$name: not_sent, and nothing received");
	return;
}

# Tests that a payment is unknown, was received once, and stays so when it is
# asked for again.
sub unknown_once
{
	my ($row, $name, $received) = @_;
	my $ref_id = $row->{ref_id};
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is(join(' ', $row->{state}, map { defined ? 'set' : 'null' } @$row{qw(sent_at error next_check_at final_at)}),
		'unknown set set set null', "$name: unknown, open, and the row says why");
	is(pay($ref_id, $row->{server})->{state}, 'unknown', "$name: and so when it is asked for again");
	is(received($ref_id), $received // '1 1', "$name: received once");
	return;
}

sub succeeded_once
{
	my ($row, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is("$row->{state} " . received($row->{ref_id}), 'succeeded 1 1', "$name: succeeded, received and booked once");
	return;
}

# The bytes of a payment's first event.
sub kept
{
	my ($ref_id) = @_;
	return pack('H*', $node->safe_psql('postgres',
		"SELECT coalesce(encode(body, 'hex'), '') FROM digipay_event WHERE ref_id = '$ref_id' ORDER BY id LIMIT 1"));
}

sub answer
{
	my ($ref_id) = @_;
	return DigipayTest::spoken(qq({"data":{"ref_id":"$ref_id","customer_no":"530000000001","code":"pln",)
		  . q("rc":"00","status":"Sukses","message":"ok","price":10000}}));
}

# The most memory that the worker has had, in kB.
sub peak_memory
{
	my $pid = DigipayTest::worker_pid($node);
	my ($peak) = PostgreSQL::Test::Utils::slurp_file("/proc/$pid/status") =~ /^VmHWM:\s+(\d+)/m;
	return $peak;
}

# ---------------------------------------------------------------------------
# Bytes on the wire, from the double's raw port

server('raw', port => $provider->raw_port);

# the answer is whole, if in other words
for my $name ('N15 chunked', 'N18 toclose', 'N24 hints', 'N25 http10')
{
	my (undef, $fault) = split / /, $name;
	succeeded_once(pay("$fault-1", 'raw'), $name);
}

# Bytes beyond what was declared are not used, and are no answer to the payment
# that comes next on the connection: that one is itself answered, or unknown.
# Nor do they spoil all that follows.
for my $fault (qw(long twice))
{
	$node->safe_psql('postgres', 'SELECT digipay_worker_stop()');
	succeeded_once(pay("$fault-1", 'raw'), "N14 $fault");
	sleep 0.1;
	my $next = pay("next-$fault", 'raw');
	like("$next->{state} " . received("next-$fault"), qr/^(?:succeeded 1 1|unknown [01] [01])$/,
		"N14 $fault: the next payment has no answer but its own ($next->{state})");
	succeeded_once(pay("then-$fault", 'raw'), "N14 $fault: and the one after that");
}

# It is never whole: until the time-out, about which more is said below.
server('brief', port => $provider->raw_port, timeout => 5000);
my %endless;
for my $name ('N11 hdr', 'N12 drip', 'N13 tail')
{
	my (undef, $fault) = split / /, $name;
	$endless{$name} = DigipayTest::async($node,
		"SELECT extract(epoch FROM clock_timestamp() - now()) FROM digipay_pay($BILL, '$fault-1', NULL, 'brief')");
}
DigipayTest::wait_until { 3 == grep { received("$_-1") eq '1 1' } qw(hdr drip tail) };

# it is not whole, or no HTTP
for my $name ('N09 halfhead', 'N13 half', 'N13 torn', 'N16 badchunk', 'N17 nolast', 'N22 headers', 'N22 bighead', 'N25 http09', 'H16 abc')
{
	my (undef, $fault) = split / /, $name;
	my $begun = time;
	my $row = pay("$fault-1", 'raw');
	my $seconds = time - $begun;
	unknown_once($row, $name);
	cmp_ok($seconds, '<', 20, "$name: without waiting for the time-out");
}

# it is received, and the headers are all that is read of it
my $before = $provider->books->{accepted};
server('early', endpoint => 'http://127.0.0.1:' . $provider->raw_port . '/early-reset/x');
my $row = pay('early-1', 'early');
is($row->{state}, 'unknown', 'N06 reset after the headers: unknown');
is(pay('early-1', 'early')->{state}, 'unknown', 'N06 reset after the headers: also when asked for again');
is(received('early-1'), '0 0', 'N06 reset after the headers: the books have nothing');
# the judge's own questions have their connections, too: three, and this one
cmp_ok($provider->books->{accepted} - $before, '<=', 3, 'N06 reset after the headers: one connection, no second try');

# five gigabytes
pay('warm', 'raw');
my $memory = peak_memory();
$row = pay('flood-1', 'raw');
unknown_once($row, 'N21 five gigabytes');
like($row->{error}, qr/max_response_size/, 'N21 five gigabytes: the row says what was too large');
cmp_ok(peak_memory() - $memory, '<', 24 * 1024, 'N21 five gigabytes: the worker has not grown');

# ---------------------------------------------------------------------------
# gzip, which nobody has asked for: never inflated

my $bomb = Compress::Zlib::memGzip(answer('gzip-2') . ' ' x 100_000_000);
cmp_ok(100_000_000 / length $bomb, '>', 900, 'N20: the bomb is one');
$memory = peak_memory();
for my $case ([ 'N19 gzip', 'gzip-1', Compress::Zlib::memGzip(answer('gzip-1')) ], [ 'N20 gzip bomb', 'gzip-2', $bomb ])
{
	my ($name, $ref_id, $body) = @$case;
	$provider->control(script => { ref_id => $ref_id, book => JSON::PP::true(), body_base64 => encode_base64($body, ''),
			headers => { 'Content-Encoding' => 'gzip' } });
	unknown_once(pay($ref_id), $name);
	ok(kept($ref_id) eq $body, "$name: kept as it came, not inflated");
}
cmp_ok(peak_memory() - $memory, '<', 16 * 1024, 'N20 gzip bomb: the worker has not grown');

# ---------------------------------------------------------------------------
# Redirects lead nowhere

my $elsewhere = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 8) or die "listen: $!";
my $port = $elsewhere->sockport;
my %place = (loopback => "http://127.0.0.1:$port/", https => "https://localhost:$port/", name => "http://elsewhere.digipay.test:$port/",
	file => 'file:///etc/passwd', path => '/elsewhere', itself => $provider->endpoint);
for my $status (301, 302, 303, 307, 308)
{
	for my $place (sort keys %place)
	{
		my $ref_id = "redirect-$place-$status";
		$provider->control(script => { ref_id => $ref_id, http_status => $status, book => JSON::PP::true(),
				headers => { Location => $place{$place} }, body => answer($ref_id) });
		is(pay($ref_id)->{state} . ' ' . received($ref_id), 'unknown 1 1', "N23 $status to $place: unknown, received once");
	}
}
ok(!IO::Select->new($elsewhere)->can_read(0), 'N23: nobody has connected to where they led');
is(scalar(grep { /elsewhere/ } $names->asked), 0, 'N23: nor asked for its name');

# ---------------------------------------------------------------------------
# The time-out, of which most is over by now

for my $name (sort keys %endless)
{
	my (undef, $fault) = split / /, $name;
	my $seconds = $endless{$name}->out;
	unknown_once(DigipayTest::payment($node, "$fault-1"), $name);
	# a byte every tenth of a second keeps nobody beyond the whole call's time
	cmp_ok($seconds, '<', 20, "$name: no longer than the time-out");
	cmp_ok($seconds, '>', 4.9, "$name: but as long");
}

# ---------------------------------------------------------------------------
# Names

for my $case ([ servfail => 'SERVFAIL' ], [ unheard_of => 'NXDOMAIN' ], [ empty => 'an empty answer' ])
{
	my ($name, $what) = @$case;
	server("dns_$name", endpoint => "https://$name.digipay.test:$port/");
	not_sent("dns-$name", "dns_$name", qr/\Q$name\E\.digipay\.test.*libcurl code 6/, "N33 $what");
	cmp_ok(scalar(grep { $_ eq "$name.digipay.test" } $names->asked), '>', 0, "N33 $what: the name was asked for");
}
server('dns_silent', endpoint => "https://silent.digipay.test:$port/", connect_timeout => 1500);
my $begun = time;
not_sent('dns-silent-1', 'dns_silent', qr/libcurl code 28/, 'N33 no answer');
# (the resolver gives up after ten seconds)
cmp_ok(time - $begun, '<', 8, 'N33 no answer: after connect_timeout');
server('dns_mute', endpoint => "https://silent.digipay.test:$port/");
my $waiting = DigipayTest::async($node, "SELECT digipay_pay($BILL, 'dns-silent-2', NULL, 'dns_mute')");
DigipayTest::wait_until { (DigipayTest::payment($node, 'dns-silent-2') // { state => '' })->{state} eq 'sending' };
is($waiting->cancel->error->{sqlstate}, '57014', 'N33 cancel during the look-up: 57014');
is(DigipayTest::payment($node, 'dns-silent-2')->{state}, 'sending', 'N33 cancel during the look-up: at once, while that goes on');
succeeded_once(pay('dns-meanwhile'), 'N33 another payment during the look-up');
# what becomes of it shows below

# addresses that a name may not lead to
for my $name (qw(pay private metadata loopback6 local6 mapped both))
{
	server("rebind_$name", endpoint => "https://$name.digipay.test:$port/", allow_private_address => 'false');
	not_sent("rebind-$name", "rebind_$name", qr/allow_private_address/, "N34 a name that leads to @{$names{\"$name.digipay.test\"}}");
}
ok(!IO::Select->new($elsewhere)->can_read(0), 'N34: nobody has connected there');
# nor is a connection taken that was opened while it was allowed
server('allowed', endpoint => 'http://127.0.0.1:' . $provider->raw_port . $DigipayTest::PATH);
succeeded_once(pay('allowed-1', 'allowed'), 'N34 while it is allowed');
$node->safe_psql('postgres', q{ALTER SERVER allowed OPTIONS (SET allow_private_address 'false')});
not_sent('allowed-2', 'allowed', qr/allow_private_address/, 'N34 over a kept connection, no longer allowed');

my @children;

# Passes what comes to a port of 127.0.0.2 on to another one of 127.0.0.1.
sub relay
{
	my ($port, $to) = @_;
	my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.2', LocalPort => $port, Listen => 8) or die "listen: $!";
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		alarm 900;
		while (my $client = $listener->accept)
		{
			my $there = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $to) or last;
			splice_sockets([ $client, $client ], [ $there, $there ]);
		}
		POSIX::_exit(0);
	}
	push @children, $pid;
	return;
}

# Passes bytes to and fro between two pairs of (read from, write to), until one ends.
sub splice_sockets
{
	my ($one, $two) = @_;
	my $select = IO::Select->new($one->[0], $two->[0]);
	while (1)
	{
		for my $ready ($select->can_read)
		{
			my $to = $ready == $one->[0] ? $two->[1] : $one->[1];
			return unless sysread($ready, my $bytes, 65536);
			syswrite($to, $bytes);
		}
	}
	return;
}
END { my $status = $?; for my $pid (@children) { kill 'KILL', $pid; waitpid($pid, 0); } $? = $status; }

# the first address is dead: nobody listens there
my ($cert, $key) = DigipayTest::certificate('*.digipay.test');
my $named = DigipayTest::start_provider(cert => $cert, key => $key);
my $dead = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1);
my $dead_port = $dead->sockport;
close $dead;
relay($dead_port, $named->https_port);
server('two', endpoint => "https://two.digipay.test:$dead_port$DigipayTest::PATH", ca_file => $cert);
server('six', endpoint => 'https://six.digipay.test:' . $named->https_port . $DigipayTest::PATH, ca_file => $cert);
for my $name (qw(two six))
{
	my $state = pay("$name-1", $name)->{state};
	my $books = $named->books("$name-1");
	is("$state $books->{pay_requests} $books->{booked}", 'succeeded 1 1',
		"N35 @{$names{\"$name.digipay.test\"}}, the first one dead: the second is used, one request");
}

# ---------------------------------------------------------------------------
# The beginning of TLS

server('tls', endpoint => 'https://localhost:' . $provider->raw_port . $DigipayTest::PATH, ca_file => $provider->ca_file, connect_timeout => 600);
for my $name ('N03 reset', 'N04 hang', 'N05 hello-reset', 'N05 hello-torn')
{
	my (undef, $fault) = split / /, $name;
	$provider->control(accept_fault => $fault);
	not_sent("tls-$fault", 'tls', qr/libcurl code (?:7|28|35|56)/, $name);
}
$provider->control(accept_fault => undef);

# ---------------------------------------------------------------------------
# Certificates

my $scratch = PostgreSQL::Test::Utils::tempdir('digipay_ca');

sub openssl
{
	PostgreSQL::Test::Utils::system_or_bail('openssl', @_);
	return;
}

# A certificate signed by another one: name, its authority's name, extensions.
sub signed
{
	my ($name, $by, $subject, $extensions, $bits) = @_;
	PostgreSQL::Test::Utils::append_to_file("$scratch/$name.ext", $extensions);
	openssl('req', '-new', '-newkey', 'rsa:' . ($bits // 2048), '-nodes', '-keyout', "$scratch/$name.key", '-subj', "/CN=$subject",
		'-out', "$scratch/$name.csr");
	openssl('x509', '-req', '-in', "$scratch/$name.csr", '-extfile', "$scratch/$name.ext", '-days', 2, '-out', "$scratch/$name.pem",
		$name eq $by
		? ('-key', "$scratch/$name.key")
		: ('-CA', "$scratch/$by.pem", '-CAkey', "$scratch/$by.key", '-CAcreateserial'));
	return;
}
signed('root', 'root', 'digipay test root', "basicConstraints=critical,CA:true\nkeyUsage=keyCertSign\n");
signed('middle', 'root', 'digipay test intermediate', "basicConstraints=critical,CA:true\nkeyUsage=keyCertSign\n");
signed('leaf', 'middle', 'localhost', "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
signed('impostor', 'leaf', 'localhost', "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
signed('short', 'root', 'localhost', "subjectAltName=DNS:localhost,IP:127.0.0.1\n", 1024);
PostgreSQL::Test::Utils::append_to_file("$scratch/$_->[0].pem", join('', map { PostgreSQL::Test::Utils::slurp_file("$scratch/$_.pem") } @{ $_->[1] }))
  for [ chain => [qw(leaf middle)] ], [ impostors => [qw(impostor leaf middle)] ];

for my $case ([ 'N30', 'whole', 'chain', 'leaf', undef, 'the whole chain' ],
	[ 'N30', 'gap', 'leaf', 'leaf', qr/libcurl code 60/, 'without the intermediate certificate' ],
	[ 'N30', 'impostor', 'impostors', 'impostor', qr/libcurl code 60/, 'signed by one that is no authority' ],
	[ 'N31', 'short_key', 'short', 'short', qr/libcurl code (?:35|60)/, 'a key of 1024 bits' ])
{
	my ($id, $server, $shown, $key, $refused, $name) = @$case;
	my $double = eval { DigipayTest::start_provider(cert => "$scratch/$shown.pem", key => "$scratch/$key.key") }
	  // die "no double with $shown: $@";
	server($server, endpoint => 'https://localhost:' . $double->https_port . $DigipayTest::PATH, ca_file => "$scratch/root.pem");
	if ($refused)
	{
		not_sent("chain-$server", $server, $refused, "$id $name");
		is($double->books->{requests}, 0, "$id $name: the provider has received nothing");
	}
	else
	{
		is(pay("chain-$server", $server)->{state} . ' ' . $double->booked("chain-$server"), 'succeeded 1', "$id $name: paid");
	}
	$double->stop;
}

# a wildcard stands for one label, of a name with two more at least
for my $case ([ pay => '*.digipay.test', undef ], [ 'a.b' => '*.digipay.test', qr/libcurl code 60/ ], [ pay => '*.test', qr/libcurl code 60/ ],
	[ pay => '*', qr/libcurl code 60/ ], [ pay => '*.*.test', qr/libcurl code 60/ ], [ pay => 'digipay.test', qr/libcurl code 60/ ])
{
	my ($label, $pattern, $refused) = @$case;
	(my $server = "wild_${label}_$pattern") =~ s/\W/_/g;
	my ($cert, $key) = DigipayTest::certificate($pattern);
	my $double = DigipayTest::start_provider(cert => $cert, key => $key);
	server($server, endpoint => "https://$label.digipay.test:" . $double->https_port . $DigipayTest::PATH, ca_file => $cert);
	if ($refused)
	{
		not_sent("w-$server", $server, $refused, "N29 a certificate for $pattern at $label.digipay.test");
	}
	else
	{
		is(pay("w-$server", $server)->{state}, 'succeeded', "N29 a certificate for $pattern at $label.digipay.test: paid");
	}
	is($double->books->{requests}, $refused ? 0 : 1, "N29 $pattern at $label.digipay.test: by the books");
	$double->stop;
}

# ---------------------------------------------------------------------------
# Servers with ideas of their own about TLS

# openssl's server, in front of the double: what is said by TLS goes there and back
sub openssl_server
{
	my (@arguments) = @_;
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my ($cert, $key) = DigipayTest::certificate('localhost');
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		setpgrp(0, 0);
		alarm 900;
		open STDERR, '>', '/dev/null';
		my $server = IPC::Open2::open2(my $from, my $to, 'openssl', 's_server', '-quiet', '-accept', "127.0.0.1:$port",
			'-cert', $cert, '-key', $key, @arguments);
		my $there = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $provider->http_port);
		splice_sockets([ $from, $to ], [ $there, $there ]) if $there;
		waitpid($server, 0);
		POSIX::_exit(0);
	}
	push @children, -$pid, $pid;
	# its socket, without a connection that it would take for a client
	DigipayTest::wait_until { PostgreSQL::Test::Utils::slurp_file('/proc/net/tcp') =~ sprintf('0100007F:%04X 00000000:0000 0A', $port) } 60;
	return $port;
}

server('alpn', endpoint => 'https://localhost:' . openssl_server('-alpn', 'h2,http/1.1') . $DigipayTest::PATH, ca_file => $provider->ca_file);
succeeded_once(pay('alpn-1', 'alpn'), 'N26 a server that would rather speak HTTP/2');
server('alpn2', endpoint => 'https://localhost:' . openssl_server('-alpn', 'h2') . $DigipayTest::PATH, ca_file => $provider->ca_file);
not_sent('alpn-2', 'alpn2', qr/libcurl code 35/, 'N26 a server that speaks nothing else');

for my $case ([ tls10 => 'TLS 1.0', [qw(-tls1 -cipher DEFAULT@SECLEVEL=0)] ], [ tls11 => 'TLS 1.1', [qw(-tls1_1 -cipher DEFAULT@SECLEVEL=0)] ],
	[ null => 'no encryption', [qw(-tls1_2 -cipher eNULL@SECLEVEL=0)] ],
	[ anonymous => 'no authentication', [qw(-tls1_2 -cipher aNULL@SECLEVEL=0)] ],
	[ sha1 => 'SHA-1 signatures', [qw(-tls1_2 -cipher DEFAULT@SECLEVEL=0 -sigalgs RSA+SHA1)] ])
{
	my ($server, $name, $arguments) = @$case;
	server($server, endpoint => 'https://localhost:' . openssl_server(@$arguments) . $DigipayTest::PATH, ca_file => $provider->ca_file);
	not_sent("weak-$server", $server, qr/libcurl code 35/, "N31 $name");
}
server('strong', endpoint => 'https://localhost:' . openssl_server(qw(-tls1_2)) . $DigipayTest::PATH, ca_file => $provider->ca_file);
succeeded_once(pay('strong-1', 'strong'), 'N31 TLS 1.2 as it should be');

# ---------------------------------------------------------------------------
# The peer is there, but does nothing: its kernel takes what is sent

server('frozen', endpoint => 'http://localhost:' . $provider->http_port . $DigipayTest::PATH);
is(pay('frozen-0', 'frozen')->{state}, 'succeeded', 'N39 before the peer freezes');
$node->safe_psql('postgres', q{ALTER SERVER frozen OPTIONS (SET timeout '4000')});
$provider->freeze;
$row = DigipayTest::row($node, "SELECT state, sent_at FROM digipay_pay($BILL, 'frozen-1', NULL, 'frozen')");
$provider->resume;
is($row->{state}, 'unknown', 'N39 the peer freezes: unknown at the time-out');
DigipayTest::wait_until { received('frozen-1') eq '1 1' };
is(pay('frozen-1', 'frozen')->{state} . ' ' . received('frozen-1'), 'unknown 1 1', 'N39 it thaws, and has the request: not sent again');

# and that look-up has ended
is(DigipayTest::wait_for_state($node, 'dns-silent-2', 'not_sent', seconds => 60)->{state} . ' ' . received('dns-silent-2'),
	'not_sent 0 0', 'N33 cancel during the look-up: not_sent in the end');

# ---------------------------------------------------------------------------
# The clock jumps, by an hour and more: for one payment forth, back and forth, for the
# next one back and forth, for the last one forth

server('slow', port => $provider->raw_port, timeout => 4500);
my %hanging;
for my $jump (3600, -3600, 0)
{
	(my $ref_id = "hang-jump-$jump") =~ s/--/-minus-/;
	my $begun = time;
	my $call = DigipayTest::async($node, "SELECT state FROM digipay_pay($BILL, '$ref_id', NULL, 'slow')");
	$hanging{$jump} = { ref_id => $ref_id, call => $call, begun => $begun };
	DigipayTest::wait_until { received($ref_id) eq '1 1' };
	DigipayShim::jump($jump);
	$begun = time;
	succeeded_once(pay("after-$ref_id"), "N40 $jump s, the next payment");
	cmp_ok(time - $begun, '<', 20, "N40 $jump s, the next payment: without delay");
}
DigipayTest::wait_until {
	for my $payment (grep { !$_->{ended} } values %hanging)
	{
		$payment->{ended} = time if $payment->{call}->done;
	}
	return 3 == grep { $_->{ended} } values %hanging;
} 120;
for my $jump (3600, -3600, 0)
{
	my ($ref_id, $call, $begun, $ended) = @{ $hanging{$jump} }{qw(ref_id call begun ended)};
	is($call->out, 'unknown', "N40 the clock jumps to $jump s while an answer is awaited: unknown");
	cmp_ok($ended - $begun, '>', 4.4, "N40 $jump s: not before the time-out");
	cmp_ok($ended - $begun, '<', 30, "N40 $jump s: nor long after it");
	unknown_once(DigipayTest::payment($node, $ref_id), "N40 $jump s");
}
for my $jump (3600, 0)
{
	$provider->hold;
	my $call = DigipayTest::async($node, "SELECT state FROM digipay_pay($BILL, 'jump-$jump')");
	DigipayTest::wait_until { received("jump-$jump") eq '1 1' };
	DigipayShim::jump($jump);
	sleep 0.5;
	$provider->release;
	is($call->out, 'succeeded', "N40 the clock jumps to $jump s before an answer: succeeded");
	is(received("jump-$jump"), '1 1', "N40 $jump s before an answer: received and booked once");
}
is($node->safe_psql('postgres', q{SELECT extract(epoch FROM clock_timestamp())::bigint - } . int(time) . ' BETWEEN -60 AND 60'), 't',
	'N40: the clock is back');

# ---------------------------------------------------------------------------
# The environment

my $peer = DigipayPeer::start(sub {
	my ($socket, $request) = @_;
	print $socket DigipayPeer::reply(200, 'application/json', answer($request->{ref_id}));
	return 1;
});
server('peer', endpoint => $peer->endpoint, username => 'peer');
is(pay('netrc-1', 'peer')->{state}, 'succeeded', 'N38 with a .netrc: paid');
my ($request) = $peer->requests('netrc-1');
unlike($request->{head} . $request->{raw}, qr/Authorization|netrc-(?:user|secret)/i, 'N38: without what stands in it');
ok(!IO::Select->new($proxy)->can_read(0), 'N36: of all these payments, http and https, none has asked the proxy of the environment');

# ---------------------------------------------------------------------------

my $books = $provider->books->{refs};
is(join(' ', grep { $books->{$_}{booked} > 1 || $books->{$_}{pay_requests} > 1 } sort keys %$books), '',
	'every ref_id was received and booked once at most');
my %state = map { $_->{ref_id} => $_->{state} } DigipayTest::rows($node, 'SELECT ref_id, state FROM digipay_payment');
is(join(' ', grep { $books->{$_}{booked} && ($state{$_} // '') !~ /^(?:succeeded|unknown)$/ } sort keys %$books), '',
	'nothing was booked that the journal denies');

done_testing();
