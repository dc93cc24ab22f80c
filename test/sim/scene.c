/*
 * scene.c
 *		The beginning and the end: accounts, the copies that must not pay, and
 *		what is left when all faults are over.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim.h"

#define SETTLE_LIMIT	120.0	/* seconds */

static const char *const order_table =
	"CREATE TABLE sim_order (code text, customer_no text, ref_id text, server text);"
	"CREATE FUNCTION sim_submit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
	"PERFORM digipay_submit(NEW.code, NEW.customer_no, NEW.ref_id, server => NEW.server::name); "
	"RETURN NULL; END $$;"
	"CREATE TRIGGER sim_submit AFTER INSERT ON sim_order FOR EACH ROW EXECUTE FUNCTION sim_submit()";

/*
 * Where a dialect is spoken.
 */
static const char *
path_of(bool digiflazz)
{
	return digiflazz ? "/v1/transaction" : "/v1/user/api/transaction";
}

/*
 * Create a server for each dialect whose endpoint is that port.
 */
static void
create_account(const char *name, const char *username, const char *host, int port)
{
	for (int digiflazz = 0; digiflazz <= 1; digiflazz++)
	{
		const char *server = server_in(name, digiflazz);
		char	   *sql = text("CREATE SERVER %s FOREIGN DATA WRAPPER digipay OPTIONS ("
							   "endpoint 'http://%s:%d%s', dialect '%s', allow_private_address 'true', "
							   "timeout '700', connect_timeout '700', status_interval '200', "
							   "queue_ttl '600000', paused 'false')", server, host, port,
							   path_of(digiflazz), digiflazz ? "digiflazz" : "digiswitch");

		monitor_exec(sql);
		free(sql);
		sql = text("CREATE USER MAPPING FOR PUBLIC SERVER %s OPTIONS (username '%s', api_key '%s', "
				   "webhook_secret '%s')", server, username, api_key, webhook_secret);
		monitor_exec(sql);
		free(sql);
	}
}

/*
 * Let the servers behind faults have another port: the raw one, another, or
 * none at all.
 */
void
scene_move_raw(int port)
{
	for (int digiflazz = 0; digiflazz <= 1; digiflazz++)
	{
		char	   *sql = text("ALTER SERVER %s OPTIONS (SET endpoint 'http://localhost:%d%s')",
							   server_in("raw", digiflazz), port, path_of(digiflazz));

		monitor_exec(sql);
		free(sql);
	}
}

/*
 * Is there a function of this name?
 */
static bool
has_function(const char *name)
{
	char	   *sql = text("SELECT count(*) FROM pg_proc WHERE proname = '%s'", name);
	char	   *count = monitor_value(sql);
	bool		found = count && strcmp(count, "0") != 0;

	free(sql);
	free(count);
	return found;
}

/*
 * Wait until the server takes connections.
 */
static void
await_server(void)
{
	double		until = now() + 30;

	while (monitor() == NULL)
	{
		if (server_gone(postmaster) || now() > until)
			die("the server did not start; see %s", options.log);
		usleep(20000);
	}
}

/*
 * Start all, and make the accounts.  The database says that a commit need not
 * be on disk: digipay must not listen to that, and the clients do not.
 */
void
scene_open(void)
{
	char		witness[512];

	double_start(&main_double, NULL);
	postmaster = server_start(options.data, options.socket_dir, options.log);
	await_server();
	monitor_exec("ALTER DATABASE postgres SET synchronous_commit = off");
	monitor_exec("CREATE EXTENSION digipay");
	snprintf(witness, sizeof(witness), "%s", conninfo(options.socket_dir, "postgres"));
	double_start(&watching_double, witness);
	create_account("plain", "sim", "127.0.0.1", main_double.http_port);
	create_account("raw", "sim", "localhost", main_double.raw_port);
	create_account("watched", "watched", "127.0.0.1", watching_double.http_port);
	features.submit = has_function("digipay_submit");
	features.wait = has_function("digipay_wait") && has_function("digipay_wait_all");
	features.status = has_function("digipay_status");
	features.retry = has_function("digipay_retry");
	features.cancel = has_function("digipay_cancel");
	features.webhook = has_function("digipay_webhook");
	features.take_over = has_function("digipay_take_over");
	if (features.submit)
		monitor_exec(order_table);
	/* so that it has the database's setting */
	monitor_exec("SELECT digipay_worker_stop()");
}

/*
 * Dictate the answers that the plan dictates.
 */
