# Who may pay, from which account, and what nobody gets to see.

use strict;
use warnings;

use DigipayPeer;
use DigipayTest;
use Digest::MD5 qw(md5_hex);
use JSON::PP ();
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;

my $BILL = q{'pln', '530000000001'};

# The secrets: whatever else happens, these are found nowhere.
my $KEY = 'S3CRET-key-of-the-mapping';
my $HOOK = 'S3CRET-of-the-webhook';
my $FILE_KEY = 'S3CRET-key-in-a-file';

my $secrets = PostgreSQL::Test::Utils::tempdir('digipay_secrets');
my $node = DigipayTest::new_node('security', 'digipay.secret_dir' => $secrets);
my $provider = DigipayTest::start_provider(api_key => $KEY);
# before anything is logged that PostgreSQL itself might log
# (and without questions, which would be requests when none is to be seen)
DigipayTest::create_account($node, $provider, api_key => $KEY, mapping => { webhook_secret => $HOOK },
	status_interval => 3_600_000);
$node->append_conf('postgresql.conf', "log_min_messages = debug5\nlog_error_verbosity = verbose\n"
	  # PostgreSQL's own log of statements would show a mapping's options
	  . "log_statement = none\n");
$node->reload;

# What clients were told, for the search at the end.
my $said = '';

# An error of a statement, or undef; remembered.
sub error_of
{
	my $error = DigipayTest::error_of(@_);
	$said .= $error->{text} if $error;
	return $error;
}

