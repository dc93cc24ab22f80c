/*
 * bench.c
 *	  What one session and many pay, beside what the same work costs bare.
 *
 *	bench one URL SERVER PREFIX BODY N [CA]	one call at a time, interleaved with the
 *									bare work: two flushed one-row commits, one POST
 *	bench replay SERVER REF_ID N	digipay_pay of a final payment, interleaved with
 *									a SELECT of its row
 *	bench flat SERVER N				N calls, half of them errors: what grows?
 *	bench many SERVER N				N sessions that pay at the same moment
 *
 * The database is libpq's default.  The parts set the scene: the table bench_floor,
 * and for "flat" the servers down (refuses connections) and raw (closes them).
 * Readings go to standard output, "metric,value,unit" a line; those of "flat" have
 * the case before them.
 */
#include <curl/curl.h>
#include <dirent.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>

#include "common.h"

#define WARM_UP		200
#define PAY			"SELECT state FROM digipay_pay('pln', '530000000001', $1, server => $2)"

/* ----------
 * The database
 * ----------
 */

static PGconn *
connect_db(void)
{
	PGconn	   *conn = PQconnectdb("");

	if (PQstatus(conn) != CONNECTION_OK)
		die("%s", PQerrorMessage(conn));
	return conn;
}

static void
prepare(PGconn *conn, const char *name, const char *sql)
{
	PGresult   *result = PQprepare(conn, name, sql, 0, NULL);

	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		die("%s: %s", name, PQerrorMessage(conn));
	PQclear(result);
}

/*
 * Run a prepared statement with up to two parameters; it must bring this value
 * (NULL: any), or fail with this SQLSTATE.
 */
static void
run(PGconn *conn, const char *name, const char *first, const char *second,
	const char *wanted)
{
	const char *params[2] = {first, second};
	PGresult   *result = PQexecPrepared(conn, name, (first != NULL) + (second != NULL),
										params, NULL, NULL, 0);
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *got = state != NULL ? state :
		PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "";

	if (wanted != NULL ? strcmp(got, wanted) != 0 : state != NULL)
		die("%s %s: %s where %s was wanted: %s", name, first ? first : "", got,
			wanted ? wanted : "success", PQerrorMessage(conn));
	PQclear(result);
}

/* The first value of a query as text; malloc'd. */
static char *
ask(PGconn *conn, const char *sql)
{
	PGresult   *result = PQexec(conn, sql);
	char	   *value;

	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
		die("%s: %s", sql, PQerrorMessage(conn));
	value = strdup(PQgetvalue(result, 0, 0));
	PQclear(result);
	return value;
}

/* ----------
 * One at a time
 * ----------
 */

/* The parts that are timed. */
enum
{
	INSERT, UPDATE, POST, FLOOR, PAYMENT, PAIR, PARTS
};

static const char *const part_names[PARTS] = {
	"insert", "update", "post", "floor", "pay", "pair"
};

static int
compare(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

/* A quantile of times that have been sorted. */
static double
quantile(const double *times, int n, double q)
{
	return times[(int) (q * (n - 1) + 0.5)];
}

static size_t
swallow(char *data, size_t size, size_t nmemb, void *arg)
{
	(void) data;
	*(size_t *) arg += size * nmemb;
	return size * nmemb;
}

static void
post(CURL *curl, size_t *received)
{
	CURLcode	code;
	long		status = 0;

	*received = 0;
	code = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	if (code != CURLE_OK || status != 200 || *received == 0)
		die("the bare POST failed: %s, HTTP status %ld", curl_easy_strerror(code), status);
}

/* A handle that posts the body, as floor.c does. */
static CURL *
make_post(const char *url, const char *body, const char *authorities, size_t *received)
{
	CURL	   *curl;
	struct curl_slist *headers;

	curl_global_init(CURL_GLOBAL_DEFAULT);
	curl = curl_easy_init();
	headers = curl_slist_append(NULL, "Content-Type: application/json");
	headers = curl_slist_append(headers, "Expect:");
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, swallow);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, received);
	curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
	if (authorities != NULL)
		curl_easy_setopt(curl, CURLOPT_CAINFO, authorities);
	return curl;
}

/* Sort times, and print two quantiles of them. */
static void
report(const char *name, double *times, int n, const char *unit)
{
	qsort(times, n, sizeof(double), compare);
	printf("%s_p50,%.2f,%s\n", name, quantile(times, n, 0.5), unit);
	printf("%s_p99,%.2f,%s\n", name, quantile(times, n, 0.99), unit);
}

/* The journal's own clock divides the payments since then into stages. */
static void
report_stages(PGconn *conn, const char *since)
{
	static const char *const stages[2][2] = {
		{"stage_intent", "sent_at - requested_at"},
		{"stage_exchange", "replied_at - sent_at"},
	};
	char		sql[512];

	for (int i = 0; i < 2; i++)
	{
		char	   *median;

		snprintf(sql, sizeof(sql), "SELECT round((1e6 * percentile_cont(0.5)"
				 " WITHIN GROUP (ORDER BY extract(epoch FROM %s)))::numeric, 1)"
				 " FROM digipay_payment WHERE requested_at > '%s'", stages[i][1], since);
		median = ask(conn, sql);
		printf("%s,%s,us\n", stages[i][0], median);
		free(median);
	}
}

