# The twelve products and the documented test numbers.
#
# What the provider sends is in test/provider/responses, one sample for each
# product.  Everything is compared by a loop over the sample's own keys, so a
# key that has no column fails.

use strict;
use warnings;

use Cwd ();
use DigipayTest;
use File::Basename ();
use IO::Socket::INET;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

my $samples = File::Basename::dirname(Cwd::abs_path(__FILE__)) . '/../provider/responses';

# Product, test numbers: success, inquiry fails, payment fails, pending that
# will succeed, pending that will fail.
my @products = (
	[qw(pln 530000000001 530000000003 530000000006 630000000001 630000000006)],
	[qw(pdam 1013226 1013227 1013230 2013226 2013230)],
	[qw(hp 081234554320 081234554321 081234554324 081244554320 081244554324)],
	[qw(internet 6391601001 6391601002 6391601005 7391601001 7391601005)],
	[qw(bpjs 8801234560001 8801234560002 8801234560005 9801234560001 9801234560005)],
	[qw(multifinance 6391601201 6391601202 6391601205 7391601201 7391601205)],
	[
		qw(pbb 329801092375999991 329801092375999992 329801092375999995
		  429801092375999991 429801092375999995)
	],
	[qw(pgas 0110014601 0110014603 0110014605 1110014601 1110014605)],
	[qw(tv 127246500101 127246500102 127246500105 227246500101 227246500105)],
	[qw(plnnontaglis 3225030005921 3225030005922 3225030005923 4225030005921 4225030005923)],
	[qw(emoney 082100000001 082100000002 082100000003 082110000001 082110000003)],
	[
		'samsat',
		map { "$_,0212502110170100" }
		  qw(9658548523568701 9658548523568702 9658548523568705
		  0658548523568701 0658548523568705)
	]);
is(scalar(@products), 12, 'twelve products');
is_deeply(
	[ sort map { $_->[0] } @products ],
	[ sort map { File::Basename::basename($_, '.json') } glob("$samples/*.json") ],
	'and a sample for each');

my $node = DigipayTest::new_node('products');
my $provider = DigipayTest::start_provider(responses => $samples);
DigipayTest::create_account($node, $provider);
DigipayTest::create_account($node, $provider, server => 'pretend', testing => 'true');

# The members of the sample's data, or of what an SQL expression makes of it:
# key => { type, text (strings without quotes), json }, all by PostgreSQL's
# hand, so that numbers keep their digits.
sub members
{
	my ($json, $path) = @_;
	return map { $_->{key} => $_ } DigipayTest::rows($node,
		"SELECT key, jsonb_typeof(value) AS type, value #>> '{}' AS text, value::text AS json"
		  . ' FROM jsonb_each((' . DigipayTest::literal($json) . "::jsonb) $path)");
}

# The sample with what only digiflazz tells: the usage.
sub with_usage
{
	my ($sample) = @_;
	$sample =~ s/("meter_awal": "(\d+)",\s*"meter_akhir": "(\d+)")/sprintf('%s, "usage": "%06d"', $1, $3 - $2)/ge
	  if $DigipayTest::DIALECT eq 'digiflazz' && $sample =~ /"code": "pgas"/;
	return $sample;
}