# Tests that a statement fails, and that the provider has not heard of it.
sub refused
{
	my ($query, $sqlstate, $name, %params) = @_;
	my $like = delete $params{like} // {};
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	my $before = $provider->books->{requests};
	my $error = error_of($node, $query, %params);
	my @wrong = grep { ($error->{$_} // '') !~ $like->{$_} } sort keys %$like;
	is(($error->{sqlstate} // 'no error') . "@wrong", $sqlstate, $name)
	  or diag($error ? $error->{text} : $query);
	is($provider->books->{requests}, $before, "$name: nothing was sent");
	return $error;
}

sub pay
{
	my ($ref_id, $server) = @_;
	return DigipayTest::row($node, "SELECT * FROM digipay_pay($BILL, '$ref_id', NULL, "
		  . DigipayTest::literal($server) . ')');
}

# One statement as another role.
sub as_role
{
	my ($role, $query) = @_;
	return $node->safe_psql('postgres', "SET ROLE $role; $query");
}

# ---------------------------------------------------------------------------
# Privileges

$node->safe_psql('postgres', <<'SQL');
CREATE ROLE regress_nobody;
CREATE ROLE regress_execute;
CREATE ROLE regress_cashier;
CREATE ROLE regress_owner;
GRANT EXECUTE ON FUNCTION digipay_pay, digipay_inquire, digipay_health TO regress_execute, regress_cashier, regress_owner;
GRANT USAGE ON FOREIGN SERVER digipay TO regress_cashier, regress_owner;
SQL

for my $call ("digipay_pay($BILL, 'x')", "digipay_inquire($BILL, 'x')", 'digipay_health()',
	'digipay_worker_start()', 'digipay_worker_stop()')
{
	refused("SELECT $call", '42501', "without EXECUTE: $call", role => 'regress_nobody',
		like => { message => qr/permission denied for function/ });
}
for my $call ("digipay_pay($BILL, 'x')", "digipay_inquire($BILL, 'x')")
{
	refused("SELECT $call", '42501', "with EXECUTE, without USAGE: $call", role => 'regress_execute',
		like => { message => qr/foreign server/, hint => qr/GRANT USAGE ON FOREIGN SERVER digipay TO regress_execute/ });
}
# what is known already is not told to everybody either
is(pay('known-1')->{state}, 'succeeded', 'the owner pays');
refused("SELECT digipay_pay($BILL, 'known-1')", '42501', 'a known ref_id without USAGE', role => 'regress_execute');

is(as_role('regress_cashier', "SELECT state, requested_by FROM digipay_pay($BILL, 'cashier-1')"),
	'succeeded|regress_cashier', 'with EXECUTE and USAGE: paid, and the row says for whom');
is($provider->booked('cashier-1'), 1, 'booked once');
for my $table (qw(digipay_payment digipay_inquiry digipay_event digipay_fence))
{
	refused("SELECT count(*) FROM $table", '42501', "but $table is not to be read", role => 'regress_cashier');
}
for my $change ('UPDATE digipay_payment SET state = \'not_sent\'', 'DELETE FROM digipay_payment',
	'INSERT INTO digipay_fence (origin) VALUES (gen_random_uuid())',
	'CREATE TRIGGER t BEFORE UPDATE ON digipay_payment FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()',
	'CREATE RULE r AS ON UPDATE TO digipay_payment DO INSTEAD NOTHING',
	'CREATE POLICY p ON digipay_payment', 'DO $$ BEGIN LOCK TABLE digipay_payment; END $$',
	q{ALTER SERVER digipay OPTIONS (SET endpoint 'http://127.0.0.1:1/')}, 'DROP SERVER digipay CASCADE')
{
	refused($change, '42501', "nor may a cashier: $change", role => 'regress_cashier');
}
is(as_role('regress_nobody', q{SELECT on_pay FROM digipay_response_code WHERE rc = '00'}), 'succeeded',
	'what is pure is for everybody');

# ---------------------------------------------------------------------------
# A mapping of one's own pays nothing

as_role('regress_cashier', q{CREATE USER MAPPING FOR regress_cashier SERVER digipay OPTIONS (username 'thief', api_key 'thief-key')});
is(as_role('regress_cashier', "SELECT state, account FROM digipay_pay($BILL, 'own-mapping')"),
	'succeeded|demo@127.0.0.1', 'a role\'s own mapping is ignored: the PUBLIC one pays');
is($provider->booked('own-mapping'), 1, 'booked with its key');
$node->safe_psql('postgres', q{CREATE USER MAPPING FOR postgres SERVER digipay OPTIONS (username 'root', api_key 'root-key')});
is(pay('own-mapping-2')->{account}, 'demo@127.0.0.1', 'a superuser\'s own one as well');
# no PUBLIC mapping at all: nobody's own stands in for it
$node->safe_psql('postgres', 'CREATE SERVER unmapped FOREIGN DATA WRAPPER digipay OPTIONS ('
	  . DigipayTest::option_list(endpoint => $provider->endpoint, allow_private_address => 'true') . q{);
	GRANT USAGE ON FOREIGN SERVER unmapped TO regress_cashier;
	CREATE USER MAPPING FOR regress_cashier SERVER unmapped OPTIONS (username 'demo', api_key 'x')});
refused("SELECT digipay_pay($BILL, 'unmapped-1', NULL, 'unmapped')", '42704', 'no PUBLIC mapping',
	role => 'regress_cashier', like => { message => qr/no user name/, hint => qr/MAPPING FOR PUBLIC/ });

# ---------------------------------------------------------------------------
# SECURITY DEFINER: the definer's rights count, and only his

$node->safe_psql('postgres', <<"SQL");
GRANT CREATE ON SCHEMA public TO regress_owner;
SET ROLE regress_owner;
CREATE FUNCTION regress_wrapper(ref_id text) RETURNS digipay_state LANGUAGE sql SECURITY DEFINER
	SET search_path = public, pg_temp AS \$\$SELECT (digipay_pay($BILL, ref_id)).state\$\$;
SQL
is(as_role('regress_nobody', q{SELECT regress_wrapper('definer-1')}), 'succeeded', 'through a SECURITY DEFINER function');
is(DigipayTest::payment($node, 'definer-1')->{requested_by}, 'regress_owner', 'its owner pays');
$node->safe_psql('postgres', 'REVOKE USAGE ON FOREIGN SERVER digipay FROM regress_owner');
refused(q{SELECT regress_wrapper('definer-2')}, '42501', 'without its owner\'s USAGE it does not');
$node->safe_psql('postgres', 'GRANT USAGE ON FOREIGN SERVER digipay TO regress_owner');

# the caller must not choose whose money it is
DigipayTest::create_account($node, $provider, server => 'other', username => 'other', api_key => 'x');
$node->safe_psql('postgres', 'GRANT USAGE ON FOREIGN SERVER other TO regress_owner, regress_cashier');
my $set = error_of($node, q{SET digipay.server = 'other'}, role => 'regress_cashier',
	before => q{LOAD 'digipay';});
is($set->{sqlstate}, '42501', 'SET digipay.server is for superusers');
# before the library is loaded PostgreSQL knows no such setting, and takes anything
is($node->safe_psql('postgres',
		q{SET ROLE regress_cashier; SET digipay.server = 'other'; SELECT server FROM regress_wrapper('definer-3'),}
		  . qq{LATERAL digipay_pay($BILL, 'definer-3')}), 'digipay', 'set in advance it does not count either');
is(DigipayTest::payment($node, 'definer-3')->{account}, 'demo@127.0.0.1', 'the payment went from the account meant');
$node->safe_psql('postgres', q{ALTER ROLE regress_owner SET search_path = public});
my $own = error_of($node, q{ALTER ROLE regress_cashier SET digipay.server = 'other'}, role => 'regress_cashier',
	before => q{LOAD 'digipay';});
is($own->{sqlstate}, '42501', 'nor ALTER ROLE ... SET');

# ---------------------------------------------------------------------------
# testing

my $peer = DigipayPeer::start(sub {
	my ($socket, $request) = @_;
	my $echo = join(',', map { qq("$_":"$request->{body}{$_}") } qw(ref_id customer_no code));
	print $socket DigipayPeer::reply(200, 'application/json',
		qq({"data":{$echo,"rc":"00","status":"Sukses","price":1,"message":"ok"}}));
	return 1;
});
DigipayTest::create_account($node, $provider, server => 'peer', username => 'peer-user', api_key => $KEY,
	endpoint => $peer->endpoint);
sub testing_of
{
	my ($argument, $ref_id) = @_;
	my $row = DigipayTest::row($node, "SELECT * FROM digipay_pay($BILL, '$ref_id', $argument, 'peer')");
	my ($request) = $peer->requests($ref_id);
	my $sent = $request->{body}{testing};
	return "$row->{state} $row->{testing} " . (exists $request->{body}{testing} ? ($sent ? 'sent' : 'sent as false') : 'left out');
}
is(testing_of('NULL', 't-1'), 'succeeded false left out', 'by default a payment is no test');
is(testing_of('true', 't-2'), 'succeeded true sent', 'by the argument it is');
$node->safe_psql('postgres', q{ALTER SERVER peer OPTIONS (ADD testing 'true')});
is(testing_of('NULL', 't-3'), 'succeeded true sent', 'by the server\'s option it is');
is(testing_of('false', 't-4'), 'succeeded false left out', 'the argument overrides it');
for my $case ([ 't-1', 'true' ], [ 't-1', 'NULL' ], [ 't-2', 'false' ], [ 't-3', 'false' ])
{
	my ($ref_id, $testing) = @$case;
	my $count = $peer->requests;
	my $error = error_of($node, "SELECT digipay_pay($BILL, '$ref_id', $testing, 'peer')");
	is($error->{sqlstate}, 'PY002', "$ref_id with testing $testing: another bill");
	is(scalar($peer->requests), $count, 'and nothing was sent');
}
is(scalar(grep { $_->{body}{sign} ne md5_hex("peer-user$KEY$_->{ref_id}") } $peer->requests), 0,
	'every request was signed as documented');
is(join(' ', sort keys %{ ($peer->requests('t-1'))[0]{body} }), 'code command customer_no ref_id sign username',
	'and has the documented fields, no more');
unlike(join('', map { "$_->{head}$_->{raw}" } $peer->requests), qr/S3CRET/, 'in none is the key itself');

# ---------------------------------------------------------------------------
# A hostile search_path

$node->safe_psql('postgres', <<'SQL');
CREATE SCHEMA regress_evil;
GRANT USAGE ON SCHEMA regress_evil TO PUBLIC;
SET search_path = regress_evil, pg_catalog;
CREATE TABLE used (what text);
GRANT INSERT ON used TO PUBLIC;
CREATE FUNCTION bad(what text) RETURNS void LANGUAGE plpgsql AS
	$$ BEGIN INSERT INTO regress_evil.used VALUES (what); RAISE LOG 'regress_evil: %', what; END $$;
CREATE FUNCTION text_eq(text, text) RETURNS boolean LANGUAGE sql AS $$ SELECT bad('='); SELECT true $$;
CREATE FUNCTION name_eq(name, name) RETURNS boolean LANGUAGE sql AS $$ SELECT bad('='); SELECT true $$;
CREATE FUNCTION name_text_eq(name, text) RETURNS boolean LANGUAGE sql AS $$ SELECT bad('='); SELECT true $$;
CREATE FUNCTION bool_eq(boolean, boolean) RETURNS boolean LANGUAGE sql AS $$ SELECT bad('='); SELECT true $$;
CREATE FUNCTION num_le(numeric, numeric) RETURNS boolean LANGUAGE sql AS $$ SELECT bad('<='); SELECT true $$;
CREATE FUNCTION plus(timestamptz, interval) RETURNS timestamptz LANGUAGE sql AS $$ SELECT bad('+'); SELECT 'epoch'::timestamptz $$;
CREATE FUNCTION times(integer, interval) RETURNS interval LANGUAGE sql AS $$ SELECT bad('*'); SELECT '0'::interval $$;
CREATE OPERATOR = (LEFTARG = text, RIGHTARG = text, FUNCTION = text_eq);
CREATE OPERATOR = (LEFTARG = name, RIGHTARG = name, FUNCTION = name_eq);
CREATE OPERATOR = (LEFTARG = name, RIGHTARG = text, FUNCTION = name_text_eq);
CREATE OPERATOR = (LEFTARG = boolean, RIGHTARG = boolean, FUNCTION = bool_eq);
CREATE OPERATOR <= (LEFTARG = numeric, RIGHTARG = numeric, FUNCTION = num_le);
CREATE OPERATOR + (LEFTARG = timestamptz, RIGHTARG = interval, FUNCTION = plus);
CREATE OPERATOR * (LEFTARG = integer, RIGHTARG = interval, FUNCTION = times);
CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT bad('clock_timestamp'); SELECT 'epoch'::timestamptz $$;
CREATE FUNCTION gen_random_uuid() RETURNS uuid LANGUAGE sql AS $$ SELECT bad('gen_random_uuid'); SELECT '00000000-0000-0000-0000-000000000000'::uuid $$;
CREATE FUNCTION timezone(text, timestamptz) RETURNS timestamp LANGUAGE sql AS $$ SELECT bad('timezone'); SELECT 'epoch'::timestamp $$;
CREATE FUNCTION digipay_response_codes() RETURNS text LANGUAGE sql AS $$ SELECT bad('digipay_response_codes'); SELECT 'x' $$;
CREATE TYPE digipay_state AS ENUM ('evil');
CREATE TABLE digipay_payment (ref_id text, account text, state text);
CREATE TABLE digipay_inquiry (ref_id text);
CREATE TABLE digipay_event (ref_id text);
CREATE TABLE digipay_fence (origin uuid);
CREATE DOMAIN numeric AS text;
CREATE DOMAIN interval AS text;
SQL
my $evil = 'regress_evil, pg_catalog, public';
# for the session, and then for every session and the worker
for my $way ([ 'session', '' ],
	[ 'database', "ALTER DATABASE postgres SET search_path = $evil" ],
	[ 'role', "ALTER ROLE postgres SET search_path = $evil; ALTER ROLE ALL SET search_path = $evil" ])
{
	my ($name, $sql) = @$way;
	$node->safe_psql('postgres', 'SELECT public.digipay_worker_stop()');
	$node->safe_psql('postgres', $sql) if $sql ne '';
	is($node->safe_psql('postgres',
			"SET search_path = $evil; SELECT price FROM public.digipay_inquire($BILL, 'path-$name')"), '10000',
		"hostile search_path of the $name: an inquiry");
	is($node->safe_psql('postgres',
			"SET search_path = $evil; SELECT state, price, account"
			  . " FROM public.digipay_pay($BILL, 'path-$name', NULL, NULL, 20000::pg_catalog.numeric)"),
		'succeeded|10000|demo@127.0.0.1', "hostile search_path of the $name: a payment");
	is($provider->booked("path-$name"), 1, 'booked once');
	my $error = error_of($node, "SELECT public.digipay_pay('pln', '530000000002', 'path-$name')",
		before => "SET search_path = $evil;");
	is($error->{sqlstate}, 'PY002', 'another bill is told from this one');
	is($node->safe_psql('postgres', "SET search_path = $evil; SELECT pg_catalog.count(*) FROM public.digipay_health() WHERE NOT ok"),
		'0', 'digipay_health is content');
	is($node->safe_psql('postgres', "SET search_path = $evil; SELECT pg_catalog.count(*) > 0 FROM public.digipay_response_code"),
		't', 'the view works');
}
$node->safe_psql('postgres', 'ALTER ROLE postgres RESET search_path; ALTER ROLE ALL RESET search_path; ALTER DATABASE postgres RESET search_path');
is($node->safe_psql('postgres', 'SELECT count(*) FROM regress_evil.used'), '0', 'nothing of the hostile schema was used');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/LOG:  [^\n]*regress_evil: /, 'not even in what was rolled back');
# it would be seen: the trap works
$node->safe_psql('postgres', "SET search_path = $evil; SELECT 'a'::text = 'b'::text");
is($node->safe_psql('postgres', 'SELECT count(*) FROM regress_evil.used'), '1', 'the trap itself works');
$node->safe_psql('postgres', 'DROP SCHEMA regress_evil CASCADE');

# temporary objects come first in any search_path that does not say otherwise
is($node->safe_psql('postgres', q{CREATE TEMP TABLE digipay_payment (ref_id text); CREATE TEMP TABLE digipay_fence (origin uuid);}
		  . "SELECT state FROM digipay_pay($BILL, 'path-temp')"), 'succeeded', 'temporary tables of our names are not used');

# ---------------------------------------------------------------------------
# The provider refuses us

$provider->control(script => { ref_id => 'ansi', book => JSON::PP::true(),
	body => '{"data":{"ref_id":"\u001b[2Jansi","rc":"00\u001b","message":"%s%n\u001b[31m"}}' });
is(pay('ansi')->{state}, 'unknown', 'a reply with escape sequences that is not to be believed');

DigipayTest::create_account($node, $provider, server => 'wrong_key', username => 'demo', api_key => "$KEY-not",
	endpoint => 'http://localhost:' . $provider->http_port . $DigipayTest::PATH);
my $row = pay('wrong-key', 'wrong_key');
is("$row->{state} $row->{rc} $row->{http_status}", 'rejected 41 400', 'a wrong key: rejected');
is($row->{message}, 'Signature tidak valid', 'with the provider\'s words');
like($row->{error}, qr/\bkey\b/, 'and what to check');
is($provider->booked('wrong-key'), 0, 'nothing is booked');
my %health = map { $_->{item} => $_ } DigipayTest::rows($node, q{SELECT * FROM digipay_health('wrong_key')});
is($health{signature}{ok}, 'false', 'digipay_health says so');
like($health{signature}{hint}, qr/key/, 'and what to do');
is_deeply(pay('wrong-key', 'wrong_key'), $row, 'asked again: the same row');
is($provider->books('wrong-key')->{pay_requests}, 1, 'and no second request');

# ---------------------------------------------------------------------------
# Forced errors at each step, for the log

$provider->stop;
is(error_of($node, "SELECT digipay_pay($BILL, 'forced-down')")->{sqlstate}, 'PY001', 'forced: provider down');
is(error_of($node, "SELECT digipay_inquire($BILL, 'forced-inquiry')")->{sqlstate}, 'PY005', 'forced: no inquiry');
$provider->start;
$node->safe_psql('postgres', q{ALTER TABLE digipay_payment ADD CONSTRAINT regress_intent CHECK (ref_id <> 'forced-intent'),
	ADD CONSTRAINT regress_outcome CHECK (ref_id <> 'forced-outcome' OR state <> 'succeeded')});
my $error = refused("SELECT digipay_pay($BILL, 'forced-intent')", 'PY003', 'forced: the intent cannot be written');
is(pay('forced-outcome')->{state}, 'sending', 'forced: the outcome cannot be written');
$node->safe_psql('postgres', 'ALTER TABLE digipay_payment DROP CONSTRAINT regress_intent, DROP CONSTRAINT regress_outcome');
is(DigipayTest::wait_for_state($node, 'forced-outcome', 'succeeded', seconds => 60)->{price}, '10000',
	'once it can, it is');
is($provider->books('forced-outcome')->{pay_requests}, 1, 'of one request');
is(error_of($node, "SELECT digipay_pay($BILL, E'forced\\nx')")->{sqlstate}, '22023', 'forced: a bad argument');
is(error_of($node, "SELECT 1/0 FROM digipay_pay($BILL, 'forced-later')")->{sqlstate}, '22012', 'forced: an error afterwards');
$provider->control(script => { ref_id => 'forced-garbage', body => '{"data":', book => JSON::PP::true() });
is(pay('forced-garbage')->{state}, 'unknown', 'forced: garbage');
is(error_of($node, q{ALTER USER MAPPING FOR PUBLIC SERVER other OPTIONS (SET api_key E'S3CRET-bad\n')}, )->{sqlstate}, 'HV00D',
	'forced: a key that is none');

# ---------------------------------------------------------------------------
# Keys in files

sub key_file
{
	my ($name, $content, $mode) = @_;
	unlink "$secrets/$name";
	PostgreSQL::Test::Utils::append_to_file("$secrets/$name", $content);
	chmod $mode // 0600, "$secrets/$name";
	return;
}

for my $name ('../key', 'a/b', '/etc/passwd', '.', '..', '.hidden', '')
{
	my $bad = error_of($node, 'CREATE SERVER bad_file FOREIGN DATA WRAPPER digipay OPTIONS'
		  . " (endpoint 'https://localhost/', api_key_file " . DigipayTest::literal($name) . ')');
	is($bad->{sqlstate}, 'HV00D', "api_key_file '$name' is refused when it is set");
}
$node->safe_psql('postgres', 'GRANT USAGE ON FOREIGN DATA WRAPPER digipay TO regress_owner');
is(error_of($node, q{CREATE SERVER mine FOREIGN DATA WRAPPER digipay OPTIONS (endpoint 'https://localhost/', api_key_file 'key')},
		role => 'regress_owner')->{sqlstate}, '42501', 'api_key_file takes a superuser');
is(error_of($node, q{CREATE SERVER mine FOREIGN DATA WRAPPER digipay OPTIONS (endpoint 'https://localhost/', allow_private_address 'true')},
		role => 'regress_owner')->{sqlstate}, '42501', 'and so does allow_private_address');

my $file_provider = DigipayTest::start_provider(username => 'filed', api_key => $FILE_KEY);
$node->safe_psql('postgres', 'CREATE SERVER filed FOREIGN DATA WRAPPER digipay OPTIONS ('
	  . DigipayTest::option_list(endpoint => $file_provider->endpoint, allow_private_address => 'true', api_key_file => 'key') . q{);
	CREATE USER MAPPING FOR PUBLIC SERVER filed OPTIONS (username 'filed')});

# content or how to make it, mode, and what to expect of the error's DETAIL
my @files = (
	[ 'with a line break', "$FILE_KEY\n", 0600, undef ],
	[ 'without one, mode 0400', $FILE_KEY, 0400, undef ],
	[ 'mode 0644', $FILE_KEY, 0644, qr/0600 or 0400/ ],
	[ 'mode 0640', $FILE_KEY, 0640, qr/0600 or 0400/ ],
	[ 'mode 0700', $FILE_KEY, 0700, qr/0600 or 0400/ ],
	[ 'empty', '', 0600, qr/does not hold a key/ ],
	[ 'only a line break', "\n", 0600, qr/does not hold a key/ ],
	[ 'two lines', "$FILE_KEY\nx\n", 0600, qr/does not hold a key/ ],
	[ 'a blank at the end', "$FILE_KEY ", 0600, qr/does not hold a key/ ],
	[ 'a NUL byte', "$FILE_KEY\0", 0600, qr/does not hold a key/ ],
	[ 'too long', 'k' x 2000, 0600, qr/does not hold a key/ ],
	[ 'a symbolic link', sub { key_file('target', $FILE_KEY); symlink "$secrets/target", "$secrets/key" }, 0, qr/could not be opened/ ],
	[ 'a directory', sub { mkdir "$secrets/key" }, 0, qr/regular file|could not be opened/ ],
	[ 'a named pipe', sub { POSIX::mkfifo("$secrets/key", 0600) }, 0, qr/regular file/ ],
	[ 'missing', sub { }, 0, qr/could not be opened/ ]);
for my $preload (0, 1)
{
	my $how = $preload ? 'preloaded' : 'not preloaded';
	if ($preload)
	{
		# a second provider's requests show in its own books
		$node->append_conf('postgresql.conf', "shared_preload_libraries = 'digipay'\ndigipay.databases = 'postgres'\n");
		$node->restart;
	}
	my $number = 0;
	for my $case (@files)
	{
		my ($name, $content, $mode, $detail) = @$case;
		my $ref_id = "file-$preload-" . ++$number;

		rmdir "$secrets/key";
		unlink "$secrets/key";
		ref $content ? $content->() : key_file('key', $content, $mode);
		my $before = $file_provider->books->{requests};
		if ($detail)
		{
			my $bad = error_of($node, "SELECT digipay_pay($BILL, '$ref_id', NULL, 'filed')");
			is($bad->{sqlstate}, '55000', "$how, key file $name: an error");
			like($bad->{detail} // '', $detail, "$how, key file $name: it says why");
			is($file_provider->books->{requests}, $before, "$how, key file $name: nothing was sent");
			my ($line) = DigipayTest::rows($node, q{SELECT * FROM digipay_health('filed') WHERE item = 'key'});
			is("$line->{ok} " . (defined $line->{hint} ? 'hint' : 'no hint'), 'false hint', "$how, key file $name: digipay_health says so");
			$said .= $line->{detail} . $line->{hint};
		}
		else
		{
			is(pay($ref_id, 'filed')->{state}, 'succeeded', "$how, key file $name: paid");
			is($file_provider->booked($ref_id), 1, "$how, key file $name: booked once");
		}
	}
}
rmdir "$secrets/key";
unlink "$secrets/key";
# read at each payment: a new key counts at once
key_file('key', 'another-key');
is(pay('file-changed-1', 'filed')->{rc}, '41', 'another key in the file: refused');
key_file('key', $FILE_KEY);
is(pay('file-changed-2', 'filed')->{state}, 'succeeded', 'the right one again: paid');
$node->safe_psql('postgres', q{ALTER SERVER filed OPTIONS (SET api_key_file 'other')});
key_file('other', $FILE_KEY);
is(pay('file-changed-3', 'filed')->{state}, 'succeeded', 'so does a change of the option');

# ---------------------------------------------------------------------------
# The key is found nowhere

my @signatures = map { md5_hex("demo$KEY$_") } map { $_->{ref_id} }
  DigipayTest::rows($node, 'SELECT ref_id FROM digipay_payment');
push @signatures, map { md5_hex("filed$FILE_KEY$_") } map { $_->{ref_id} }
  DigipayTest::rows($node, q{SELECT ref_id FROM digipay_payment WHERE server = 'filed'});
my $needle = join('|', 'S3CRET', @signatures);

# the mapping statement that was refused above is PostgreSQL's to show
my $log = PostgreSQL::Test::Utils::slurp_file($node->logfile);
$log =~ s/^[^\n]*STATEMENT:  [^\n]*ALTER USER MAPPING FOR PUBLIC SERVER other.*?\n(?=\S)//msg;
like($log, qr/DEBUG/, 'the log has all that there is to say');
unlike($log, qr/$needle/, 'neither key nor signature is in the server\'s log');
# psql repeats what it was told to run
my $repeated = qr/^(?:STATEMENT|LINE \d+):.*$/m;
unlike($said =~ s/$repeated//gr, qr/$needle/, 'nor in what clients were told');
for my $table (qw(digipay_payment digipay_inquiry digipay_event digipay_fence pg_stat_activity pg_settings
	pg_foreign_server pg_db_role_setting))
{
	# this session's own query is in pg_stat_activity: it has no secret in it
	my $rows = $node->safe_psql('postgres', "SELECT t::text FROM $table t");
	$rows .= $node->safe_psql('postgres', q{SELECT encode(body, 'escape') FROM digipay_event}) if $table eq 'digipay_event';
	unlike($rows, qr/$needle/, "nor in $table");
}
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE regress_monitor;
GRANT pg_monitor, pg_signal_backend TO regress_monitor;
CREATE ROLE regress_reader LOGIN;
GRANT pg_monitor, pg_read_all_data TO regress_reader;
SQL
for my $view (qw(pg_user_mappings pg_foreign_server pg_settings pg_stat_activity pg_stat_ssl pg_db_role_setting
	information_schema.user_mapping_options information_schema.foreign_server_options))
{
	unlike(as_role($_, "SELECT v::text FROM $view v"), qr/$needle/, "$_ does not see it in $view")
	  for qw(regress_monitor regress_reader);
}
# pg_read_all_data reads all catalogs, pg_user_mapping too, against which only
# api_key_file helps
unlike(as_role('regress_reader', 'SELECT m::text FROM pg_user_mapping m'), qr/\Q$FILE_KEY\E/,
	'the key of a file is not in the catalog');
refused('SELECT umoptions FROM pg_user_mapping', '42501', 'and has no look at the catalog', role => 'regress_monitor');

my ($dump, $trouble) = ('', '');
IPC::Run::run([ $node->installed_command('pg_dump'), '-U', 'regress_reader', '-d', $node->connstr('postgres') ],
	'>', \$dump, '2>', \$trouble);
like($dump, qr/CREATE SERVER digipay\b/, 'a role that may read everything can make a dump');
like($dump, qr/known-1/, 'with the journal in it');
unlike($dump . $trouble, qr/$needle/, 'but not the key');

# What the worker keeps in its own memory.  Shared memory is left out: the
# catalog's pages, mapping included, are PostgreSQL's.
SKIP:
{
	my $pid = DigipayTest::worker_pid($node);
	my ($found, $read) = (0, 0);
	no warnings 'portable';
	skip 'memory of the worker is not to be read here', 3
	  unless defined $pid && open(my $memory, '<:raw', "/proc/$pid/mem") && open(my $maps, '<', "/proc/$pid/maps");
	is(pay('memory-1', 'filed')->{state}, 'succeeded', 'one more payment with the key of the file');
	while (my $line = <$maps>)
	{
		my ($from, $to, $flags, $name) = $line =~ /^(\w+)-(\w+) (\S+) \S+ \S+ \S+\s*(.*)$/ or next;
		next if $flags !~ /^rw.p/ || $name =~ /^\[v/;
		sysseek($memory, hex $from, 0) or next;
		sysread($memory, my $bytes, hex($to) - hex($from)) or next;
		$found++ while $bytes =~ /\Q$FILE_KEY\E/g;
		$read++ while $bytes =~ /digipay_payment/g;
	}
	cmp_ok($read, '>', 0, 'the worker\'s own memory can be searched');
	is($found, 0, 'the worker\'s own memory does not hold it after the payment');
}

done_testing();
