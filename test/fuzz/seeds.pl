#!/usr/bin/perl
#
# Writes the fuzzer's first inputs: perl seeds.pl SAMPLES DIRECTORY
#
# They are the provider's samples (SAMPLES), as they are and as answers
# to the fuzzer's own payment, and what a broken, careless or malicious peer
# makes of one.  An input's first two characters are explained in fuzz.c.

use strict;
use warnings;

my ($samples, $directory) = @ARGV;
my $number = 0;

# The payment that fuzz.c asks for.
my %echo = (ref_id => 'fuzz/1', customer_no => '530000000001', code => 'pln');

# Write one input; its name tells the case.
sub seed
{
	my ($name, $body, $head) = @_;
	my $path = sprintf '%s/%04d-%s', $directory, $number++, $name;
	open my $file, '>:raw', $path or die "$path: $!";
	print $file $head // '00', $body;
	close $file or die "$path: $!";
}

# The members of a good answer, in order; the value of a key given is
# replaced, one given as undef is left out, and a new one is added.
sub members
{
	my %change = @_;
	my @member = (
		[ ref_id => '"fuzz/1"' ], [ customer_no => '"530000000001"' ],
		[ code => '"pln"' ], [ rc => '"00"' ], [ status => '"Sukses"' ],
		[ message => '"Transaksi Sukses"' ], [ name => '"Nama"' ], [ sn => '"S1"' ],
		[ admin => '2500' ], [ price => '10000' ], [ balance => '100000' ],
		[ desc => '{"lembar_tagihan":1,"detail":[{"periode":"201901","nilai":"8000"}]}' ]);
	my %known = map { $_->[0] => 1 } @member;
	push @member, map { [ $_ => $change{$_} ] } sort grep { !$known{$_} } keys %change;
	return join ',', map { qq("$_->[0]":$_->[1]) } grep { defined $_->[1] }
		map { exists $change{$_->[0]} ? [ $_->[0] => $change{$_->[0]} ] : $_ } @member;
}

# A whole answer.
sub with
{
	return '{"data":{' . members(@_) . '}}';
}

# The same in the dialect digiflazz, of which the head's first character tells.
my %other = (code => 'buyer_sku_code', name => 'customer_name', balance => 'buyer_last_saldo');

sub other
{
	my ($name, $body, $head) = @_;
	$head //= '00';
	$body =~ s/"(code|name|balance)"(?=\s*:)/"$other{$1}"/g;
	return seed("other-$name", $body, chr(ord($head) | 0x40) . substr($head, 1));
}

# One input in either.
sub both { seed(@_); return other(@_) }

# ------------------------------------------------------------- the samples

for my $path (sort glob("$samples/*.json"), glob("$samples/documented/*.json"))
{
	my ($name) = $path =~ m{([^/]+)\.json$};
	open my $file, '<:raw', $path or die "$path: $!";
	my $body = do { local $/; <$file> };
	close $file;
	seed("sample-$name", $body);
	$body =~ s/"$_"(\s*:\s*)"[^"]*"/"$_"$1"$echo{$_}"/ or die "$path has no $_"
		for sort keys %echo;
	both("mine-$name", $body);
	both("inquiry-$name", $body, '10');
	if ($name eq 'pln')
	{
		seed("cut-$_", substr($body, 0, $_)) for map { $_ * 5 } 0 .. length($body) / 5;
	}
}
die "no samples in $samples" if $number == 0;

my $good = with();

# --------------------------------- every command, HTTP status, code and word

for my $command (0 .. 3)
{
	both("command-$command-$_", $good, $command . chr(ord('0') + $_)) for 0 .. 15;
	for my $rc ('00' .. '03', '40' .. '74', '80' .. '88', '99', 'A7', '', '123')
	{
		for my $status (qw(Sukses Gagal Pending Success Failed Processing sukses))
		{
			# not all of them: what matters is each with each command
			next if $status =~ /^[SFP].*[sg]$/ && $status !~ /^(Sukses|Pending)$/ && $rc !~ /^0/;
			both("word-$command", with(rc => qq("$rc"), status => qq("$status")), "${command}0");
		}
	}
}
seed("not-found-$_", with(rc => '"02"', status => '"Gagal"', message => '"data belum ADA"'), "${_}0")
	for 0 .. 3;
