/*
 * world.c
 *		What the clients live in: the server, the doubles, and the means to
 *		look at them and to end them.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <nettle/hmac.h>

#include "sim.h"

#define HTTP_LIMIT		20		/* seconds */
#define SHA1_SIZE		20

Double		main_double;
Double		watching_double;
pid_t		postmaster;

static PGconn *monitor_conn;

/*
 * What a server that ends has to say is no news.
 */
static void
ignore_notice(void *unused, const char *message)
{
	(void) unused;
	(void) message;
}

/*
 * Seconds on a clock that nobody sets.
 */
double
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double) time.tv_sec + (double) time.tv_nsec / 1e9;
}

/*
 * Tell the person who watches.
 */
void
say(const char *format,...)
{
	va_list		arguments;

	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
}

/*
 * Give up: the simulation itself is broken.
 */
void
die(const char *format,...)
{
	va_list		arguments;

	fputs("sim: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "\nsim: the seed was %llu\n", (unsigned long long) options.seed);
	world_end();
	exit(2);
}

/*
 * printf into a string.
 */
char *
text(const char *format,...)
{
	char	   *result = NULL;
	va_list		arguments;

	va_start(arguments, format);
	if (vasprintf(&result, format, arguments) < 0)
		abort();
	va_end(arguments);
	return result;
}

/* ------------------------------------------------------------- processes */

/*
 * Has this process ended?  Our own are collected; others may be nobody's.
 */
bool
gone(pid_t pid)
{
	char		path[64];
	char		line[512];
	char	   *after;
	FILE	   *file;
	bool		zombie;

	if (kill(pid, 0) != 0 && errno == ESRCH)
		return true;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int) pid);
	file = fopen(path, "r");
	if (file == NULL)
		return true;
	after = fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
	zombie = after && (after[2] == 'Z' || after[2] == 'X');
	fclose(file);
	return zombie;
}

/*
 * The processes that this one has started.
 */
