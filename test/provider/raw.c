/*
 * raw.c
 *		The listener that misbehaves: plain sockets, HTTP by hand.
 *
 * One thread over epoll.  A connection reads one request, has it answered by
 * the same bank that answers http, and does the steps of the answer; then it
 * reads the next.  Only what a client under test sends is understood: a
 * request line, headers, a body with Content-Length.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bank.h"
#include "books.h"
#include "fault.h"
#include "raw.h"
#include "route.h"
#include "wire.h"

#define LISTEN_BACKLOG 4096
#define MOST_EVENTS 256
#define MOST_HEADERS 65536		/* bytes; a longer head ends the connection */
#define MOST_BODY (16 * 1024 * 1024)
#define FIN_PATIENCE 5000		/* ms for the peer to close after our FIN */

typedef enum StepKind
{
	STEP_SEND,
	STEP_WAIT,
	STEP_AWAIT,
	STEP_ANSWERED,				/* the books take it as answered */
	STEP_RESET,
	STEP_FIN,
	STEP_HOLD
} StepKind;

typedef struct Step
{
	struct Step *next;
	StepKind	kind;
	int			milliseconds;	/* to wait */
	long long	times;			/* to send the bytes */
	size_t		length;
	char		bytes[];
} Step;

struct RawConnection
{
	RawConnection *next;
	RawConnection *previous;
	int			fd;
	Buffer		in;
	Step	   *first;			/* steps to do */
	Step	   *last;
	size_t		sent;			/* of the first step's bytes */
	double		wake_at;		/* steady clock; 0 when not waiting */
	int			requests;
	bool		counted;		/* brought a transaction */
	bool		in_flight;		/* the books think so */
	char	   *ref_id;			/* of what is in flight */
	bool		busy;			/* steps are being done */
	bool		holding;		/* nothing more will be said */
	bool		last_request;	/* the client asked us to close */
	bool		blocked;		/* the socket takes no more bytes */
	bool		dead;			/* to be freed */
};

static pthread_t raw_thread;
static int	listen_fd = -1;
static int	epoll_fd = -1;
static int	stop_fd = -1;
static int	listen_port;
static RawConnection *connections;

/*
 * Add a step to the end.
 */
static Step *
add_step(RawConnection *connection, StepKind kind, size_t length)
{
	Step	   *step = must_alloc(sizeof(Step) + length);

	step->kind = kind;
	step->length = length;
	step->times = 1;
	if (connection->last)
		connection->last->next = step;
	else
		connection->first = step;
	connection->last = step;
	return step;
}

/*
 * Send bytes.
 */
void
raw_send(RawConnection *connection, const void *bytes, size_t length)
{
	raw_repeat(connection, bytes, length, 1);
}

/*
 * Send the same bytes many times.
 */
void
raw_repeat(RawConnection *connection, const void *bytes, size_t length, long long times)
{
	Step	   *step;

	if (length == 0 || times <= 0)
		return;
	step = add_step(connection, STEP_SEND, length);
	memcpy(step->bytes, bytes, length);
	step->times = times;
}

/*
 * Wait, until then or until the peer goes.
 */
void
raw_wait(RawConnection *connection, int milliseconds)
{
	add_step(connection, STEP_WAIT, 0)->milliseconds = milliseconds;
}

/*
 * Wait until the peer has sent something.
 */
void
raw_await(RawConnection *connection)
{
	add_step(connection, STEP_AWAIT, 0);
}

/*
 * Reset the connection.
 */
void
raw_reset(RawConnection *connection)
{
	add_step(connection, STEP_RESET, 0);
}

/*
 * Close our side, in order.
 */
void
raw_close(RawConnection *connection)
{
	add_step(connection, STEP_FIN, 0);
}

/*
 * Say nothing more until the peer goes.
 */
void
raw_hold(RawConnection *connection)
{
	add_step(connection, STEP_HOLD, 0);
}

/*
 * From here on the request counts as answered.
 */
void
raw_answered(RawConnection *connection)
{
	add_step(connection, STEP_ANSWERED, 0);
}

/*
 * The head of an answer that promises length bytes.
 */