# Does the row have in its columns what the reply's data had in its members?
# "asked" has what stands in place of the sample's own values.
sub is_as_in_sample
{
	my ($row, $sample, $asked, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$sample = with_usage($sample);
	my %members = members($sample, "-> 'data'");
	my %expected = map { $_ => $members{$_}{text} } keys %members;
	my %got;

	for my $key (keys %members)
	{
		$expected{$key} = $asked->{$key} if exists $asked->{$key};
		$got{$key} = exists $row->{$key} ? $row->{$key} : 'NO SUCH COLUMN';
	}
	$asked = { map { DigipayTest::spoken_key($_) => $asked->{$_} } keys %$asked };
	$sample = DigipayTest::spoken($sample);

	cmp_ok(scalar(keys %members), '>=', 13, "$name: the sample has something to compare");
	is_deeply(\%got, \%expected, "$name: each member of data in its column");

	# as jsonb: the product's own data, and the whole, without what was replaced
	my $replaced = join(' ', map { "- '$_'" } sort keys %$asked);
	my $desc = DigipayTest::literal($row->{desc});
	my $reply = DigipayTest::literal($row->{reply});
	my $file = DigipayTest::literal($sample);
	is_deeply(
		DigipayTest::row($node,
			"SELECT $desc\::jsonb = $file\::jsonb #> '{data,desc}' AS desc,"
			  . " ($reply\::jsonb) $replaced = ($file\::jsonb -> 'data') $replaced AS reply"),
		{ desc => 'true', reply => 'true' },
		"$name: desc and reply as sent");
	my %reply = members($row->{reply}, '');
	is_deeply({ map { $_ => $reply{$_}{text} } keys %$asked },
		$asked, "$name: reply has what was asked for");
	return;
}

# The bill's periods by digipay_detail against desc.detail.
sub are_periods_of
{
	my ($ref_id, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $payment = DigipayTest::payment($node, $ref_id);
	my @rows = DigipayTest::rows($node,
		'SELECT d.* FROM digipay_payment p, digipay_detail(p) d WHERE p.ref_id = '
		  . DigipayTest::literal($ref_id) . ' ORDER BY d.no');
	my $detail = JSON::PP->new->decode($payment->{desc})->{detail};
	my $count = $detail ? scalar(@$detail) : 0;

	is(scalar(@rows), $count, "$name: a row for each period");
	for my $i (0 .. $count - 1)
	{
		my %members = members($payment->{desc}, "#> '{detail,$i}'");
		my %expected = (no => $i + 1, extra => undef);
		for my $column (keys %{ $rows[$i] })
		{
			$expected{$column} //= undef;
		}
		$expected{$_} = $members{$_}{text} for keys %members;
		ok(scalar(keys %members), "$name: period $i has something to compare");
		is_deeply($rows[$i], \%expected, "$name: each member of period $i in its column");
	}
	is_deeply(
		[
			DigipayTest::rows($node,
				'SELECT d.* FROM digipay_payment p, digipay_detail_json(p.desc) d'
				  . ' WHERE p.ref_id = ' . DigipayTest::literal($ref_id) . ' ORDER BY d.no')
		],
		\@rows, "$name: digipay_detail_json says the same");
	return;
}

# ------------------------------------------------- each product, its sample

for my $product (@products)
{
	my ($code, $customer_no) = @$product;
	my $sample = PostgreSQL::Test::Utils::slurp_file("$samples/$code.json");
	my %asked = (code => $code, customer_no => $customer_no, ref_id => "sample-$code");
	my $arguments = "'$code', '$customer_no', 'sample-$code'";
	my $amount = $code eq 'emoney' ? ', amount => 25000' : $code eq 'pbb' ? ', year => 2019' : '';

	my $inquiry =
	  DigipayTest::row($node, "SELECT * FROM digipay_inquire($arguments$amount)");
	is_as_in_sample($inquiry, $sample, { %asked, sn => '' }, "inquiry of $code");
	is_deeply(
		[ @$inquiry{qw(testing account server requested_by http_status error)} ],
		[ 'false', 'demo@127.0.0.1', 'digipay', 'postgres', 200, undef ],
		"inquiry of $code: who asked, and how");
	is_deeply([ DigipayTest::rows($node, "SELECT * FROM digipay_inquiry WHERE ref_id = 'sample-$code'") ],
		[$inquiry], "inquiry of $code: the table has what was returned");

	my $payment = DigipayTest::row($node, "SELECT * FROM digipay_pay($arguments)");
	is_as_in_sample($payment, $sample, \%asked, "payment of $code");
	is_deeply(
		[
			@$payment{
				qw(state testing account server requested_by http_status error
				  next_check_at not_after max_price status_checks)
			}
		],
		[
			'succeeded', 'false', 'demo@127.0.0.1', 'digipay',
			'postgres', 200, undef, undef,
			undef, undef, 0
		],
		"payment of $code: state, and who asked");
	is_deeply(DigipayTest::payment($node, "sample-$code"),
		$payment, "payment of $code: the journal has what was returned");
	are_periods_of("sample-$code", "details of $code");

	my $books = $provider->books("sample-$code");
	is_deeply(
		[ @$books{qw(pay_requests inquiries status_requests booked code customer_no price)} ],
		[ 1, 1, 0, 1, $code, $customer_no, $payment->{price} ],
		"books about $code: asked once, paid once");
}

is( DigipayTest::row($node, 'SELECT count(*) AS n FROM digipay_payment'
		  . ' WHERE requested_at <= sent_at AND sent_at <= replied_at'
		  . ' AND replied_at <= final_at AND final_at <= clock_timestamp()'
		  . q{ AND day = (requested_at AT TIME ZONE 'Asia/Jakarta')::date})->{n},
	12, 'the times of a payment are in order');

# ------------------------------------------------------------ two-bill pln

for my $bill ([ 'pln', '530000000002' ], [ 'pgas', '0110014602' ])
{
	my ($code, $customer_no) = @$bill;
	my $row = DigipayTest::row($node,
		"SELECT * FROM digipay_pay('$code', '$customer_no', 'two-$code')");
	is($row->{state}, 'succeeded', "two bills of $code: paid");
	are_periods_of("two-$code", "two bills of $code");
	is( scalar(DigipayTest::rows($node,
			"SELECT d.* FROM digipay_payment p, digipay_detail(p) d WHERE p.ref_id = 'two-$code'")),
		2, "two bills of $code: two rows");
	is($provider->booked("two-$code"), 1, "two bills of $code: booked once");
}
my $two = DigipayTest::payment($node, 'two-pln');
is_deeply([ @$two{qw(admin price selling_price)} ],
	[ 5000, 23000, 25000 ], 'two bills of pln: the documented amounts');
is_deeply(
	[
		DigipayTest::rows($node, 'SELECT d.periode, d.nilai_tagihan, d.denda'
			  . " FROM digipay_payment p, digipay_detail(p) d WHERE p.ref_id = 'two-pln'")
	],
	[
		{ periode => '201901', nilai_tagihan => '8000', denda => '500' },
		{ periode => '201902', nilai_tagihan => '11500', denda => '0' }
	],
	'two bills of pln: the documented periods');
is( DigipayTest::row($node,
		'SELECT sum(d.nilai_tagihan + coalesce(d.denda, 0) + coalesce(d.biaya_lain, 0)) + p.admin'
		  . ' - p.selling_price AS difference FROM digipay_payment p, digipay_detail(p) d'
		  . " WHERE p.ref_id = 'two-pln' GROUP BY p.admin, p.selling_price")->{difference},
	0, 'two bills of pln: the sums add up');

# ----------------------------------------------------------- test numbers

for my $product (@products)
{
	my ($code, undef, $no_inquiry, $fails, $pending_good, $pending_bad) = @$product;
	my $amount = $code eq 'emoney' ? ', amount => 1000' : '';

	my $inquiry = DigipayTest::row($node,
		"SELECT * FROM digipay_inquire('$code', '$no_inquiry', 'no-$code'$amount)");
	is_deeply([ @$inquiry{qw(status rc price code customer_no error)} ],
		[ 'Gagal', '60', undef, $code, $no_inquiry, undef ],
		"$code: an inquiry that fails is a row that says so");

	my $failed = DigipayTest::row($node,
		"SELECT * FROM digipay_pay('$code', '$fails', 'fails-$code')");
	is_deeply([ @$failed{qw(state status rc message price desc next_check_at)} ],
		[ 'failed', 'Gagal', '02', 'Transaksi Gagal', undef, undef, undef ],
		"$code: a payment that fails");
	ok(defined $failed->{final_at} && defined $failed->{replied_at}, "$code: and that is final");
	is_deeply([ @{ $provider->books("fails-$code") }{qw(pay_requests booked)} ],
		[ 1, 0 ], "$code: not booked");

	for my $number ($pending_good, $pending_bad)
	{
		my $will = $number eq $pending_good ? 'good' : 'bad';
		my $row = DigipayTest::row($node,
			"SELECT p.*, p.next_check_at BETWEEN p.replied_at + '50 s' AND p.replied_at + '61 s' AS soon"
			  . " FROM digipay_pay('$code', '$number', 'pending-$will-$code') p");
		is_deeply([ @$row{qw(state status rc soon final_at)} ],
			[ 'pending', 'Pending', '03', 'true', undef ],
			"$code: pending, with the time of the first question");
		is($provider->books("pending-$will-$code")->{pay_requests}, 1, "$code: one request");
		my $again = DigipayTest::row($node,
			"SELECT * FROM digipay_pay('$code', '$number', 'pending-$will-$code')");
		delete $row->{soon};
		is_deeply($again, $row, "$code: asked again, it is the same row");
		is($provider->books("pending-$will-$code")->{pay_requests}, 1, "$code: and still one request");
	}
}

# ------------------------------------------------ codes of an account's own

for my $code (qw(dspln BPLN cimahi))
{
	my $customer_no = $code eq 'cimahi' ? '329801092375999991' : '530000000001';
	my $row = DigipayTest::row($node,
		"SELECT * FROM digipay_pay('$code', '$customer_no', 'own-$code')");
	is_deeply([ @$row{qw(state code)} ], [ 'succeeded', $code ], "code $code");
}

# ------------------------------------------- amounts that are not integers

$provider->control(script => {
	ref_id => 'exact', book => JSON::PP::true(), body =>
	  '{"data":{"ref_id":"exact","customer_no":"530000000001","code":"pln","rc":"00",'
	  . '"status":"Sukses","message":"ok","sn":"007","name":" Bu \u00c9lise ","admin":"0002500",'
	  . '"price":12345678901234567890.123456789,"selling_price":"99.50","balance":1.0e3,'
	  . '"base_commission":null,"periode":"0320","new_key":{"a":[1,null]},'
	  . '"desc":{"daya":1300.50,"detail":[{"periode":"01","nilai_tagihan":8000.10,'
	  . '"admin":"0.1","denda":"-","usage":"00035","what":true}]}}}' });
my $exact = DigipayTest::row($node, q{SELECT * FROM digipay_pay('pln', '530000000001', 'exact')});
is_deeply(
	[ @$exact{qw(state price selling_price admin balance base_commission sn periode name)} ],
	[
		'succeeded', '12345678901234567890.123456789',
		'99.50', '2500', '1000', undef, '007', '0320', " Bu \x{c9}lise "
	],
	'amounts exact, from a number or a string, and texts as sent');
like($exact->{reply}, qr/"new_key": \{"a": \[1, null\]\}/, 'an unknown key is in reply');
like($exact->{desc}, qr/"daya": 1300\.50/, 'desc keeps its digits');
is_deeply(
	DigipayTest::row($node, 'SELECT d.* FROM digipay_payment p, digipay_detail(p) d'
		  . " WHERE p.ref_id = 'exact'"),
	{
		no => 1, periode => '01', nilai_tagihan => '8000.10', admin => '0.1', denda => undef,
		biaya_lain => undef, meter_awal => undef, meter_akhir => undef, no_ref => undef,
		usage => '00035', extra => '{"what": true, "denda": "-"}'
	},
	'a period: what has no column, or does not fit it, is in extra');

# ------------------------------------------------------- what was asked for

# A peer that takes one request and shows it.
my $listener = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1', LocalPort => 0)
  or die "could not listen: $@";
DigipayTest::create_account($node, $provider, server => 'shown',
	port => $listener->sockport, username => 'other');
DigipayTest::create_account($node, $provider, server => 'shown_pretend',
	port => $listener->sockport, username => 'another', testing => 'true');

# Runs a statement, answers the one request that it makes, and returns the
# request's JSON, the path and headers, and the statement's handle.
sub shown
{
	my ($query) = @_;
	my $async = DigipayTest::async($node, $query);
	my $bits = '';
	vec($bits, fileno($listener), 1) = 1;
	select($bits, undef, undef, 60) or die "no request came: " . $async->err;
	my $peer = $listener->accept or die "accept: $!";
	my $request = '';
	my ($head, $body);
	while (1)
	{
		sysread($peer, $request, 65536, length $request) or die 'the request is not whole';
		($head, $body) = $request =~ /\A(.*?\r\n\r\n)(.*)\z/s or next;
		my ($length) = $head =~ /^Content-Length: (\d+)\r$/mi or die "no length: $head";
		last if length($body) >= $length;
	}
	my $asked = DigipayTest::heard(JSON::PP->new->decode($body));
	my $code = $asked->{code};
	my $reply = DigipayTest::spoken(
		qq({"data":{"ref_id":"$asked->{ref_id}","customer_no":"$asked->{customer_no}",)
		  . qq("code":"$code","rc":"00","status":"Sukses","message":"ok","price":1}}));
	syswrite($peer, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
		  . 'Content-Length: ' . length($reply) . "\r\n\r\n$reply");
	close $peer;
	return ($asked, $head, $async->finish);
}

my ($asked, $head, $async) =
  shown("SELECT state FROM digipay_pay('pln', '530000000001', 'shown-1', server => 'shown')");
is($async->out, 'succeeded', 'a request is answered');
like($head, qr{\APOST \Q$DigipayTest::PATH\E HTTP/1\.1\r\n}, 'it is a POST');
like($head, qr{^Content-Type: application/json\r$}mi, 'of JSON');
unlike($head, qr{^Expect:}mi, 'without Expect');
is_deeply(
	$asked,
	{
		command => 'pay-pasca', username => 'other', code => 'pln',
		customer_no => '530000000001', ref_id => 'shown-1',
		# md5 of other, demo-key, shown-1
		sign => $node->safe_psql('postgres', "SELECT md5('otherdemo-keyshown-1')")
	},
	'a payment has exactly the documented members, and no testing');

my @cases = (
	[ 'shown', 'testing => true', 'asked for by the call', 1 ],
	[ 'shown', 'testing => false', 'denied by the call', 0 ],
	[ 'shown', 'testing => NULL', 'left open, and the server does not', 0 ],
	[ 'shown_pretend', 'testing => NULL', 'left open, and the server does', 1 ],
	[ 'shown_pretend', 'testing => false', 'denied, though the server does', 0 ]);
my $number = 0;
for my $case (@cases)
{
	my ($server, $argument, $name, $expected) = @$case;
	for my $function ('digipay_pay', 'digipay_inquire')
	{
		my $ref_id = 'testing-' . ++$number;
		($asked, $head, $async) =
		  shown("SELECT testing FROM $function('pln', '530000000001', '$ref_id', $argument, server => '$server')");
		is($async->out, $expected ? 't' : 'f', "$function, testing $name: the row says so");
		is_deeply(
			[ exists $asked->{testing} ? $asked->{testing} : () ],
			[ $expected ? JSON::PP::true() : () ],
			"$function, testing $name: and so does the request");
	}
}

($asked) = shown(
	"SELECT digipay_inquire('emoney', '082100000001', 'amount-1', server => 'shown', amount => 25000.00)");
is(JSON::PP->new->encode([ $asked->{amount} ]), '[25000]', 'amount goes as a whole number');
is($asked->{command}, 'inq-pasca', 'in an inquiry');
ok(!exists $asked->{year}, 'without year');
($asked) = shown(
	"SELECT digipay_inquire('pbb', '329801092375999991', 'year-1', server => 'shown', year => 2019)");
is(JSON::PP->new->encode([ $asked->{year} ]), '[2019]', 'year goes as a number');
ok(!exists $asked->{amount}, 'without amount');
close $listener;

# and what does not leave at all (what is pending is asked about after a minute,
# which may be just now)
sub requests_but_questions
{
	my $books = $provider->books;
	my $requests = $books->{requests};
	$requests -= $_->{status_requests} for values %{ $books->{refs} };
	return $requests;
}
my $requests = requests_but_questions();
DigipayTest::fails_with($node,
	"SELECT digipay_inquire('emoney', '082100000001', 'amount-2', amount => $_)",
	'22023', "amount $_ is refused", message => qr/multiple of 1000/)
  for (1500, 999, 0, '1000.5');
DigipayTest::fails_with($node,
	"SELECT digipay_inquire('emoney', '082100000001', 'amount-2', amount => $_)",
	'22023', "amount $_ is refused", message => qr/zero or more/)
  for ('-1000', q{'NaN'});
DigipayTest::fails_with($node,
	"SELECT digipay_inquire('pbb', '329801092375999991', 'year-2', year => $_)",
	'22023', "year $_ is refused")
  for (19, 1899, 3000, -2019);
is(requests_but_questions(), $requests, 'and nothing was sent');

# ----------------------------------------------------- the server's default

my $pretended = DigipayTest::row($node,
	q{SELECT * FROM digipay_pay('pln', '530000000001', 'pretend-1', server => 'pretend')});
is_deeply([ @$pretended{qw(state testing)} ], [ 'succeeded', 'true' ],
	'a server of option testing pretends');
DigipayTest::fails_with($node,
	q{SELECT digipay_pay('pln', '530000000001', 'pretend-1', testing => false, server => 'pretend')},
	'PY002', 'to pay in earnest under that ref_id is an error');

# -------------------------------------------------------------- in the end

my $books = $provider->books;
my %state = map { $_->{ref_id} => $_->{state} }
  DigipayTest::rows($node, 'SELECT ref_id, state FROM digipay_payment');
is_deeply([ grep { $books->{refs}{$_}{pay_requests} > 1 } sort keys %{ $books->{refs} } ],
	[], 'no ref_id was asked to be paid twice');
is_deeply(
	[ grep { $books->{refs}{$_}{booked} && ($state{$_} // '') !~ /^(succeeded|pending)$/ }
		  sort keys %{ $books->{refs} } ],
	[], 'nothing is booked that the journal does not know');
is_deeply([ DigipayTest::rows($node, 'SELECT * FROM digipay_event') ],
	[], 'and nothing was out of the ordinary');

$node->stop('fast');
done_testing();