void
children_of(pid_t parent, pid_t *pids, int *count, int most)
{
	DIR		   *directory = opendir("/proc");
	struct dirent *entry;

	*count = 0;
	while (directory && (entry = readdir(directory)) != NULL)
	{
		char		path[300];
		char		line[512];
		char	   *after;
		FILE	   *file;
		int			its_parent;

		if (!isdigit((unsigned char) entry->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
		file = fopen(path, "r");
		if (file == NULL)
			continue;
		after = fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
		if (after && sscanf(after + 1, " %*c %d", &its_parent) == 1 &&
			its_parent == parent && *count < most)
			pids[(*count)++] = (pid_t) atoi(entry->d_name);
		fclose(file);
	}
	if (directory)
		closedir(directory);
}

/*
 * The child whose title has this in it, or 0.
 */
pid_t
child_called(pid_t parent, const char *name)
{
	pid_t		pids[256];
	int			count;
	int			i;

	children_of(parent, pids, &count, 256);
	for (i = 0; i < count; i++)
	{
		char		path[64];
		char		title[256] = "";
		FILE	   *file;

		snprintf(path, sizeof(path), "/proc/%d/cmdline", (int) pids[i]);
		file = fopen(path, "r");
		if (file == NULL)
			continue;
		title[fread(title, 1, sizeof(title) - 1, file)] = '\0';
		fclose(file);
		if (strstr(title, name))
			return pids[i];
	}
	return 0;
}

/*
 * Has the server's main process, a child of ours, ended?
 */
bool
server_gone(pid_t pid)
{
	return pid == 0 || waitpid(pid, NULL, WNOHANG) == pid || gone(pid);
}

/*
 * Start a server; its words go to the log.
 */
pid_t
server_start(const char *data, const char *socket_dir, const char *log)
{
	char	   *program = text("%s/postgres", options.bindir);
	pid_t		pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0)
	{
		int			out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
		int			in = open("/dev/null", O_RDONLY);
		int			fd;

		dup2(in, 0);
		dup2(out, 1);
		dup2(out, 2);
		for (fd = 3; fd < 256; fd++)
			close(fd);
		execl(program, program, "-D", data, "-k", socket_dir, (char *) NULL);
		_exit(127);
	}
	free(program);
	return pid;
}

/*
 * Run a shell command to its end; its exit status.
 */
int
run_program(const char *command)
{
	int			status;

	fflush(NULL);
	status = system(command);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* ------------------------------------------------------------ the doubles */

/*
 * Start a double; with witness it looks every payment up at that server, and is
 * the Malaysian one, whose amounts have decimals.
 */
void
double_start(Double *which, const char *witness)
{
	int			in[2];
	int			out[2];
	char		line[256] = "";
	ssize_t		length = 0;

	if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0)
		die("pipe: %s", strerror(errno));
	which->pid = fork();
	if (which->pid == 0)
	{
		const char *arguments[] = {
			options.provider, "--until-eof", "--api-key", api_key,
			"--username", witness ? "watched" : "sim",
			"--pending", "400", "--balance", "1000000000000",
			witness ? "--malaysian" : NULL, "--witness", witness, NULL
		};

		dup2(in[0], 0);
		dup2(out[1], 1);
		execv(options.provider, (char **) arguments);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	which->hold = in[1];
	while (length < (ssize_t) sizeof(line) - 1 && strchr(line, '\n') == NULL)
	{
		ssize_t		got = read(out[0], line + length, sizeof(line) - 1 - (size_t) length);

		if (got <= 0)
			break;
		length += got;
		line[length] = '\0';
	}
	close(out[0]);
	if (sscanf(line, "http=%d https=%*d raw=%d", &which->http_port, &which->raw_port) != 2)
		die("the double did not start: %s", line);
}

/*
 * One HTTP call to a double; the reply's body, or NULL.
 */
char *
double_call(const Double *which, const char *method, const char *path, const char *body)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t) which->http_port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	struct timeval limit = {HTTP_LIMIT, 0};
	int			fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char	   *request = text("%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
							   "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
							   method, path, body ? strlen(body) : 0, body ? body : "");
	char	   *reply = NULL;
	size_t		length = 0;
	size_t		room = 0;
	size_t		sent = 0;
	char	   *end;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *) &address, sizeof(address)) != 0)
		die("the double cannot be reached: %s", strerror(errno));
	while (sent < strlen(request))
	{
		ssize_t		got = send(fd, request + sent, strlen(request) - sent, MSG_NOSIGNAL);

		if (got <= 0)
			die("the double does not listen: %s", strerror(errno));
		sent += (size_t) got;
	}
	free(request);
	for (;;)
	{
		ssize_t		got;

		if (room - length < 65536)
			reply = realloc(reply, room = room * 2 + 131072);
		got = recv(fd, reply + length, room - length - 1, 0);
		if (got < 0)
			die("the double does not answer: %s", strerror(errno));
		if (got == 0)
			break;
		length += (size_t) got;
	}
	close(fd);
	reply[length] = '\0';
	end = strstr(reply, "\r\n\r\n");
	if (end == NULL || strncmp(reply, "HTTP/1.1 200", 12) != 0)
		die("%s %s: %.200s", method, path, reply);
	memmove(reply, end + 4, strlen(end + 4) + 1);
	return reply;
}

/*
 * How many requests a double has that it has not answered.
 */
int
double_in_flight(const Double *which)
{
	char	   *books = double_call(which, "GET", "/books?summary=1", NULL);
	const char *place = strstr(books, "\"in_flight\":");
	int			count = place ? atoi(place + strlen("\"in_flight\":")) : 0;

	free(books);
	return count;
}

/*
 * Dictate the answer to a payment.
 */
void
double_dictate(const Payment *payment, int http_status, const char *body, bool book)
{
	cJSON	   *order = cJSON_CreateObject();
	cJSON	   *script = cJSON_AddObjectToObject(order, "script");
	char	   *filled = dictated_body(payment, body);
	char	   *json;

	cJSON_AddStringToObject(script, "ref_id", payment->ref_id);
	cJSON_AddStringToObject(script, "command", "pay-pasca");
	cJSON_AddNumberToObject(script, "http_status", http_status);
	cJSON_AddStringToObject(script, "body", filled);
	cJSON_AddBoolToObject(script, "book", book);
	json = cJSON_PrintUnformatted(order);
	free(double_call(&main_double, "POST", "/control", json));
	free(json);
	free(filled);
	cJSON_Delete(order);
}

/*
 * The arguments of digipay_webhook for what the provider would say of a
 * payment by now: its outcome; late, that it is pending; or, forged, a success.
 * NULL when it has nothing to say.
 */
