# Replies that are wrong in ways too many for a table: a real reply cut at every
# byte, real replies mutated at random, and numbers, texts and keys in masses.  The
# table of single cases is in 022_replies.pl.
#
# The numbers are those of doc/faults.md.  What is random comes from a seed, which
# is printed; DIGIPAY_TEST_SEED repeats it.

use strict;
use warnings;

use Cwd ();
use DigipayTest;
use File::Basename ();
use HTTP::Tiny;
use JSON::PP ();
use MIME::Base64 qw(encode_base64);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $seed = $ENV{DIGIPAY_TEST_SEED} // int(time) % 1_000_000;
srand $seed;
note("DIGIPAY_TEST_SEED=$seed");

my $node = DigipayTest::new_node('reply_faults');
my $provider = DigipayTest::start_provider();
# what is unknown stays so for as long as this takes: it is not asked about
my %patient = (status_interval => 86_400_000);
DigipayTest::create_account($node, $provider, %patient);
DigipayTest::create_account($node, $provider, server => 'raw', port => $provider->raw_port, %patient);

# pays and says what came: the state, or the error
$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION regress_pay(ref_id text, server name DEFAULT 'digipay', code text DEFAULT 'pln', customer_no text DEFAULT '530000000001')
RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN (digipay_pay(code, customer_no, ref_id, NULL, server)).state;
EXCEPTION WHEN OTHERS THEN
	RETURN 'ERROR ' || sqlstate || ': ' || sqlerrm;
END $$;
SQL

sub worker_memory
{
	my ($field) = @_;
	return PostgreSQL::Test::Utils::slurp_file('/proc/' . DigipayTest::worker_pid($node) . '/status') =~ /^$field:\s+(\d+)/m ? $1 : 0;
}

# ---------------------------------------------------------------------------
# J01: the provider's real reply about a bill of pln, cut at every byte by the
# double, which has booked the payment each time

my $samples = File::Basename::dirname(Cwd::abs_path(__FILE__)) . '/../provider/responses';
is($node->safe_psql('postgres', q{SELECT regress_pay('cut-99999-', 'raw')}), 'succeeded', 'J01: the whole reply: succeeded');
# as it came; each ref_id here has the same length
my $length = 0;
{
	my $http = HTTP::Tiny->new(timeout => 60);
	my $sign = $node->safe_psql('postgres', q{SELECT md5('demo' || 'demo-key' || 'probe-0000')});
	my $reply = $http->post($provider->endpoint, { content => JSON::PP->new->encode(DigipayTest::spoken_object(command => 'pay-pasca', username => 'demo',
				code => 'pln', customer_no => '530000000001', ref_id => 'probe-0000', sign => $sign)) });
	$length = length $reply->{content};
}
cmp_ok($length, '>', 400, "J01: the reply has $length bytes");
my @cuts = DigipayTest::rows($node,
	"SELECT i, regress_pay('cut-' || lpad(i::text, 4, '0') || '-x', 'raw') AS state FROM generate_series(0, $length) i");
is(join(' ', map { "$_->{i}:$_->{state}" } grep { $_->{i} < $length && $_->{state} ne 'unknown' } @cuts), '',
	'J01: cut after each of its bytes: unknown');
is($cuts[$length]{state}, 'succeeded', 'J01: and not cut: succeeded');
my $refs = $provider->books->{refs};
is(join(' ', grep { my $books = $refs->{ sprintf 'cut-%04d-x', $_ }; $books->{pay_requests} != 1 || $books->{booked} != 1 } 0 .. $length), '',
	'J01: each received and booked once');
is($node->safe_psql('postgres',
		q{SELECT count(*) FROM digipay_event WHERE ref_id ~ '^cut-\d{4}-x$' AND kind = 'untrusted'}
		  . q{ AND coalesce(length(body), 0) = substr(ref_id, 5, 4)::int}), $length, 'J01: what came is kept, each to its last byte');

# ---------------------------------------------------------------------------
# J20: replies mutated at random.  Whatever they are by now: no error, no crash,
# and succeeded only if readers that are not ours, Perl's and jsonb, find in them
# what makes a success.

