/*-------------------------------------------------------------------------
 *
 * transport.c
 *	  Requests over HTTP, many at once.
 *
 * What one request is for libcurl is in transport_transfer.c; here is what
 * carries many of them on: starting, waiting, ending.
 *
 * libcurl's sockets are in one epoll descriptor, so that the worker can wait
 * for all of them, its latch and the postmaster's death in one place.  All
 * signals are blocked while libcurl may start its resolver's thread, which
 * would otherwise run PostgreSQL's signal handlers.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "compat.h"
#include "lib/ilist.h"
#include "storage/fd.h"

#include "fault.h"
#include "transport_transfer.h"
#include "transport.h"

/* So much memory that libcurl has freed stays with the process, in bytes. */
#define KEPT_MEMORY			(4 * 1024 * 1024)

/* So many sockets that are ready are looked at in one go; they share a turn. */
#define MOST_EVENTS			512

/*
 * So many files are open beside libcurl's sockets and those that PostgreSQL counts:
 * what it was started with, our epoll descriptors, the resolver's.
 */
#define OTHER_FILES			64

/*
 * libcurl keeps the time-outs.  But when it has run out of memory it may lose a
 * transfer, and never tell; so each is ended so many milliseconds after its
 * time is over.
 */
#define LOST_AFTER_MS		1000

static CURLM *multi = NULL;
static int	epoll_fd = -1;
static int64 timer_due = 0;		/* when libcurl wants a turn */
static bool timer_set = false;
static dlist_head running_transfers = DLIST_STATIC_INIT(running_transfers);
static int64 lost_look = PG_INT64_MAX;	/* none of them is lost before this */
static DpTransfer *idle_transfers = NULL;
static DpTransfer *done_transfers = NULL;
static DpTransfer **done_tail = &done_transfers;
static int64 fresh_until = 0;	/* before this no kept connection is used */

/* ----------
 * Callbacks
 * ----------
 */

/*
 * Let the system keep back what is written to a socket, or send it on.  libcurl
 * writes a request's headers and its body one by one: what is kept back goes as
 * one packet, of which the peer is told once.
 */
static void
keep_back(curl_socket_t fd, int on)
{
#ifdef TCP_CORK
	(void) setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
#endif
}

/*
 * libcurl says which sockets it waits for.  On a kept connection that is after it
 * has written a request; between two requests it waits for none, which is the time
 * to keep back what comes next.
 */
static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
	struct epoll_event event = {0};

	if (what == CURL_POLL_REMOVE)
	{
		/* the socket may be closed already, which removed it */
		(void) epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, &event);
		keep_back(fd, 1);
		return 0;
	}
	keep_back(fd, 0);
	event.events = ((what & CURL_POLL_IN) ? EPOLLIN : 0) |
		((what & CURL_POLL_OUT) ? EPOLLOUT : 0);
	event.data.fd = fd;
	if (known != NULL && epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0)
		return 0;
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0 &&
		epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event) != 0)
		return -1;
	/* any mark does: libcurl hands it back until it removes the socket */
	curl_multi_assign(multi, fd, &epoll_fd);
	return 0;
}

/* Microseconds by a clock that nobody sets. */
static int64
monotonic_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64CONST(1000000) + now.tv_nsec / 1000;
}

/* libcurl says when it wants a turn, in milliseconds; -1: not at all. */
static int
on_timer(CURLM *m, long timeout_ms, void *arg)
{
	timer_set = timeout_ms >= 0;
	if (timer_set)
		timer_due = monotonic_us() + timeout_ms * INT64CONST(1000);
	return 0;
}

/* ----------
 * Set-up
 * ----------
 */

/* Block all signals; what was blocked before goes to "saved". */
static void
block_signals(sigset_t *saved)
{
	sigset_t	all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, saved);
}

/* Undo what block_signals did. */
static void
restore_signals(const sigset_t *saved)
{
	pthread_sigmask(SIG_SETMASK, saved, NULL);
}

/*
 * Get ready, once in the worker's life.  NULL, or what went wrong.
 */