static void
one(const char *url, const char *server, const char *prefix, const char *body, int n,
	const char *authorities)
{
	PGconn	   *conn = connect_db();
	size_t		received;
	CURL	   *curl = make_post(url, body, authorities, &received);
	char	   *since = ask(conn, "SELECT clock_timestamp()");
	double	   *times[PARTS];
	char		key[64];

	prepare(conn, "insert", "INSERT INTO bench_floor (id, state) VALUES ($1, 'sending')");
	prepare(conn, "update", "UPDATE bench_floor SET state = 'succeeded' WHERE id = $1");
	prepare(conn, "pay", PAY);
	for (int part = 0; part < PARTS; part++)
		times[part] = malloc(n * sizeof(double));
	for (int i = -WARM_UP; i < n; i++)
	{
		double		t[5];

		snprintf(key, sizeof(key), "%s-%d", prefix, i + WARM_UP);
		t[0] = now();
		run(conn, "insert", key, NULL, NULL);
		t[1] = now();
		run(conn, "update", key, NULL, NULL);
		t[2] = now();
		post(curl, &received);
		t[3] = now();
		run(conn, "pay", key, server, "succeeded");
		t[4] = now();
		if (i < 0)
			continue;
		times[INSERT][i] = t[1] - t[0];
		times[UPDATE][i] = t[2] - t[1];
		times[POST][i] = t[3] - t[2];
		times[FLOOR][i] = t[3] - t[0];
		times[PAYMENT][i] = t[4] - t[3];
		times[PAIR][i] = times[PAYMENT][i] / times[FLOOR][i];
	}
	for (int part = 0; part < PARTS; part++)
		report(part_names[part], times[part], n, part == PAIR ? "1" : "us");
	report_stages(conn, since);
	free(since);
	PQfinish(conn);
}

/* ----------
 * What is final already
 * ----------
 */

static void
replay(const char *server, const char *ref_id, int n)
{
	PGconn	   *conn = connect_db();
	double	   *paid = malloc(n * sizeof(double));
	double	   *selected = malloc(n * sizeof(double));

	prepare(conn, "pay", "SELECT * FROM digipay_pay('pln', '530000000001', $1, server => $2)");
	prepare(conn, "select", "SELECT * FROM digipay_payment WHERE ref_id = $1 AND server = $2");
	prepare(conn, "same", "SELECT p = q FROM digipay_payment p,"
			" digipay_pay('pln', '530000000001', $1, server => $2) q WHERE p.ref_id = $1 AND p.server = $2");
	run(conn, "same", ref_id, server, "t");
	for (int i = -WARM_UP; i < n; i++)
	{
		double		t[3];

		t[0] = now();
		run(conn, "select", ref_id, server, ref_id);
		t[1] = now();
		run(conn, "pay", ref_id, server, ref_id);
		t[2] = now();
		if (i < 0)
			continue;
		selected[i] = t[1] - t[0];
		paid[i] = t[2] - t[1];
	}
	report("select", selected, n, "us");
	report("pay", paid, n, "us");
	PQfinish(conn);
}

/* ----------
 * What grows
 * ----------
 */

/* A number from a line "Name: 123 kB" of a file. */
static long
line_of(const char *path, const char *name)
{
	FILE	   *file = fopen(path, "r");
	char		line[256];
	long		value = -1;

	if (file == NULL)
		die("%s cannot be read", path);
	while (fgets(line, sizeof(line), file) != NULL)
	{
		if (strncmp(line, name, strlen(name)) == 0)
			value = strtol(line + strlen(name), NULL, 10);
	}
	fclose(file);
	return value;
}

/* Dynamic shared memory segments that a process has mapped: kilobytes, count. */
static long
segments(int pid, int *count)
{
	char		path[64];
	char		line[512];
	FILE	   *file;
	long		sum = 0;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	file = fopen(path, "r");
	if (file == NULL)
		die("%s cannot be read", path);
	*count = 0;
	while (fgets(line, sizeof(line), file) != NULL)
	{
		unsigned long from,
					to;

		if (strstr(line, "/dev/shm/PostgreSQL.") != NULL &&
			sscanf(line, "%lx-%lx", &from, &to) == 2)
		{
			sum += (long) ((to - from) / 1024);
			(*count)++;
		}
	}
	fclose(file);
	return sum;
}

/* Open descriptors of a process. */
static int
descriptors(int pid)
{
	char		path[64];
	DIR		   *dir;
	int			count = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (dir == NULL)
		die("%s cannot be read", path);
	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count - 2;
}

/* Print what a process holds after so many calls. */
static void
measure(int calls, const char *who, int pid)
{
	char		path[64];
	int			count;
	long		shm = segments(pid, &count);

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	printf("\"%s, after %d calls\",RssAnon,%ld,kB\n", who, calls, line_of(path, "RssAnon:"));
	printf("\"%s, after %d calls\",VmRSS,%ld,kB\n", who, calls, line_of(path, "VmRSS:"));
	printf("\"%s, after %d calls\",descriptors,%d,1\n", who, calls, descriptors(pid));
	printf("\"%s, after %d calls\",threads,%ld,1\n", who, calls, line_of(path, "Threads:"));
	printf("\"%s, after %d calls\",segments,%ld,kB\n", who, calls, shm);
}

