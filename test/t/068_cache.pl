# What a session keeps between two calls: the account, its statements' plans.
# A change is seen by the next call, whoever made it, and so is its end.

use strict;
use warnings;

use DigipayTest;
use Test::More;

my $node = DigipayTest::new_node('cache');
my $provider = DigipayTest::start_provider();
DigipayTest::create_account($node, $provider);
DigipayTest::create_account($node, $provider, server => 'other', username => 'another');
my $port = $provider->http_port;

sub sql { return $node->safe_psql('postgres', $_[0]) }

sql(q{CREATE ROLE cashier;
	CREATE ROLE stranger;
	CREATE ROLE team;
	GRANT USAGE ON FOREIGN SERVER digipay TO cashier;
	GRANT EXECUTE ON FUNCTION digipay_submit TO cashier, stranger;
	CREATE FUNCTION attempt(statement text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE result text;
	BEGIN
		EXECUTE statement INTO result;
		RETURN result;
	EXCEPTION WHEN OTHERS THEN
		RETURN SQLSTATE;
	END $$});

# One session for all that follows: what it keeps is what is tested.
my $session = $node->background_psql('postgres', on_error_stop => 0);
my $number = 0;

sub run { return $session->query($_[0]) }

# A call in that session: the account and testing of the payment, or the SQLSTATE.
sub submitted
{
	my ($server) = @_;
	my $ref_id = 'cache-' . ++$number;
	my $place = defined $server ? ", server => ''$server''" : '';
	my $row = run("SELECT attempt('SELECT concat_ws(''|'', account, testing, server)
		FROM digipay_submit(''pln'', ''530000000001'', ''$ref_id''$place)')");
	return $row =~ s/\@127\.0\.0\.1//r;
}

run('SET client_min_messages = error');
is(submitted(), 'demo|f|digipay', 'the first call');
is(submitted(), 'demo|f|digipay', 'the second one');

# --------------------------------------------- what another session commits

sql(q{ALTER SERVER digipay OPTIONS (ADD testing 'true')});
is(submitted(), 'demo|t|digipay', 'another session changes an option of the server');
sql(q{ALTER USER MAPPING FOR PUBLIC SERVER digipay OPTIONS (SET username 'second')});
is(submitted(), 'second|t|digipay', 'the user name');
sql("ALTER SERVER digipay OPTIONS (SET endpoint 'http://localhost:$port$DigipayTest::PATH')");
is(submitted(), 'second@localhost|t|digipay', 'the host');
sql("ALTER SERVER digipay OPTIONS (SET endpoint 'http://127.0.0.1:$port$DigipayTest::PATH')");
is(submitted(), 'second|t|digipay', 'and back');

run('BEGIN');
is(submitted(), 'second|t|digipay', 'a transaction begins');
sql(q{ALTER SERVER digipay OPTIONS (SET testing 'false')});
is(submitted(), 'second|f|digipay', 'what another session commits is seen within it');
sql(q{ALTER USER MAPPING FOR PUBLIC SERVER digipay OPTIONS (SET username 'demo')});
is(submitted(), 'demo|f|digipay', 'the mapping as well');
run('COMMIT');

sql('DROP USER MAPPING FOR PUBLIC SERVER digipay');
is(submitted(), '42704', 'no mapping any more');
sql(q{CREATE USER MAPPING FOR PUBLIC SERVER digipay OPTIONS (username 'third', api_key 'k')});
is(submitted(), 'third|f|digipay', 'a new one');

sql('ALTER SERVER digipay RENAME TO renamed');
is(submitted(), '42704', 'the name belongs to no server any more');
is(submitted('renamed'), 'third|f|renamed', 'the server has its new one');
sql('ALTER SERVER renamed RENAME TO digipay');
is(submitted(), 'third|f|digipay', 'and its old one');

sql('ALTER FOREIGN DATA WRAPPER digipay RENAME TO something');
is(submitted(), '42704', 'the wrapper is not ours any more');
sql('ALTER FOREIGN DATA WRAPPER something RENAME TO digipay');
is(submitted(), 'third|f|digipay', 'it is again');

sql('DROP SERVER digipay CASCADE');
is(submitted(), '42704', 'the server is gone');
DigipayTest::create_account($node, $provider, username => 'fourth', testing => 'true');
is(submitted(), 'fourth|t|digipay', 'another server has its name');
sql('GRANT USAGE ON FOREIGN SERVER digipay TO cashier');

# ------------------------------------------------ what the session does itself

run('BEGIN');
run(q{ALTER SERVER digipay OPTIONS (SET testing 'false')});
is(submitted(), 'fourth|f|digipay', 'its own change');
run('ROLLBACK');
is(submitted(), 'fourth|t|digipay', 'and the end of it');

run('BEGIN');
is(submitted(), 'fourth|t|digipay', 'in a transaction');
run('SAVEPOINT s');
run(q{ALTER USER MAPPING FOR PUBLIC SERVER digipay OPTIONS (SET username 'fifth')});
run("ALTER SERVER digipay OPTIONS (SET endpoint 'http://localhost:$port$DigipayTest::PATH')");
is(submitted(), 'fifth@localhost|t|digipay', 'its own change behind a savepoint');
run('ROLLBACK TO s');
is(submitted(), 'fourth|t|digipay', 'taken back to the savepoint');
run(q{ALTER USER MAPPING FOR PUBLIC SERVER digipay OPTIONS (SET username 'sixth')});
is(submitted(), 'sixth|t|digipay', 'another change');
run('COMMIT');
is(submitted(), 'sixth|t|digipay', 'which is committed');

run('BEGIN');
run('DROP SERVER digipay CASCADE');
is(submitted(), '42704', 'its own DROP SERVER');
run('ROLLBACK');
is(submitted(), 'sixth|t|digipay', 'taken back');

run('BEGIN; SAVEPOINT s');
run(q{ALTER SERVER digipay OPTIONS (SET testing 'false')});
is(submitted(), 'sixth|f|digipay', 'a change that is going to be taken back by an error');
run('SELECT 1 / 0');
run('ROLLBACK TO s');
is(submitted(), 'sixth|t|digipay', 'and is');
run('ROLLBACK');

# ------------------------------------------------------------- which server

run(q{SET digipay.server = 'other'});
is(submitted(), 'another|f|other', 'another default');
run('RESET digipay.server');
is(submitted(), 'sixth|t|digipay', 'and back');
run(q{BEGIN; SET LOCAL digipay.server = 'other'});
is(submitted(), 'another|f|other', 'for a transaction');
run('ROLLBACK');
is(submitted(), 'sixth|t|digipay', 'which is over');
is(run(q{SELECT string_agg(account || testing, ' ' ORDER BY ref_id) FROM (SELECT (digipay_submit('pln', '530000000001',
	'turn-' || i, server => CASE i % 2 WHEN 0 THEN 'digipay' ELSE 'other' END)).* FROM generate_series(1, 4) i OFFSET 0) p})
	=~ s/\@127\.0\.0\.1//gr, 'anotherfalse sixthtrue anotherfalse sixthtrue', 'by turns in one statement');

# -------------------------------------------------------------- who may use it

run('SET ROLE cashier');
is(submitted(), 'sixth|t|digipay', 'a role with USAGE');
sql('REVOKE USAGE ON FOREIGN SERVER digipay FROM cashier');
is(submitted(), '42501', 'which is revoked');
sql('GRANT USAGE ON FOREIGN SERVER digipay TO team; GRANT team TO cashier');
is(submitted(), 'sixth|t|digipay', 'a member of a role with USAGE');
sql('REVOKE team FROM cashier');
is(submitted(), '42501', 'a member no more');
sql('GRANT team TO cashier; ALTER ROLE cashier NOINHERIT');
is(submitted(), '42501', 'a member that does not inherit');
sql('ALTER ROLE cashier INHERIT');
is(submitted(), 'sixth|t|digipay', 'that does');
run('RESET ROLE; SET ROLE stranger');
is(submitted(), '42501', 'another role');
run('RESET ROLE; SET ROLE cashier');
is(submitted(), 'sixth|t|digipay', 'the former one');
sql('ALTER ROLE stranger SUPERUSER');
run('RESET ROLE; SET ROLE stranger');
is(submitted(), 'sixth|t|digipay', 'a role that has become superuser');
sql('ALTER ROLE stranger NOSUPERUSER');
is(submitted(), '42501', 'and is none any more');
run('RESET ROLE');

# ---------------------------------------- the statement, planned once for all

# The SQLSTATE or the row's message of a call with that ref_id.
sub outcome
{
	my ($ref_id, $more) = @_;
	$more //= '';
	return run("SELECT attempt('SELECT state || coalesce(message, ''-'') || coalesce(max_price::text, '''')
		FROM digipay_submit(''pln'', ''530000000001'', ''$ref_id''$more)')");
}

my $inquire = q{INSERT INTO digipay_inquiry (ref_id, code, customer_no, testing, inquired_at, server, account, requested_by, rc, price)
	SELECT '%s', '%s', '530000000001', true, now(), 'digipay', 'sixth@127.0.0.1', 'x', '00', 100};
is(outcome('asked-1'), 'queued-', 'without an inquiry');
sql(sprintf $inquire, 'asked-2', 'pdam');
is(outcome('asked-2'), 'PY002', 'an inquiry for another bill');
sql(sprintf $inquire, 'asked-3', 'pln');
is(outcome('asked-3'), 'queued-', 'for this one');
run('BEGIN');
run(sprintf $inquire, 'asked-4', 'pdam');
is(outcome('asked-4'), 'PY002', 'of the same transaction');
run('ROLLBACK');
is(outcome('asked-4'), 'queued-', 'which is taken back');
is(outcome('asked-5', ', max_price => 100'), 'PY006', 'a highest price, and no inquiry');
sql(sprintf $inquire, 'asked-5', 'pln');
is(outcome('asked-5', ', max_price => 99'), 'PY006', 'less than it says');
is(outcome('asked-5', ', max_price => 100'), 'queued-100', 'not less');
sql(q{ALTER SERVER digipay OPTIONS (ADD require_inquiry 'true')});
is(outcome('asked-6'), 'PY006', 'another session has the server require one');
sql(sprintf $inquire, 'asked-6', 'pln');
is(outcome('asked-6'), 'queued-', 'there is one');
sql(q{ALTER SERVER digipay OPTIONS (SET require_inquiry 'false')});
is(outcome('asked-7'), 'queued-', 'none is required any more');

# The plan is by the indexes, also when the tables are so small that it would not be.
sql('VACUUM ANALYZE digipay_inquiry');
run(q{SELECT digipay_submit('pln', '530000000001', 'scan-0')});
sql('SELECT pg_stat_reset()');
run(q{SELECT count(*) FROM (SELECT digipay_submit('pln', '530000000001', 'scan-' || i) FROM generate_series(1, 50) i OFFSET 0) s});
$session->quit;
$node->poll_query_until('postgres', q{SELECT n_tup_ins >= 50 FROM pg_stat_user_tables WHERE relname = 'digipay_payment'});
is(sql(q{SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'digipay_inquiry'}), '0', 'no inquiry is looked for but by the index');

# ------------------------------------------------------- somebody's triggers

$session = $node->background_psql('postgres', on_error_stop => 0);
run('SET client_min_messages = error');
is(outcome('trigger-1'), 'queued-', 'no trigger');
sql(q{CREATE TABLE fired (ref_id text, search_path text, who name);
	GRANT ALL ON fired TO PUBLIC;
	CREATE FUNCTION after_insert() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.fired VALUES (NEW.ref_id, current_setting('search_path'), current_user);
		UPDATE public.digipay_payment p SET requested_by = 'after' WHERE p.ref_id = NEW.ref_id AND NEW.ref_id LIKE 'change-%';
		DELETE FROM public.digipay_payment p WHERE p.ref_id = NEW.ref_id AND NEW.ref_id LIKE 'delete-%';
		RETURN NULL;
	END $$;
	CREATE TRIGGER after_insert AFTER INSERT ON digipay_payment FOR EACH ROW EXECUTE FUNCTION after_insert()});
is(outcome('trigger-2'), 'queued-', 'an AFTER trigger that another session has made');
is(sql('SELECT * FROM fired'), 'trigger-2|pg_catalog, pg_temp|' . sql('SELECT current_user'), 'it has fired, as the owner, with a fixed search_path');
is(run(q{SELECT requested_by = current_user FROM digipay_submit('pln', '530000000001', 'change-1')}), 't', 'one that changes the row: the row as it was queued');
is(sql(q{SELECT requested_by FROM digipay_payment WHERE ref_id = 'change-1'}), 'after', 'and changed it is');
is(outcome('delete-1'), 'queued-', 'one that deletes it: likewise');
is(sql(q{SELECT count(*) FROM digipay_payment WHERE ref_id = 'delete-1'}), '0', 'and it is gone');
sql(q{DROP TRIGGER after_insert ON digipay_payment;
	CREATE FUNCTION before_insert() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN NEW.message := repeat('x', 10000) || 'before'; RETURN NEW; END $$;
	CREATE TRIGGER before_insert BEFORE INSERT ON digipay_payment FOR EACH ROW EXECUTE FUNCTION before_insert();
	ALTER TABLE digipay_payment ALTER message SET STORAGE EXTERNAL});
is(outcome('before-1'), 'queued' . 'x' x 10000 . 'before', 'what a BEFORE trigger has put in is in the row');
sql(q{DROP TRIGGER before_insert ON digipay_payment; ALTER TABLE digipay_payment ADD note text DEFAULT 'added'});
is(outcome('column-1'), 'queued-', 'a column more');
is(run(q{SELECT (digipay_submit('pln', '530000000001', 'column-2')).note}), 'added', 'is in the row');
$session->quit;

$node->stop;
$provider->stop;
done_testing();
