/*
 * floor.c
 *	  What the same requests cost bare: libcurl, and nothing else.
 *
 *	floor kept URL PREFIX N [CA]			one after another, kept connection
 *	floor new URL PREFIX N [CA]				a new connection for each
 *	floor sleep URL PREFIX N [CA]			kept, and 400 us asleep before each
 *	floor spin URL PREFIX N [CA]			kept, and 400 us of other work before each
 *	floor multi URL PREFIX N IN_FLIGHT [CA]	so many at once, kept connections
 *	floor bodies PREFIX N					the bodies, one to a line
 *
 * The account is in BENCH_USERNAME and BENCH_API_KEY.  Each request is a signed
 * payment of 200 bytes with a ref_id of its own, PREFIX-1 to PREFIX-N, made
 * before the clock starts.  As many requests as are in flight go before those
 * that count, and open the connections; their ref_ids are PREFIX-0.
 *
 * libcurl is given what makes it fast here: POSTFIELDS, a small buffer for small
 * replies, and an epoll descriptor that sockets stay in between requests.
 *
 * CA is a file of authorities, for https.  Readings go to standard output,
 * "metric,value,unit" a line.  Any answer but HTTP 200 with a body is the end.
 */
#include <curl/curl.h>
#include <nettle/md5.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common.h"

#define BODY_SIZE	200
#define PAUSE_US	400
#define MEMORY_SIZE	(8 * 1024 * 1024)
#define MOST_EVENTS	1024
#define MOST_SOCKETS	65536
#define SMALL_REPLY	900			/* with its headers it fits SMALL_BUFFER */
#define SMALL_BUFFER 1024L

/* A request on its way. */
typedef struct Transfer
{
	CURL	   *easy;
	double		begun;
	size_t		received;
} Transfer;

/* What is being measured. */
static const char *url;
static const char *authorities;
static char (*bodies)[BODY_SIZE + 1];
static int	n;
static int	next_body;			/* 0 is for those that do not count */
static double *times;			/* microseconds of each request */
static int	times_taken;
static int	still_warming;		/* requests that do not count, not yet answered */

static struct curl_slist *headers;

/* The event loop's. */
static CURLM *multi;
static int	epoll_fd;
static double timer_due = -1;	/* by now(); -1: none */
static unsigned char interest[MOST_SOCKETS];	/* what epoll knows of a socket */

/* Microseconds of processor time that this process has taken. */
static double
cpu(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
		usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

/* ----------
 * The requests
 * ----------
 */

/* A variable of the environment that must be there. */
static const char *
environment(const char *name)
{
	const char *value = getenv(name);

	if (value == NULL)
		die("%s is not set", name);
	return value;
}

/* Write the body of the payment PREFIX-number: signed, filled up with blanks. */
static void
make_body(char *body, const char *prefix, int number)
{
	const char *username = environment("BENCH_USERNAME");
	char		text[BODY_SIZE];
	char		sign[2 * MD5_DIGEST_SIZE + 1];
	uint8_t		digest[MD5_DIGEST_SIZE];
	struct md5_ctx md5;
	int			length;

	length = snprintf(text, sizeof(text), "%s%s%s-%d", username,
					  environment("BENCH_API_KEY"), prefix, number);
	md5_init(&md5);
	md5_update(&md5, length, (const uint8_t *) text);
	md5_digest(&md5, sizeof(digest), digest);
	for (int i = 0; i < MD5_DIGEST_SIZE; i++)
		sprintf(sign + 2 * i, "%02x", digest[i]);
	length = snprintf(text, sizeof(text), "{\"command\":\"pay-pasca\",\"username\":\"%s\","
					  "\"code\":\"pln\",\"customer_no\":\"530000000001\",\"ref_id\":\"%s-%d\","
					  "\"sign\":\"%s\"", username, prefix, number, sign);
	if (length >= BODY_SIZE)
		die("the prefix is too long");
	snprintf(body, BODY_SIZE + 1, "%-*s}", BODY_SIZE - 1, text);
}

/* Make all bodies: 0 for those that do not count, then those that do. */
static void
make_bodies(const char *prefix)
{
	bodies = malloc((n + 1) * sizeof(*bodies));
	times = malloc(n * sizeof(double));
	if (bodies == NULL || times == NULL)
		die("out of memory");
	for (int i = 0; i <= n; i++)
		make_body(bodies[i], prefix, i);
}

/* Count what comes back, and throw it away. */
static size_t
swallow(char *data, size_t size, size_t nmemb, void *arg)
{
	Transfer   *transfer = arg;

	(void) data;
	transfer->received += size * nmemb;
	return size * nmemb;
}

/* Make a handle that posts to the URL. */
static void
make_transfer(Transfer *transfer)
{
	CURL	   *easy = curl_easy_init();

	transfer->easy = easy;
	curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long) BODY_SIZE);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, swallow);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
	if (authorities != NULL)
		curl_easy_setopt(easy, CURLOPT_CAINFO, authorities);
	/* or each new connection would read the authorities anew */
	curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
}

