# Databases that cannot hold all that the provider may send.  The money has
# moved by then: the state is right in every one of them, what cannot be held is
# NULL with the reason in the column error, and its bytes are in digipay_event.

use strict;
use warnings;
use utf8;

use DigipayTest;
use Encode qw(encode);
use JSON::PP ();
use MIME::Base64 qw(encode_base64);
use Test::More;

my $node = DigipayTest::new_node('encodings', max_worker_processes => 16);
my $provider = DigipayTest::start_provider();

# Perl's name for each; SQL_ASCII holds whatever bytes come
my %encoding = (UTF8 => 'UTF-8', LATIN1 => 'iso-8859-1', EUC_JP => 'euc-jp', SQL_ASCII => undef);
my %database = map { $_ => 'regress_' . lc $_ } keys %encoding;
for my $encoding (sort keys %encoding)
{
	$node->safe_psql('postgres',
		"CREATE DATABASE $database{$encoding} TEMPLATE template0 ENCODING '$encoding' LOCALE 'C'");
	DigipayTest::create_account($node, $provider, db => $database{$encoding});
}

my %text = (ascii => 'Jose', accent => 'José', emoji => 'Jose 😀', cjk => '北京 王', mixed => 'é😀王');

# As JSON: the characters themselves, or escapes of them.
sub as_json
{
	my ($text, $escaped) = @_;
	return JSON::PP->new->allow_nonref->ascii($escaped)->encode($text);
}

# A reply with the text in a column, in desc, or in both.
sub reply
{
	my ($ref_id, $place, $json) = @_;
	my $name = $place eq 'desc' ? '"Jose"' : $json;
	my $desc = $place eq 'name' ? '"R1"' : $json;
	return encode('UTF-8', DigipayTest::spoken(qq({"data":{"ref_id":"$ref_id","customer_no":"530000000001","code":"pln",)
			  . qq("rc":"00","status":"Sukses","message":"ok","price":10000,"sn":"42",)
			  . qq("name":$name,"desc":{"nama":$desc}}})));
}

# The bytes by which a database in this encoding holds a text, undef if it cannot.
sub held
{
	my ($encoding, $text) = @_;
	return encode('UTF-8', $text) unless defined $encoding{$encoding};
	my $bytes = eval { encode($encoding{$encoding}, $text, Encode::FB_CROAK | Encode::LEAVE_SRC) };
	return $bytes;
}

# Columns as bytes: no conversion comes between the test and what is stored.
my $COLUMNS = q{SELECT state, price, rc, sn, coalesce(error, ''),
	coalesce(encode(textsend(name), 'hex'), 'NULL'),
	coalesce(encode(textsend("desc"->>'nama'), 'hex'), 'NULL'),
	"desc" IS NULL, reply IS NULL};

my %bytes_of_reply;
for my $text (sort keys %text)
{
	for my $escaped (0, 1)
	{
		for my $place (qw(name desc))
		{
			my $ref_id = "$text-$place-" . ($escaped ? 'escaped' : 'raw');
			$bytes_of_reply{$ref_id} = reply($ref_id, $place, as_json($text{$text}, $escaped));
			$provider->control(script => { ref_id => $ref_id,
				body_base64 => encode_base64($bytes_of_reply{$ref_id}, ''), book => JSON::PP::true() });
		}
	}
}

for my $encoding (sort keys %encoding)
{
	my $db = $database{$encoding};
	my $number = keys %bytes_of_reply;

	$provider->reset;
	# one statement; what raised would end it
	my $paid = $node->safe_psql($db,
		'SELECT count(*) FROM unnest(ARRAY[' . join(',', map { "'$_'" } sort keys %bytes_of_reply)
		  . ']) ref_id, digipay_pay($$pln$$, $$530000000001$$, ref_id)');
	is($paid, $number, "$encoding: $number payments raise no error");

	for my $ref_id (sort keys %bytes_of_reply)
	{
		my ($text, $place, $how) = split /-/, $ref_id;
		my ($state, $price, $rc, $sn, $error, $name, $nama, $no_desc, $no_reply) = split /\|/,
		  $node->safe_psql($db, "$COLUMNS FROM digipay_payment WHERE ref_id = '$ref_id'"), -1;
		my $held = held($encoding, $text{$text});
		my $jsonb = defined $held;
		my @wrong;

		# PostgreSQL refuses escapes beyond ASCII in a jsonb of an SQL_ASCII
		# database; whether we spare it them is our own affair
		$jsonb = 0 if $encoding eq 'SQL_ASCII' && $how eq 'escaped' && $no_reply eq 't';

		is("$state $price $rc $sn", 'succeeded 10000 00 42', "$encoding, $ref_id: succeeded, with its amount");
		if ($place eq 'name')
		{
			my $wanted = defined $held ? unpack('H*', $held) : 'NULL';
			push @wrong, "name is $name" if $name ne $wanted;
			push @wrong, "error is: $error" if !defined $held && $error !~ /\bname\b/;
			push @wrong, 'desc is missing' if $no_desc eq 't';
		}
		else
		{
			my $wanted = $jsonb ? unpack('H*', $held) : 'NULL';
			push @wrong, "desc has $nama" if $nama ne $wanted;
			push @wrong, "error is: $error" if !$jsonb && $error !~ /\bdesc\b/;
			push @wrong, "name is $name" if $name ne unpack('H*', 'Jose');
		}
		push @wrong, 'reply is ' . ($no_reply eq 't' ? 'missing' : 'there') if $no_reply ne ($jsonb ? 'f' : 't');
		push @wrong, "error is: $error" if $jsonb ? $error ne '' : $error !~ /\breply\b.*encoding/;

		# the bytes are kept where they could not be stored
		my $event = $node->safe_psql($db,
			"SELECT kind, encode(body, 'hex') FROM digipay_event WHERE ref_id = '$ref_id'");
		push @wrong, "event is $event"
		  if $event ne ($jsonb ? '' : 'unstored|' . unpack('H*', $bytes_of_reply{$ref_id}));
		is(join('; ', @wrong), '', "$encoding, $ref_id: what can be held is held, and the rest kept");
		is($provider->booked($ref_id), 1, "$encoding, $ref_id: booked once");
	}
}