seed('incomplete', $good, '40');
seed("out-of-memory-$_", with(x => '"' . 'y' x $_ . '"'), '80') for 0 .. 60;

# ------------------------------------------------- calls about the account

for my $call (0 .. 3)
{
	my $row = '{"code":"a","name":"A","status":true,"admin":2500,"x":[{"code":"b"}]}';
	my $df = $row =~ s/"code":"a"/"buyer_sku_code":"a"/r;

	for my $body ('{"deposit":100.5}', '{"rc":"00","amount":200123,"notes":"BCA"}', '{"rc":"83","message":"limit"}',
		'{"rc":"41"}', '{"rc":"03"}', '{}', '[]', '[1]', '[{}]', 'null', '"x"', "[$row]", "[$df]",
		"[$row," . $row =~ s/"a"/"b"/r . ']', "[$df," . $df =~ s/"a"/"b"/r . ']', "[$row,$row]", "[$df,{}]",
		'[{"code":{"code":"a"}}]', '[[{"code":"a"}]]', '[{"code":"\\u0061"},{"code":"a"}]')
	{
		for my $dialect (0, 0x40)
		{
			seed("call-$call", qq({"data":$body}), chr(0x80 | 0x30 | $dialect | $call) . $_) for 0, 5, 9;
		}
	}
}

# ----------------------------------------------------------- malformed JSON

seed('nul-escape', with($_ => '"00\u0000"')) for qw(rc status sn x);
seed('nul-escape-key', with('rc\u0000' => '"00"'));
seed('nul-byte', $_)
	for "$good\0", "\0$good", with(sn => qq("a\0b")), with(rc => qq("00\0"));

# the same key twice: in data, as data, in what nobody looks at, in disguise
for my $key (sort keys %echo, qw(rc status price desc x))
{
	seed("twice-$key", '{"data":{' . qq("$key":$_,) . members($key => '"00"') . '}}'),
		seed("twice-$key-last", '{"data":{' . members($key => '"00"') . qq(,"$key":$_}}))
		for '"07"', '7', 'null';
}
seed('twice-data', '{"data":{' . members() . '},"data":' . $_ . '}')
	for '{}', '{"rc":"02","status":"Gagal"}', 'null', '[]', '"x"',
	'{' . members(status => '"Gagal"', rc => '"02"') . '}';
seed('twice-data-first', '{"data":' . $_ . ',"data":{' . members() . '}}')
	for '{}', 'null', '{' . members(status => '"Gagal"', rc => '"02"') . '}';
seed('twice-data-split', '{"data":{"rc":"00","status":"Sukses"},"data":{'
	. members(rc => undef, status => undef) . '}}');
seed('twice-escaped', '{"data":{' . members() . ',"r\u0063":"07"}}');
seed('twice-escaped-data', '{"data":{' . members() . '},"dat\u0061":{}}');
seed('twice-deep', with(desc => '{"a":[{"b":1,"b":2}]}'));
seed('other-case', with($_ => '"07"')) for qw(RC Status REF_ID Data);
seed('other-case-only', with(rc => undef, RC => '"00"'));
seed('other-case-data', '{"Data":{' . members(rc => '"02"') . '},"data":{' . members() . '}}');
seed('other-case-data-only', '{"DATA":{' . members() . '}}');

seed('two-documents', $_) for $good . $good, "$good x", "$good]", "$good,", "$good {}";
seed('mark', "\xEF\xBB\xBF$good");
seed('blank', $_) for " \t\r\n$good\r\n", "\f$good", "\x0b$good", "\xC2\xA0$good", ' ';