void
scene_dictate(void)
{
	int			i;

	for (i = 0; i < payment_count; i++)
	{
		const Fate *fate = payments[i].fate;

		if (fate->body)
			double_dictate(&payments[i], fate->http_status, fate->body, fate->book);
	}
}

/* -------------------------------------------------------------- the copies */

/*
 * A call that must be refused because the fence is up.
 */
static void
must_be_fenced(PGconn *conn, const char *where, const char *function, const Payment *payment)
{
	char	   *sql = text("SELECT state FROM %s('%s', '%s', '%s', server => '%s')", function,
						   payment->code, payment->customer_no, payment->ref_id, payment->server);
	PGresult   *result = PQexec(conn, sql);
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	check("a copy does not pay");
	if (sqlstate == NULL || strcmp(sqlstate, "PY004") != 0)
		violation("a copy does not pay", "%s, %s of %s: %s", where, function, payment->ref_id,
				  sqlstate ? PQresultErrorMessage(result) : "no error");
	PQclear(result);
	free(sql);
}

/*
 * A copy is asked to pay what it has in its queue, and what is new.
 */
static void
try_copy(const char *where, PGconn *conn, const Payment *queued, const Payment *probe)
{
	if (PQstatus(conn) != CONNECTION_OK)
		die("%s: %s", where, PQerrorMessage(conn));
	PQclear(PQexec(conn, "ALTER SERVER plain OPTIONS (SET paused 'false')"));
	PQclear(PQexec(conn, "SELECT digipay_worker_start()"));
	usleep(1500000);
	must_be_fenced(conn, where, "digipay_pay", queued);
	must_be_fenced(conn, where, "digipay_pay", probe);
	must_be_fenced(conn, where, "digipay_submit", probe + 1);
	usleep(300000);
}

/*
 * Run a shell command that must succeed.
 */
static void
must_run(char *command)
{
	if (run_program(command) != 0)
		die("failed: %s", command);
	free(command);
}

/*
 * Stop a server.
 */
static void
stop_server(pid_t pid, int signal)
{
	double		until = now() + 20;

	kill(pid, signal);
	while (!server_gone(pid))
	{
		if (now() > until)
		{
			violation("the server ends", "it took more than 20 seconds");
			kill(pid, SIGKILL);
		}
		usleep(10000);
	}
}

/*
 * Wait until no payment of the fence's is open in a database.
 */
static bool
await_queue(PGconn *conn, double seconds)
{
	char	   *sql = text("SELECT count(*) FROM digipay_payment WHERE ref_id LIKE 'p-%llx-%%' AND "
						   "state IN ('queued', 'sending', 'pending', 'unknown') AND "
						   "split_part(ref_id, '-', 3)::integer >= %d",
						   (unsigned long long) options.seed, fence_first);
	double		until = now() + seconds;
	bool		empty = false;

	while (!empty && now() < until)
	{
		PGresult   *result = PQexec(conn, sql);

		empty = PQntuples(result) == 1 && strcmp(PQgetvalue(result, 0, 0), "0") == 0;
		PQclear(result);
		usleep(100000);
	}
	free(sql);
	return empty;
}

/*
 * Payments are queued; the data directory is copied, and the database dumped
 * and restored.  The original pays them.  Neither copy may.
 */
