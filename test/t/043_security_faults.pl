# Security, beyond 024_security.pl: roles that come by triggers, views and
# memberships, arguments that try to be more than text, and an OpenSSL that refuses
# what the provider's signature needs.  Judged by the double's books.
#
# The numbers are those of doc/faults.md.

use strict;
use warnings;
use utf8;

use DigipayPeer;
use DigipayShim;
use DigipayTest;
use Encode qw(encode);
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my $BILL = q{'pln', '530000000001'};
my $KEY = 'S3CRET-key-of-the-mapping';

DigipayShim::available() or plan skip_all => 'no C compiler for test/t/lib/shim.c';
my $node = DigipayShim::under(sub { DigipayTest::new_node('security_faults') });
my $provider = DigipayTest::start_provider(api_key => $KEY);
# a payment may be on its way for as long as this looks at it
DigipayTest::create_account($node, $provider, api_key => $KEY, timeout => 3_600_000, mapping => { webhook_secret => 'S3CRET-of-the-webhook' });

$node->safe_psql('postgres', <<'SQL');
CREATE ROLE regress_cashier;
CREATE ROLE regress_customer;
CREATE ROLE regress_executor;
GRANT EXECUTE ON FUNCTION digipay_pay, digipay_inquire TO regress_cashier, regress_executor;
GRANT USAGE ON FOREIGN SERVER digipay TO regress_cashier;
CREATE SCHEMA shop;
GRANT USAGE, CREATE ON SCHEMA shop TO regress_cashier;
GRANT USAGE ON SCHEMA shop TO regress_customer, regress_executor;
SQL

sub as_role
{
	my ($role, $query) = @_;
	return $node->safe_psql('postgres', "SET ROLE $role; $query");
}

# Tests that a statement fails, and that the provider has not heard of it.
sub refused
{
	my ($query, $sqlstate, $name, %params) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $before = $provider->books->{requests};
	my $error = DigipayTest::fails_with($node, $query, $sqlstate, $name, %params);
	is($provider->books->{requests}, $before, "$name: nothing was sent");
	return $error;
}

