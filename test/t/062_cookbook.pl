# doc/cookbook.md keeps its word: every recipe is run, in order, in one database
# beside the provider's double, and what it shows is what PostgreSQL answers.
# Then each recipe has to do what it promises when things go wrong; judged by
# the double's books, by the rights that its roles have, and by queries of ours.
#
# How the document marks its blocks is told in DigipayDoc.pm; here there are more:
#
#	<!-- metabase -->, <!-- grafana -->		a question, to be filled in as that tool does
#	<!-- poor -->, <!-- rich -->, <!-- review -->	what the provider is like from here on

use strict;
use warnings;

use DigipayDoc;
use DigipayTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $DB = 'shop';
my $cookbook = slurp_file('doc/cookbook.md');
my @blocks = DigipayDoc::blocks($cookbook);
cmp_ok(scalar @blocks, '>=', 30, 'the cookbook has statements');

# ------------------------------------------------------------------ the scene

# All of this is to happen on one day in Jakarta.
my $to_midnight = 86400 - (time + 7 * 3600) % 86400;
sleep $to_midnight + 1 if $to_midnight < 180;

my $node = DigipayTest::new_node('cookbook');
my $provider = DigipayTest::start_provider(pending => 500);
my $has_cron = -e $node->config_data('--pkglibdir') . '/pg_cron.so';

$node->safe_psql('postgres', "CREATE DATABASE $DB");
DigipayTest::create_account($node, $provider, db => $DB, status_interval => 500);

# the settings that the document tells of
my @settings = $cookbook =~ /^```ini\n(.*?)^```$/msg;
is(scalar @settings, 2, 'the cookbook has settings');
s/pg_cron,//, s/^cron\..*\n//mg for $has_cron ? () : @settings;
$node->append_conf('postgresql.conf', $_) for @settings;
$node->restart;

# The journal and the like of one query, as hashes.
sub rows { return DigipayTest::rows($node, $_[0], db => $DB) }
sub row { return DigipayTest::row($node, $_[0], db => $DB) }

# One value.
sub value
{
	my ($query, %params) = @_;
	return $node->safe_psql($DB, $query, %params);
}

# A statement as it is run: where a reader sleeps until something has surely happened, we
# make sure of it first.
sub with_certainty
{
	my ($text) = @_;
	return $text =~ s/^(?=SELECT pg_sleep\(2\))/RESET ROLE;\nSELECT FROM digipay_wait('ORDER-4') \\g \/dev\/null\nSET ROLE shop;\n/mr;
}

# Runs the given blocks in a session of their own, and tests what they answer.
sub follow
{
	my @chosen = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(DigipayDoc::run($node, \@chosen, db => $DB, statement => \&with_certainty), scalar @chosen,
		"$chosen[0]{section}: each block was answered");
	DigipayDoc::check($_) for @chosen;
	return;
}

# The blocks under a heading that are not for a tool.
my %seen;

sub recipe
{
	my ($heading) = @_;
	my @chosen = grep { $_->{section} eq $heading && !$_->{metabase} && !$_->{grafana} } @blocks;
	$seen{$heading} = 1;
	die "no recipe \"$heading\"" if !@chosen;
	return @chosen;
}