void
raw_head(const Answer *answer, size_t length, Buffer *head)
{
	const char *line = answer->headers;

	buffer_printf(head, "HTTP/1.1 %d %s\r\n", answer->http_status,
				  answer->http_status == 200 ? "OK" : "Answer");
	buffer_printf(head, "Content-Type: %s\r\n",
				  answer->content_type ? answer->content_type : "application/json");
	buffer_printf(head, "Content-Length: %zu\r\n", length);
	while (line && *line)
	{
		size_t		line_length = strcspn(line, "\n");

		buffer_add(head, line, line_length);
		buffer_add_text(head, "\r\n");
		line += line_length + (line[line_length] == '\n');
	}
	buffer_add_text(head, "\r\n");
}

/*
 * The usual answer.
 */
void
raw_send_answer(RawConnection *connection, const Answer *answer)
{
	Buffer		all = {0};

	raw_head(answer, answer->length, &all);
	buffer_add(&all, answer->body, answer->length);
	if (answer->delay > 0)
		raw_wait(connection, answer->delay);
	raw_answered(connection);
	raw_send(connection, all.data, all.length);
	buffer_free(&all);
}

/*
 * Forget the steps that are left.
 */
static void
drop_steps(RawConnection *connection)
{
	while (connection->first)
	{
		Step	   *step = connection->first;

		connection->first = step->next;
		free(step);
	}
	connection->last = NULL;
	connection->sent = 0;
}

/*
 * What is in flight is over, with an answer or without.
 */
static void
settle(RawConnection *connection, bool answered)
{
	if (!connection->in_flight)
		return;
	connection->in_flight = false;
	if (answered)
		books_answered(connection->ref_id);
	else
		books_abandoned();
}

/*
 * Close the socket; the connection is freed at the end of the round.
 */
static void
end_connection(RawConnection *connection, bool reset)
{
	struct linger linger = {1, 0};

	if (connection->dead)
		return;
	connection->dead = true;
	settle(connection, false);
	drop_steps(connection);
	if (reset)
		setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(connection->fd);
}

/*
 * Ask epoll for what the connection now waits for.
 */
static void
set_blocked(RawConnection *connection, bool blocked)
{
	struct epoll_event event = {
		.events = EPOLLIN | (blocked ? EPOLLOUT : 0),
		.data.ptr = connection,
	};

	if (connection->blocked == blocked)
		return;
	connection->blocked = blocked;
	epoll_ctl(epoll_fd, EPOLL_CTL_MOD, connection->fd, &event);
}

/*
 * Send what the first step has; true once all of it is gone.
 */
static bool
send_step(RawConnection *connection, Step *step)
{
	while (step->times > 0)
	{
		ssize_t		sent = send(connection->fd, step->bytes + connection->sent,
								step->length - connection->sent, MSG_NOSIGNAL);

		if (sent < 0)
		{
			if (errno == EAGAIN || errno == EWOULDBLOCK)
				set_blocked(connection, true);
			else
				end_connection(connection, false);
			return false;
		}
		connection->sent += (size_t) sent;
		if (connection->sent == step->length)
		{
			connection->sent = 0;
			step->times--;
		}
	}
	set_blocked(connection, false);
	return true;
}

/*
 * Start waiting, or see whether the wait is over.
 */
static bool
wait_step(RawConnection *connection, Step *step)
{
	double		now = now_steady();

	if (connection->wake_at == 0)
		connection->wake_at = now + step->milliseconds / 1e3;
	if (now < connection->wake_at)
		return false;
	connection->wake_at = 0;
	return true;
}

/*
 * Do one step; true when the next may follow.
 */
static bool
do_step(RawConnection *connection, Step *step)
{
	switch (step->kind)
	{
		case STEP_SEND:
			return send_step(connection, step);
		case STEP_WAIT:
			return wait_step(connection, step);
		case STEP_AWAIT:
			return connection->in.length > 0;
		case STEP_ANSWERED:
			settle(connection, true);
			return true;
		case STEP_RESET:
			end_connection(connection, true);
			return false;
		case STEP_FIN:
			settle(connection, false);
			shutdown(connection->fd, SHUT_WR);
			connection->holding = true;
			connection->wake_at = now_steady() + FIN_PATIENCE / 1e3;
			return false;
		case STEP_HOLD:
			connection->holding = true;
			return false;
	}
	return true;
}