/*
 * The warm-up has shown how large replies are.  libcurl allocates its buffer for
 * each request, which is cheap up to the size that malloc keeps at hand.
 */
static void
fit_buffer(Transfer *transfer)
{
	if (transfer->received <= SMALL_REPLY)
		curl_easy_setopt(transfer->easy, CURLOPT_BUFFERSIZE, SMALL_BUFFER);
}

/* Give a handle its next body, and start its clock. */
static void
load(Transfer *transfer, const char *body)
{
	curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDS, body);
	transfer->received = 0;
	transfer->begun = now();
}

/* It is over: was it as it should be, and how long did it take? */
static void
judge(Transfer *transfer, CURLcode code, bool counts)
{
	long		status = 0;

	curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	if (code != CURLE_OK || status != 200 || transfer->received == 0)
		die("%s, HTTP status %ld, %zu bytes", curl_easy_strerror(code), status,
			transfer->received);
	if (counts)
		times[times_taken++] = now() - transfer->begun;
}

/*
 * What lies between two requests of a payment are flushes and SQL: time in which
 * the peer's processor falls asleep, and in which other data fills the caches.
 */
static void
pause_before(const char *mode)
{
	static volatile char memory[MEMORY_SIZE];
	double		end = now() + PAUSE_US;

	if (strcmp(mode, "sleep") == 0)
		usleep(PAUSE_US);
	else if (strcmp(mode, "spin") == 0)
	{
		while (now() < end)
		{
			for (int i = 0; i < MEMORY_SIZE / 16; i += 64)
				memory[((unsigned) rand() * 64 + i) % MEMORY_SIZE]++;
		}
	}
}

/* ----------
 * One after another
 * ----------
 */

static void
one_by_one(const char *mode, double *begun, double *cpu_begun)
{
	bool		fresh = strcmp(mode, "new") == 0;
	Transfer	transfer;

	make_transfer(&transfer);
	curl_easy_setopt(transfer.easy, CURLOPT_FRESH_CONNECT, fresh ? 1L : 0L);
	curl_easy_setopt(transfer.easy, CURLOPT_FORBID_REUSE, fresh ? 1L : 0L);
	load(&transfer, bodies[0]);
	judge(&transfer, curl_easy_perform(transfer.easy), false);
	fit_buffer(&transfer);
	*begun = now();
	*cpu_begun = cpu();
	for (int i = 1; i <= n; i++)
	{
		pause_before(mode);
		load(&transfer, bodies[i]);
		judge(&transfer, curl_easy_perform(transfer.easy), true);
	}
}

/* ----------
 * Many at once
 * ----------
 */

/*
 * libcurl says which sockets it waits for.  It does so twice for each request,
 * but a kept connection can stay where it is meanwhile: nothing comes by it.
 */
static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
	struct epoll_event event = {0};
	int			wanted = what & CURL_POLL_INOUT;

	(void) easy;
	(void) arg;
	(void) known;
	if (fd >= MOST_SOCKETS)
		die("too many sockets");
	if (what == CURL_POLL_REMOVE || interest[fd] == wanted)
		return 0;
	event.events = ((wanted & CURL_POLL_IN) ? EPOLLIN : 0) |
		((wanted & CURL_POLL_OUT) ? EPOLLOUT : 0);
	event.data.fd = fd;
	if (epoll_ctl(epoll_fd, interest[fd] != 0 ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) != 0)
		die("epoll_ctl failed");
	interest[fd] = wanted;
	return 0;
}

/* A socket is closed, which takes it out of the epoll descriptor. */
static int
on_close(void *arg, curl_socket_t fd)
{
	(void) arg;
	interest[fd] = 0;
	return close(fd);
}

/* libcurl says when it wants a turn. */
static int
on_timer(CURLM *m, long timeout_ms, void *arg)
{
	(void) m;
	(void) arg;
	timer_due = timeout_ms < 0 ? -1 : now() + timeout_ms * 1e3;
	return 0;
}