char *
double_webhook(const Payment *payment, bool late, bool forged)
{
	const Double *which = strcmp(payment->fate->server, "watched") == 0 ? &watching_double : &main_double;
	struct hmac_sha1_ctx context;
	uint8_t		digest[SHA1_SIZE];
	char		signature[2 * SHA1_SIZE + 1];
	char	   *path = text("/books?ref_id=%s", payment->ref_id);
	char	   *books = double_call(which, "GET", path, NULL);
	bool		arrived = strstr(books, "\"pay_requests\":") && !strstr(books, "\"pay_requests\":0");
	bool		booked = strstr(books, "\"booked\":") && !strstr(books, "\"booked\":0");
	const char *price = strstr(books, "\"price\":");
	double		paid = price ? atof(price + strlen("\"price\":")) : 0;
	bool		failed = arrived && !booked && strstr(payment->fate->states, "failed");
	char	   *body;
	char	   *arguments = NULL;
	int			i;

	free(path);
	free(books);
	if (!booked && !failed && !forged)
		return NULL;
	body = text("{\"data\":{\"ref_id\":\"%s\",\"customer_no\":\"%s\",\"%s\":\"%s\","
				"\"message\":\"call-back\",\"status\":\"%s\",\"rc\":\"%s\",\"sn\":\"W1\","
				"\"price\":%.2f}}",
				payment->ref_id, payment->customer_no,
				payment->digiflazz ? "buyer_sku_code" : "code", payment->code,
				forged ? "Sukses" : failed ? "Gagal" : late ? "Pending" : "Sukses",
				forged ? "00" : failed ? "02" : late ? "03" : "00", paid);
	hmac_sha1_set_key(&context, strlen(webhook_secret) - forged, (const uint8_t *) webhook_secret);
	hmac_sha1_update(&context, strlen(body), (const uint8_t *) body);
	hmac_sha1_digest(&context, sizeof(digest), digest);
	for (i = 0; i < SHA1_SIZE; i++)
		snprintf(signature + 2 * i, 3, "%02x", digest[i]);
	arguments = text("convert_to('%s', 'UTF8'), 'sha1=%s', server => '%s'", body, signature,
					 payment->server);
	free(body);
	return arguments;
}

/* ------------------------------------------------------------- the monitor */

/*
 * How to reach a server's database.  A session's own synchronous_commit is on,
 * whatever the database says.
 */
const char *
conninfo(const char *socket_dir, const char *database)
{
	static char info[512];

	snprintf(info, sizeof(info), "host=%s port=5432 user=postgres dbname=%s connect_timeout=10 "
			 "application_name=sim options='-c synchronous_commit=on -c client_min_messages=error'",
			 socket_dir, database);
	return info;
}

/*
 * A session of the simulator's own; NULL when the server cannot be reached.
 */
PGconn *
monitor(void)
{
	if (monitor_conn && PQstatus(monitor_conn) != CONNECTION_OK)
		monitor_close();
	if (monitor_conn == NULL)
	{
		monitor_conn = PQconnectdb(conninfo(options.socket_dir, "postgres"));
		if (PQstatus(monitor_conn) != CONNECTION_OK)
			monitor_close();
		else
			PQsetNoticeProcessor(monitor_conn, ignore_notice, NULL);
	}
	return monitor_conn;
}

/*
 * End that session.
 */
void
monitor_close(void)
{
	if (monitor_conn)
		PQfinish(monitor_conn);
	monitor_conn = NULL;
}

/*
 * The first value of a query, NULL when there is none or the server cannot be
 * reached.
 */
char *
monitor_value(const char *sql)
{
	PGconn	   *conn = monitor();
	PGresult   *result = conn ? PQexec(conn, sql) : NULL;
	char	   *value = NULL;

	if (result && PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) > 0 &&
		!PQgetisnull(result, 0, 0))
		value = strdup(PQgetvalue(result, 0, 0));
	PQclear(result);
	return value;
}

/*
 * A statement that must succeed.
 */
void
monitor_exec(const char *sql)
{
	double		until = now() + 30;

	for (;;)
	{
		PGconn	   *conn = monitor();
		PGresult   *result = conn ? PQexec(conn, sql) : NULL;
		ExecStatusType status = result ? PQresultStatus(result) : PGRES_FATAL_ERROR;

		if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
		{
			PQclear(result);
			return;
		}
		if ((conn && PQstatus(conn) == CONNECTION_OK) || now() > until)
			die("%s: %s", sql, conn ? PQerrorMessage(conn) : "no connection");
		PQclear(result);
		usleep(50000);
	}
}

/*
 * End what was started.
 */
void
world_end(void)
{
	monitor_close();
	if (main_double.pid)
		kill(main_double.pid, SIGCONT);
	if (main_double.pid)
		kill(main_double.pid, SIGKILL);
	if (watching_double.pid)
		kill(watching_double.pid, SIGKILL);
	if (postmaster && !server_gone(postmaster))
	{
		kill(postmaster, SIGQUIT);
		waitpid(postmaster, NULL, 0);
	}
}