void
scene_fence(void)
{
	const Payment *probes = &payments[payment_count - 6];
	char	   *copy = text("%s.copy", options.data);
	char	   *socket_dir = text("%s/copy", options.socket_dir);
	char	   *log = text("%s.copy", options.log);
	char	   *dump = text("%s.dump", options.data);
	pid_t		copy_pid;
	PGconn	   *conn;
	int			i;

	clients_disconnect();
	monitor_exec("ALTER SERVER plain OPTIONS (SET paused 'true')");
	for (i = fence_first; i < payment_count - 6; i++)
	{
		Payment    *payment = &payments[i];
		char	   *sql = text("SELECT digipay_submit('%s', '%s', '%s', server => 'plain')",
							   payment->code, payment->customer_no, payment->ref_id);

		monitor_exec(sql);
		payment->may_have_sent++;
		payment->promised = true;
		free(sql);
	}
	must_run(text("%s/pg_dump -h %s -p 5432 -U postgres -f %s postgres", options.bindir,
				  options.socket_dir, dump));
	monitor_close();
	stop_server(postmaster, SIGINT);
	must_run(text("cp -a %s %s && rm -f %s/postmaster.pid && mkdir -p -m 700 %s",
				  options.data, copy, copy, socket_dir));
	postmaster = server_start(options.data, options.socket_dir, options.log);
	await_server();
	monitor_exec("ALTER SERVER plain OPTIONS (SET paused 'false')");
	check("what is queued is paid");
	if (!await_queue(monitor(), 20))
		violation("what is queued is paid", "the queue was not empty 20 s after the start");

	/* the same, copied file by file */
	copy_pid = server_start(copy, socket_dir, log);
	for (i = 0, conn = NULL; i < 200; i++)
	{
		conn = PQconnectdb(conninfo(socket_dir, "postgres"));
		if (PQstatus(conn) == CONNECTION_OK)
			break;
		PQfinish(conn);
		conn = NULL;
		usleep(50000);
	}
	if (conn == NULL)
		die("the copy did not start; see %s", log);
	try_copy("the copy of the files", conn, &payments[fence_first], probes);
	if (features.take_over)
	{
		PGresult   *result = PQexec(conn, "SELECT digipay_take_over()");

		check("a copy takes over without paying again");
		if (PQresultStatus(result) != PGRES_TUPLES_OK)
			violation("a copy takes over without paying again", "%s", PQresultErrorMessage(result));
		else if (!await_queue(conn, 20))
			violation("a copy takes over without paying again", "its queue was not empty after 20 s");
		PQclear(result);
	}
	PQfinish(conn);
	stop_server(copy_pid, SIGQUIT);

	/* and restored from a dump */
	monitor_exec("CREATE DATABASE restored");
	must_run(text("%s/psql -X -q -h %s -p 5432 -U postgres -v ON_ERROR_STOP=1 -f %s restored >/dev/null",
				  options.bindir, options.socket_dir, dump));
	conn = PQconnectdb(conninfo(options.socket_dir, "restored"));
	try_copy("the restored dump", conn, &payments[fence_first + 1], probes + 2);
	PQfinish(conn);
	monitor_exec("DROP DATABASE restored WITH (FORCE)");
	free(copy);
	free(socket_dir);
	free(log);
	free(dump);
}

/* ------------------------------------------------------------- the settling */

/*
 * End the prepared transactions whose sessions are gone, as the plan has it.
 */
static void
end_prepared(void)
{
	char	   *gid;

	while ((gid = monitor_value("SELECT gid FROM pg_prepared_xacts LIMIT 1")) != NULL)
	{
		Payment    *payment = payment_of_ref(gid);
		bool		commits = payment && payment->way->steps[3] == COMMIT_PREPARED;
		char	   *sql = text("%s PREPARED '%s'", commits ? "COMMIT" : "ROLLBACK", gid);

		monitor_exec(sql);
		if (commits)
		{
			payment->may_have_sent++;
			payment->promised = true;
		}
		if (payment)
			payment->prepared = false;
		free(sql);
		free(gid);
	}
}

/*
 * All faults are over; wait until every payment's outcome is known.
 */
void
scene_settle(void)
{
	double		began = now();
	char	   *open = NULL;

	clients_disconnect();
	free(double_call(&main_double, "POST", "/control", "{\"accept_fault\": null}"));
	end_prepared();
	scene_move_raw(main_double.http_port);
	monitor_exec("SELECT digipay_worker_start()");
	for (;;)
	{
		free(open);
		open = monitor_value(features.status ?
							 "SELECT count(*) FROM digipay_payment WHERE state IN "
							 "('queued', 'sending', 'pending', 'unknown') AND code <> 'nosuch'" :
							 "SELECT count(*) FROM digipay_payment WHERE state IN "
							 "('queued', 'sending')");
		if (open && strcmp(open, "0") == 0)
			break;
		if (now() - began > SETTLE_LIMIT)
		{
			char	   *which = monitor_value("SELECT string_agg(state || ' ' || ref_id || coalesce(' ' || error, ''), ', ') "
											  "FROM (SELECT * FROM digipay_payment WHERE state IN "
											  "('queued', 'sending', 'pending', 'unknown') AND code <> 'nosuch' LIMIT 5) p");

			violation("all is final in the end", "%s open after %.0f s: %s",
					  open ? open : "?", SETTLE_LIMIT, which ? which : "?");
			free(which);
			break;
		}
		/* those whose questions have become rare are asked about by hand */
		if (features.status && now() - began > 5)
			free(monitor_value("SELECT count(s.state) FROM (SELECT ref_id, server FROM digipay_payment "
							   "WHERE state IN ('pending', 'unknown') AND next_check_at > now() + '2 s' LIMIT 20) p, "
							   "LATERAL digipay_status(p.ref_id, server => p.server) s"));
		usleep(200000);
	}
	free(open);
	check("all is final in the end");
	printf("%7.1f s to settle\n", now() - began);
}
