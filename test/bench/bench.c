/*
 * bench.c
 *	  What one session and many pay, beside what the same work costs bare.
 *
 *	bench one URL BODY N RUNS	one call at a time, interleaved with the bare
 *								work: two flushed one-row commits, one POST
 *	bench flat N				N calls, half of them errors: what grows?
 *	bench many N				N sessions that pay at the same moment
 *
 * The database is libpq's default.  run.sh sets the scene: servers digipay,
 * down (refuses connections) and raw (closes them), and the table bench_floor.
 */
#include <curl/curl.h>
#include <dirent.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WARM_UP		200
#define PAY			"SELECT state FROM digipay_pay('pln', '530000000001', $1, server => $2)"

static void
die(const char *format,...)
{
	va_list		args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

/* Microseconds of a clock that only goes forward. */
static double
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e6 + ts.tv_nsec / 1e3;
}

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

static void
one(const char *url, const char *body, int n, int runs)
{
	PGconn	   *conn = connect_db();
	CURL	   *curl;
	struct curl_slist *headers;
	size_t		received;
	double	   *times[PARTS];
	char		key[64];
	char		sql[1024];

	curl_global_init(CURL_GLOBAL_DEFAULT);
	curl = curl_easy_init();
	headers = curl_slist_append(NULL, "Content-Type: application/json");
	headers = curl_slist_append(headers, "Expect:");
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, swallow);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &received);

	prepare(conn, "insert", "INSERT INTO bench_floor (id, state) VALUES ($1, 'sending')");
	prepare(conn, "update", "UPDATE bench_floor SET state = 'succeeded' WHERE id = $1");
	prepare(conn, "pay", PAY);
	for (int part = 0; part < PARTS; part++)
		times[part] = malloc(n * sizeof(double));

	printf("POST: %zu bytes out", strlen(body));
	post(curl, &received);
	printf(", %zu bytes back\n", received);
	printf("%-4s %8s %8s %8s | %15s | %15s | %s\n", "run", "insert", "update", "POST",
		   "floor p50   p99", "pay p50     p99", "ratio of p50 (p50 of ratios)");
	for (int r = 0; r < runs; r++)
	{
		char	   *since = ask(conn, "SELECT clock_timestamp()");
		char	   *stages;

		for (int i = -WARM_UP; i < n; i++)
		{
			double		t[5];

			snprintf(key, sizeof(key), "bench-%d-%d", r, i + WARM_UP);
			t[0] = now();
			run(conn, "insert", key, NULL, NULL);
			t[1] = now();
			run(conn, "update", key, NULL, NULL);
			t[2] = now();
			post(curl, &received);
			t[3] = now();
			run(conn, "pay", key, "digipay", "succeeded");
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
			qsort(times[part], n, sizeof(double), compare);
		printf("%-4d %8.0f %8.0f %8.0f | %9.0f %5.0f | %9.0f %5.0f | %.2f (%.2f)\n", r + 1,
			   quantile(times[INSERT], n, 0.5), quantile(times[UPDATE], n, 0.5),
			   quantile(times[POST], n, 0.5),
			   quantile(times[FLOOR], n, 0.5), quantile(times[FLOOR], n, 0.99),
			   quantile(times[PAYMENT], n, 0.5), quantile(times[PAYMENT], n, 0.99),
			   quantile(times[PAYMENT], n, 0.5) / quantile(times[FLOOR], n, 0.5),
			   quantile(times[PAIR], n, 0.5));

		/* the journal's own clock divides a payment into three */
		snprintf(sql, sizeof(sql),
				 "SELECT pg_catalog.format('     of it: intent and its commit %%s, sent until outcome is written %%s',"
				 " round(1e6 * percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM sent_at - requested_at))::numeric),"
				 " round(1e6 * percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM replied_at - sent_at))::numeric))"
				 " FROM digipay_payment WHERE requested_at > '%s'", since);
		stages = ask(conn, sql);
		printf("%s\n", stages);
		free(stages);
		free(since);
		fflush(stdout);
	}
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

static void
measure(int calls, const char *who, int pid)
{
	char		path[64];
	int			count;
	long		shm = segments(pid, &count);

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	printf("%7d  %-8s %9ld %9ld %12d %8ld %9ld in %d\n", calls, who,
		   line_of(path, "RssAnon:"), line_of(path, "VmRSS:"),
		   descriptors(pid), line_of(path, "Threads:"), shm, count);
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

/* The server's own shared memory: what has a name, and what is ours. */
static void
measure_server(PGconn *conn)
{
	char	   *text = ask(conn, "SELECT format('%s allocations of %s kB in all, %s of them digipay''s with %s bytes',"
						   " count(*), round(sum(allocated_size) / 1024), count(*) FILTER (WHERE name LIKE 'digipay%'),"
						   " sum(allocated_size) FILTER (WHERE name LIKE 'digipay%'))"
						   " FROM pg_shmem_allocations WHERE name <> '<anonymous>'");

	printf("         main shared memory: %s\n", text);
	free(text);
}

static void
flat(int n)
{
	PGconn	   *conn = connect_db();
	int			worker;
	int			good = 0,
				bad = 0;

	prepare(conn, "pay", PAY);
	prepare(conn, "other_bill",
			"SELECT digipay_pay('pln', '530000000002', $1)");
	prepare(conn, "max_price",
			"SELECT digipay_pay('pln', '530000000001', $1, max_price => 1)");
	prepare(conn, "inquire",
			"SELECT digipay_inquire('pln', '530000000001', $1, server => $2)");
	run(conn, "inquire", "flat-inquired", "digipay", NULL);
	worker = worker_of(conn);

	printf("%7s  %-8s %9s %9s %12s %8s %9s\n", "calls", "process", "RssAnon", "VmRSS",
		   "descriptors", "threads", "segments (kB)");
	for (int i = 1; i <= n; i++)
	{
		char		key[64];

		snprintf(key, sizeof(key), "%sflat-%d", i % 8 == 5 ? "inq-close-" : "", i);
		if (i % 2 == 0)
			run(conn, "pay", key, "digipay", "succeeded");
		else if (i % 8 == 1)	/* the inquiry was for another bill */
			run(conn, "other_bill", "flat-inquired", NULL, "PY002");
		else if (i % 8 == 3)	/* there is no inquiry */
			run(conn, "max_price", key, NULL, "PY006");
		else if (i % 8 == 5)	/* the connection closes, no answer */
			run(conn, "inquire", key, "raw", "PY005");
		else					/* nobody listens */
			run(conn, "pay", key, "down", "PY001");
		if (i % 2 == 0)
			good++;
		else
			bad++;
		if (i == 100 || i == n / 10 || i == n / 2 || i == n)
		{
			measure(i, "worker", worker);
			measure(i, "session", PQbackendPID(conn));
			measure_server(conn);
			fflush(stdout);
		}
	}
	if (worker_of(conn) != worker)
		die("the worker is another one now");
	printf("%d payments made, %d errors (a quarter each PY002, PY006, PY005, PY001)\n", good, bad);
	PQfinish(conn);
}

/* ----------
 * Many at once
 * ----------
 */

static void
many(int n)
{
	PGconn	  **conn = malloc(n * sizeof(PGconn *));
	double		begun,
				ended;

	for (int i = 0; i < n; i++)
	{
		conn[i] = connect_db();
		prepare(conn[i], "pay", PAY);
		/* what a session does only once is not what this is about */
		run(conn[i], "pay", "many-first", "digipay", "succeeded");
	}
	begun = now();
	for (int i = 0; i < n; i++)
	{
		char		key[64];
		const char *params[2] = {key, "slow"};

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
	printf("%d payments at once: all answered after %.0f ms\n", n, (ended - begun) / 1000);
	for (int i = 0; i < n; i++)
		PQfinish(conn[i]);
	free(conn);
}

int
main(int argc, char **argv)
{
	if (argc == 6 && strcmp(argv[1], "one") == 0)
		one(argv[2], argv[3], atoi(argv[4]), atoi(argv[5]));
	else if (argc == 3 && strcmp(argv[1], "flat") == 0)
		flat(atoi(argv[2]));
	else if (argc == 3 && strcmp(argv[1], "many") == 0)
		many(atoi(argv[2]));
	else
		die("usage: bench one URL BODY N RUNS | flat N | many N");
	return 0;
}