my @words = ('"', '\\', '{', '}', '[', ']', ',', ':', '0', '00', '"00"', 'null', 'true', '1e9', '-', '\u0000', '\ud800', '\u0030', "\0",
	"\x{FF}", "\xC0\xAF", "\xEF\xBB\xBF", ' ', "\n", '"rc":"00",', '"rc":"02",', '"status":"Sukses",', '"status":"Gagal",', '"data":', '{"data":{}}', '//');
my %kinds = (
	flip => sub { my ($text) = @_; substr($text, rand length $text, 1) ^= chr(1 << rand 8); return $text },
	word => sub { my ($text) = @_; substr($text, rand length $text, 0) = $words[ rand @words ]; return $text },
	over => sub { my ($text) = @_; my $word = $words[ rand @words ]; substr($text, rand length $text, length $word) = $word; return $text },
	drop => sub { my ($text) = @_; substr($text, rand length $text, 1 + rand 8) = ''; return $text },
	twice => sub { my ($text) = @_; my $at = rand length $text; substr($text, $at, 0) = substr($text, $at, 1 + rand 40); return $text },
	swap => sub { my ($text) = @_; my @members = split /(?<=,)/, $text; my ($i, $j) = (rand @members, rand @members);
		@members[ $i, $j ] = @members[ $j, $i ]; return join '', @members });
my @products = map { [ /^.*\/(.*)\.json$/, DigipayTest::spoken(PostgreSQL::Test::Utils::slurp_file($_)) ] } sort glob "$samples/*.json";
my (%body, %code);
my $count = 1500;
for my $i (1 .. $count)
{
	my $ref_id = sprintf 'mut-%04d', $i;
	my ($code, $text) = @{ $products[ rand @products ] };
	my %echo = %{ DigipayTest::spoken_object(ref_id => $ref_id, customer_no => '530000000001', code => $code) };
	$text =~ s/("data"\s*:.*?"$_"\s*:\s*)"[^"]*"/$1"$echo{$_}"/s for sort keys %echo;
	# one in ten stays as it is
	for (1 .. (int(rand 10) ? 1 + rand 3 : 0))
	{
		my $kind = (sort keys %kinds)[ rand keys %kinds ];
		$text = $kinds{$kind}->($text) if length $text;
	}
	@body{$ref_id} = ($text);
	$code{$ref_id} = $code;
	$provider->control(script => { ref_id => $ref_id, body_base64 => encode_base64($text, ''), verbatim => 1, book => JSON::PP::true() });
}
my $pid = DigipayTest::worker_pid($node);
my %state = map { $_->{ref_id} => $_->{state} } map {
	DigipayTest::rows($node, 'SELECT r AS ref_id, regress_pay(r, code => c) AS state FROM (VALUES '
		  . join(', ', map { "('$_', '$code{$_}')" } @$_) . ') v (r, c)')
} map { my $from = $_ * 500; [ (sort keys %body)[ $from .. $from + 499 ] ] } 0 .. $count / 500 - 1;
is(DigipayTest::worker_pid($node), $pid, "J20: $count mutated replies: the worker is still the same");
is(join(' ', map { "$_: $state{$_}" } grep { $state{$_} =~ /ERROR/ } sort keys %state), '', 'J20: none raises an error');