static int
worker_of(PGconn *conn)
{
	char	   *pid = ask(conn, "SELECT pid FROM pg_stat_activity"
						  " WHERE backend_type = 'digipay worker' AND datname = current_database()");
	int			value = atoi(pid);

	free(pid);
	return value;
}

/* The same for the server's own shared memory: what has a name, and what is ours. */
static void
measure_server(PGconn *conn, int calls)
{
	char	   *all = ask(conn, "SELECT round(sum(allocated_size) / 1024)"
						  " FROM pg_shmem_allocations WHERE name <> '<anonymous>'");
	char	   *ours = ask(conn, "SELECT sum(allocated_size)"
						   " FROM pg_shmem_allocations WHERE name LIKE 'digipay%'");

	printf("\"main shared memory, after %d calls\",all,%s,kB\n", calls, all);
	printf("\"main shared memory, after %d calls\",digipay,%s,bytes\n", calls, ours);
	free(all);
	free(ours);
}

static void
flat(const char *server, int n)
{
	PGconn	   *conn = connect_db();
	int			worker;

	prepare(conn, "pay", PAY);
	prepare(conn, "other_bill",
			"SELECT digipay_pay('pln', '530000000002', $1, server => $2)");
	prepare(conn, "max_price",
			"SELECT digipay_pay('pln', '530000000001', $1, server => $2, max_price => 1)");
	prepare(conn, "inquire",
			"SELECT digipay_inquire('pln', '530000000001', $1, server => $2)");
	run(conn, "inquire", "flat-inquired", server, NULL);
	worker = worker_of(conn);

	for (int i = 1; i <= n; i++)
	{
		char		key[64];

		snprintf(key, sizeof(key), "%sflat-%d", i % 8 == 5 ? "inq-close-" : "", i);
		if (i % 2 == 0)
			run(conn, "pay", key, server, "succeeded");
		else if (i % 8 == 1)	/* the inquiry was for another bill */
			run(conn, "other_bill", "flat-inquired", server, "PY002");
		else if (i % 8 == 3)	/* there is no inquiry */
			run(conn, "max_price", key, server, "PY006");
		else if (i % 8 == 5)	/* the connection closes, no answer */
			run(conn, "inquire", key, "raw", "PY005");
		else					/* nobody listens */
			run(conn, "pay", key, "down", "PY001");
		if (i == 100 || i == n / 10 || i == n / 2 || i == n)
		{
			measure(i, "worker", worker);
			measure(i, "session", PQbackendPID(conn));
			measure_server(conn, i);
			fflush(stdout);
		}
	}
	if (worker_of(conn) != worker)
		die("the worker is another one now");
	PQfinish(conn);
}

/* ----------
 * Many at once
 * ----------
 */

static void
many(const char *server, int n)
{
	PGconn	  **conn = malloc(n * sizeof(PGconn *));
	double		begun,
				ended;

	for (int i = 0; i < n; i++)
	{
		conn[i] = connect_db();
		prepare(conn[i], "pay", PAY);
		/* what a session does only once is not what this is about */
		run(conn[i], "pay", "many-first", server, "succeeded");
	}
	begun = now();
	for (int i = 0; i < n; i++)
	{
		char		key[64];
		const char *params[2] = {key, server};

		snprintf(key, sizeof(key), "many-%d-%ld", i, (long) time(NULL));
		if (!PQsendQueryPrepared(conn[i], "pay", 2, params, NULL, NULL, 0))
			die("%s", PQerrorMessage(conn[i]));
	}
	for (int i = 0; i < n; i++)
	{
		PGresult   *result = PQgetResult(conn[i]);

		if (PQresultStatus(result) != PGRES_TUPLES_OK ||
			strcmp(PQgetvalue(result, 0, 0), "succeeded") != 0)
			die("payment %d: %s", i, PQerrorMessage(conn[i]));
		PQclear(result);
	}
	ended = now();
	printf("all answered,%.1f,ms\n", (ended - begun) / 1000);
	for (int i = 0; i < n; i++)
		PQfinish(conn[i]);
	free(conn);
}

int
main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";

	if ((argc == 7 || argc == 8) && strcmp(mode, "one") == 0)
		one(argv[2], argv[3], argv[4], argv[5], atoi(argv[6]), argv[7]);
	else if (argc == 5 && strcmp(mode, "replay") == 0)
		replay(argv[2], argv[3], atoi(argv[4]));
	else if (argc == 4 && strcmp(mode, "flat") == 0)
		flat(argv[2], atoi(argv[3]));
	else if (argc == 4 && strcmp(mode, "many") == 0)
		many(argv[2], atoi(argv[3]));
	else
		die("usage: bench one URL SERVER PREFIX BODY N [CA] | replay SERVER REF_ID N"
			" | flat SERVER N | many SERVER N");
	return 0;
}
