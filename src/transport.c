/*-------------------------------------------------------------------------
 *
 * transport.c
 *	  Requests over HTTP, many at once, each leaving at most once.
 *
 * The only file that knows libcurl (with transport_url.c, which reads
 * addresses).  Two things stand between a payment and a second departure,
 * since libcurl by itself sends a POST again when a kept connection dies under
 * it: the body comes from a read callback that cannot be rewound, and a
 * callback that is called just before a request is sent refuses the second
 * time.
 *
 * libcurl's sockets are in one epoll descriptor, so that the worker can wait
 * for all of them, its latch and the postmaster's death in one place.  All
 * signals are blocked while libcurl may start its resolver's thread, which
 * would otherwise run PostgreSQL's signal handlers.
 *
 * Callbacks run inside libcurl: they neither palloc nor ereport, but note what
 * is wrong and return what makes libcurl stop.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "compat.h"
#include "lib/ilist.h"
#include "utils/timestamp.h"

#include "address.h"
#include "fault.h"
#include "transport.h"
#include "url.h"

#if LIBCURL_VERSION_NUM < 0x075700
#error "digipay needs libcurl 7.87 or later"
#endif

/*
 * A kept connection that the peer closes under a payment costs an "unknown", so
 * connections are not used again after this many idle seconds: less than the
 * shortest keep-alive time in common use.
 */
#define MAX_IDLE_SECONDS	10L

/* So much memory that libcurl has freed stays with the process, in bytes. */
#define KEPT_MEMORY			(4 * 1024 * 1024)

/*
 * libcurl's buffers, in bytes.  It allocates them for each request; its own sizes
 * are for files, and freeing such ones makes malloc tidy up each time.
 */
#define REPLY_BUFFER		4096L
#define BODY_BUFFER			16384L	/* the least that it takes */

/* So many sockets that are ready are looked at in one go; they share a turn. */
#define MOST_EVENTS			512

/* Most response headers, in bytes; the provider sends some hundred. */
#define MAX_HEADER_SIZE		(64 * 1024)

/*
 * libcurl keeps the time-outs.  But when it has run out of memory it may lose a
 * transfer, and never tell; so each is ended so many milliseconds after its
 * time is over.
 */
#define LOST_AFTER_MS		1000

struct DpTransfer
{
	CURL	   *easy;
	void	   *owner;
	bool		peer_set;		/* libcurl knows what the next two say */
	char	   *endpoint;
	char	   *ca_file;
	bool		running;		/* libcurl has it */
	dlist_node	running_node;
	int64		lost_at;		/* by the monotonic clock */
	const char *upload;			/* the body and how much of it is taken */
	size_t		upload_len;
	size_t		upload_taken;
#ifdef DIGIPAY_FAULT_POINTS
	bool		sent_whole;
#endif
	bool		private_allowed;
	bool		loopback_only;	/* plain http */
	size_t		max_size;
	TimestampTz leave_before;	/* 0: at any time */
	size_t		header_size;
	char	   *received;		/* malloc'd; kept for the next request */
	size_t		received_len;
	size_t		received_room;
	const char *refusal;		/* why a callback stopped the transfer */
	char		curl_error[CURL_ERROR_SIZE];
	DpResponse	response;
	DpTransfer *next;			/* in a list: idle, or done */
};

static CURLM *multi = NULL;
static struct curl_slist *headers = NULL;
static int	epoll_fd = -1;
static int64 timer_due = 0;		/* when libcurl wants a turn */
static bool timer_set = false;
static const char *system_ca_file = NULL;	/* what libcurl was built with */
static const char *system_ca_path = NULL;
static dlist_head running_transfers = DLIST_STATIC_INIT(running_transfers);
static int64 lost_look = PG_INT64_MAX;	/* none of them is lost before this */
static DpTransfer *idle_transfers = NULL;
static DpTransfer *done_transfers = NULL;
static DpTransfer **done_tail = &done_transfers;

/* ----------
 * Callbacks
 * ----------
 */

/* Called before a connection is opened: refuse addresses that are not wanted. */
static curl_socket_t
on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	DpTransfer *transfer = arg;
	char		text[INET6_ADDRSTRLEN] = "";

	if (address->family == AF_INET)
		inet_ntop(AF_INET, &((struct sockaddr_in *) &address->addr)->sin_addr,
				  text, sizeof(text));
	else if (address->family == AF_INET6)
		inet_ntop(AF_INET6, &((struct sockaddr_in6 *) &address->addr)->sin6_addr,
				  text, sizeof(text));
	transfer->refusal = dp_address_refusal(text, transfer->private_allowed,
										transfer->loopback_only);
	if (transfer->refusal != NULL)
		return CURL_SOCKET_BAD;
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/*
 * Called when all is connected and the request would be sent now.  Once it has
 * been let go, it may have reached the provider, whatever happens next.
 */