/* Give the handles that are done their next requests. */
static void
refill(double *begun, double *cpu_begun)
{
	CURLMsg    *message;
	int			left;

	while ((message = curl_multi_info_read(multi, &left)) != NULL)
	{
		Transfer   *transfer;

		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **) &transfer);
		judge(transfer, message->data.result, still_warming == 0);
		curl_multi_remove_handle(multi, transfer->easy);
		if (still_warming > 0)
			fit_buffer(transfer);
		if (still_warming > 0)
		{
			/* the connections are open when the last of these is back */
			if (--still_warming > 0)
				continue;
			*begun = now();
			*cpu_begun = cpu();
			return;
		}
		if (next_body > n)
			continue;
		load(transfer, bodies[next_body++]);
		curl_multi_add_handle(multi, transfer->easy);
	}
}

/* One turn of the loop: wait, and let libcurl work. */
static void
turn(void)
{
	struct epoll_event events[MOST_EVENTS];
	int			running;
	int			wait = 1000;
	int			count;

	if (timer_due >= 0)
	{
		double		left = (timer_due - now()) / 1e3;

		wait = left <= 0 ? 0 : left < 1000 ? (int) left + 1 : 1000;
	}
	count = epoll_wait(epoll_fd, events, MOST_EVENTS, wait);
	for (int i = 0; i < count; i++)
		curl_multi_socket_action(multi, events[i].data.fd,
								 ((events[i].events & EPOLLIN) ? CURL_CSELECT_IN : 0) |
								 ((events[i].events & EPOLLOUT) ? CURL_CSELECT_OUT : 0) |
								 ((events[i].events & (EPOLLERR | EPOLLHUP)) ? CURL_CSELECT_ERR : 0),
								 &running);
	if (timer_due >= 0 && timer_due <= now())
	{
		timer_due = -1;
		curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
	}
}

static void
many_at_once(int in_flight, double *begun, double *cpu_begun)
{
	Transfer   *transfers = calloc(in_flight, sizeof(Transfer));

	multi = curl_multi_init();
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long) in_flight);
	still_warming = in_flight;
	for (int i = 0; i < in_flight; i++)
	{
		make_transfer(&transfers[i]);
		curl_easy_setopt(transfers[i].easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
		load(&transfers[i], bodies[0]);
		curl_multi_add_handle(multi, transfers[i].easy);
	}
	while (still_warming > 0)
	{
		turn();
		refill(begun, cpu_begun);
	}
	next_body = 1;
	for (int i = 0; i < in_flight && next_body <= n; i++)
	{
		load(&transfers[i], bodies[next_body++]);
		curl_multi_add_handle(multi, transfers[i].easy);
	}
	while (times_taken < n)
	{
		turn();
		refill(begun, cpu_begun);
	}
}

/* ----------
 * What came out
 * ----------
 */

static int
compare(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

static void
report(double elapsed, double cpu_taken)
{
	qsort(times, n, sizeof(double), compare);
	printf("rate,%.1f,1/s\n", n / elapsed * 1e6);
	printf("p50,%.1f,us\n", times[(n - 1) / 2]);
	printf("p99,%.1f,us\n", times[(int) ((n - 1) * 0.99)]);
	printf("cpu,%.2f,us\n", cpu_taken / n);
}

int
main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	bool		is_multi = strcmp(mode, "multi") == 0;
	double		begun = 0;
	double		cpu_begun = 0;

	if (argc == 4 && strcmp(mode, "bodies") == 0)
	{
		n = atoi(argv[3]);
		make_bodies(argv[2]);
		for (int i = 1; i <= n; i++)
			puts(bodies[i]);
		return 0;
	}
	if ((!is_multi && strcmp(mode, "kept") != 0 && strcmp(mode, "new") != 0 &&
		 strcmp(mode, "sleep") != 0 && strcmp(mode, "spin") != 0) ||
		argc < 5 + is_multi || argc > 6 + is_multi)
		die("usage: floor kept|new|sleep|spin URL PREFIX N [CA] | multi URL PREFIX N IN_FLIGHT [CA]"
			" | bodies PREFIX N");
	url = argv[2];
	n = atoi(argv[4]);
	authorities = argv[5 + is_multi];
	if (n < 1)
		die("nothing to do");
	make_bodies(argv[3]);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	headers = curl_slist_append(NULL, "Content-Type: application/json");
	headers = curl_slist_append(headers, "Expect:");
	if (is_multi)
		many_at_once(atoi(argv[5]), &begun, &cpu_begun);
	else
		one_by_one(mode, &begun, &cpu_begun);
	report(now() - begun, cpu() - cpu_begun);
	return 0;
}