sub standing
{
	my ($ref_id) = @_;
	my $books = $provider->books($ref_id);
	return ($books->{pay_requests} // 0) . ' ' . ($books->{booked} // 0);
}

# ---------------------------------------------------------------------------
# X05: whose rights count in a trigger and in a view

as_role('regress_cashier', <<"SQL");
CREATE TABLE shop.bill (ref_id text, state text);
CREATE FUNCTION shop.pay() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS \$\$
BEGIN
	NEW.state := (digipay_pay($BILL, NEW.ref_id)).state;
	RETURN NEW;
END \$\$;
CREATE TRIGGER pay BEFORE INSERT ON shop.bill FOR EACH ROW EXECUTE FUNCTION shop.pay();
CREATE TABLE shop.bare (ref_id text, state text);
CREATE FUNCTION shop.pay_as_caller() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS \$\$
BEGIN
	NEW.state := (digipay_pay($BILL, NEW.ref_id)).state;
	RETURN NEW;
END \$\$;
CREATE TRIGGER pay BEFORE INSERT ON shop.bare FOR EACH ROW EXECUTE FUNCTION shop.pay_as_caller();
CREATE VIEW shop.paid AS SELECT state FROM public.digipay_pay($BILL, 'by-view');
GRANT SELECT, INSERT ON shop.bill, shop.bare, shop.paid TO regress_customer, regress_executor;
SQL
is(as_role('regress_customer', q{INSERT INTO shop.bill VALUES ('by-definer') RETURNING state}), 'succeeded',
	'X05 a SECURITY DEFINER trigger pays with its owner\'s rights');
is(DigipayTest::payment($node, 'by-definer')->{requested_by} . ' ' . standing('by-definer'), 'regress_cashier 1 1', 'X05: in whose name, once');
for my $role (qw(regress_customer regress_executor))
{
	my $what = $role eq 'regress_customer' ? 'without EXECUTE' : 'without USAGE';
	refused(q{INSERT INTO shop.bare VALUES ('by-invoker')}, '42501', "X05 another trigger, $what", role => $role);
	refused('SELECT * FROM shop.paid', '42501', "X05 a view, $what", role => $role);
}
is(as_role('regress_cashier', 'SELECT state FROM shop.paid'), 'succeeded', 'X05 the view, by one who may');
is(as_role('regress_cashier', q{INSERT INTO shop.bare VALUES ('by-invoker') RETURNING state}), 'succeeded', 'X05 the other trigger, by one who may');
# what has been paid is not told to one who may not pay
refused('SELECT * FROM shop.paid', '42501', 'X05 a view of what is paid already', role => 'regress_executor');

# X06: nobody but the owner hangs something on the journal, or has it be read another way
for my $change ('CREATE TRIGGER t AFTER INSERT ON digipay_payment FOR EACH ROW EXECUTE FUNCTION shop.pay()',
	'CREATE RULE r AS ON INSERT TO digipay_payment DO ALSO NOTHING', 'CREATE POLICY p ON digipay_payment USING (false)',
	'ALTER TABLE digipay_payment ENABLE ROW LEVEL SECURITY', 'ALTER TABLE digipay_payment ALTER state SET DEFAULT $$succeeded$$',
	'CREATE INDEX ON digipay_payment (rc)', 'CREATE STATISTICS s ON state, rc FROM digipay_payment')
{
	refused($change, '42501', "X06 $change", role => 'regress_cashier');
}
as_role('regress_cashier', 'CREATE TABLE shop.child (x int)');
refused('ALTER TABLE shop.child INHERIT digipay_payment', '42501', 'X06 a child of the journal', role => 'regress_cashier');
refused('CREATE TABLE shop.child2 () INHERITS (digipay_payment)', '42501', 'X06 a new child of the journal', role => 'regress_cashier');
refused(q{CREATE TABLE shop.refers (ref_id text, server text, FOREIGN KEY (server, ref_id) REFERENCES digipay_payment (server, ref_id))},
	'42501', 'X06 a foreign key on the journal', role => 'regress_cashier');

# ---------------------------------------------------------------------------
# X08: the endpoint is its owner's to set

$node->safe_psql('postgres', 'CREATE ROLE regress_manager; GRANT USAGE ON FOREIGN DATA WRAPPER digipay TO regress_manager;'
	  . 'GRANT USAGE ON FOREIGN SERVER digipay TO regress_manager WITH GRANT OPTION');
for my $role (qw(regress_cashier regress_manager))
{
	refused($_, '42501', "X08 $role: $_", role => $role)
	  for (q{ALTER SERVER digipay OPTIONS (SET endpoint 'https://evil.example/')}, q{ALTER SERVER digipay OPTIONS (ADD ca_file '/nowhere/ca.pem')},
		q{ALTER SERVER digipay OPTIONS (SET allow_private_address 'true')}, 'ALTER SERVER digipay OWNER TO regress_manager',
		'ALTER SERVER digipay RENAME TO other', q{ALTER USER MAPPING FOR PUBLIC SERVER digipay OPTIONS (SET username 'evil')},
		'DROP USER MAPPING FOR PUBLIC SERVER digipay', 'ALTER FOREIGN DATA WRAPPER digipay NO VALIDATOR');
}

# ---------------------------------------------------------------------------
# X09: arguments

my %bad = (
	'a line break' => "a\nb", 'a return' => "a\rb", 'both at the end' => "a\r\n", 'a tab' => "a\tb", 'a header' => "a\r\nX-Evil: 1",
	'an escape' => "a\eb", 'a null escape' => "a\x{1}b", 'an accent' => 'José', 'an emoji' => 'a😀', 'a line separator' => "a\x{2028}b",
	'a right-to-left mark' => "a\x{202e}b", 'ten kilobytes' => 'x' x 10240, 'nothing' => '', 'a blank' => ' ', 'a blank at the end' => 'a ');
for my $what (sort keys %bad)
{
	for my $place (0 .. 2)
	{
		my @arguments = ('pln', '530000000001', 'bad');
		$arguments[$place] = $bad{$what};
		refused('SELECT digipay_pay(' . join(', ', map { DigipayTest::literal(encode('UTF-8', $_)) } @arguments) . ')', '22023',
			"X09 $what in " . (qw(code customer_no ref_id))[$place]);
	}
}
# a zero byte is no text to begin with
refused(q{SELECT digipay_pay('pln', '530000000001', convert_from('\x6100', 'UTF8'))}, '22021', 'X09 a zero byte');
is($node->safe_psql('postgres', 'SELECT count(*) FROM digipay_payment WHERE ref_id ~ $$^(bad|a)$$'), '0', 'X09: none of it is in the journal');

# what the catalogue would have refused, and the contract accepts: printable ASCII goes
# through as it is, whatever it means elsewhere
for my $ref_id (q{quote'}, q{double"}, q{back\\slash}, '"},"rc":"00', '%s%n', '${x}`id`', '<a&b>', q{'); DROP TABLE digipay_payment; --})
{
	my $row = DigipayTest::row($node, "SELECT * FROM digipay_pay('pln', " . DigipayTest::literal("1$ref_id") . ', ' . DigipayTest::literal($ref_id) . ')');
	is("$row->{state} $row->{ref_id} $row->{customer_no} " . standing($ref_id), "succeeded $ref_id 1$ref_id 1 1", "X09 $ref_id: is text, and paid once");
	is($provider->books($ref_id)->{customer_no}, "1$ref_id", "X09 $ref_id: as the provider has it");
}