static int
on_departure(void *arg, char *peer, char *local, int peer_port, int local_port)
{
	DpTransfer *transfer = arg;

	if (transfer->response.departed)
	{
		transfer->refusal = "the connection broke, and a request is sent only once";
		return CURL_PREREQFUNC_ABORT;
	}
	strlcpy(transfer->response.address, peer, sizeof(transfer->response.address));
	/* the connection may be one that was opened under other options */
	transfer->refusal = dp_address_refusal(peer, transfer->private_allowed,
										transfer->loopback_only);
	if (transfer->refusal == NULL && transfer->leave_before != 0 &&
		GetCurrentTimestamp() >= transfer->leave_before)
		transfer->refusal = "the day of its inquiry was over before it could leave";
	if (transfer->refusal != NULL || DP_FAULT_IN_CALLBACK(DP_FAULT_IN_PREREQ))
		return CURL_PREREQFUNC_ABORT;
	transfer->response.departed = true;
	transfer->response.sent_at = GetCurrentTimestamp();
	return CURL_PREREQFUNC_OK;
}

/* Hand out the body.  There is no seek callback, on purpose. */
static size_t
on_read(char *buffer, size_t size, size_t nitems, void *arg)
{
	DpTransfer *transfer = arg;
	size_t		len = Min(size * nitems, transfer->upload_len - transfer->upload_taken);

	memcpy(buffer, transfer->upload + transfer->upload_taken, len);
	transfer->upload_taken += len;
	return len;
}

#ifdef DIGIPAY_FAULT_POINTS
/* Called after each step of a transfer: has the request left as a whole? */
static int
on_progress(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
	DpTransfer *transfer = arg;

	if (transfer->sent_whole || transfer->upload_len == 0 ||
		up < (curl_off_t) transfer->upload_len)
		return 0;
	transfer->sent_whole = true;
	return DP_FAULT_IN_CALLBACK(DP_FAULT_AFTER_SEND) ? 1 : 0;
}
#endif

/* Take a piece of the reply, up to the limit. */
static size_t
on_write(char *data, size_t size, size_t nmemb, void *arg)
{
	DpTransfer *transfer = arg;
	size_t		len = size * nmemb;

	if (transfer->received_len + len > transfer->max_size)
	{
		transfer->refusal = "the reply is larger than digipay.max_response_size";
		return CURL_WRITEFUNC_ERROR;
	}
	if (transfer->received_len + len > transfer->received_room)
	{
		size_t		room = Max(transfer->received_len + len, transfer->received_room * 2);
		char	   *larger = realloc(transfer->received, room);

		if (larger == NULL)
		{
			transfer->refusal = "out of memory for the reply";
			return CURL_WRITEFUNC_ERROR;
		}
		transfer->received = larger;
		transfer->received_room = room;
	}
	memcpy(transfer->received + transfer->received_len, data, len);
	transfer->received_len += len;
	return len;
}

/* Count the headers' size; what they say does not matter. */
static size_t
on_header(char *data, size_t size, size_t nitems, void *arg)
{
	DpTransfer *transfer = arg;

	transfer->header_size += size * nitems;
	if (transfer->header_size > MAX_HEADER_SIZE)
	{
		transfer->refusal = "the reply's headers are too large";
		return 0;
	}
	/* the empty line is their end */
	if (size * nitems == 2 && data[0] == '\r' && DP_FAULT_IN_CALLBACK(DP_FAULT_AFTER_HEADERS))
		return 0;
	return size * nitems;
}

/* libcurl says which sockets it waits for. */
static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
	struct epoll_event event = {0};

	if (what == CURL_POLL_REMOVE)
	{
		/* the socket may be closed already, which removed it */
		(void) epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, &event);
		return 0;
	}
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

/* Until then no kept connection is used. */
static int64 fresh_until;

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
		headers = curl_slist_append(NULL, "Content-Type: application/json");
		if (headers != NULL)
		{
			struct curl_slist *more = curl_slist_append(headers, "Accept: application/json");

			/* no "Expect: 100-continue": it would cost a second */
			more = more ? curl_slist_append(headers, "Expect:") : NULL;
			if (more == NULL)
				headers = NULL;
		}
		good = multi != NULL && headers != NULL &&
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
 * Say how many requests may be in flight.  libcurl must be allowed to keep as
 * many connections, or it closes and opens them behind our back.
 */
void
dp_transport_allow(int connections)
{
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long) connections);
}

/*
 * The options that are the same for each request.  True when libcurl has taken
 * all of them; a security option that is not understood must not be skipped.
 */
