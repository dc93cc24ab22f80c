/*
 * main.c
 *		The provider's double: arguments, start, stop.
 *
 *	provider [--http-port N] [--https-port N --cert FILE --key FILE] ...
 *
 * Prints one line, "http=PORT https=PORT raw=PORT pid=PID", and runs until
 * SIGTERM, SIGINT or, with --until-eof, the end of its standard input.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "books.h"
#include "buffer.h"
#include "http.h"
#include "raw.h"
#include "sample.h"
#include "settings.h"
#include "timer.h"
#include "witness.h"

typedef struct Arguments
{
	int			http_port;
	int			https_port;
	int			raw_port;
	HttpCertificate certificate;
	bool		running_balance;
	long long	balance;
	const char *witness;
	const char *witness_table;
	char	   *responses;
	bool		until_eof;
} Arguments;

enum
{
	OPT_HTTP_PORT = 1, OPT_HTTPS_PORT, OPT_RAW_PORT, OPT_CERT, OPT_KEY,
	OPT_USERNAME, OPT_API_KEY, OPT_DELAY, OPT_BALANCE, OPT_PENDING,
	OPT_INSIST, OPT_ECHO, OPT_UNIQUE, OPT_MALAYSIAN, OPT_ERROR_OBJECTS,
	OPT_WITNESS, OPT_WITNESS_TABLE, OPT_RESPONSES, OPT_UNTIL_EOF, OPT_HELP
};

static const struct option options[] = {
	{"http-port", required_argument, NULL, OPT_HTTP_PORT},
	{"https-port", required_argument, NULL, OPT_HTTPS_PORT},
	{"raw-port", required_argument, NULL, OPT_RAW_PORT},
	{"cert", required_argument, NULL, OPT_CERT},
	{"key", required_argument, NULL, OPT_KEY},
	{"username", required_argument, NULL, OPT_USERNAME},
	{"api-key", required_argument, NULL, OPT_API_KEY},
	{"delay", required_argument, NULL, OPT_DELAY},
	{"balance", required_argument, NULL, OPT_BALANCE},
	{"pending", required_argument, NULL, OPT_PENDING},
	{"insist-on-inquiry", no_argument, NULL, OPT_INSIST},
	{"status-echoes-inquiry", no_argument, NULL, OPT_ECHO},
	{"unique-ref-id", no_argument, NULL, OPT_UNIQUE},
	{"malaysian", no_argument, NULL, OPT_MALAYSIAN},
	{"error-objects", no_argument, NULL, OPT_ERROR_OBJECTS},
	{"witness", required_argument, NULL, OPT_WITNESS},
	{"witness-table", required_argument, NULL, OPT_WITNESS_TABLE},
	{"responses", required_argument, NULL, OPT_RESPONSES},
	{"until-eof", no_argument, NULL, OPT_UNTIL_EOF},
	{"help", no_argument, NULL, OPT_HELP},
	{NULL, 0, NULL, 0}
};

/*
 * Say how it is called, and end.
 */
static void
usage(int exit_status)
{
	fputs("usage: provider [option]...\n"
		  "  --http-port N --https-port N --raw-port N   (0: the kernel picks)\n"
		  "  --cert FILE --key FILE                      PEM, for https\n"
		  "  --username U --api-key K                    (demo, demo-key)\n"
		  "  --delay MS                                  before each transaction's reply (0)\n"
		  "  --pending MS                                until a pending one resolves (1000)\n"
		  "  --balance N                                 keep a running balance\n"
		  "  --insist-on-inquiry                         no payment without today's inquiry\n"
		  "  --status-echoes-inquiry                     status of what was only inquired about\n"
		  "  --unique-ref-id                             rc 49 instead of a double booking\n"
		  "  --malaysian                                 Success, Failed, Processing; decimals\n"
		  "  --error-objects                             refusals are {rc, message}\n"
		  "  --witness CONNINFO --witness-table NAME     look each payment up in the journal\n"
		  "  --responses DIR                             the sample replies\n"
		  "  --until-eof                                 end with standard input\n",
		  exit_status == 0 ? stdout : stderr);
	exit(exit_status);
}

/*
 * A whole number not below zero, or the end.
 */
static long long
number(const char *text)
{
	char	   *end;
	long long	value;

	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno != 0 || *text == '\0' || *end != '\0' || value < 0)
	{
		fprintf(stderr, "provider: not a number: %s\n", text);
		usage(2);
	}
	return value;
}

/*
 * The directory "responses" beside the program.
 */
