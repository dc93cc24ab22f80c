# The two dialects side by side: what each server says and understands, that
# neither takes the other's words for an answer, and that the option decides at
# the moment of use.  Independent of DIGIPAY_DIALECT: here both are spoken.

use strict;
use warnings;

use DigipayPeer;
use DigipayTest;
use Digest::MD5 qw(md5_hex);
use Digest::SHA qw(hmac_sha1_hex);
use JSON::PP ();
use Test::More;

my $BILL = q{'pln', '530000000001'};
my $LATER = q{'pln', '630000000001'};
my %PATH = (digiswitch => '/v1/user/api/transaction', digiflazz => '/v1/transaction');
my %OTHER = (digiswitch => 'digiflazz', digiflazz => 'digiswitch');
my %KEYS = (
	digiswitch => { command => 'command', code => 'code', name => 'name', balance => 'balance' },
	digiflazz => { command => 'commands', code => 'buyer_sku_code', name => 'customer_name', balance => 'buyer_last_saldo' });

my $node = DigipayTest::new_node('dialect');
my $provider = DigipayTest::start_provider(pending => 0);
my $malaysia = DigipayTest::start_provider(malaysian => 1, pending => 0);

# A server for each dialect, each with an account of its own, at a double or at
# another endpoint; it is called as the dialect and what is given.
sub servers
{
	my ($suffix, $url, %options) = @_;
	for my $dialect (sort keys %PATH)
	{
		DigipayTest::create_account($node, $provider, server => "$dialect$suffix", dialect => $dialect,
			endpoint => "$url$PATH{$dialect}", mapping => { webhook_secret => 'hook' }, %options);
	}
	return;
}

sub value { return $node->safe_psql('postgres', $_[0]) }