/*
 * Do steps as far as they go.
 */
static void
do_steps(RawConnection *connection)
{
	while (connection->first && !connection->holding)
	{
		Step	   *step = connection->first;

		if (!do_step(connection, step))
			return;
		connection->first = step->next;
		if (connection->first == NULL)
			connection->last = NULL;
		free(step);
	}
	if (connection->first == NULL && connection->busy)
	{
		settle(connection, false);
		connection->busy = false;
		if (connection->last_request)
		{
			connection->busy = true;
			raw_close(connection);
			do_steps(connection);
		}
	}
}

/*
 * Answer what is no transaction.
 */
static void
answer_route(const WireRequest *request, Answer *answer)
{
	Route		route = {
		.method = request->method,
		.path = request->path,
		.body = request->body,
	};

	wire_query(request->query, &route.ref_id, &route.summary);
	route_answer(&route, answer);
}

/*
 * Answer a request that arrived whole: lay out the usual steps, or a fault's.
 */
static void
answer_request(RawConnection *connection, const WireRequest *request)
{
	const Fault *fault = NULL;
	Answer		answer = {0};
	DialectNumber dialect;

	connection->requests++;
	connection->last_request = request->last;
	if (route_is_transaction(request->method, request->path, &dialect))
	{
		BankRequest transaction;
		bool		withhold;

		if (!connection->counted)
			books_connection();
		connection->counted = true;
		bank_read(dialect, request->body, &transaction);
		fault = fault_find(transaction.command, transaction.ref_id,
						   connection->requests, &withhold);
		bank_answer(&transaction, withhold, &answer);
		bank_release(&transaction);
		connection->in_flight = true;
		free(connection->ref_id);
		connection->ref_id = must_copy(answer.ref_id);
	}
	else
		answer_route(request, &answer);
	connection->busy = true;
	if (fault)
		fault->call(connection, &answer);
	else
		raw_send_answer(connection, &answer);
	answer_free(&answer);
}

/*
 * Answer the next request if the buffer holds all of it; true when it did.
 */
static bool
next_request(RawConnection *connection)
{
	char	   *end = connection->in.data ? strstr(connection->in.data, "\r\n\r\n") : NULL;
	WireRequest	request = {0};
	FaultCall	early = NULL;
	size_t		head_length;
	char	   *head;
	bool		whole = false;

	if (end == NULL)
	{
		if (connection->in.length > MOST_HEADERS)
			end_connection(connection, true);
		return false;
	}
	head_length = (size_t) (end - connection->in.data) + 4;
	head = must_alloc(head_length + 1);
	memcpy(head, connection->in.data, head_length);
	if (!wire_parse(head, &request) || request.length > MOST_BODY)
		end_connection(connection, true);
	else if ((early = fault_at_headers(request.path)) != NULL)
	{
		connection->busy = true;
		early(connection, NULL);
		whole = true;
	}
	else if (connection->in.length >= head_length + request.length)
	{
		request.body = must_alloc(request.length + 1);
		memcpy(request.body, connection->in.data + head_length, request.length);
		buffer_remove_front(&connection->in, head_length + request.length);
		answer_request(connection, &request);
		free(request.body);
		whole = true;
	}
	free(head);
	return whole;
}

/*
 * Take what the peer sent, and go on as far as possible.
 */
static void
go_on(RawConnection *connection)
{
	do_steps(connection);
	while (!connection->dead && !connection->busy && next_request(connection))
		do_steps(connection);
}

/*
 * Read until the socket is empty; the peer's end is the connection's end.
 */
