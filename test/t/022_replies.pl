# What the provider may say, and what becomes of a payment that is answered so.
# Every reply is dictated to the double, which books the payment or not; every
# payment leaves once, never raises an error, and what could not be believed is
# kept byte for byte.
#
# The numbers (H01, J01, S01, ...) are those of the project's catalogue of
# faults.  Where that and the design disagree, the design wins: noted at the row.

use strict;
use warnings;
use utf8;

use DigipayTest;
use Encode qw(encode);
use JSON::PP ();
use MIME::Base64 qw(encode_base64);
use Test::More;

my $node = DigipayTest::new_node('replies');
my $provider = DigipayTest::start_provider();
# no question comes between, however long all this takes
DigipayTest::create_account($node, $provider, status_interval => 3_600_000);

# pays and says what came: the state, or the error.  After HTTP 429 or rc 85 the
# worker would rest for a minute; a new one does not know of that.
$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION regress_pay(ref_id text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN (digipay_pay('pln', '530000000001', ref_id)).state;
EXCEPTION WHEN OTHERS THEN
	IF sqlstate = 'PY004' AND sqlerrm LIKE '%rests%' THEN
		PERFORM digipay_worker_stop();
		RETURN regress_pay(ref_id);
	END IF;
	RETURN 'ERROR ' || sqlstate || ': ' || sqlerrm;
END $$;
SQL

# ---------------------------------------------------------------------------
# Replies, as text whose values are JSON already

my @KEYS = qw(ref_id customer_no name code admin message status sn rc balance price
  selling_price desc);
my %SAMPLE = (
	customer_no => '"530000000001"', name => '"Nama Pelanggan"', code => '"pln"',
	admin => 2500, message => '"Transaksi Sukses"', status => '"Sukses"', sn => '"123"',
	rc => '"00"', balance => 100000, price => 10000, selling_price => 11000,
	desc => '{"tarif":"R1","detail":[{"periode":"201901","nilai_tagihan":"8000"}]}');

# The members of a data object in the run's dialect; undef leaves one out, others
# come at the end.
sub members
{
	my ($ref_id, %change) = @_;
	my %value = (ref_id => qq("$ref_id"), %SAMPLE, %change);
	my @keys = (@KEYS, sort grep { my $key = $_; !grep { $_ eq $key } @KEYS } keys %change);
	return DigipayTest::spoken(join(',', map { qq("$_":$value{$_}) } grep { defined $value{$_} } @keys));
}

sub reply { return '{"data":{' . members(@_) . '}}' }

# A refusal or failure: no bill in it.
sub refusal
{
	my ($ref_id, $rc, $status, %change) = @_;
	return reply($ref_id, (map { $_ => undef } qw(name admin sn balance price selling_price desc)),
		rc => qq("$rc"), status => qq("$status"), message => '"Maaf"', %change);
}

# Makes a case's reply from its ref_id: text by a change of members, or by code.
sub with { my %change = @_; return sub { return reply($_[0], %change) } }

sub refused { my @how = @_; return sub { return refusal($_[0], @how) } }

sub nested
{
	my ($depth) = @_;
	# the document and data are two levels
	return with(desc => '[' x ($depth - 2) . ']' x ($depth - 2));
}

# ---------------------------------------------------------------------------
# The table: id, what it is, the reply, the expected state; and, as needed,
#	http		HTTP status
#	type		content type
#	book		whether the provider books it; by default it does where the
#				state leaves that open or says so
#	error		what the column error says
#	columns		what columns hold; undef: NULL
#	unstored	the reply was believed, but is kept as bytes

my $html = '<html><body>Selamat datang</body></html>';
my $ok = with();
my $error_objects = $DigipayTest::DIALECT eq 'digiflazz';
my @cases = (
	[ 'H01', '200 and a valid reply', $ok, 'succeeded' ],
	[ 'H02', '200 and nothing', '', 'unknown' ],
	[ 'H03', '200 and HTML', $html, 'unknown', type => 'text/html' ],
	# nothing hangs on the content type: a body that passes every check counts
	[ 'H04', 'valid JSON as text/plain', $ok, 'succeeded', type => 'text/plain' ],
	[ 'H05a', '201', $ok, 'succeeded', http => 201 ],
	[ 'H05b', '202', $ok, 'succeeded', http => 202 ],
	[ 'H05c', '204', '', 'unknown', http => 204 ],
	[ 'H06a', '400 with rc 40', refused('40', 'Gagal'), 'rejected', http => 400 ],
	[ 'H06b', '400 with rc 41', refused('41', 'Gagal'), 'rejected', http => 400,
		error => qr/key/ ],
	[ 'H06c', '400 with rc 41 and no ref_id', refused('41', 'Gagal', ref_id => undef), 'rejected',
		http => 400, error => qr/key/, columns => { message => 'Maaf', rc => '41' } ],
	[ 'H06d', '400 with rc 41 and nothing else but words',
		'{"data":{"rc":"41","status":"Gagal","message":"Signature tidak valid"}}', 'rejected',
		http => 400, columns => { message => 'Signature tidak valid' } ],
	# an error object, which digiflazz has and digiswitch has not
	(map { [ "H06e $_", "400 with rc $_ and a message, and nothing else",
		qq({"data":{"rc":"$_","message":"Maaf"}}), $error_objects ? 'rejected' : 'unknown', http => 400,
		$error_objects ? (columns => { rc => $_, message => 'Maaf', status => undef }) : () ] } qw(40 41 45)),
	(map { [ "H06f $_", "rc $_ and a message, and nothing else", qq({"data":{"rc":"$_","message":"Maaf"}}), 'unknown' ] }
		qw(00 02 03 46 49 50 74 83)),
	(map { [ "H06g $_", "rc 41, a message and $_", qq({"data":{"rc":"41","message":"Maaf",$_}}), 'unknown', http => 400 ] }
		'"status":null', '"ref_id":"other"', '"x":1'),
	[ 'H06h', 'rc 41 and no message', '{"data":{"rc":"41"}}', 'unknown', http => 400 ],
	[ 'H07', '400 and HTML', $html, 'unknown', http => 400 ],
	[ 'H08a', '401 and HTML', $html, 'unknown', http => 401 ],
	[ 'H08b', '403 and HTML', $html, 'unknown', http => 403 ],
	[ 'H09', '403 with rc 45', refused('45', 'Gagal'), 'rejected', http => 403, error => qr/address/ ],
	[ 'H10a', '404 and HTML', $html, 'unknown', http => 404 ],
	[ 'H10b', '405 and nothing', '', 'unknown', http => 405 ],
	[ 'H11a', '408 with a failure', refused('02', 'Gagal'), 'unknown', http => 408 ],
	[ 'H11b', '425 with a failure', refused('02', 'Gagal'), 'unknown', http => 425 ],
	[ 'H12a', '409 with a failure', refused('02', 'Gagal'), 'failed', http => 409 ],
	[ 'H12b', '422 with a failure', refused('60', 'Gagal'), 'failed', http => 422 ],
	[ 'H12c', '409 with a success', $ok, 'unknown', http => 409, error => qr/HTTP status/ ],
	[ 'H12d', '422 and nothing to read', 'oops', 'unknown', http => 422 ],
	[ 'H13', '429 with Retry-After', refused('85', 'Gagal'), 'unknown', http => 429,
		headers => { 'Retry-After' => '1' } ],
	[ 'H14a', '500, booked', $html, 'unknown', http => 500 ],
	[ 'H14b', '500, not booked', $html, 'unknown', http => 500, book => 0 ],
	[ 'H14c', '500 with a valid success', $ok, 'unknown', http => 500 ],
	[ 'H14d', '500 with a valid failure', refused('02', 'Gagal'), 'unknown', http => 500 ],
	(map { [ "H15 $_", "$_ by a gateway", $html, 'unknown', http => $_ ] } 502, 503, 504),
	(map { [ "H16 $_", "$_, which nobody has defined", $ok, 'unknown', http => $_ ] } 600, 999),

	(map { [ "J02 $_", "\\u0000 in $_", with($_ => '"00\u0000evil"'), 'unknown' ] }
		qw(rc status sn name)),
	[ 'J02 status', '\u0000 after Sukses', with(status => '"Sukses\u0000"'), 'unknown' ],
	[ 'J02 key', '\u0000 in a key', with('rc\u0000' => '"00"'), 'unknown' ],
	[ 'J03a', 'a NUL byte in a string', with(sn => "\"1\x{0}2\""), 'unknown' ],
	[ 'J03b', 'a NUL byte at the end', sub { reply($_[0]) . "\x{0}" }, 'unknown' ],
	[ 'J04a', 'rc twice, 00 then 07', with(rc => '"00","rc":"07"'), 'unknown', error => qr/twice/ ],
	[ 'J04b', 'rc twice, 07 then 00', with(rc => '"07","rc":"00"'), 'unknown' ],
	[ 'J04c', 'rc twice, the same', with(rc => '"00","rc":"00"'), 'unknown' ],
	[ 'J04d', 'rc twice, once escaped', with(rc => '"00","\u0072c":"07"'), 'unknown' ],
	[ 'J04e', 'data twice', sub { '{"data":{' . members($_[0]) . '},"data":{}}' }, 'unknown' ],
	[ 'J04f', 'a key twice deep inside', with(desc => '{"a":[{"b":1,"b":2}]}'), 'unknown' ],
	[ 'J05a', 'RC beside rc', with(RC => '"07"'), 'succeeded', columns => { rc => '00' } ],
	[ 'J05b', 'RC instead of rc', with(rc => undef, RC => '"00"'), 'unknown', error => qr/rc/ ],
	[ 'J05c', 'Data beside data', sub { '{"Data":{"rc":"02"},"data":{' . members($_[0]) . '}}' }, 'succeeded' ],
	[ 'J05d', 'Data instead of data', sub { '{"Data":{' . members($_[0]) . '}}' }, 'unknown', error => qr/data/ ],
	[ 'J05e', 'Status instead of status', with(status => undef, Status => '"Sukses"'), 'unknown' ],
	[ 'J06a', 'two documents', sub { reply($_[0]) x 2 }, 'unknown' ],
	[ 'J06b', 'garbage at the end', sub { reply($_[0]) . 'x' }, 'unknown' ],
	[ 'J06c', 'a brace at the end', sub { reply($_[0]) . '}' }, 'unknown' ],
	[ 'J06d', 'blanks around it', sub { " \r\n\t" . reply($_[0]) . "\n\n " }, 'succeeded' ],
	[ 'J07', 'a byte order mark', sub { "\x{EF}\x{BB}\x{BF}" . reply($_[0]) }, 'unknown' ],
	[ 'J08a', 'Latin-1', with(name => "\"Jos\x{E9}\""), 'unknown', error => qr/UTF-8/ ],
	[ 'J08b', 'an overlong slash', with(name => "\"\x{C0}\x{AF}\""), 'unknown' ],
	[ 'J08c', 'a surrogate in UTF-8', with(name => "\"\x{ED}\x{A0}\x{80}\""), 'unknown' ],
	[ 'J08d', 'beyond Unicode', with(name => "\"\x{F4}\x{90}\x{80}\x{80}\""), 'unknown' ],
	[ 'J08e', 'a character cut short', with(name => "\"\x{E2}\x{98}\""), 'unknown' ],
	[ 'J08f', 'outside of strings', sub { reply($_[0]) . "\x{FF}" }, 'unknown' ],
	[ 'J09a', 'a high surrogate alone', with(name => '"\ud83d"'), 'unknown' ],
	[ 'J09b', 'a low surrogate alone', with(name => '"\ude00"'), 'unknown' ],
	[ 'J09c', 'the two the wrong way round', with(name => '"\ude00\ud83d"'), 'unknown' ],
	[ 'J10a', 'depth 32', nested(32), 'succeeded' ],
	[ 'J10b', 'depth 33', nested(33), 'unknown', error => qr/deep/ ],
	[ 'J10c', 'depth 1001', nested(1001), 'unknown' ],
	[ 'J10d', 'depth 100,000', nested(100_000), 'unknown' ],
	[ 'J10e', '100,000 brackets and no end', '[' x 100_000, 'unknown' ],
	[ 'J10f', 'brackets in a string are no depth', with(sn => '"' . '[{' x 50 . '"'), 'succeeded' ],
	[ 'J11a', '80 digits', with(price => '1234567890' x 8), 'succeeded',
		columns => { price => '1234567890' x 8 } ],
	# exact in numeric, so it is the number that was sent
	[ 'J11b', '1e400', with(price => '1e400'), 'succeeded', columns => { price => '1' . '0' x 400 } ],
	[ 'J11c', '1e200000', with(price => '1e200000'), 'succeeded', unstored => 1,
		columns => { price => undef, selling_price => '11000', reply => undef }, error => qr/price/ ],
	[ 'J11d', '-0', with(price => '-0'), 'succeeded', columns => { price => '0' } ],
	[ 'J11e', '5.12e2', with(price => '5.12e2'), 'succeeded', columns => { price => '512' } ],
	[ 'J11f', '1e-400', with(price => '1e-400'), 'succeeded' ],
	[ 'J11g', '200 digits', with(price => '7' x 200), 'succeeded', columns => { price => undef },
		error => qr/price/ ],
	[ 'J11h', '1e-200000', with(price => '1e-200000'), 'succeeded', unstored => 1,
		columns => { price => undef, reply => undef }, error => qr/price/ ],
	[ 'J11i', 'a fraction of 30 places', with(price => '0.' . '123456789' x 3 . '123'), 'succeeded',
		columns => { price => '0.' . '123456789' x 3 . '123' } ],
	[ 'J11j', '2^53 + 1, which no float holds', with(balance => '9007199254740993'), 'succeeded',
		columns => { balance => '9007199254740993' } ],
	[ 'J11k', 'a huge number elsewhere', with(desc => '{"x":1e200000}'), 'succeeded', unstored => 1,
		columns => { price => '10000', desc => undef }, error => qr/desc/ ],
	[ 'J11l', 'a long number elsewhere', with(desc => '{"x":' . '9' x 5000 . '}'), 'succeeded' ],
	(map { [ "J12 $_", "$_ for a number", with(price => $_), 'unknown' ] }
		qw(NaN Infinity -Infinity 0x10 007 1. .5 1e 1e+ + - --1 +1 1_000), '1,000.00'),
	(map { [ "J13 $_", "$_ for a document", $_, 'unknown' ] } qw([] "data" 7 null true)),
	[ 'J13 array', 'the right document in an array', sub { '[' . reply($_[0]) . ']' }, 'unknown' ],
	(map { [ "J14 $_", "$_ for data", qq({"data":$_}), 'unknown', error => qr/data/ ] }
		'[]', '"x"', 'null', '7', 'true'),
	[ 'J14 array', 'data in an array', sub { '{"data":[{' . members($_[0]) . '}]}' }, 'unknown' ],
	[ 'J14 string', 'data as a string of JSON', sub {
			'{"data":' . JSON::PP->new->allow_nonref->encode('{' . members($_[0]) . '}') . '}' }, 'unknown' ],
	[ 'J14 none', 'no data', sub { '{' . members($_[0]) . '}' }, 'unknown' ],
	[ 'J14 deep', 'data one level down', sub { '{"x":' . reply($_[0]) . '}' }, 'unknown' ],
	[ 'J15a', 'an empty object', '{}', 'unknown' ],
	[ 'J15b', 'empty data', '{"data":{}}', 'unknown' ],
	[ 'J16a', 'a string of 1 MB', with(message => '"' . 'x' x 1_000_000 . '"'), 'succeeded' ],
	[ 'J16b', '100,000 keys', with(desc => '{' . join(',', map { qq("k$_":$_) } 1 .. 100_000) . '}'),
		'succeeded' ],
	[ 'J16c', '100,000 keys and the last one twice',
		with(desc => '{' . join(',', map { qq("k$_":$_) } 1 .. 100_000) . ',"k1":1}'), 'unknown' ],
	[ 'J17a', 'a comment', sub { '/* x */' . reply($_[0]) }, 'unknown' ],
	[ 'J17b', 'a line comment', sub { reply($_[0]) . ' // x' }, 'unknown' ],
	[ 'J17c', 'single quotes', with(name => q('x')), 'unknown' ],
	[ 'J17d', 'a comma too many in data', with(desc => '{},'), 'unknown' ],
	[ 'J17e', 'a comma too many in an array', with(desc => '[1,]'), 'unknown' ],
	[ 'J17f', 'a key without quotes', with('sn":"1",x:"' => '1'), 'unknown' ],
	[ 'J17g', 'a line break in a string', with(name => "\"a\nb\""), 'unknown' ],
	[ 'J17h', 'an unknown escape', with(name => '"\x41"'), 'unknown' ],
	[ 'J18', 'every kind of escape', with(name => '"\/\"\\\\\b\f\n\r\t\u0041\u00e9\u2603\ud83d\ude00é☃😀"'),
		'succeeded', columns => { name => "/\"\\\b\f\n\r\tAé☃😀é☃😀" } ],

	[ 'S01a', 'rc 00 with Gagal', with(status => '"Gagal"'), 'unknown', error => qr/contradict/ ],
	[ 'S01b', 'rc 00 with Pending', with(status => '"Pending"'), 'unknown' ],
	[ 'S02', 'rc 02 with Sukses', with(rc => '"02"'), 'unknown' ],
	[ 'S02b', 'rc 03 with Sukses', with(rc => '"03"'), 'unknown' ],
	[ 'S02c', 'rc 03 with Gagal', refused('03', 'Gagal'), 'unknown' ],
	[ 'S03a', 'no rc', with(rc => undef), 'unknown' ],
	[ 'S03b', 'no status', with(status => undef), 'unknown' ],
	[ 'S03c', 'rc null', with(rc => 'null'), 'unknown' ],
	[ 'S03d', 'status null', with(status => 'null'), 'unknown' ],
	[ 'S03e', 'status in small letters', with(status => '"sukses"'), 'unknown' ],
	[ 'S03f', 'status with a blank', with(status => '"Sukses "'), 'unknown' ],
	[ 'S04a', 'rc 0', with(rc => '0'), 'unknown' ],
	[ 'S04b', 'rc 7', refused('00', 'Gagal', rc => '7'), 'unknown' ],
	[ 'S04c', 'rc "0"', with(rc => '"0"'), 'unknown' ],
	[ 'S04d', 'rc "000"', with(rc => '"000"'), 'unknown' ],
	[ 'S04e', 'rc true', with(rc => 'true'), 'unknown' ],
	[ 'S04f', 'rc in an array', with(rc => '["00"]'), 'unknown' ],
	(map { [ "S05 '$_' Sukses", "rc \"$_\", Sukses", with(rc => qq("$_")), 'unknown' ] } 'A7', '123', '', ' 00'),
	(map { [ "S05 '$_' Gagal", "rc \"$_\", Gagal", refused($_, 'Gagal'), 'unknown' ] } 'A7', '123', ''),
	(map { [ "S05 '$_' Pending", "rc \"$_\", Pending", refused($_, 'Pending'), 'pending' ] } 'A7', '123', ''),
	[ 'S06a', 'another ref_id', with(ref_id => '"other"'), 'unknown', error => qr/ref_id/ ],
	[ 'S06b', 'no ref_id', with(ref_id => undef), 'unknown' ],
	[ 'S06c', 'the ref_id in other letters', sub { reply($_[0], ref_id => '"' . uc($_[0]) . '"') }, 'unknown' ],
	[ 'S06d', 'the ref_id with a blank', sub { reply($_[0], ref_id => qq("$_[0] ")) }, 'unknown' ],
	[ 'S06e', 'rc 41 for another ref_id', refused('41', 'Gagal', ref_id => '"other"'), 'unknown', http => 400 ],
	[ 'S06f', 'rc 02 without a ref_id', refused('02', 'Gagal', ref_id => undef), 'unknown' ],
	[ 'S06g', 'rc 46 without a ref_id', refused('46', 'Gagal', ref_id => undef), 'unknown' ],
	[ 'S06h', 'rc 41 with Sukses, without a ref_id', with(rc => '"41"', ref_id => undef), 'unknown' ],
	[ 'S07a', 'another customer_no', with(customer_no => '"530000000002"'), 'unknown', error => qr/customer_no/ ],
	[ 'S07b', 'customer_no as a number', with(customer_no => '530000000001'), 'unknown' ],
	[ 'S07c', 'another code', with(code => '"pdam"'), 'unknown', error => qr/code/ ],
	[ 'S07d', 'the code in other letters', with(code => '"PLN"'), 'unknown' ],
	[ 'S07e', 'no customer_no', with(customer_no => undef), 'unknown' ],
	[ 'S07f', 'a failure about another customer', refused('02', 'Gagal', customer_no => '"1"'), 'unknown' ],
	[ 'S08a', 'the price as a string', with(price => '"10000"'), 'succeeded', columns => { price => '10000' } ],
	[ 'S08b', 'a fraction', with(price => '10000.50'), 'succeeded', columns => { price => '10000.50' } ],
	[ 'S08c', 'a negative price', with(price => '-5'), 'succeeded', columns => { price => '-5' } ],
	[ 'S08d', 'price 0', with(price => '0'), 'succeeded', columns => { price => '0' } ],
	[ 'S08e', 'no price', with(price => undef), 'succeeded', columns => { price => undef } ],
	[ 'S08f', 'price null', with(price => 'null'), 'succeeded', columns => { price => undef } ],
	(map { [ "S08 $_", "the price $_", with(price => $_), 'succeeded', error => qr/price/,
			columns => { price => undef, selling_price => '11000', sn => '123' } ] }
		'"NaN"', '"Infinity"', '"1e3"', '""', '"Rp 10.000"', '" 1"', '"0x10"', 'true', '{}', '[1]', '{"a":1}'),
	[ 'S09a', 'lembar_tagihan as a string', with(desc => '{"lembar_tagihan":"2"}'), 'succeeded',
		columns => { desc => '{"lembar_tagihan": "2"}' } ],
	[ 'S09b', 'and as a number', with(desc => '{"lembar_tagihan":2,"detail":[{}]}'), 'succeeded',
		columns => { desc => '{"detail": [{}], "lembar_tagihan": 2}' } ],
	[ 'S10a', 'desc as a string', with(desc => '"lihat struk"'), 'succeeded',
		columns => { desc => 'lihat struk', price => '10000' }, periods => 0 ],
	# the catalogue has no row for it; by the design a single object counts as one
	[ 'S10b', 'detail as an object', with(desc => '{"detail":{"periode":"201901"}}'), 'succeeded', periods => 1 ],
	[ 'S10c', 'desc as an array', with(desc => '[1,2]'), 'succeeded', columns => { desc => '[1, 2]' }, periods => 0 ],
	[ 'S10d', 'desc null', with(desc => 'null'), 'succeeded', columns => { desc => undef }, periods => 0 ],
	[ 'S10e', 'name as an object', with(name => '{"first":"A"}'), 'succeeded', columns => { name => undef },
		error => qr/name/ ],
	[ 'S11', 'unknown fields', with(voucher => '{"a":[1]}'), 'succeeded', keys => [ 'voucher' ] ],
	[ 'S12', 'rc 43', refused('43', 'Gagal'), 'rejected' ],
	[ 'S13', 'rc 49', refused('49', 'Gagal'), 'review', error => qr/ref_id/ ],
	[ 'S14a', 'rc 01', refused('01', 'Gagal'), 'unknown', trusted => 1 ],
	[ 'S14b', 'rc 70', refused('70', 'Gagal'), 'unknown', trusted => 1 ],
	[ 'S15', 'rc 03', refused('03', 'Pending'), 'pending' ],
	[ 'S16', 'rc 74', refused('74', 'Gagal'), 'refunded' ],
	[ 'S24a', 'rc 44', refused('44', 'Gagal'), 'rejected' ],
	[ 'S24b', 'rc 85', refused('85', 'Gagal'), 'failed' ],
	[ 'X15', 'escape sequences and format strings', with(
			message => '"\u001b[2J%s%n%1$p; DROP TABLE digipay_payment; --"', name => '"\u001b]0;x\u0007"'),
		'succeeded', columns => { message => "\e[2J%s%n%1\$p; DROP TABLE digipay_payment; --", name => "\e]0;x\a" } ],
	[ 'words', 'the Malaysian words', with(status => '"Success"'), 'succeeded' ],
);

# every documented response code, as the provider's documentation has them
my %class = (
	succeeded => '00', pending => '03 99', unknown => '01 70', review => '49', refunded => '74',
	failed => '02 50 51 52 54 57 59 60 72 73 84 53 55 58 71 85 86',
	rejected => '40 41 42 43 44 45 46 47 48 56 61 62 63 64 65 66 67 68 69 80 81 82 83 87 88');
my %status_of = (succeeded => 'Sukses', pending => 'Pending');
my %rc_of;
for my $state (sort keys %class)
{
	for my $rc (split / /, $class{$state})
	{
		$rc_of{$rc} = $state;
		push @cases, [ "rc $rc", "rc $rc", refused($rc, $status_of{$state} // 'Gagal'), $state, trusted => 1 ];
	}
}
push @cases, [ "rc $_", "rc $_, which is not documented", refused($_, 'Gagal'), 'unknown' ]
  for grep { !$rc_of{$_} } map { sprintf '%02d', $_ } 0 .. 99;

# ---------------------------------------------------------------------------
# All of them

# Bytes: code points up to 255 stand for themselves in a case that is about
# bytes, others are UTF-8.
sub bytes
{
	my ($text, $id) = @_;
	return $id =~ /^J0[3578]/ ? $text : encode('UTF-8', $text);
}

my %case;
my $number = 0;
for my $row (@cases)
{
	my ($id, $name, $reply, $state, %more) = @$row;
	my $ref_id = sprintf('r-%03d', ++$number);
	my $body = bytes(ref $reply ? $reply->($ref_id) : $reply, $id);
	my $book = $more{book} // ($state =~ /^(?:succeeded|unknown|pending)$/ ? 1 : 0);

	$case{$ref_id} = { id => $id, name => "$id: $name", state => $state, body => $body, book => $book, %more };
	$provider->control(script => {
		ref_id => $ref_id, http_status => $more{http} // 200,
		content_type => $more{type} // 'application/json', headers => $more{headers} // {},
		body_base64 => encode_base64($body, ''), book => $book ? JSON::PP::true() : JSON::PP::false() });
}

my @results = DigipayTest::rows($node,
	"SELECT 'r-' || lpad(i::text, 3, '0') AS ref_id, clock_timestamp() AS begun,"
	  . " regress_pay('r-' || lpad(i::text, 3, '0')) AS result, clock_timestamp() AS ended"
	  . " FROM generate_series(1, $number) i");
my %result = map { $_->{ref_id} => $_->{result} } @results;
# none is waited for until its time-out, which is a minute and a half, nor chewed upon
my $longest = $node->safe_psql('postgres', 'SELECT max(ended::timestamptz - begun::timestamptz) < interval \'40 s\' FROM (VALUES '
	  . join(', ', map { "('$_->{begun}', '$_->{ended}')" } @results) . ') v (begun, ended)');
is($longest, 't', "each of $number replies in bounded time");

my %row = map { $_->{ref_id} => $_ } DigipayTest::rows($node,
	'SELECT p.*, (SELECT count(*) FROM digipay_detail(p)) AS periods FROM digipay_payment p');
my %events;
push @{ $events{ $_->{ref_id} } }, $_
  for DigipayTest::rows($node, 'SELECT * FROM digipay_event ORDER BY id');
my $refs = $provider->books->{refs};

for my $ref_id (sort keys %case)
{
	my $case = $case{$ref_id};
	my $name = $case->{name};
	my $row = $row{$ref_id};
	my $trusted = $case->{trusted} || $case->{state} ne 'unknown';

	is($result{$ref_id}, $case->{state}, "$name: $case->{state}") or next;
	my $books = $refs->{$ref_id};
	is("$books->{pay_requests} $books->{booked}", "1 $case->{book}", "$name: requested once");

	my @wrong;
	push @wrong, "http_status is $row->{http_status}" if $row->{http_status} != ($case->{http} // 200);
	push @wrong, 'no error' if $case->{state} =~ /^(?:unknown|review)$/ && !defined $row->{error};
	push @wrong, 'error: ' . ($row->{error} // 'none') if $case->{error} && ($row->{error} // '') !~ $case->{error};
	push @wrong, "error: $row->{error}" if $case->{state} eq 'succeeded' && !$case->{error} && defined $row->{error};
	my $open = $case->{state} =~ /^(?:unknown|pending)$/;
	push @wrong, 'next_check_at' if ($open || $case->{state} eq 'review') xor defined $row->{next_check_at};
	push @wrong, 'final_at' if defined $row->{final_at} xor !$open && $case->{state} ne 'review';
	push @wrong, 'sent_at' if !defined $row->{sent_at};
	push @wrong, 'replied_at' if $trusted xor defined $row->{replied_at};

	# bytes that were not believed, or could not be stored, are kept; and no others
	my @events = @{ $events{$ref_id} // [] };
	my $kind = $case->{unstored} ? 'unstored' : $trusted ? '' : 'untrusted';
	push @wrong, 'events: ' . join(' ', map { $_->{kind} } @events)
	  if join(' ', map { $_->{kind} } @events) ne $kind;
	for my $event (@events)
	{
		my $kept = defined $event->{body} ? pack('H*', substr($event->{body}, 2)) : '';
		push @wrong, 'the bytes kept are not those that came' if $kept ne $case->{body};
		push @wrong, 'the event has no note' if !defined $event->{note};
	}
	# of a reply that was not believed, nothing is in a column
	push @wrong, "column $_" for grep { !$trusted && defined $row->{$_} }
	  qw(name price selling_price admin balance status rc message sn periode desc reply);
	push @wrong, 'no reply' if $trusted && !$case->{unstored} && !defined $row->{reply};

	for my $column (sort keys %{ $case->{columns} // {} })
	{
		my $wanted = $case->{columns}{$column};
		my $got = $row->{$column};
		push @wrong, "$column: " . encode('UTF-8', substr($got // 'NULL', 0, 100))
		  if defined $got xor defined $wanted or defined $got && $got ne $wanted;
	}
	push @wrong, "$row->{periods} periods" if defined $case->{periods} && $row->{periods} != $case->{periods};
	my $reply = JSON::PP->new->allow_nonref->decode($row->{reply} // 'null');
	push @wrong, grep { !exists $reply->{ DigipayTest::spoken_key($_) } } @{ $case->{keys} // [] };
	is(join('; ', @wrong), '', "$name: the row and the events are as they should be");
}

# asked again, nothing is sent again
my $sent = $provider->books->{requests};
is($node->safe_psql('postgres',
		"SELECT count(*) FROM generate_series(1, $number) i WHERE regress_pay('r-' || lpad(i::text, 3, '0')) LIKE 'ERROR%'"),
	'0', 'asking for all of them again raises nothing');
is($provider->books->{requests}, $sent, 'and sends nothing');

# ---------------------------------------------------------------------------
# J01: a real reply, cut at every byte

my $whole = '{"data":{' . members('REF_ID') . '}}';
my $length = length($whole =~ s/REF_ID/cut-000/r);
for my $cut (0 .. $length)
{
	my $ref_id = sprintf('cut-%03d', $cut);
	$provider->control(script => { ref_id => $ref_id, book => JSON::PP::true(),
		body => substr($whole =~ s/REF_ID/$ref_id/r, 0, $cut) });
}
my @cuts = DigipayTest::rows($node,
	"SELECT i, regress_pay('cut-' || lpad(i::text, 3, '0')) AS result FROM generate_series(0, $length) i");
is(join(' ', map { "$_->{i}:$_->{result}" } grep { $_->{i} < $length && $_->{result} ne 'unknown' } @cuts),
	'', "J01: a reply of $length bytes, cut after each: unknown");
is((grep { $_->{i} == $length } @cuts)[0]{result}, 'succeeded', 'J01: whole: succeeded');
is($node->safe_psql('postgres',
		q{SELECT count(*) FROM digipay_event WHERE ref_id LIKE 'cut-%' AND kind = 'untrusted'}
		  . q{ AND coalesce(length(body), 0) = right(ref_id, 3)::int}),
	$length, 'J01: the bytes that came are kept');

# ---------------------------------------------------------------------------
# Inquiries: what cannot be believed is PY005, and nothing is written

my %inquiry = (
	'i-html' => $html, 'i-empty' => '', 'i-cut' => substr(reply('i-cut'), 0, -1),
	'i-other' => reply('other'), 'i-twice' => reply('i-twice', rc => '"00","rc":"02"'));
for my $ref_id (sort keys %inquiry)
{
	$provider->control(script => { ref_id => $ref_id, body => $inquiry{$ref_id} });
	DigipayTest::fails_with($node, "SELECT digipay_inquire('pln', '530000000001', '$ref_id')", 'PY005',
		"inquiry $ref_id: PY005", message => qr/trustworthy/, detail => qr/./, hint => qr/digipay_inquire/);
	is($node->safe_psql('postgres',
			"SELECT count(*) FROM digipay_inquiry WHERE ref_id = '$ref_id'"), '0', "inquiry $ref_id: no row");
	is($node->safe_psql('postgres',
			"SELECT coalesce(convert_from(body, 'UTF8'), '') FROM digipay_event WHERE ref_id = '$ref_id' AND kind = 'untrusted'"),
		$inquiry{$ref_id}, "inquiry $ref_id: its bytes are kept");
}
$provider->control(script => { ref_id => 'i-none', body => refusal('i-none', '60', 'Gagal') });
my $row = DigipayTest::row($node, "SELECT * FROM digipay_inquire('pln', '530000000001', 'i-none')");
is("$row->{rc} $row->{status}", '60 Gagal', 'that there is no bill is an answer, and a row');

# the view of the codes says the same as what was observed
my %view = map { $_->{rc} => $_->{on_pay} }
  DigipayTest::rows($node, 'SELECT rc, on_pay FROM digipay_response_code WHERE rc IS NOT NULL');
is_deeply(\%view, \%rc_of, 'digipay_response_code says what was seen');

# ---------------------------------------------------------------------------

my $log = PostgreSQL::Test::Utils::slurp_file($node->logfile);
unlike($log, qr/\e|PANIC|terminated by signal/, 'the log has no escape sequence, and nothing has crashed');
$refs = $provider->books->{refs};
is(join(' ', grep { $refs->{$_}{pay_requests} > 1 } sort keys %$refs), '', 'no ref_id was sent twice');

done_testing();
