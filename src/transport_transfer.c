/*-------------------------------------------------------------------------
 *
 * transport_transfer.c
 *	  One request as libcurl is told of it, and what it reports back.
 *
 * Two things stand between a payment and a second departure, since libcurl by
 * itself sends a POST again when a kept connection dies under it: the body comes
 * from a read callback that cannot be rewound, and a callback that is called just
 * before a request is sent refuses the second time.
 *
 * Callbacks run inside libcurl: they neither palloc nor ereport, but note what
 * is wrong and return what makes libcurl stop.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "utils/timestamp.h"

#include "address.h"
#include "fault.h"
#include "transport_transfer.h"
#include "url.h"

/*
 * libcurl's buffers, in bytes.  It allocates them for each request; its own sizes
 * are for files, and freeing such ones makes malloc tidy up each time.
 */
#define REPLY_BUFFER		4096L
#define BODY_BUFFER			16384L	/* the least that it takes */

/* Most response headers, in bytes; the provider sends some hundred. */
#define MAX_HEADER_SIZE		(64 * 1024)

/* Larger room than this for a reply is not kept for the next one, in bytes. */
#define KEPT_ROOM			(64 * 1024)

static struct curl_slist *headers = NULL;
static const char *system_ca_file = NULL;	/* what libcurl was built with */
static const char *system_ca_path = NULL;

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
	int			fd;

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
	fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
	/* libcurl would say that it could not connect */
	if (fd < 0 && (errno == EMFILE || errno == ENFILE))
		transfer->refusal = "too many files are open";
	return fd;
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

/* ----------
 * Options
 * ----------
 */

/*
 * Get ready, once in the worker's life and after libcurl.  False when out of
 * memory.
 */
bool
dp_transfer_init(void)
{
	static const char *const lines[] = {
		"Content-Type: application/json",
		"Accept: application/json",
		"Expect:",				/* no "100-continue": it would cost a second */
	};

	for (int i = 0; i < (int) lengthof(lines); i++)
	{
		struct curl_slist *longer = curl_slist_append(headers, lines[i]);

		if (longer == NULL)
			return false;
		headers = longer;
	}
	return true;
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
	SET(CURLOPT_MAXAGE_CONN, DP_MAX_IDLE_SECONDS);
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

/*
 * The options that a request brings along.  "fresh": it shall not go over a
 * connection that was kept.
 */
static bool
set_options(DpTransfer *transfer, const DpRequest *request, bool tls, bool fresh)
{
	CURL	   *easy = transfer->easy;
	CURLcode	bad = CURLE_OK;

	if (!set_peer(transfer, request->endpoint,
				  request->ca_file != NULL ? request->ca_file : system_ca_file, tls))
		return false;
	SET(CURLOPT_FRESH_CONNECT, fresh ? 1L : 0L);
	SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) request->body_len);
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long) request->connect_timeout);
	SET(CURLOPT_TIMEOUT_MS, (long) request->timeout);
	return bad == CURLE_OK;
#undef SET
}

/* ----------
 * A transfer's life
 * ----------
 */

/* A transfer that has no request yet; NULL when out of memory. */
DpTransfer *
dp_transfer_new(void)
{
	DpTransfer *transfer = calloc(1, sizeof(DpTransfer));

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
 * Give a transfer its request, whose body must stay until the transfer is
 * unloaded.  "fresh": it shall not go over a connection that was kept.  False if
 * libcurl does not take it.
 */
bool
dp_transfer_load(DpTransfer *transfer, const DpRequest *request, bool fresh)
{
	DpUrl		url;

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
	memset(&transfer->response, 0, sizeof(DpResponse));

	if (!dp_url_read(request->endpoint, &url))
		return false;
	transfer->loopback_only = !url.tls;
	transfer->response.tls = url.tls;
	return set_options(transfer, request, url.tls, fresh);
}

/* Forget the request, when libcurl no longer has the transfer. */
void
dp_transfer_unload(DpTransfer *transfer)
{
	transfer->upload = NULL;
	if (transfer->received_room > KEPT_ROOM)
	{
		free(transfer->received);
		transfer->received = NULL;
		transfer->received_room = 0;
	}
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

/*
 * The transfer has ended so: fill in its response, with what libcurl reports in
 * words.  Before it is taken out of libcurl's hands.
 */
void
dp_transfer_finish(DpTransfer *transfer, CURLcode result)
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