# ---------------------------------------------------------------------------
# The row that a client gets is one that the client can read

for my $encoding (qw(UTF8 LATIN1 EUC_JP))
{
	my $row = DigipayTest::row($node,
		q{SELECT * FROM digipay_pay('pln', '530000000001', 'accent-name-raw')}, db => $database{$encoding});
	my $wanted = defined held($encoding, 'José') ? 'José' : undef;
	is($row->{name}, $wanted, "$encoding: a client in UTF-8 reads the name");
}

# ---------------------------------------------------------------------------
# Inquiries go the same way

for my $encoding (sort keys %encoding)
{
	my $db = $database{$encoding};
	$provider->control(script => { ref_id => 'ask', command => 'inq-pasca',
		body_base64 => encode_base64(reply('ask', 'both', as_json('é😀王', 0)), '') });
	is($node->safe_psql($db, q{SELECT rc, price, status FROM digipay_inquire('pln', '530000000001', 'ask')}),
		'00|10000|Sukses', "$encoding: an inquiry whose texts it may not hold is a row");
	my $lost = $node->safe_psql($db, q{SELECT name IS NULL, coalesce(error ~ 'name.*reply', false) FROM digipay_inquiry});
	is($lost, $encoding =~ /UTF8|SQL_ASCII/ ? 'f|f' : 't|t', "$encoding: which says what is missing");
}

# ---------------------------------------------------------------------------
# Other columns than the name, and words that decide

my $ref_id = 'all-columns';
my $odd = as_json('é😀', 0);
$provider->control(script => { ref_id => $ref_id, book => JSON::PP::true(), body_base64 => encode_base64(encode('UTF-8',
			qq({"data":{"ref_id":"$ref_id","customer_no":"530000000001","code":"pln","rc":"00","status":"Sukses",)
			  . qq("message":$odd,"sn":$odd,"periode":$odd,"name":$odd,"price":7}})), '') });
is($node->safe_psql($database{LATIN1},
		qq{SELECT state, price, num_nulls(message, sn, periode, name), error ~ 'message' AND error ~ 'sn' AND error ~ 'periode'
		FROM digipay_pay('pln', '530000000001', '$ref_id')}),
	'succeeded|7|4|t', 'LATIN1: each text that cannot be held is NULL, and named in error');

# what is not ASCII in a word that decides makes it another word
for my $case ([ 'odd-rc', rc => '"00é"' ], [ 'odd-status', status => '"Sukses😀"' ])
{
	my ($odd_ref, %change) = @$case;
	my %value = (ref_id => qq("$odd_ref"), customer_no => '"530000000001"', code => '"pln"', rc => '"00"',
		status => '"Sukses"', %change);
	$provider->control(script => { ref_id => $odd_ref, book => JSON::PP::true(), body_base64 => encode_base64(
			encode('UTF-8', '{"data":{' . join(',', map { qq("$_":$value{$_}) } sort keys %value) . '}}'), '') });
	for my $encoding (sort keys %encoding)
	{
		is($node->safe_psql($database{$encoding},
				"SELECT state FROM digipay_pay('pln', '530000000001', '$odd_ref')"), 'unknown', "$encoding: $odd_ref is unknown");
	}
}

# an argument is ASCII, whatever the database
for my $encoding (qw(UTF8 LATIN1 EUC_JP))
{
	DigipayTest::fails_with($node,
		q{SELECT digipay_pay('pln', '530000000001', convert_from('\x4a6f73c3a9', 'UTF8'))}, '22023',
		"$encoding: an accent in ref_id is refused", db => $database{$encoding});
}

is(scalar(() = $node->safe_psql('postgres',
			q{SELECT datname FROM pg_stat_activity WHERE backend_type LIKE 'digipay%'}) =~ /^regress_/mg),
	4, 'four databases, four workers');

done_testing();