static char *
default_responses(void)
{
	char		path[4096];
	ssize_t		length = readlink("/proc/self/exe", path, sizeof(path) - 1);
	Buffer		directory = {0};
	char	   *slash;

	path[length > 0 ? length : 0] = '\0';
	slash = strrchr(path, '/');
	if (slash)
		*slash = '\0';
	buffer_printf(&directory, "%s/responses", slash ? path : ".");
	return directory.data;
}

/*
 * Take one option in.
 */
static void
take_option(int option, char *value, Arguments *arguments)
{
	switch (option)
	{
		case OPT_HTTP_PORT:
			arguments->http_port = (int) number(value);
			break;
		case OPT_HTTPS_PORT:
			arguments->https_port = (int) number(value);
			break;
		case OPT_RAW_PORT:
			arguments->raw_port = (int) number(value);
			break;
		case OPT_CERT:
			arguments->certificate.cert_file = value;
			break;
		case OPT_KEY:
			arguments->certificate.key_file = value;
			break;
		case OPT_USERNAME:
			settings.username = value;
			break;
		case OPT_API_KEY:
			settings.api_key = value;
			break;
		case OPT_DELAY:
			settings.delay = (int) number(value);
			break;
		case OPT_BALANCE:
			arguments->running_balance = true;
			arguments->balance = number(value) * 100;
			break;
		case OPT_PENDING:
			settings.pending = (int) number(value);
			break;
		case OPT_INSIST:
			settings.insist_on_inquiry = true;
			break;
		case OPT_ECHO:
			settings.status_echoes_inquiry = true;
			break;
		case OPT_UNIQUE:
			settings.unique_ref_id = true;
			break;
		case OPT_MALAYSIAN:
			settings.malaysian = true;
			break;
		case OPT_ERROR_OBJECTS:
			settings.error_objects = true;
			break;
		case OPT_WITNESS:
			arguments->witness = value;
			break;
		case OPT_WITNESS_TABLE:
			arguments->witness_table = value;
			break;
		case OPT_RESPONSES:
			free(arguments->responses);
			arguments->responses = must_copy(value);
			break;
		case OPT_UNTIL_EOF:
			arguments->until_eof = true;
			break;
		default:
			usage(option == OPT_HELP ? 0 : 2);
	}
}

/*
 * Read the command line, or end.
 */
static void
read_arguments(int argc, char **argv, Arguments *arguments)
{
	int			option;

	memset(arguments, 0, sizeof(*arguments));
	arguments->witness_table = "digipay_payment";
	arguments->responses = default_responses();
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		take_option(option, optarg, arguments);
	if (optind < argc ||
		(arguments->certificate.cert_file == NULL) != (arguments->certificate.key_file == NULL))
		usage(2);
}

/*
 * A load test opens thousands of connections.
 */
static void
raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
	{
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/*
 * Wait for a signal, or for the end of standard input.
 */
static void
wait_for_end(const sigset_t *signals, bool until_eof)
{
	struct pollfd events[2] = {
		{.fd = signalfd(-1, signals, SFD_CLOEXEC), .events = POLLIN},
		{.fd = until_eof ? STDIN_FILENO : -1, .events = POLLIN},
	};
	char		ignored[1024];

	for (;;)
	{
		if (poll(events, 2, -1) < 0)
			continue;
		if (events[0].revents)
			break;
		if (events[1].revents && read(STDIN_FILENO, ignored, sizeof(ignored)) <= 0)
			break;
	}
	close(events[0].fd);
}

int
main(int argc, char **argv)
{
	Arguments	arguments;
	const HttpCertificate plain = {NULL, NULL};
	HttpListener *http;
	HttpListener *https = NULL;
	sigset_t	signals;

	read_arguments(argc, argv, &arguments);
	raise_descriptor_limit();
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);

	if (!sample_load(arguments.responses))
		return 1;
	books_start(arguments.running_balance, arguments.balance);
	if (arguments.witness && !witness_start(arguments.witness, arguments.witness_table))
	{
		fprintf(stderr, "provider: not a table: %s\n", arguments.witness_table);
		return 1;
	}
	if (!timer_start() || !raw_start(arguments.raw_port))
		return 1;
	http = http_start(arguments.http_port, &plain);
	if (http == NULL)
		return 1;
	if (arguments.certificate.cert_file)
	{
		https = http_start(arguments.https_port, &arguments.certificate);
		if (https == NULL)
			return 1;
	}
	printf("http=%d https=%d raw=%d pid=%d\n", http_port(http),
		   https ? http_port(https) : 0, raw_port(), (int) getpid());
	fflush(stdout);

	wait_for_end(&signals, arguments.until_eof);

	timer_stop();
	raw_stop();
	http_stop(http);
	http_stop(https);
	witness_stop();
	free(arguments.responses);
	return 0;
}