# X11: keys
for my $key ("x\ny", "x\n", "\r", '', ' ', 'x ', 'schlüssel', "x\x{1}", 'x' x 1001)
{
	(my $shown = encode('UTF-8', substr $key, 0, 12)) =~ s/[^ -~]/?/g;
	my $literal = DigipayTest::literal(encode('UTF-8', $key));
	my $error = refused("ALTER USER MAPPING FOR PUBLIC SERVER digipay OPTIONS (SET api_key $literal)", 'HV00D', "X11 the key '$shown'");
}
is(DigipayTest::row($node, "SELECT * FROM digipay_pay($BILL, 'after-keys')")->{state}, 'succeeded', 'X11: the former key is still there');

# ---------------------------------------------------------------------------
# X12: no MD5, and so no signature

DigipayShim::forbid_md5(1);
refused("SELECT digipay_pay($BILL, 'no-md5')", '0A000', 'X12 MD5 is forbidden', message => qr/sign/, detail => qr/MD5/, hint => qr/OpenSSL/);
is(DigipayTest::payment($node, 'no-md5'), undef, 'X12: no row');
refused("SELECT digipay_inquire($BILL, 'no-md5')", '0A000', 'X12 MD5 is forbidden, an inquiry', message => qr/sign/);
DigipayShim::forbid_md5(0);
is(DigipayTest::row($node, "SELECT * FROM digipay_pay($BILL, 'no-md5')")->{state} . ' ' . standing('no-md5'), 'succeeded 1 1',
	'X12: when it is allowed again, the same ref_id is paid');

# ---------------------------------------------------------------------------
# X03: whatever the system shows, the secrets are not in it

$node->safe_psql('postgres', 'CREATE ROLE regress_monitor LOGIN; GRANT pg_monitor, pg_read_all_stats, pg_read_all_settings, pg_signal_backend TO regress_monitor');
$provider->hold;
my $call = DigipayTest::async($node, "SET ROLE regress_cashier;\nSELECT state FROM digipay_pay($BILL, 'watched')", timeout => 900);
DigipayTest::wait_until { standing('watched') eq '1 1' };
my @views = split /\n/, $node->safe_psql('postgres', q{SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
	WHERE nspname IN ('pg_catalog', 'information_schema') AND relkind = 'v'
	AND (nspname = 'information_schema' OR relname ~ '^pg_(stat|settings|user_map|foreign|hba|file_set|db_role|locks|prepared|cursors|shmem|backend|config)')});
cmp_ok(scalar(@views), '>', 100, 'X03: views to look at, while a payment is in flight: ' . scalar(@views));
for my $role (qw(regress_monitor regress_customer regress_cashier))
{
	# whatever of them it may not see is an error, and no matter
	$node->psql('postgres', join("\n", "SET ROLE $role;", map { "SELECT v::text FROM $_ v;" } @views),
		on_error_stop => 0, stdout => \my $shown, stderr => \my $ignored);
	cmp_ok(length $shown, '>', 10000, "X03 $role: sees something");
	unlike($shown, qr/S3CRET/, "X03 $role: but no secret");
}

# X13: who may signal backends may end the waiting of those who are nobody special; the
# payment goes on, and the worker is not theirs
my $worker = DigipayTest::worker_pid($node);
is(DigipayTest::payment($node, 'watched')->{state}, 'sending', 'X03: it is in flight still');
$provider->release;
is($call->out, 'succeeded', 'X13: not disturbed so far');
$provider->hold;
$call = DigipayTest::async($node, "SELECT state FROM digipay_pay($BILL, 'signalled')");
DigipayTest::wait_until { standing('signalled') eq '1 1' };
DigipayTest::fails_with($node, "SELECT $_($worker)", '42501', "X13 $_ of the worker by pg_signal_backend", role => 'regress_monitor')
  for qw(pg_cancel_backend pg_terminate_backend);