# Makes payments older, as if the clock had gone on.
sub age
{
	my ($where, $interval) = @_;
	$node->safe_psql($DB, "UPDATE digipay_payment SET requested_at = requested_at - interval '$interval',
		sent_at = sent_at - interval '$interval', replied_at = replied_at - interval '$interval',
		final_at = final_at - interval '$interval' WHERE $where");
	return;
}

# The double forgets its books when it ends; we do not.
my %closed;

sub stop_provider
{
	my $refs = $provider->books->{refs};
	$closed{$_} += $refs->{$_}{booked} for keys %$refs;
	$provider->stop;
	return;
}

# How often the provider has booked each ref_id.
sub bookings
{
	my $refs = $provider->books->{refs};
	my %count = %closed;
	$count{$_} += $refs->{$_}{booked} for keys %$refs;
	return %count;
}

sub booked { my %count = bookings(); return $count{ $_[0] } // 0 }

# One test: of these payments the provider has booked once what succeeded, and
# nothing else.
sub booked_as_told
{
	my ($pattern, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my %booked = bookings();
	my %state = map { $_->{ref_id} => $_->{state} }
	  rows('SELECT ref_id, state FROM digipay_payment WHERE ref_id LIKE ' . DigipayTest::literal($pattern));
	(my $regex = $pattern) =~ s/%/.*/;
	my @wrong = grep { ($booked{$_} // 0) != (($state{$_} // '') eq 'succeeded' ? 1 : 0) }
	  keys %state, grep { /^$regex$/ } keys %booked;
	ok(%state && !@wrong, $name)
	  or diag(join "\n", 'wrong:', map { "$_: " . ($state{$_} // 'no row') . ', booked ' . ($booked{$_} // 0) } sort @wrong);
	return;
}

# ------------------------------------------------------------ a table of bills

follow(recipe('Pay a table of bills, and resume it'));
booked_as_told('BILL-%', 'bills: the books agree');
is(booked('BILL-5'), 0, 'bills: what was refused was not booked');
is(booked('BILL-5-2'), 1, 'bills: nor what was corrected, twice');
DigipayTest::fails_with($node, "INSERT INTO bill (customer, code, customer_no) VALUES ('Ina', 'tv', '127246500101');
	BEGIN; CALL pay_bills()", '2D000', 'bills: not in a transaction', db => $DB);
is(value(q{SELECT state FROM bill_outcome WHERE customer = 'Ina'}), 'not asked for',
	'bills: then nothing is queued');
value(q{DELETE FROM bill WHERE customer = 'Ina'});

# what would hit the next bill as well stops it, and it goes on where it was
my $pay = sub
{
	my ($patience) = @_;
	my ($result, $out, $err) = $node->psql($DB, "CALL pay_bills(batch => 2, patience => '$patience')");
	return $err;
};
my $stopped = sub
{
	return value(q{SELECT string_agg(state || ' ' || n, ', ' ORDER BY state) FROM (SELECT state, count(*) AS n
		FROM bill_outcome WHERE customer = 'Joko' GROUP BY state) s});
};
value(q{INSERT INTO bill (customer, code, customer_no) SELECT 'Joko', 'hp', '08123455432' || i FROM generate_series(5, 9) i});
$provider->control(balance => 100);
like($pay->('60 s'), qr/^[^\n]*WARNING:  2 payments could not leave or were refused: top up the deposit$/m, 'bills: an empty deposit is told of');
is($stopped->(), 'not asked for 3, rejected 2', 'bills: and stops it');
$pay->('60 s');
is($stopped->(), 'not asked for 3, rejected 2', 'bills: again');
$provider->control(balance => undef);
value(qq{SELECT digipay_retry(ref_id) FROM bill_outcome WHERE customer = 'Joko' AND state = 'rejected'});
value(q{ALTER SERVER digipay OPTIONS (ADD paused 'true')});
like($pay->('2 s'), qr/WARNING:  2 payments could not leave/, 'bills: so is a queue that stands still');
$pay->('2 s');
is($stopped->(), 'not asked for 1, queued 2, succeeded 2', 'bills: nothing is added to it');
value(q{ALTER SERVER digipay OPTIONS (DROP paused)});
DigipayTest::wait_until(sub { $pay->('60 s') eq '' }, 60);
is($stopped->(), 'succeeded 5', 'bills: and all is paid in the end');
booked_as_told('BILL-%', 'bills: once');

# ---------------------------------------------------------------------- orders

follow(recipe('Orders that pay themselves'));
booked_as_told('ORDER-%', 'orders: the books agree');
is($provider->books('ORDER-1')->{pay_requests} // 0, 0, 'orders: what was rolled back was never asked for');

# Objects of ours: tables, views, columns of them, and functions, that a role
# has a right on.
my $member = q{JOIN pg_depend d ON d.objid = o.oid AND d.deptype = 'e'
	JOIN pg_extension x ON x.oid = d.refobjid AND x.extname = 'digipay'};

sub readable
{
	my ($role) = @_;
	return map { $_->{name} } rows("SELECT o.relname AS name FROM pg_class o $member
		WHERE o.relkind IN ('r', 'v') AND has_any_column_privilege('$role', o.oid, 'SELECT') ORDER BY 1");
}

sub callable
{
	my ($role) = @_;
	return map { $_->{name} } rows("SELECT o.proname AS name FROM pg_proc o $member
		WHERE d.classid = 'pg_proc'::regclass AND has_function_privilege('$role', o.oid, 'EXECUTE')
		ORDER BY 1");
}

value('CREATE ROLE nobody');
my @to_all = callable('nobody');
is_deeply([ readable('nobody') ], ['digipay_response_code'], 'by default nobody reads anything');
ok(!(grep { /pay$|submit|receipt|stats|purge|retry|wait/ } @to_all), 'nor calls what pays or reports')
  or diag("@to_all");
is_deeply([ readable('shop'), callable('shop') ], [ readable('nobody'), @to_all ],
	'orders: the shop has no right on digipay');
is(value(q{SELECT has_server_privilege('shop', 'digipay', 'USAGE')}), 'f', 'orders: nor on the server');

# a schema of the shop's own comes to nothing
value(q{CREATE SCHEMA trap AUTHORIZATION shop; SET ROLE shop;
	CREATE TABLE trap.digipay_payment (server name, ref_id text, state text, price numeric, selling_price numeric, sn text);
	CREATE TABLE trap.orders AS SELECT * FROM public.orders;
	CREATE FUNCTION trap.digipay_submit(text, text, text) RETURNS text LANGUAGE sql AS $$SELECT 'trapped'$$;
	GRANT USAGE ON SCHEMA trap TO PUBLIC;
	GRANT ALL ON ALL TABLES IN SCHEMA trap TO PUBLIC;
	SET search_path = trap, public;
	INSERT INTO public.orders (code, customer_no) VALUES ('hp', '081234554320')});
is(value(q{SELECT state FROM digipay_wait('ORDER-5')}), 'succeeded', 'orders: a trap in the search_path is not fallen into');
is(value(q{SET ROLE shop; SET search_path = trap, public; SELECT public.catch_up_orders()}),
	'(ORDER-5,succeeded)', 'orders: nor when they are caught up with');
DigipayTest::fails_with($node, 'SET ROLE shop; CREATE TABLE mine (code text, customer_no text, ref_id text);
	CREATE TRIGGER mine AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION pay_order()',
	'42501', 'orders: nobody else hangs the function on a table', db => $DB,
	before => 'GRANT CREATE ON SCHEMA public TO shop;');
value('DROP SCHEMA trap CASCADE; REVOKE CREATE ON SCHEMA public FROM shop');

# provider away: the order stays, and is paid when it is back
stop_provider();
value(q{SET ROLE shop; INSERT INTO orders (code, customer_no) VALUES ('hp', '081234554320')});
like(value(q{SELECT state FROM digipay_wait('ORDER-6', '1 s')}), qr/^(?:queued|sending)$/, 'orders: a provider that is down is waited for');
# it may have been just about to try again
is(DigipayTest::wait_for_state($node, 'ORDER-6', 'queued', db => $DB)->{state}, 'queued', 'orders: in the queue');
$provider->start;
is(value(q{SELECT state FROM digipay_wait('ORDER-6', '90 s')}), 'succeeded', 'orders: and paid when it is back');
is(booked('ORDER-6'), 1, 'orders: once');
value('SELECT catch_up_orders()');

# ----------------------------------------------------------------- the recap

value(q{SELECT digipay_pay('pln', '530000000001', 'OLD-1')});
age(q{ref_id IN (SELECT ref_id FROM bill WHERE id <= 8) OR ref_id IN ('BILL-4', 'BILL-5')}, '1 day');
age(q{ref_id = 'OLD-1'}, '500 days');

# Lets pg_cron run jobs now: at its start, which is the one time that it knows
# besides minutes.  Returns how they ended.
sub run_jobs
{
	my (%commands) = @_;
	for my $job (sort keys %commands)
	{
		value("SET ROLE $commands{$job}[0]; SELECT cron.schedule('$job', '\@reboot', "
			  . DigipayTest::literal($commands{$job}[1]) . ')');
	}
	value('TRUNCATE cron.job_run_details');
	$node->restart;
	DigipayTest::wait_until(sub {
		return value(q{SELECT count(*) FROM cron.job_run_details WHERE status IN ('succeeded', 'failed')})
		  >= keys %commands;
	}, 90);
	return map { $_->{jobname} => $_->{outcome} }
	  rows(q{SELECT j.jobname, d.username || ': ' || d.status AS outcome
		FROM cron.job_run_details d JOIN cron.job j USING (jobid)});
}

SKIP:
{
	my @chosen = recipe('A nightly recap with pg_cron');
	skip 'pg_cron is not there', 1 if !$has_cron;
	follow(@chosen);

	my %job = map { $_->{jobname} => $_ } rows('SELECT jobname, schedule, command, username FROM cron.job');
	is(value(qq{SELECT timezone('Asia/Jakarta', make_timestamptz(2026, 1, 1, h, m, 0, 'GMT'))::time
		FROM (SELECT split_part(s, ' ', 2)::int AS h, split_part(s, ' ', 1)::int AS m FROM (SELECT '$job{recap}{schedule}' AS s) s) s}),
		'00:10:00', 'recap: just after midnight in Jakarta');

	# again: nothing changes; and a late outcome does
	my $before = value('SELECT array_agg(r) FROM recap r');
	value('SET ROLE night; CALL make_recap()');
	is(value('SELECT array_agg(r) FROM recap r'), $before, 'recap: again changes nothing');
	value(q{UPDATE recap SET succeeded = 0, margin = 0});
	value('SET ROLE night; CALL make_recap()');
	is(value('SELECT succeeded, margin FROM recap'),
		value(q{SELECT succeeded, margin FROM digipay_daily
			WHERE day = timezone('Asia/Jakarta', now())::date - 1}), 'recap: and mends what is not so any more');

	# the jobs themselves, and bills paid by one
	value(q{DELETE FROM recap; CREATE ROLE payroll LOGIN;
		GRANT USAGE ON SCHEMA cron TO payroll; GRANT USAGE ON FOREIGN SERVER digipay TO payroll;
		GRANT EXECUTE ON FUNCTION digipay_submit, digipay_wait_all TO payroll;
		GRANT SELECT ON bill, bill_outcome, digipay_payment TO payroll;
		INSERT INTO bill (customer, code, customer_no) VALUES ('Ina', 'hp', '081234554320')});
	my %ended = run_jobs(
		recap => [ 'night', $job{recap}{command} ], purge => [ 'night', $job{purge}{command} ],
		pay => [ 'payroll', 'CALL pay_bills()' ]);
	is_deeply(\%ended, {
			recap => 'night: succeeded', purge => 'night: succeeded', pay => 'payroll: succeeded' },
		'recap: pg_cron runs the jobs') or diag(value('SELECT array_agg(return_message) FROM cron.job_run_details'));
	is(value('SELECT count(*) FROM recap'), '1', 'recap: and yesterday is there');
	is(value(q{SELECT error FROM digipay_payment WHERE ref_id = 'OLD-1'}), 'purged', 'recap: old payments are stubs');
	is(value(q{SELECT state FROM bill_outcome WHERE customer = 'Ina'}), 'succeeded', 'bills: a job pays them, too');
	booked_as_told('BILL-%', 'bills: once');
	value('SELECT cron.unschedule(jobid) FROM cron.job');
}
value(q{DELETE FROM bill WHERE customer = 'Ina'});
value('SELECT digipay_purge(current_date - 400)') if !$has_cron;

# ------------------------------------------------------------------- patience

# what is pending stays so until we have seen it
$provider->control(pending => 600000);
for my $block (recipe('Try again, with patience'))
{
	$provider->control(balance => 100) if $block->{poor};
	$provider->control(balance => undef) if $block->{rich};
	# each in a session of its own: their scenes differ
	follow($block);
}
$provider->control(pending => 500);
is(value(q{SELECT state FROM digipay_wait('PATIENT-2')}), 'succeeded', 'patience: what was pending gets its outcome');
booked_as_told('PATIENT-%', 'patience: the books agree');
booked_as_told('POOR-%', 'patience: and what was refused is paid once');

stop_provider();
my $called = DigipayTest::error_of($node,
	q{CALL pay_patiently('hp', '081234554320', 'DOWN-1', tries => 3, first_pause => '0.2 s')}, db => $DB);
is($called->{sqlstate}, 'PY001', 'patience: it ends');
is($called->{detail}, 'Nothing was sent, in 3 tries.', 'patience: after so many tries');
# Seen asleep, and only then: a try has a transaction.  It sleeps in small pieces, each
# with a transaction of its own, and not in one for the whole pause.
my $patient = DigipayTest::async($node,
	q{CALL pay_patiently('hp', '081234554320', 'DOWN-3', tries => 2, first_pause => '5 min')}, db => $DB);
my ($held, %piece) = (0);
eval {
	DigipayTest::wait_until {
		my ($begun, $holds) = split /\|/, value(q{SELECT xact_start, (backend_xid IS NOT NULL
			OR EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.locktype IN ('relation', 'transactionid')))::int
			FROM pg_stat_activity a WHERE query LIKE 'CALL pay_patiently%' AND wait_event = 'PgSleep'});
		$piece{$begun} = 1 if defined $begun;
		$held += $holds // 0;
		keys %piece > 3;
	} 60;
};
cmp_ok(scalar(keys %piece), '>', 3, 'patience: while it sleeps, in pieces');
is($held, 0, 'patience: no transaction stays open, no lock is held');
$patient->cancel->finish;

my $waiting = DigipayTest::async($node,
	q{CALL pay_patiently('hp', '081234554320', 'DOWN-2', tries => 10, first_pause => '0.5 s')}, db => $DB);
DigipayTest::wait_until(sub {
	return value(q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%DOWN-2%' AND wait_event = 'PgSleep'});
});
$provider->start;
is($waiting->finish->status, 0, 'patience: it pays when the provider is back') or diag($waiting->err);
is(booked('DOWN-2'), 1, 'patience: once');
is(booked($_), 0, "patience: and nothing that it gave up, $_") for 'DOWN-1', 'DOWN-3';
DigipayTest::fails_with($node, q{CALL pay_patiently('pln', '530000000001', 'DOWN-2')}, 'PY002',
	'patience: another error is raised at once', db => $DB);

# ---------------------------------------------------------------------- for BI

follow(recipe('A read-only role for BI'));

my @views = map { $_->{name} } rows("SELECT o.relname AS name FROM pg_class o $member WHERE o.relkind = 'v' ORDER BY 1");
my @tables = map { $_->{name} } rows("SELECT o.relname AS name FROM pg_class o $member WHERE o.relkind = 'r' ORDER BY 1");
is_deeply([ readable('bi') ], \@views, 'BI: the role reads every view and no table');
for my $view (@views)
{
	like(value("SELECT count(to_jsonb(v)) FROM $view v", extra_params => [ '-U', 'bi' ]), qr/^\d+$/,
		"BI: $view can be read");
}
like(value(q{SELECT digipay_receipt('BILL-1')}, extra_params => [ '-U', 'bi' ]), qr/TOTAL/, 'BI: and a receipt');
for my $role ('bi', 'dashboard')
{
	my @report = ('digipay_product_stats', $role eq 'bi' ? 'digipay_receipt' : ());
	is_deeply([ callable($role) ], [ sort @to_all, @report ], "BI: $role calls nothing else");
	is(value('SELECT count(*) FROM digipay_product_stats(current_date - 5, current_date + 1) WHERE payments > 0',
			extra_params => [ '-U', $role ]) > 3, 1, "BI: $role has the function");
	is(value(q{SELECT count(*) FROM pg_user_mappings WHERE umoptions IS NOT NULL}, extra_params => [ '-U', $role ]),
		'0', "BI: $role sees no key");
	my @denied = map { "SELECT * FROM $_" } @tables, 'pg_user_mapping';
	push @denied, q{SELECT digipay_pay('tv', '127246500101', 'BI-1')}, q{SELECT digipay_submit('tv', '127246500101', 'BI-1')},
	  q{SELECT digipay_inquire('tv', '127246500101', 'BI-1')}, q{SELECT digipay_purge('2020-01-01')},
	  q{SELECT digipay_settle('BILL-1', 'failed', 'x')}, q{DELETE FROM digipay_payment}, q{UPDATE digipay_bill SET no = 1},
	  $role eq 'bi' ? () : (q{SELECT digipay_receipt('BILL-1')}, 'SELECT customer_no FROM digipay_unsettled',
		'SELECT name FROM digipay_product_payment', 'SELECT * FROM digipay_pln');
	my @allowed = grep {
		(DigipayTest::error_of($node, $_, db => $DB, role => $role,
			before => 'SET default_transaction_read_only = off;') // { sqlstate => 'none' })->{sqlstate} !~ /^(?:42501|55000)$/
	} @denied;
	is_deeply([ grep { !/UPDATE/ } @allowed ], [], "BI: $role may do nothing else");
	DigipayTest::fails_with($node, 'CREATE TEMP TABLE t ()', '25006', "BI: $role is read-only by default",
		db => $DB, before => "SET SESSION AUTHORIZATION $role; SET default_transaction_read_only = on;");
	is(value('SHOW default_transaction_read_only', extra_params => [ '-U', $role ]), 'on', "BI: $role is set so");
}

# What names a customer, in any column that the role without customers reads.
my @secrets = map { $_->{s} } rows(q{SELECT DISTINCT s FROM digipay_payment p
	CROSS JOIN LATERAL (VALUES (p.customer_no), (p.name), (p."desc"->>'alamat')) v (s) WHERE length(s) > 4});
cmp_ok(scalar @secrets, '>', 5, 'BI: there are customers');
my @leaks;
for my $column (rows("SELECT o.relname, a.attname FROM pg_class o $member
	JOIN pg_attribute a ON a.attrelid = o.oid AND a.attnum > 0
	WHERE o.relkind = 'v' AND has_column_privilege('dashboard', o.oid, a.attnum, 'SELECT')
	UNION ALL SELECT 'bill_masked', attname FROM pg_attribute WHERE attrelid = 'bill_masked'::regclass AND attnum > 0"))
{
	my $all = value("SELECT string_agg(\"$column->{attname}\"::text, ' ') FROM $column->{relname}",
		extra_params => [ '-U', 'dashboard' ]);
	push @leaks, "$column->{relname}.$column->{attname}" if grep { index($all, $_) >= 0 } @secrets;
}
is_deeply(\@leaks, [], 'BI: the role without customers sees none');

# What the document says of where they are.
my ($said) = $cookbook =~ /\*\*Where customers are\.\*\*(.*?)The other views/s;
my @named = sort $said =~ /`(digipay_\w+)`/g;
my @with = map { $_->{name} } rows("SELECT o.relname AS name FROM pg_class o $member
	WHERE o.relkind = 'v' AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = o.oid
		AND a.attname IN ('customer_no', 'name', 'alamat', 'desc')) ORDER BY 1");
is(scalar @with, @named - 1 + 15, 'BI: the views with customers are those that the document names')
  or diag("@with");
is_deeply([ grep { my $view = $_; $_ ne 'digipay_receipt' && !grep { $_ eq $view } @with } @named ], [], 'BI: by name');

# ------------------------------------------------------------- their questions

# A question as Metabase puts it: optional clauses whose variables are empty are
# left out; values become literals, or parameters of a prepared statement.
sub metabase
{
	my ($sql, $prepared, %value) = @_;
	my (@types, @values);
	$sql =~ s/\[\[(.*?)\]\]/my $clause = $1; (grep { !defined $value{$_} } $clause =~ m{\{\{(\w+)\}\}}g) ? '' : $clause/gse;
	$sql =~ s/\{\{(\w+)\}\}/
		my $value = $value{$1} \/\/ die "variable $1 is empty";
		my $type = $value =~ m{^\d{4}-\d\d-\d\d$} ? 'date' : 'text';
		push @types, $type;
		push @values, "'$value'";
		$prepared ? '$' . @values : ($type eq 'date' ? 'date ' : '') . "'$value'"/ge;
	return $sql if !$prepared || !@values;
	return 'PREPARE q (' . join(', ', @types) . ") AS $sql;\nEXECUTE q (" . join(', ', @values) . ')';
}

# As Grafana does.
sub grafana
{
	my ($sql, $from, $to, @servers) = @_;
	my $list = join ',', map { "'$_'" } @servers;
	$sql =~ s/\$__timeFilter\((\w+)\)/$1 BETWEEN '$from' AND '$to'/g;
	$sql =~ s/\$__timeFrom\(\)/'$from'/g;
	$sql =~ s/\$__timeTo\(\)/'$to'/g;
	$sql =~ s/\$\{server:sqlstring\}/$list/g;
	return $sql;
}

$seen{'Questions for Metabase and Grafana'} = 1;
my @metabase = map { $_->{sql}{text} } grep { $_->{metabase} } @blocks;
my @grafana = map { $_->{sql}{text} } grep { $_->{grafana} } @blocks;
is(scalar @metabase, 4, 'four questions for Metabase');
is(scalar @grafana, 4, 'and for Grafana');

# something that is open, on another server of the same account
$provider->control(pending => 600000);
value(q{SELECT digipay_pay('tv', '227246500101', 'OPEN-1')});

my ($yesterday, $today) = split /\|/, value(
	q{SELECT timezone('Asia/Jakarta', now())::date - 1, timezone('Asia/Jakarta', now())::date});
my @as = (extra_params => [ '-U', 'dashboard' ]);

# a day that is not asked for, and would be in another time zone
age(q{ref_id = 'PATIENT-1'}, '2 days');

# what they must answer, counted from the journal
my $succeeded = q{count(*) FILTER (WHERE state = 'succeeded')};
my $margin = q{coalesce(sum(selling_price - price) FILTER (WHERE state = 'succeeded'), 0)};
my %want = (
	days => value(qq{SELECT day, $succeeded, $margin FROM digipay_payment WHERE day >= '$yesterday' GROUP BY day ORDER BY day}),
	yesterday => value(qq{SELECT day, $succeeded, $margin FROM digipay_payment WHERE day = '$yesterday' GROUP BY day}),
	products => value(qq{SELECT code, count(*) FROM digipay_payment WHERE day >= '$yesterday' GROUP BY code ORDER BY 2 DESC, 1}),
	bookings => value(qq{SELECT count(*) FROM digipay_payment
		WHERE day >= '$yesterday' AND state = 'succeeded' AND balance IS NOT NULL}));

# columns of an answer, as psql -At gives them
sub picked
{
	my ($answer, @columns) = @_;
	return join "\n", map { my @f = split /\|/, $_, -1; join '|', @f[@columns] } split /\n/, $answer;
}

sub sorted_by_count
{
	return join "\n", sort { (split /\|/, $b)[1] <=> (split /\|/, $a)[1] || $a cmp $b } split /\n/, $_[0];
}

for my $prepared (0, 1)
{
	my $how = $prepared ? 'with parameters' : 'with literals';
	my $ask = sub { my ($no, %value) = @_; return value(metabase($metabase[$no], $prepared, %value), @as) };

	is(picked($ask->(0, from => $yesterday), 0, 1, 4), $want{days}, "Metabase, $how: margin by day");
	is(picked($ask->(0, from => $yesterday, to => $yesterday, server => 'digipay'), 0, 1, 4),
		$want{yesterday}, "Metabase, $how: of one day and server");
	is($ask->(0, from => $yesterday, server => 'other'), '', "Metabase, $how: of another server");
	is(sorted_by_count(picked($ask->(1, from => $yesterday, to => $today), 1, 2)), $want{products},
		"Metabase, $how: products");
	is(picked($ask->(1, from => $yesterday, family => 'bpjs'), 0, 1, 2), 'bpjs|bpjs|1', "Metabase, $how: of one family");
	is(picked($ask->(2), 1, 2, 3), 'OPEN-1|tv|pending', "Metabase, $how: what is open");
	is($ask->(2, state => 'review'), '', "Metabase, $how: in review");
	is(picked($ask->(3, from => $today, account => 'demo@127.0.0.1'), 0, 1), "$today|demo\@127.0.0.1",
		"Metabase, $how: the deposit");
}
my ($from, $to) = map { $_->{t} } rows(qq{SELECT to_char(timezone('UTC', timezone('Asia/Jakarta', d)), 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS t
	FROM (VALUES (timestamp '$yesterday'), (timestamp '$today' + interval '1 day' - interval '1 s')) v (d) ORDER BY 1});
my @answers = map { value(grafana($_, $from, $to, 'digipay', 'other'), @as) } @grafana;
is(picked($answers[0], 1, 2), join("\n", map { "digipay|$_" } split /\n/, picked($want{days}, 2)),
	'Grafana: margin by day');
like(value("SET TimeZone = 'Asia/Jakarta'; " . grafana($grafana[0], $from, $to, 'digipay'), @as),
	qr/^\Q$yesterday\E 00:00:00\+07/, 'Grafana: at midnight in Jakarta');
is(sorted_by_count(picked($answers[1], 1, 2)), $want{products}, 'Grafana: products');
is(picked($answers[2], 0, 3), join("\n", 'under 1 minute|1', map { "$_|0" } '1 to 10 minutes',
		'10 minutes to 1 hour', '1 to 6 hours', '6 to 24 hours', '1 to 7 days', '7 to 90 days', 'over 90 days'),
	'Grafana: what is open');
is(scalar(split /\n/, $answers[3]), $want{bookings}, 'Grafana: the deposit');
is(value(grafana($grafana[0], $from, $to, 'other'), @as), '', 'Grafana: of another server');

# ------------------------------------------------------------------ retention

$provider->control(pending => 500);
is(value(q{SELECT state FROM digipay_wait('OPEN-1', '120 s')}), 'succeeded', 'what was open gets its outcome');
my @reports = qw(digipay_daily digipay_product_stats digipay_response_stats digipay_booking digipay_balance_trend);
my $all = sub { return map { value("SELECT array_agg(r ORDER BY r) FROM $_ r") } @reports };
age(q{ref_id IN ('BILL-1', 'BILL-2', 'BILL-3')}, '500 days');
my @before = $all->();
follow(recipe('Retention'));
is_deeply([ $all->() ], \@before, 'retention: the reports say what they said');
is(booked('BILL-1'), 1, 'retention: nothing was paid again');

# ------------------------------------------------------------------- the rest

follow(recipe('Check the price before paying'));
is(booked('SALE-1'), 1, 'price: what was agreed to is paid');
is(booked('SALE-2'), 0, 'price: what was not is not');

follow(recipe('Does everything agree?'));

$provider->control(script => { ref_id => 'DOUBT-1', http_status => 200, content_type => 'application/json',
		body => '{"data":{"ref_id":"DOUBT-1","customer_no":"127246500101","code":"tv","rc":"49","status":"Gagal","message":"Ref ID tidak unik"}}' });
value(q{SELECT digipay_pay('tv', '127246500101', 'DOUBT-1')});
follow(recipe('What a person must settle, and when to wake one'));
is(value('SELECT story FROM worklist'), '', 'settling: the list is empty');

# each alarm goes off
value(q{CREATE ROLE monitor LOGIN IN ROLE pg_monitor; GRANT SELECT ON alarm TO monitor});
my @monitor = (extra_params => [ '-U', 'monitor' ]);
is(value('SELECT * FROM alarm', @monitor), '', 'alarm: none');
$provider->control(pending => 600000);
value(q{SELECT digipay_pay('tv', '227246500101', 'OPEN-2')});
$provider->control(balance => 60000);
value(q{SELECT digipay_pay('hp', '081234554320', 'ALARM-1')});
value(q{ALTER SERVER digipay OPTIONS (ADD paused 'true')});
value(q{SELECT digipay_submit('tv', '127246500101', 'OPEN-3', not_after => now() + interval '1 day')});
value(q{UPDATE digipay_payment SET requested_at = requested_at - interval '2 days' WHERE ref_id IN ('OPEN-2', 'OPEN-3')});
my $alarms = value('SELECT * FROM alarm', @monitor);
like($alarms, qr/^1 queued or on their way for more than ten minutes, since /m, 'alarm: the queue stands still');
like($alarms, qr/^1 open for more than a day$/m, 'alarm: an outcome does not come');
like($alarms, qr/^demo\@127\.0\.0\.1 has 49000 left$/m, 'alarm: the deposit is low');
unlike($alarms, qr/no worker|review/, 'alarm: no other');
$provider->control(balance => undef);
value(q{SELECT digipay_cancel('OPEN-3'); SELECT digipay_worker_stop()});
like(value('SELECT * FROM alarm', @monitor), qr/^no worker: nothing is paid$/m, 'alarm: no worker');
value(q{ALTER SERVER digipay OPTIONS (DROP paused)});

my %every = map { $_->{section} => 1 } @blocks;
is_deeply([ sort keys %seen ], [ sort keys %every ], 'every recipe was tried');

# ------------------------------------- a table of bills, when the server dies

# the first of them are paid, the next ones on their way
my $more = sub
{
	value("INSERT INTO bill (customer, code, customer_no)
		SELECT 'Crash ' || i, 'tv', '12724650' || 2000 + i FROM generate_series($_[0], $_[1]) i");
};
$more->(1, 8);
value('CALL pay_bills(batch => 8)');
$more->(9, 40);
$provider->hold;
my $paying = DigipayTest::async($node, 'CALL pay_bills(batch => 8)', db => $DB);
DigipayTest::wait_until(sub {
	return value(q{SELECT count(*) FILTER (WHERE p.state = 'succeeded') >= 8 AND count(*) FILTER (WHERE p.state = 'sending') > 0
		FROM bill_outcome b JOIN digipay_payment p USING (ref_id) WHERE b.customer LIKE 'Crash%'}) eq 't';
});
DigipayTest::crash($node);
$paying->finish;
$node->start;
my $left = value(q{SELECT count(*) FROM bill_outcome WHERE customer LIKE 'Crash%' AND state = 'not asked for'});
cmp_ok($left, '>', 0, 'crash: it was in the middle');

# two at once go on
$provider->control(delay => 200);
my @calls = map { DigipayTest::async($node, 'CALL pay_bills(batch => 8)', db => $DB) } 1, 2;
is($_->finish->status, 0, 'crash: called again, by two') or diag($_->err) for @calls;
DigipayTest::wait_until(sub {
	return value(q{SELECT count(*) FROM digipay_unsettled WHERE ref_id LIKE 'BILL-%' AND state <> 'review'}) eq '0';
}, 120);
my %ends = map { $_->{state} => $_->{n} }
  rows(q{SELECT state, count(*) AS n FROM bill_outcome WHERE customer LIKE 'Crash%' GROUP BY state});
# what was killed before it had left is not known to the provider: for a person
is(($ends{succeeded} // 0) + ($ends{review} // 0), 40, 'crash: each bill has an outcome')
  or diag(join ', ', map { "$_ $ends{$_}" } sort keys %ends);
booked_as_told('BILL-%', 'crash: nothing was paid twice, nothing was lost');

DigipayDoc::save_changed('cookbook.md', $cookbook, @blocks);
$node->stop;
$provider->stop;
done_testing();