const char *
dp_transport_init(void)
{
	sigset_t	saved;
	bool		good;

	/* whoever started the server may have wanted his own sessions' keys logged */
	unsetenv("SSLKEYLOGFILE");

#ifdef M_TRIM_THRESHOLD
	/* what one turn frees the next one needs: do not give it back each time */
	(void) mallopt(M_TRIM_THRESHOLD, KEPT_MEMORY);
#endif
	block_signals(&saved);
	good = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
	if (good)
	{
		multi = curl_multi_init();
		good = multi != NULL && dp_transfer_init() &&
			curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket) == CURLM_OK &&
			curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer) == CURLM_OK &&
			curl_multi_setopt(multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING) == CURLM_OK;
	}
	restore_signals(&saved);
	if (!good)
		return "libcurl could not be initialized";
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		return "could not create an epoll descriptor";
	return NULL;
}

/* The descriptor that becomes readable when libcurl has something to do. */
int
dp_transport_socket(void)
{
	return epoll_fd;
}

/*
 * Let the process have so many sockets beside PostgreSQL's files, which may be
 * max_files_per_process and which PostgreSQL closes only for its own sake.  Of the
 * limit on open files a process may raise the soft one, often 1024, up to the hard
 * one.  Returns how many sockets there is room for.
 */
static int
make_room(int sockets)
{
	rlim_t		others = max_files_per_process + OTHER_FILES;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return sockets;
	if (limit.rlim_cur < others + sockets)
	{
		limit.rlim_cur = Min(others + sockets, limit.rlim_max);
		(void) setrlimit(RLIMIT_NOFILE, &limit);
	}
	if (limit.rlim_cur >= others + sockets)
		return sockets;
	return limit.rlim_cur > others ? (int) (limit.rlim_cur - others) : 0;
}

/*
 * Say how many requests may be in flight.  libcurl must be allowed to keep as
 * many connections, or it closes and opens them behind our back.  Returns how many
 * of them the system is sure to have room for.
 */
int
dp_transport_allow(int connections)
{
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long) connections);
	return make_room(connections);
}

/* A transfer from the idle ones, or a new one; NULL when out of memory. */
static DpTransfer *
get_transfer(void)
{
	DpTransfer *transfer = idle_transfers;

	if (transfer == NULL)
		return dp_transfer_new();
	idle_transfers = transfer->next;
	transfer->next = NULL;
	return transfer;
}

/*
 * Start a request; the answer comes through dp_transport_next_done.  The
 * request's body must stay until then.  NULL when it could not be started, in
 * which case nothing left.
 */
DpTransfer *
dp_transport_start(const DpRequest *request, void *owner)
{
	DpTransfer *transfer = get_transfer();
	int64		now = monotonic_us();
	sigset_t	saved;

	if (transfer == NULL)
		return NULL;
	transfer->owner = owner;
	if (dp_transfer_load(transfer, request, now < fresh_until))
	{
		block_signals(&saved);
		transfer->running = curl_multi_add_handle(multi, transfer->easy) == CURLM_OK;
		restore_signals(&saved);
	}
	if (!transfer->running)
	{
		dp_transport_release(transfer);
		return NULL;
	}
	transfer->lost_at = now + (request->timeout + LOST_AFTER_MS) * INT64CONST(1000);
	lost_look = Min(lost_look, transfer->lost_at);
	dlist_push_tail(&running_transfers, &transfer->running_node);
	return transfer;
}

/* ----------
 * Turning the wheel
 * ----------
 */

/*
 * A reply was not to be believed.  It may have been the answer to something else,
 * left over on a kept connection, and then every further answer on that
 * connection is the one before.  Which connection it was libcurl does not tell,
 * so none that is kept is used until all of them are too old for it.
 */
void
dp_transport_distrust(void)
{
	fresh_until = monotonic_us() + (DP_MAX_IDLE_SECONDS + 1) * INT64CONST(1000000);
}