for my $bytes ("\xFF", "\xC0\xAF", "\xE0\x80\xAF", "\xED\xA0\x80", "\xED\xB0\x80", "\xC3", "\xF8\x88",
	"\xF4\x90\x80\x80", "\xF0\x9F\x98", "\x80", "\xC1\x81")
{
	seed('not-utf8', with(sn => qq("a$bytes"))), seed('not-utf8-end', $good . $bytes);
}
seed('utf8', with(name => qq("$_"), $_ => '1'))
	for "\xC3\xA9", "\xE4\xB8\xAD", "\xF0\x9F\x98\x80", "\xC2\x80", "\xEF\xBF\xBF", "\xF4\x8F\xBF\xBF", "\x7F";
seed('escape', with(name => qq("$_"))), seed('escape-key', with($_ => '1'))
	for '\u00e9', '\u00E9\u4e2d', '\ud83d\ude00', '\uD83D\uDE00', '\udbff\udfff', '\u0080', '\u007f',
	'\u0041', '\u0022', '\u005c', '\u005cu0000', '\\\\u00e9', '\\\\\\u00e9', '\\"\\\\\\/\\b\\f\\n\\r\\t',
	'\ud83d', '\ud83d\ue000', '\ud83d\udbff', '\ud83d\udfff', '\ud800\udc00', '\ud7ff\udc00',
	'\ude00', '\ude00\ud83d', '\ud83dx', '\ud83d\ud83d', '\ud83d\n', '\ud83d\u0041',
	'\ud83d\u', '\u12', '\u12g4', '\u', '\U0041', '\x41', '\'', '\a', '\u00 e', '\uD83D\\uDE00';
seed('escape-cut', '{"data":{"sn":"' . substr('\ud83d\ude00', 0, $_)) for 1 .. 12;
seed('escaped-echo', with(ref_id => $_)) for '"fuzz\/1"', '"\u0066uzz\u002f1"', '"\u0066uzz\u002F1 "';
seed('escaped-word', with(status => '"S\u0075kses"', rc => '"\u0030\u0030"'));
seed('escaped-key', '{"d\u0061ta":{' . members(rc => undef) . ',"\u0072c":"00"}}');
seed('escape-outside', $_) for '\u00e9' . $good, "$good\\u00e9", '{"data"\u003a{}}', '\\', '"\\', "$good\\";
seed('control', with(name => qq("a$_"))) for "\x01", "\t", "\n", "\x1f", "\r\n";

for my $depth (28 .. 36, 64, 200, 900, 1001, 1500)
{
	seed("depth-$depth", with(desc => '[' x $depth . ']' x $depth));
	seed("depth-object-$depth", with(desc => '{"a":' x $depth . '1' . '}' x $depth));
	seed("depth-open-$depth", '[' x $depth), seed("depth-closed-$depth", $good . '}' x $depth);
}
seed('brackets-in-text', with(name => '"' . '[{' x 40 . '"'));

for my $price ('1e400', '1e401', '1e-400', '1E+400', '1e200000', '-1e200000', '1e-200000', '-0',
	'5.12e2', '1.5', '-1', '0', '1' x 60, '1' x 61, '1' x 63, '1' x 64, '1' x 80, '1' x 100, '1' x 101,
	'1' x 400, '1' x 64 . 'e5', '0.' . '0' x 70 . '1', '1.' . '1' x 70 . 'e-3', '-' . '9' x 99,
	'1e' . '0' x 70 . '1', '00', '01', '1.', '.5', '+1', '0x10', '1e', '1e+', '--1', 'NaN', 'Infinity',
	'-Infinity', '"NaN"', '"Infinity"', '"1e3"', '"12.50"', '" 1"', '""', '"0x1"', '"1_000"',
	'"' . '1' x 101 . '"', 'null', 'true', '[]', '{}', '[1]', '"\u0031"', '1' x 61 . 'x', '1' x 61 . '"')
{
	seed('number', with(price => $price)), seed('number-elsewhere', with(x => $price));
}
seed('number-top', $_) for '1', '1' x 70, '-' . '1' x 70, "[@{[ '1' x 70 ]}]";
seed('numbers', with(x => '[' . join(',', ('1' x 61) x 5) . ']', y => '"' . '1' x 70 . '"'));
seed('number-text', with(name => '1' x 70, sn => '12', periode => '201901', message => '-1e5'));