static void
read_connection(RawConnection *connection)
{
	char		chunk[16384];

	for (;;)
	{
		ssize_t		length = recv(connection->fd, chunk, sizeof(chunk), 0);

		if (length < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (length < 0 && errno == EINTR)
			continue;
		if (length <= 0)
		{
			end_connection(connection, false);
			return;
		}
		if (connection->holding)
			continue;
		buffer_add(&connection->in, chunk, (size_t) length);
		if (connection->in.length > MOST_BODY + MOST_HEADERS)
		{
			end_connection(connection, true);
			return;
		}
	}
}

/*
 * Take a new connection in.
 */
static void
accept_connections(void)
{
	int			fd;

	while ((fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
	{
		RawConnection *connection = must_alloc(sizeof(RawConnection));
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
		FaultCall	fault = fault_on_accept();
		int			on = 1;

		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		connection->fd = fd;
		connection->next = connections;
		if (connections)
			connections->previous = connection;
		connections = connection;
		epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
		books_accepted();
		if (fault)
		{
			connection->busy = true;
			fault(connection, NULL);
			do_steps(connection);
		}
	}
}

/*
 * Free the connections that ended, wake those whose time has come, and say
 * how many milliseconds the next one has still to wait, -1 when none does.
 */
static int
look_after_connections(void)
{
	RawConnection *connection = connections;
	double		now = now_steady();
	double		next = 0;

	while (connection)
	{
		RawConnection *following = connection->next;

		if (!connection->dead && connection->wake_at > 0 && connection->wake_at <= now)
		{
			if (connection->holding)
				end_connection(connection, false);
			else
				go_on(connection);
		}
		if (connection->dead)
		{
			if (connection->next)
				connection->next->previous = connection->previous;
			if (connection->previous)
				connection->previous->next = connection->next;
			else
				connections = connection->next;
			buffer_free(&connection->in);
			free(connection->ref_id);
			free(connection);
		}
		else if (connection->wake_at > 0 && (next == 0 || connection->wake_at < next))
			next = connection->wake_at;
		connection = following;
	}
	if (next == 0)
		return -1;
	return next <= now ? 0 : (int) ((next - now) * 1e3) + 1;
}

/*
 * The thread.
 */
static void *
raw_run(void *unused)
{
	struct epoll_event events[MOST_EVENTS];
	bool		stopping = false;

	(void) unused;
	while (!stopping)
	{
		int			patience = look_after_connections();
		int			count = epoll_wait(epoll_fd, events, MOST_EVENTS, patience);
		int			i;

		for (i = 0; i < count; i++)
		{
			RawConnection *connection = events[i].data.ptr;

			if (events[i].data.ptr == &listen_fd)
				accept_connections();
			else if (events[i].data.ptr == &stop_fd)
				stopping = true;
			else if (!connection->dead)
			{
				if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
					read_connection(connection);
				if (!connection->dead)
					go_on(connection);
			}
		}
	}
	while (connections)
	{
		end_connection(connections, false);
		look_after_connections();
	}
	return NULL;
}

/*
 * Listen on a port of 127.0.0.1, 0 for one of the kernel's choice; false and
 * a word on stderr when that fails.
 */
bool
raw_start(int port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t) port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t	size = sizeof(address);
	struct epoll_event event = {.events = EPOLLIN};
	int			on = 1;

	listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	stop_fd = eventfd(0, EFD_CLOEXEC);
	setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listen_fd, (struct sockaddr *) &address, sizeof(address)) != 0 ||
		listen(listen_fd, LISTEN_BACKLOG) != 0 ||
		getsockname(listen_fd, (struct sockaddr *) &address, &size) != 0)
	{
		perror("provider: raw port");
		return false;
	}
	listen_port = ntohs(address.sin_port);
	event.data.ptr = &listen_fd;
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &event);
	event.data.ptr = &stop_fd;
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, stop_fd, &event);
	return pthread_create(&raw_thread, NULL, raw_run, NULL) == 0;
}

/*
 * The port it listens on.
 */
int
raw_port(void)
{
	return listen_port;
}

/*
 * Close all connections and end the thread.
 */
void
raw_stop(void)
{
	uint64_t	one = 1;

	if (write(stop_fd, &one, sizeof(one)) == (ssize_t) sizeof(one))
		pthread_join(raw_thread, NULL);
	close(listen_fd);
	close(epoll_fd);
	close(stop_fd);
}