/* Milliseconds until there is something to do but what the sockets tell; or -1. */
long
dp_transport_timeout(void)
{
	int64		due = timer_set ? Min(timer_due, lost_look) : lost_look;
	int64		now;

	if (due == PG_INT64_MAX)
		return -1;
	now = monotonic_us();
	return due <= now ? 0 : (long) ((due - now + 999) / 1000);
}

/* Take a transfer out of libcurl's hands. */
static void
stop_running(DpTransfer *transfer)
{
	(void) curl_multi_remove_handle(multi, transfer->easy);
	dlist_delete(&transfer->running_node);
	transfer->running = false;
}

/* A transfer has ended, in this way. */
static void
end_running(DpTransfer *transfer, CURLcode result)
{
	dp_transfer_finish(transfer, result);
	stop_running(transfer);
	*done_tail = transfer;
	done_tail = &transfer->next;
}

/* End those that libcurl has lost. */
static void
end_lost(int64 now)
{
	dlist_mutable_iter iter;

	lost_look = PG_INT64_MAX;
	dlist_foreach_modify(iter, &running_transfers)
	{
		DpTransfer *transfer = dlist_container(DpTransfer, running_node, iter.cur);

		if (transfer->lost_at <= now)
		{
			transfer->refusal = "libcurl has lost the request";
			end_running(transfer, CURLE_OPERATION_TIMEDOUT);
		}
		else
			lost_look = Min(lost_look, transfer->lost_at);
	}
}

/* Let libcurl do what it can do without waiting. */
void
dp_transport_drive(void)
{
	struct epoll_event events[MOST_EVENTS];
	sigset_t	saved;
	int			running;
	int			n;
	CURLMsg    *message;

	block_signals(&saved);
	if (timer_set && timer_due <= monotonic_us())
	{
		timer_set = false;
		(void) curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
	}
	n = epoll_wait(epoll_fd, events, lengthof(events), 0);
	for (int i = 0; i < n; i++)
	{
		int			what = ((events[i].events & EPOLLIN) ? CURL_CSELECT_IN : 0) |
			((events[i].events & EPOLLOUT) ? CURL_CSELECT_OUT : 0) |
			((events[i].events & (EPOLLERR | EPOLLHUP)) ? CURL_CSELECT_ERR : 0);

		(void) curl_multi_socket_action(multi, events[i].data.fd, what, &running);
	}
	while ((message = curl_multi_info_read(multi, &n)) != NULL)
	{
		DpTransfer *transfer;
		CURL	   *easy = message->easy_handle;
		CURLcode	result = message->data.result;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **) &transfer);
		if (result == CURLE_OK && DP_FAULT_IN_CALLBACK(DP_FAULT_AFTER_BODY))
			result = CURLE_ABORTED_BY_CALLBACK;
		end_running(transfer, result);
	}
	if (lost_look != PG_INT64_MAX)
	{
		int64		now = monotonic_us();

		if (lost_look <= now)
			end_lost(now);
	}
	restore_signals(&saved);
}

/* The next transfer that has ended, NULL when there is none. */
DpTransfer *
dp_transport_next_done(void)
{
	DpTransfer *transfer = done_transfers;

	if (transfer != NULL)
	{
		done_transfers = transfer->next;
		if (done_transfers == NULL)
			done_tail = &done_transfers;
		transfer->next = NULL;
	}
	return transfer;
}

/* What dp_transport_start was given. */
void *
dp_transport_owner(DpTransfer *transfer)
{
	return transfer->owner;
}

/* The response of a transfer that has ended; valid until it is released. */
const DpResponse *
dp_transport_response(DpTransfer *transfer)
{
	return &transfer->response;
}

/*
 * End a transfer that is still running.  True if its request may have left;
 * otherwise it never will.
 */
bool
dp_transport_abandon(DpTransfer *transfer)
{
	if (transfer->running)
		stop_running(transfer);
	return transfer->response.departed;
}

/* Give a transfer back; if it is still running, that ends it. */
void
dp_transport_release(DpTransfer *transfer)
{
	(void) dp_transport_abandon(transfer);
	transfer->owner = NULL;
	dp_transfer_unload(transfer);
	transfer->next = idle_transfers;
	idle_transfers = transfer;
}