seed('top', $_) for '[]', '[' . $good . ']', '"x"', '1', 'null', 'true', 'false', '{}', '', '""',
	'{"data":1}', '{"data":[]}', '{"data":"{}"}', '{"data":null}', '{"data":{}}', '{"data":[{' . members() . '}]}',
	'{"x":{"data":{' . members() . '}}}', '{"data":{"data":{' . members() . '}}}', members(),
	'{' . members() . '}', '{"x":1,"data":{' . members() . '},"y":[{"data":2}]}';
seed('loose', $_) for
	'{"data":{' . members() . ',}}', '{"data":{' . members() . '},}', "/* */$good", "$good//x",
	'{"data":{/**/' . members() . '}}', "{'data':{" . members() . '}}', '{data:{' . members() . '}}',
	'{"data"={' . members() . '}}', '{"data":{' . members() . '}', '{"data":{,' . members() . '}}',
	'{"data":{' . members() . ' "x":1}}', '{"data":{' . members(x => 'True') . '}}',
	'{"data":{' . members(x => 'nul') . '}}', '{"data":{' . members(x => '[1,]') . '}}',
	'{"data":{"":1,' . members() . '}}', '{"":1,"data":{' . members() . '}}';
seed('many-keys', with(map { ("k$_" => $_) } 0 .. 40));

# ------------------------------------------------------- well-formed, but odd

for my $key (sort keys %echo, qw(rc status))
{
	for my $odd ('null', '0', '1', 'true', '[]', '{}', '["00"]', '{"rc":"00"}', '""', '"07"', '" 00"', '"00 "',
		'"FUZZ/1"', '"fuzz/10"', '"fuzz"', '"PLN"', '"sukses"', undef)
	{
		both("odd-$key", with($key => $odd));
		both("odd-refused-$key", with(rc => '"45"', status => '"Gagal"', $key => $odd));
	}
}
seed('refused', with(rc => '"41"', status => '"Gagal"', map { ($_ => undef) } keys %echo), $_)
	for '00', '05', '06', '10', '20', '30', '0<';
both('unlike', with($_ => '"x"'), '00'), both('unlike-number', with($_ => '-1.5'), '00'),
	seed('unlike-array', with($_ => '[1,{"rc":"02"}]'), '00'),
	seed('unlike-object', with($_ => '{"rc":"02","data":{"rc":"02"}}'), '00'),
	seed('unlike-null', with($_ => 'null'), '00')
	for qw(message name sn periode price selling_price admin base_commission balance desc);
# an error object, and what only looks like one
for my $rc (qw(40 41 45 46 49 00 02 83))
{
	both('error-object', qq({"data":{"rc":"$rc","message":"Maaf"}}), $_) for '00', '05', '10', '20', '30', '0<';
	both('error-like', qq({"data":{"rc":"$rc",$_}}))
		for '"message":7', '"message":null', '"status":"Gagal"', '"message":"Maaf","x":1',
		'"message":"Maaf","status":null', '"message":"Maaf","ref_id":"other"', '"message":"Maaf","code":"pln"';
}
# in the words of the other dialect
seed('crossed', $good, 'p0'), seed('crossed', $good =~ s{"code"}{"buyer_sku_code"}r);
seed('crossed-both', with(buyer_sku_code => $_)), seed('crossed-both', with(buyer_sku_code => $_), 'p0')
	for '"pln"', '"pdam"';
both('decimals', with(price => '10000.50', balance => '"99.95"', admin => '0.10')), both('malay', with(status => '"Success"'));
seed('ping', '{"sed":"ping"}'), seed('page', '<html><body>502 Bad Gateway</body></html>', '0<');

print "$number seeds\n";