static bool
set_fixed_options(DpTransfer *transfer)
{
	CURL	   *easy = transfer->easy;
	CURLcode	bad = CURLE_OK;

#define SET(option, value) \
	(bad = bad == CURLE_OK ? curl_easy_setopt(easy, option, value) : bad)

	SET(CURLOPT_PRIVATE, transfer);
	SET(CURLOPT_ERRORBUFFER, transfer->curl_error);
	SET(CURLOPT_NOSIGNAL, 1L);
	/* a time-out must not wait for the resolver's thread, which may hang */
	SET(CURLOPT_QUICK_EXIT, 1L);
	SET(CURLOPT_POST, 1L);
	SET(CURLOPT_HTTPHEADER, headers);
	SET(CURLOPT_USERAGENT, "digipay/" DIGIPAY_VERSION);
	SET(CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
	SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	SET(CURLOPT_MAXAGE_CONN, MAX_IDLE_SECONDS);
	SET(CURLOPT_BUFFERSIZE, REPLY_BUFFER);
	SET(CURLOPT_UPLOAD_BUFFERSIZE, BODY_BUFFER);
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	SET(CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_READFUNCTION, on_read);
	SET(CURLOPT_READDATA, transfer);
	SET(CURLOPT_WRITEFUNCTION, on_write);
	SET(CURLOPT_WRITEDATA, transfer);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, transfer);
	SET(CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	SET(CURLOPT_OPENSOCKETDATA, transfer);
	SET(CURLOPT_PREREQFUNCTION, on_departure);
	SET(CURLOPT_PREREQDATA, transfer);
#ifdef DIGIPAY_FAULT_POINTS
	SET(CURLOPT_XFERINFOFUNCTION, on_progress);
	SET(CURLOPT_XFERINFODATA, transfer);
	SET(CURLOPT_NOPROGRESS, 0L);
#endif
	return bad == CURLE_OK;
}

/* The same text, or none both? */
static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* Keep a copy of a text, or of none; false when out of memory. */
static bool
keep_text(char **kept, const char *text)
{
	free(*kept);
	*kept = text != NULL ? strdup(text) : NULL;
	return (*kept == NULL) == (text == NULL);
}

/*
 * Where the request goes, which libcurl copies and checks each time that it is
 * told: so it is told only what is not the same as in the transfer's last request.
 */
static bool
set_peer(DpTransfer *transfer, const char *endpoint, const char *ca_file, bool tls)
{
	CURL	   *easy = transfer->easy;
	CURLcode	bad = CURLE_OK;

	if (transfer->peer_set && same_text(transfer->endpoint, endpoint) &&
		same_text(transfer->ca_file, ca_file))
		return true;
	transfer->peer_set = false;
	SET(CURLOPT_URL, endpoint);
	SET(CURLOPT_PROTOCOLS_STR, tls ? "https" : "http");
	SET(CURLOPT_CAINFO, ca_file);
	/* libcurl keeps parsed authorities only where there is no directory of them */
	SET(CURLOPT_CAPATH, ca_file != NULL ? NULL : system_ca_path);
	transfer->peer_set = bad == CURLE_OK && keep_text(&transfer->endpoint, endpoint) &&
		keep_text(&transfer->ca_file, ca_file);
	return transfer->peer_set;
}

/* The options that a request brings along. */
static bool
set_options(DpTransfer *transfer, const DpRequest *request, bool tls)
{
	CURL	   *easy = transfer->easy;
	CURLcode	bad = CURLE_OK;

	if (!set_peer(transfer, request->endpoint,
				  request->ca_file != NULL ? request->ca_file : system_ca_file, tls))
		return false;
	SET(CURLOPT_FRESH_CONNECT, fresh_until > monotonic_us() ? 1L : 0L);
	SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) request->body_len);
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long) request->connect_timeout);
	SET(CURLOPT_TIMEOUT_MS, (long) request->timeout);
	return bad == CURLE_OK;
#undef SET
}

