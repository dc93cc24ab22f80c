/*
 * http.c
 *		The well-behaved listeners: http and https.  The only user of
 *		libmicrohttpd.
 *
 * Each listener is one thread over epoll.  A delayed answer suspends its
 * connection and leaves it to the timer to resume it, so that a thousand
 * requests in flight cost no thread.
 *
 * The thread is ours and not libmicrohttpd's, because that one goes to sleep
 * over requests that it has: it takes 128 events from epoll at once, and when
 * there are exactly 128 it waits for more before it looks at any.  Nobody sends
 * more who waits for those answers.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <microhttpd.h>

#include "bank.h"
#include "books.h"
#include "buffer.h"
#include "http.h"
#include "route.h"
#include "timer.h"

#define MOST_CONNECTIONS 30000
#define LISTEN_BACKLOG 4096

struct HttpListener
{
	struct MHD_Daemon *daemon;
	char	   *cert;			/* PEM */
	char	   *key;
	int			port;
	pthread_t	thread;
	bool		running;		/* the thread was started */
	int			epoll_fd;		/* libmicrohttpd's */
	int			wake_fd;		/* what other threads wake ours by */
	atomic_bool stopping;
};

/* A connection, as long as it is open */
typedef struct HttpConnection
{
	bool		counted;		/* brought a transaction */
} HttpConnection;

/* A request, from its first header to its last answer byte */
typedef struct HttpRequest
{
	struct MHD_Connection *connection;
	HttpListener *listener;
	Buffer		body;
	bool		answered;		/* answer is filled in */
	bool		queued;			/* and was given to libmicrohttpd */
	Answer		answer;
} HttpRequest;

/*
 * Count connections, and hang a mark on each.
 */
static void
notify_connection(void *cls, struct MHD_Connection *connection, void **context,
				  enum MHD_ConnectionNotificationCode code)
{
	(void) cls;
	(void) connection;
	if (code == MHD_CONNECTION_NOTIFY_STARTED)
	{
		books_accepted();
		*context = must_alloc(sizeof(HttpConnection));
	}
	else
	{
		free(*context);
		*context = NULL;
	}
}

/*
 * A request is over, one way or the other.
 */
static void
notify_completed(void *cls, struct MHD_Connection *connection, void **context,
				 enum MHD_RequestTerminationCode code)
{
	HttpRequest *request = *context;

	(void) cls;
	(void) connection;
	(void) code;
	if (request == NULL)
		return;
	if (request->answered && !request->queued && request->answer.transaction)
		books_abandoned();
	buffer_free(&request->body);
	answer_free(&request->answer);
	free(request);
	*context = NULL;
}

/*
 * The connection brought a transaction: count it the first time.
 */
static void
count_connection(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	HttpConnection *mark = info ? info->socket_context : NULL;

	if (mark && !mark->counted)
	{
		mark->counted = true;
		books_connection();
	}
}

/*
 * Fill the answer of a request in that arrived whole.
 */
static void
make_answer(HttpRequest *request, const char *method, const char *path)
{
	struct MHD_Connection *connection = request->connection;
	DialectNumber dialect;

	request->answered = true;
	if (route_is_transaction(method, path, &dialect))
	{
		BankRequest transaction;

		count_connection(connection);
		bank_read(dialect, request->body.data, &transaction);
		bank_answer(&transaction, false, &request->answer);
		bank_release(&transaction);
	}
	else
	{
		const char *summary = MHD_lookup_connection_value(connection,
														  MHD_GET_ARGUMENT_KIND, "summary");
		Route		route = {
			.method = method,
			.path = path,
			.body = request->body.data,
			.ref_id = MHD_lookup_connection_value(connection,
												  MHD_GET_ARGUMENT_KIND, "ref_id"),
			.summary = summary && strcmp(summary, "1") == 0,
		};

		route_answer(&route, &request->answer);
	}
}

/*
 * Add "Name: value\n" lines.  Cuts the lines up.
 */
static void
add_headers(struct MHD_Response *response, char *lines)
{
	char	   *rest = lines;
	char	   *line;

	while ((line = strsep(&rest, "\n")) != NULL)
	{
		char	   *colon = strstr(line, ": ");

		if (colon == NULL)
			continue;
		*colon = '\0';
		MHD_add_response_header(response, line, colon + 2);
	}
}

/*
 * Give the answer to libmicrohttpd, body included.
 */
static enum MHD_Result
queue_answer(HttpRequest *request)
{
	Answer	   *answer = &request->answer;
	struct MHD_Response *response;
	enum MHD_Result result;

	response = MHD_create_response_from_buffer(answer->length, answer->body, MHD_RESPMEM_MUST_FREE);
	if (response == NULL)
		return MHD_NO;
	answer->body = NULL;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
							answer->content_type ? answer->content_type : "application/json");
	if (answer->headers)
		add_headers(response, answer->headers);
	request->queued = true;
	if (answer->transaction)
		books_answered(answer->ref_id);
	result = MHD_queue_response(request->connection, (unsigned int) answer->http_status, response);
	MHD_destroy_response(response);
	return result;
}

/*
 * The delay is over.  The request may be gone as soon as it is resumed.
 *
 * libmicrohttpd would wake the thread too, but a wake-up that comes in the
 * middle of MHD_run is forgotten there, and the connection stays asleep until
 * the next one.  Ours makes another MHD_run begin after the resumption.
 */
static void
resume(void *argument)
{
	HttpRequest *request = argument;
	HttpListener *listener = request->listener;

	MHD_resume_connection(request->connection);
	eventfd_write(listener->wake_fd, 1);
}

/*
 * libmicrohttpd's handler: called once with the headers, then for each piece
 * of the body, then once without, and once more after a delay.
 */