$provider->release;
is($call->out, 'succeeded', 'X13: the payment in flight is not touched by it');
$provider->hold;
is(DigipayTest::worker_pid($node), $worker, 'X13: nor is the worker');
$node->safe_psql('postgres', 'ALTER ROLE regress_cashier LOGIN');
{
	local $ENV{PGUSER} = 'regress_cashier';
	$call = DigipayTest::async($node, "SELECT state FROM digipay_pay($BILL, 'cancelled')");
}
DigipayTest::wait_until { standing('cancelled') eq '1 1' };
my $backend = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE query LIKE '%''cancelled''%' AND pid <> pg_backend_pid()});
is(as_role('regress_monitor', "SELECT pg_cancel_backend($backend)"), 't', 'X13: a caller who is nobody special may be cancelled');
is($call->error->{sqlstate}, '57014', 'X13: and has an error');
$provider->release;
is(DigipayTest::wait_for_state($node, 'cancelled', 'succeeded', seconds => 60)->{state} . ' ' . standing('cancelled'), 'succeeded 1 1',
	'X13: and the payment goes on, once');

# ---------------------------------------------------------------------------
# X14: without SELECT on the journal one sees what one's own calls return

for my $query ('SELECT * FROM digipay_payment', q{SELECT state FROM digipay_payment WHERE ref_id = 'by-view'}, 'SELECT count(*) FROM digipay_inquiry',
	'SELECT * FROM digipay_event', 'COPY digipay_payment TO STDOUT', 'SELECT digipay_payment FROM digipay_payment',
	'EXPLAIN ANALYZE SELECT * FROM digipay_payment', 'SELECT stavalues1 FROM pg_statistic LIMIT 1')
{
	refused($query, '42501', "X14 $query", role => 'regress_cashier');
}
is(as_role('regress_cashier', q{SELECT count(*) FROM pg_stats WHERE tablename LIKE 'digipay%'}), '0', 'X14: nor the statistics about it');
is(as_role('regress_cashier', "SELECT ref_id FROM digipay_pay($BILL, 'by-definer')"), 'by-definer', 'X14: but the row of the payment it names');
my $error = refused(q{SELECT digipay_pay('pln', '530000000002', 'by-definer')}, 'PY002', 'X14 a guess at another\'s ref_id', role => 'regress_cashier');

# ---------------------------------------------------------------------------
# X17: dumped by one who is no superuser, restored by one who is, and by one who is not

$node->safe_psql('postgres', 'CREATE ROLE regress_dumper LOGIN CREATEDB; GRANT pg_read_all_data TO regress_dumper');
my $dir = PostgreSQL::Test::Utils::tempdir('digipay_dump');
my $connection = $node->connstr('postgres') . ' user=regress_dumper';
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/dump", $connection ], 'X17 a dump by a role that may read');
my $sql = PostgreSQL::Test::Utils::tempdir('digipay_dump') . '/sql';
$node->command_ok([ 'pg_restore', '-f', $sql, "$dir/dump" ], 'X17 as text');
unlike(PostgreSQL::Test::Utils::slurp_file($sql), qr/S3CRET/, 'X17: the key is not in it');
$node->safe_psql('postgres', 'CREATE DATABASE regress_whole TEMPLATE template0');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('regress_whole'), "$dir/dump" ], 'X17 restored by a superuser');
is($node->safe_psql('regress_whole', 'SELECT t FROM digipay_payment t ORDER BY ref_id'),
	$node->safe_psql('postgres', 'SELECT t FROM digipay_payment t ORDER BY ref_id'), 'X17: the journal is whole');
my $before = $provider->books->{requests};
my $nowhere = DigipayTest::error_of($node, "SELECT digipay_pay($BILL, 'elsewhere')", db => 'regress_whole');
like($nowhere->{sqlstate}, qr/^(?:42704|PY004)$/, 'X17: there nothing is paid, for the fence is up and the account has no key');
is($provider->books->{requests}, $before, 'X17: nothing was sent');
$node->safe_psql('postgres', 'SET ROLE regress_dumper; CREATE DATABASE regress_part TEMPLATE template0');
my ($out, $trouble) = ('', '');
ok(!IPC::Run::run([ $node->installed_command('pg_restore'), '-d', $node->connstr('regress_part') . ' user=regress_dumper', "$dir/dump" ],
		'>', \$out, '2>', \$trouble), 'X17 restored by a role that is no superuser: an error');
like($trouble, qr/permission denied to create extension "digipay"/, 'X17: which says what is missing');
is($node->safe_psql('regress_part', q{SELECT count(*) FROM pg_proc WHERE proname LIKE 'digipay%'}), '0', 'X17: so there is nothing to pay with');

# ---------------------------------------------------------------------------

unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile) =~ s/^.*STATEMENT:.*$//mgr, qr/S3CRET/, 'no secret is in the log');
my $refs = $provider->books->{refs};
is(join(' ', grep { $refs->{$_}{pay_requests} > 1 || $refs->{$_}{booked} > 1 } sort keys %$refs), '', 'nothing was received or booked twice');

done_testing();