/* A transfer with its libcurl handle, from the idle ones if there is one. */
static DpTransfer *
get_transfer(void)
{
	DpTransfer *transfer = idle_transfers;

	if (transfer != NULL)
	{
		idle_transfers = transfer->next;
		return transfer;
	}
	transfer = calloc(1, sizeof(DpTransfer));
	if (transfer == NULL)
		return NULL;
	transfer->easy = curl_easy_init();
	if (transfer->easy != NULL && system_ca_file == NULL && system_ca_path == NULL)
	{
		(void) curl_easy_getinfo(transfer->easy, CURLINFO_CAINFO, &system_ca_file);
		(void) curl_easy_getinfo(transfer->easy, CURLINFO_CAPATH, &system_ca_path);
	}
	if (transfer->easy == NULL || !set_fixed_options(transfer))
	{
		curl_easy_cleanup(transfer->easy);
		free(transfer);
		return NULL;
	}
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
	sigset_t	saved;
	DpUrl		url;
	bool		good;

	if (transfer == NULL)
		return NULL;
	transfer->owner = owner;
	transfer->upload = request->body;
	transfer->upload_len = request->body_len;
	transfer->upload_taken = 0;
#ifdef DIGIPAY_FAULT_POINTS
	transfer->sent_whole = false;
#endif
	transfer->private_allowed = request->allow_private_address;
	transfer->max_size = request->max_response_size;
	transfer->leave_before = request->leave_before;
	transfer->header_size = 0;
	transfer->received_len = 0;
	transfer->refusal = NULL;
	transfer->curl_error[0] = '\0';
	transfer->next = NULL;
	memset(&transfer->response, 0, sizeof(DpResponse));

	good = dp_url_read(request->endpoint, &url);
	transfer->loopback_only = !url.tls;
	transfer->response.tls = url.tls;
	if (good && set_options(transfer, request, url.tls))
	{
		block_signals(&saved);
		good = curl_multi_add_handle(multi, transfer->easy) == CURLM_OK;
		restore_signals(&saved);
		transfer->running = good;
		if (good)
		{
			transfer->lost_at = monotonic_us() +
				(request->timeout + LOST_AFTER_MS) * INT64CONST(1000);
			lost_look = Min(lost_look, transfer->lost_at);
			dlist_push_tail(&running_transfers, &transfer->running_node);
			return transfer;
		}
	}
	dp_transport_release(transfer);
	return NULL;
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
	fresh_until = monotonic_us() + (MAX_IDLE_SECONDS + 1) * INT64CONST(1000000);
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

/*
 * How far did a transfer get?  On a kept connection everything before the
 * request took no time, so what has departed counts as such first.
 */
static DpStage
stage_reached(DpTransfer *transfer, CURLcode result)
{
	curl_off_t	resolved = 0;
	curl_off_t	connected = 0;
	curl_off_t	secured = 0;

	if (transfer->response.departed)
		return DP_STAGE_SECURED;
	switch (result)
	{
			/* libcurl counts as connected only what TLS has agreed to */
		case CURLE_SSL_CONNECT_ERROR:
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_CERTPROBLEM:
		case CURLE_SSL_CIPHER:
		case CURLE_SSL_CACERT_BADFILE:
		case CURLE_SSL_ISSUER_ERROR:
		case CURLE_SSL_INVALIDCERTSTATUS:
			return DP_STAGE_CONNECTED;
		case CURLE_COULDNT_RESOLVE_HOST:
			return DP_STAGE_NOTHING;
		default:
			break;
	}
	curl_easy_getinfo(transfer->easy, CURLINFO_NAMELOOKUP_TIME_T, &resolved);
	curl_easy_getinfo(transfer->easy, CURLINFO_CONNECT_TIME_T, &connected);
	curl_easy_getinfo(transfer->easy, CURLINFO_APPCONNECT_TIME_T, &secured);
	if (secured > 0)
		return DP_STAGE_SECURED;
	if (connected > 0)
		return DP_STAGE_CONNECTED;
	if (resolved > 0)
		return DP_STAGE_RESOLVED;
	return DP_STAGE_NOTHING;
}

/* Word what libcurl reports, in the response of a transfer that has ended. */
static void
finish(DpTransfer *transfer, CURLcode result)
{
	DpResponse *response = &transfer->response;
	long		http_status = 0;
	const char *words;

	curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &http_status);
	response->http_status = (int) http_status;
	response->curl_code = (int) result;
	response->stage = stage_reached(transfer, result);
	response->complete = result == CURLE_OK && http_status > 0;
	response->body = transfer->received;
	response->body_len = transfer->received_len;
	if (response->complete)
		return;
	words = transfer->refusal != NULL ? transfer->refusal :
		transfer->curl_error[0] ? transfer->curl_error : curl_easy_strerror(result);
	snprintf(response->error, sizeof(response->error), "%s (libcurl code %d)",
			 words, (int) result);
	/* the words may quote the peer; keep them to what any encoding can hold */
	for (char *p = response->error; *p; p++)
	{
		if (*p < ' ' || *p > '~')
			*p = '?';
	}
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
	finish(transfer, result);
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
	/* a large reply is not worth keeping room for */
	if (transfer->received_room > 64 * 1024)
	{
		free(transfer->received);
		transfer->received = NULL;
		transfer->received_room = 0;
	}
	transfer->upload = NULL;
	transfer->owner = NULL;
	transfer->next = idle_transfers;
	idle_transfers = transfer;
}