static enum MHD_Result
handle(void *cls, struct MHD_Connection *connection, const char *path,
	   const char *method, const char *version, const char *upload,
	   size_t *upload_length, void **context)
{
	HttpRequest *request = *context;

	(void) version;
	if (request == NULL)
	{
		request = must_alloc(sizeof(HttpRequest));
		request->connection = connection;
		request->listener = cls;
		*context = request;
		return MHD_YES;
	}
	if (*upload_length > 0)
	{
		buffer_add(&request->body, upload, *upload_length);
		*upload_length = 0;
		return MHD_YES;
	}
	if (!request->answered)
	{
		make_answer(request, method, path);
		if (request->answer.delay != 0)
		{
			MHD_suspend_connection(connection);
			timer_add(request->answer.delay, resume, request);
			return MHD_YES;
		}
	}
	return queue_answer(request);
}

/*
 * The thread: wait for the sockets or for a wake-up, and let libmicrohttpd do
 * all that there is to do, which it does without waiting.  No connection has a
 * timeout, so MHD_get_timeout says only whether there is something left to do.
 */
static void *
serve(void *argument)
{
	HttpListener *listener = argument;

	while (!listener->stopping)
	{
		MHD_UNSIGNED_LONG_LONG timeout;

		if (MHD_get_timeout(listener->daemon, &timeout) == MHD_NO)
		{
			struct pollfd events[2] = {
				{.fd = listener->epoll_fd, .events = POLLIN},
				{.fd = listener->wake_fd, .events = POLLIN},
			};
			eventfd_t	ignored;

			if (poll(events, 2, -1) > 0 && events[1].revents)
				eventfd_read(listener->wake_fd, &ignored);
		}
		MHD_run(listener->daemon);
	}
	return NULL;
}

/*
 * Start the thread of a listener that has its daemon.
 */
static bool
start_thread(HttpListener *listener)
{
	const union MHD_DaemonInfo *info =
		MHD_get_daemon_info(listener->daemon, MHD_DAEMON_INFO_EPOLL_FD);

	listener->epoll_fd = info->epoll_fd;
	listener->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	listener->running = listener->wake_fd >= 0 &&
		pthread_create(&listener->thread, NULL, serve, listener) == 0;
	return listener->running;
}

/*
 * A whole file as a string, or NULL and a word on stderr.
 */
static char *
read_file(const char *path)
{
	FILE	   *file = fopen(path, "rb");
	Buffer		text = {0};
	char		chunk[4096];
	size_t		length;

	if (file == NULL)
	{
		perror(path);
		return NULL;
	}
	while ((length = fread(chunk, 1, sizeof(chunk), file)) > 0)
		buffer_add(&text, chunk, length);
	fclose(file);
	return text.data;
}

/*
 * Listen on a port of 127.0.0.1, 0 for one of the kernel's choice; with a
 * certificate, for TLS.  NULL and a word on stderr when that fails.
 */
HttpListener *
http_start(int port, const HttpCertificate *certificate)
{
	HttpListener *listener = must_alloc(sizeof(HttpListener));
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t) port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	unsigned int flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME;
	struct MHD_OptionItem tls[] = {
		{MHD_OPTION_END, 0, NULL},
		{MHD_OPTION_END, 0, NULL},
		{MHD_OPTION_END, 0, NULL},
	};
	const union MHD_DaemonInfo *info;

	listener->wake_fd = -1;
	if (certificate->cert_file)
	{
		listener->cert = read_file(certificate->cert_file);
		listener->key = read_file(certificate->key_file);
		if (listener->cert == NULL || listener->key == NULL)
		{
			http_stop(listener);
			return NULL;
		}
		flags |= MHD_USE_TLS;
		tls[0] = (struct MHD_OptionItem) {MHD_OPTION_HTTPS_MEM_CERT, 0, listener->cert};
		tls[1] = (struct MHD_OptionItem) {MHD_OPTION_HTTPS_MEM_KEY, 0, listener->key};
	}
	listener->daemon =
		MHD_start_daemon(flags, (uint16_t) port, NULL, NULL, handle, listener,
						 MHD_OPTION_SOCK_ADDR, (struct sockaddr *) &address,
						 MHD_OPTION_CONNECTION_LIMIT, (unsigned int) MOST_CONNECTIONS,
						 MHD_OPTION_LISTEN_BACKLOG_SIZE, (unsigned int) LISTEN_BACKLOG,
						 MHD_OPTION_NOTIFY_CONNECTION, notify_connection, NULL,
						 MHD_OPTION_NOTIFY_COMPLETED, notify_completed, NULL,
						 MHD_OPTION_ARRAY, tls,
						 MHD_OPTION_END);
	if (listener->daemon == NULL)
	{
		fprintf(stderr, "provider: cannot listen on port %d\n", port);
		http_stop(listener);
		return NULL;
	}
	info = MHD_get_daemon_info(listener->daemon, MHD_DAEMON_INFO_BIND_PORT);
	listener->port = info->port;
	if (!start_thread(listener))
	{
		fputs("provider: cannot start a thread\n", stderr);
		http_stop(listener);
		return NULL;
	}
	return listener;
}

/*
 * The port it listens on.
 */
int
http_port(const HttpListener *listener)
{
	return listener->port;
}

/*
 * Close it.  The timer was stopped before, so that nothing is suspended.
 */
void
http_stop(HttpListener *listener)
{
	if (listener == NULL)
		return;
	if (listener->running)
	{
		listener->stopping = true;
		eventfd_write(listener->wake_fd, 1);
		pthread_join(listener->thread, NULL);
	}
	if (listener->daemon)
		MHD_stop_daemon(listener->daemon);
	if (listener->wake_fd >= 0)
		close(listener->wake_fd);
	free(listener->cert);
	free(listener->key);
	free(listener);
}