# would this be a success to somebody else?
sub is_success
{
	my ($ref_id) = @_;
	my $data = (eval { JSON::PP->new->utf8->decode($body{$ref_id}) } // return 0);
	$data = ref $data eq 'HASH' ? $data->{data} : undef;
	return 0 if ref $data ne 'HASH';
	$data = DigipayTest::heard($data);
	my %wanted = (ref_id => $ref_id, customer_no => '530000000001', code => $code{$ref_id}, rc => '00');
	return 0 if grep { !defined $data->{$_} || ref $data->{$_} || $data->{$_} ne $wanted{$_} } keys %wanted;
	return ($data->{status} // '') =~ /^(?:Sukses|Success)\z/;
}
my @succeeded = grep { $state{$_} eq 'succeeded' } sort keys %state;
my @other = grep { $state{$_} !~ /^(?:succeeded|unknown)$/ } sort keys %state;
note(scalar(@succeeded) . " succeeded, " . scalar(@other) . " are something else but unknown: " . join(' ', map { "$_ $state{$_}" } @other));
cmp_ok(scalar(@succeeded), '>', 50, 'J20: some are still as good as they were');
cmp_ok(scalar(@succeeded), '<', $count / 2, 'J20: many are not');
is(join("\n", map { "$_: $body{$_}" } grep { !is_success($_) } @succeeded), '', 'J20: what succeeded is a success to Perl\'s parser, too');
is($node->safe_psql('postgres', q{SELECT count(*) FROM digipay_payment WHERE ref_id LIKE 'mut-%' AND state = 'succeeded' AND reply IS NOT NULL
		AND NOT (reply->>'rc' = '00' AND reply->>'status' IN ('Sukses', 'Success') AND reply->>'ref_id' = ref_id)}), '0', 'J20: and to jsonb');
# an outcome other than unknown takes a reply that says so, in rc and status both
is(join(' ', map { "$_: $body{$_}" } grep { $state{$_} !~ /^(?:failed|rejected|pending|refunded|review)$/ || $body{$_} !~ /Gagal|Pending/ } @other), '',
	'J20: what is neither has said so');
$refs = $provider->books->{refs};
is(join(' ', grep { $refs->{$_}{pay_requests} != 1 } sort keys %state), '', 'J20: each was received once');
is($node->safe_psql('postgres', q{SELECT count(*) FROM digipay_payment p WHERE ref_id LIKE 'mut-%' AND state = 'unknown'
		AND NOT EXISTS (SELECT FROM digipay_event e WHERE e.ref_id = p.ref_id AND e.kind = 'untrusted' AND e.note IS NOT NULL)}), '0',
	'J20: what was not believed is kept, with the reason');

# ---------------------------------------------------------------------------
# J10, J16: masses, one after the other: memory comes back, and time is linear

sub reply
{
	my ($ref_id, $desc) = @_;
	return qq({"data":{"ref_id":"$ref_id","customer_no":"530000000001","code":"pln","rc":"00","status":"Sukses","message":"ok","price":1,"desc":$desc}});
}
my %mass = (
	deep => '[' x 500_000 . ']' x 500_000,
	objects => '{"a":' x 200_000 . '1' . '}' x 200_000,
	keys => '{' . join(',', map { qq("k$_":$_) } 1 .. 150_000) . '}',
	string => '"' . 'x' x 3_500_000 . '"',
	escapes => '"' . '\u00e9' x 500_000 . '"',
	numbers => '[' . join(',', 1 .. 400_000) . ']',
	empty => '[' . join(',', ('{}') x 600_000) . ']',
	blanks => '{' . ' ' x 3_500_000 . '}');
my $expected = { map { $_ => /^(?:deep|objects)$/ ? 'unknown' : 'succeeded' } keys %mass };
my %best;
my $peak = 0;
for my $round (1 .. 3)
{
	for my $name (sort keys %mass)
	{
		my $ref_id = "$name-$round";
		$provider->control(script => { ref_id => $ref_id, body => reply($ref_id, $mass{$name}), book => JSON::PP::true() });
		my $begun = time;
		my $state = $node->safe_psql('postgres', "SELECT regress_pay('$ref_id')");
		my $seconds = time - $begun;
		$best{$name} = $seconds if $seconds < ($best{$name} // 'inf');
		is($state, $expected->{$name}, "J16 $name, $round: $expected->{$name}");
		cmp_ok($seconds, '<', 60, "J16 $name, $round: in bounded time");
	}
	$provider->control(script => undef);
	# what malloc keeps has settled by then
	$peak = worker_memory('VmRSS') if $round == 2;
}
# what takes its time each time, and not once because something else held it up
cmp_ok($best{$_}, '<', 15, "J16 $_: within seconds") for sort keys %mass;
SKIP:
{
	# which keeps what is freed for a while, to see who still uses it
	skip 'the memory sanitizer keeps what is freed', 1
	  if PostgreSQL::Test::Utils::slurp_file('/proc/' . DigipayTest::worker_pid($node) . '/maps') =~ /libasan/;
	cmp_ok(worker_memory('VmRSS') - $peak, '<', 32 * 1024, 'J16: the worker has not grown by having all that again');
}
is($provider->books("$_-1")->{pay_requests}, 1, "J16 $_: received once") for sort keys %mass;

# ---------------------------------------------------------------------------

$refs = $provider->books->{refs};
is(join(' ', grep { $refs->{$_}{pay_requests} > 1 || $refs->{$_}{booked} > 1 } sort keys %$refs), '', 'no ref_id was received or booked twice');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/PANIC|terminated by signal/, 'nothing has crashed');

done_testing();