sub pay
{
	my ($server, $ref_id, $bill) = @_;
	return DigipayTest::row($node, 'SELECT * FROM digipay_pay(' . ($bill // $BILL) . ", '$ref_id', server => '$server')");
}

# Asks about a payment before its time; what is to be read of the row.
sub asked_about
{
	my ($server, $ref_id, $what) = @_;
	return value("UPDATE digipay_payment SET sent_at = sent_at - interval '1 h' WHERE ref_id = '$ref_id'; SELECT "
		  . ($what // 'state') . " FROM digipay_status('$ref_id', '$server')");
}

# A success about a ref_id, or what is made of it by other members.
sub reply
{
	my ($dialect, $ref_id, %change) = @_;
	my $key = $KEYS{$dialect};
	my %data = (ref_id => $ref_id, customer_no => '530000000001', $key->{code} => 'pln', rc => '00', status => 'Sukses',
		message => 'ok', $key->{name} => 'Siti', $key->{balance} => 90000, price => 10000, %change);
	delete @data{ grep { !defined $data{$_} } keys %data };
	return JSON::PP->new->canonical->encode({ data => \%data });
}

sub dictate
{
	my ($ref_id, $body, %more) = @_;
	return $provider->control(script => { ref_id => $ref_id, body => $body, verbatim => 1,
		book => JSON::PP::true(), %more });
}

sub webhook
{
	my ($server, $body) = @_;
	return value(sprintf "SELECT state FROM digipay_webhook('\\x%s', 'sha1=%s', '%s')",
		unpack('H*', $body), hmac_sha1_hex($body, 'hook'), $server);
}

servers('', 'http://127.0.0.1:' . $provider->http_port, username => 'demo');
# one account more would be the same one, so the other double is another host
servers('_my', 'http://localhost:' . $malaysia->http_port);

# ---------------------------------------------------------------------------
# What is said

my $peer = DigipayPeer::start(sub {
	my ($socket, $request) = @_;
	my $asked = JSON::PP->new->decode($request->{raw});
	my $dialect = exists $asked->{commands} ? 'digiflazz' : 'digiswitch';
	my $body = reply($dialect, $asked->{ref_id}, customer_no => $asked->{customer_no},
		$KEYS{$dialect}{code} => $asked->{ $KEYS{$dialect}{code} },
		$asked->{ref_id} =~ /open/ && $asked->{ $KEYS{$dialect}{command} } eq 'pay-pasca' ? (rc => '03', status => 'Pending') : ());
	print $socket "HTTP/1.1 200 OK\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
	return 1;
});
servers('_peer', 'http://127.0.0.1:' . $peer->port, username => 'peer');
for my $dialect (sort keys %PATH)
{
	my ($code, $command) = @{ $KEYS{$dialect} }{qw(code command)};
	my $said = sub {
		my ($ref_id, $which) = @_;
		my @requests = $peer->requests($ref_id);
		like($requests[$which]{head}, qr/^POST \Q$PATH{$dialect}\E HTTP/, "$dialect: the path");
		return JSON::PP->new->decode($requests[$which]{raw});
	};
	my $asked = sub {
		my ($word, $ref_id, @more) = @_;
		return { $command => $word, username => 'peer', $code => 'pln', customer_no => '530000000001', ref_id => $ref_id,
			sign => md5_hex("peerdemo-key$ref_id"), @more };
	};
	my $server = "${dialect}_peer";

	is(pay($server, "$dialect-open")->{state}, 'pending', "$dialect: a payment");
	is_deeply($said->("$dialect-open", 0), $asked->('pay-pasca', "$dialect-open"), "$dialect: has these members and no others");
	is(asked_about($server, "$dialect-open"), 'succeeded', "$dialect: a question");
	is_deeply($said->("$dialect-open", 1), $asked->('status-pasca', "$dialect-open"), "$dialect: and so has it");
	is(value("SELECT rc FROM digipay_inquire($BILL, '$dialect-asked', server => '$server', testing => true, year => 2019)"),
		'00', "$dialect: an inquiry");
	is_deeply($said->("$dialect-asked", 0), $asked->('inq-pasca', "$dialect-asked", testing => JSON::PP::true(), year => 2019),
		"$dialect: and so has that");
	is(value("SELECT rc FROM digipay_inquire('emoney', '530000000001', '$dialect-money', server => '$server', amount => 25000)"),
		'00', "$dialect: an inquiry of e-money");
	is($said->("$dialect-money", 0)->{amount}, 25000, "$dialect: with its amount");
}

# ---------------------------------------------------------------------------
# What is understood

for my $dialect (sort keys %PATH)
{
	my $row = pay($dialect, "good-$dialect");
	is_deeply([ @$row{qw(state code name balance price)} ], [ 'succeeded', 'pln', 'Nama Pelanggan Pertama', 100000, 10000 ],
		"$dialect: each in its column");
	my $reply = JSON::PP->new->decode($row->{reply});
	is(join(' ', grep { exists $reply->{$_} } map { @{ $KEYS{$_} }{qw(code name balance)} } sort keys %KEYS),
		join(' ', @{ $KEYS{$dialect} }{qw(code name balance)}), "$dialect: reply is as it came");
	$row = pay($dialect, "later-$dialect", $LATER);
	is("$row->{state} $row->{code}", 'pending pln', "$dialect: pending");
	is(asked_about($dialect, "later-$dialect", q{state || ' ' || name || ' ' || balance}),
		'succeeded Nama Pelanggan Pertama 100000', "$dialect: and what has become of it");
	value("SET client_min_messages = error; SELECT digipay_submit($BILL, 'queued-$dialect', server => '$dialect')");
	is(value("SELECT state FROM digipay_wait('queued-$dialect', '60 s', '$dialect')"), 'succeeded', "$dialect: through the queue");
	is($provider->booked("$_-$dialect"), 1, "$dialect: booked once") for qw(good later queued);
}

# The parent service's products, and its usage.
for my $code (qw(bpjstk bpjstkpu pdl))
{
	my $row = pay('digiflazz', "own-$code", "'$code', '1234567'");
	my $sample = JSON::PP->new->decode(PostgreSQL::Test::Utils::slurp_file("test/provider/responses/documented/$code.json"));
	is($row->{state}, 'succeeded', "$code: paid");
	is_deeply(JSON::PP->new->decode($row->{desc}), $sample->{data}{desc}, "$code: desc as sent");
	is(value("SELECT count(*) FROM digipay_payment p, digipay_detail(p) WHERE ref_id = 'own-$code'"), 0, "$code: which has no periods");
}
is(value(q{SELECT (p.desc->>'jkk')::numeric + (p.desc->>'jkm')::numeric + (p.desc->>'jht')::numeric
	FROM digipay_payment p WHERE ref_id = 'own-bpjstk'}), 97500, 'bpjstk: its parts are numbers');
pay('digiflazz', 'usage', q{'pgas', '0110014602'});
is(value(q{SELECT string_agg(d.usage, ' ' ORDER BY d.no) || ' ' || count(d.extra) FROM digipay_payment p, digipay_detail(p) d WHERE ref_id = 'usage'}),
	'000035 000037 0', 'pgas: the usage of each period, with its zeros');

# ---------------------------------------------------------------------------
# The words of the Malaysian branch are documented for both, and amounts have
# decimals there

for my $dialect (sort keys %PATH)
{
	my $row = pay("${dialect}_my", "my-good-$dialect");
	is_deeply([ @$row{qw(state status price admin selling_price balance)} ],
		[ 'succeeded', 'Success', '10000.25', '2500.50', '11000.50', '100000.75' ], "$dialect: Success, and decimals");
	is($malaysia->books("my-good-$dialect")->{price}, '10000.25', "$dialect: to the cent");
	is_deeply([ @{ pay("${dialect}_my", "my-bad-$dialect", q{'pln', '530000000006'}) }{qw(state status)} ],
		[ 'failed', 'Failed' ], "$dialect: Failed");
	is_deeply([ @{ pay("${dialect}_my", "my-later-$dialect", $LATER) }{qw(state status)} ],
		[ 'pending', 'Processing' ], "$dialect: Processing");
	is(asked_about("${dialect}_my", "my-later-$dialect", q{state || ' ' || price}), 'succeeded 10000.25',
		"$dialect: and its end");
	is(value("SELECT status || ' ' || price FROM digipay_inquire($BILL, 'my-asked-$dialect', server => '${dialect}_my')"),
		'Success 10000.25', "$dialect: an inquiry");
	is(pay($dialect, "my-word-$dialect", q{'pln', '530000000006'})->{status}, 'Gagal', "$dialect: and the others as ever");
	# to the cent, and not through a float
	DigipayTest::fails_with($node, "SELECT digipay_pay($BILL, 'my-asked-$dialect', server => '${dialect}_my', max_price => 10000.24)",
		'PY006', "$dialect: a cent too much");
	is(value("SELECT state FROM digipay_pay($BILL, 'my-asked-$dialect', server => '${dialect}_my', max_price => 10000.25)"),
		'succeeded', "$dialect: and just enough");
}

# ---------------------------------------------------------------------------
# In the other dialect's words nothing is an answer

for my $dialect (sort keys %PATH)
{
	my $other = $OTHER{$dialect};
	my $crossed = "crossed-$dialect";

	dictate($crossed, reply($other, $crossed));
	my $row = pay($dialect, $crossed);
	is_deeply([ @$row{qw(state rc status name price reply)} ], [ 'unknown', (undef) x 5 ], "$dialect: a success in $other is none");
	like($row->{error}, qr/code/, "$dialect: says why");
	is(value("SELECT count(*) FROM digipay_event WHERE ref_id = '$crossed' AND kind = 'untrusted' AND body IS NOT NULL"), 1,
		"$dialect: its bytes are kept");
	is($provider->books($crossed)->{pay_requests}, 1, "$dialect: and it left once");

	dictate("failed-$crossed", reply($other, "failed-$crossed", rc => '02', status => 'Gagal'), book => JSON::PP::false());
	is(pay($dialect, "failed-$crossed")->{state}, 'unknown', "$dialect: nor is a failure");
	dictate("pending-$crossed", reply($other, "pending-$crossed", rc => '03', status => 'Pending'));
	is(pay($dialect, "pending-$crossed")->{state}, 'unknown', "$dialect: nor is Pending");
	# the code in both, each its own
	dictate("both-$crossed", reply($other, "both-$crossed", $KEYS{$dialect}{code} => 'pdam'));
	is(pay($dialect, "both-$crossed")->{state}, 'unknown', "$dialect: a code of its own that is another's");
	dictate("both2-$crossed", reply($dialect, "both2-$crossed", $KEYS{$other}{code} => 'pdam'));
	is(pay($dialect, "both2-$crossed")->{state}, 'succeeded', "$dialect: a key of $other is none, whatever it says");

	dictate("asked-$crossed", reply($other, "asked-$crossed"), command => 'inq-pasca');
	DigipayTest::fails_with($node, "SELECT digipay_inquire($BILL, 'asked-$crossed', server => '$dialect')", 'PY005',
		"$dialect: nor an answer to an inquiry");

	is(pay($dialect, "open-$crossed", $LATER)->{state}, 'pending', "$dialect: a pending payment");
	dictate("open-$crossed", reply($other, "open-$crossed", customer_no => '630000000001', rc => '02', status => 'Gagal'), command => 'status-pasca');
	is(asked_about($dialect, "open-$crossed"), 'pending', "$dialect: nor to a question");
	is(webhook($dialect, reply($other, "open-$crossed", customer_no => '630000000001', rc => '02', status => 'Gagal')), 'pending',
		"$dialect: nor is a call-back");
	is(webhook($dialect, reply($dialect, "open-$crossed", customer_no => '630000000001', status => 'Success')), 'succeeded',
		"$dialect: in its own words it is one");
}

# ---------------------------------------------------------------------------
# Error objects: a refusal in digiflazz, and nothing one can go by in digiswitch

$provider->control(error_objects => 1);
value("ALTER USER MAPPING FOR PUBLIC SERVER $_ OPTIONS (SET api_key 'wrong-key')") for sort keys %PATH;
my $refused = pay('digiflazz', 'object-digiflazz');
is_deeply([ @$refused{qw(state rc message status)} ], [ 'rejected', '41', 'Signature tidak valid', undef ], 'digiflazz: an error object is a refusal');
like($refused->{error}, qr/check user name and key/, 'digiflazz: with what to do');
is(pay('digiswitch', 'object-digiswitch')->{state}, 'unknown', 'digiswitch: an error object says nothing');
is(value(q{SELECT rc || ' ' || coalesce(status, '-') FROM digipay_inquire('pln', '1', 'object-asked', server => 'digiflazz')}), '41 -',
	'digiflazz: of an inquiry as well');
like(value(q{SELECT string_agg(item || ' ' || ok || ' ' || detail, '; ') FROM digipay_health('digiflazz') WHERE item IN ('options', 'signature')}),
	qr/dialect digiflazz; signature false rc 41: Signature tidak valid/, 'digiflazz: digipay_health names it');
value("ALTER USER MAPPING FOR PUBLIC SERVER $_ OPTIONS (SET api_key 'demo-key')") for sort keys %PATH;
is(value(q{SELECT state FROM digipay_retry('object-digiflazz', 'digiflazz')}), 'succeeded', 'digiflazz: and it may be retried');
is($provider->booked('object-digiflazz'), 1, 'digiflazz: booked once');
$provider->control(error_objects => 0);
# one that answers a question says nothing about the payment
pay('digiflazz', 'object-open', $LATER);
dictate('object-open', '{"data":{"rc":"41","message":"Signature tidak valid"}}', http_status => 400, command => 'status-pasca');
is(asked_about('digiflazz', 'object-open'), 'pending', 'digiflazz: to a question it says nothing');

# ---------------------------------------------------------------------------
# The option decides at the moment of use

DigipayTest::create_account($node, $provider, server => 'moves', dialect => 'digiswitch', username => 'demo',
	endpoint => 'http://localhost:' . $provider->http_port . $PATH{digiswitch}, mapping => { webhook_secret => 'hook' });
is(pay('moves', 'moves-1', $LATER)->{state}, 'pending', 'paid in digiswitch');
is(pay('moves', 'moves-2', $LATER)->{state}, 'pending', 'and another');
# on its way while the option changes: the answer is in the words it was asked in
dictate('moves-3', reply('digiswitch', 'moves-3'));
$provider->hold;
my $payer = DigipayTest::async($node, "SELECT state FROM digipay_pay($BILL, 'moves-3', server => 'moves')");
DigipayTest::wait_until { ($provider->books('moves-3')->{pay_requests} // 0) == 1 };
value("ALTER SERVER moves OPTIONS (SET dialect 'digiflazz', SET endpoint 'http://localhost:" . $provider->http_port . "$PATH{digiflazz}')");
ok(!$payer->done, 'the option changes while a payment is on its way');
$provider->release;
is($payer->out, 'succeeded', 'an answer is read in the dialect of its request');
is(asked_about('moves', 'moves-1', q{state || ' ' || (reply ? 'buyer_sku_code')}), 'succeeded true',
	'what was paid in one is asked about in the other');
is(webhook('moves', reply('digiswitch', 'moves-2', customer_no => '630000000001')), 'pending', 'a call-back in the former one is not believed');
is(webhook('moves', reply('digiflazz', 'moves-2', customer_no => '630000000001')), 'succeeded', 'in the present one it is');
is(pay('moves', 'moves-4')->{state}, 'succeeded', 'and so it is paid');
value("ALTER SERVER moves OPTIONS (DROP dialect, SET endpoint 'http://localhost:" . $provider->http_port . "$PATH{digiswitch}')");
is(pay('moves', 'moves-5')->{state}, 'succeeded', 'without the option it is digiswitch');
# a mistaken one is told from the first answer
value(q{ALTER SERVER moves OPTIONS (ADD dialect 'digiflazz')});
my $mistaken = pay('moves', 'moves-6');
is("$mistaken->{state} $mistaken->{rc}", 'rejected 40', 'the wrong dialect for the endpoint: refused');
like($mistaken->{error}, qr/dialect/, 'and the error names it');
is($provider->booked('moves-6'), 0, 'nothing is booked');

is(join(',', map { $_->complaints } $provider, $malaysia), '', 'nobody complains');
my $refs = $provider->books->{refs};
is(join(' ', grep { $_ ne 'object-digiflazz' && $refs->{$_}{pay_requests} > 1 } sort keys %$refs), '', 'nothing was sent twice');

$node->stop('fast');
done_testing();
