/*
 * fault.c
 *		The faults of the raw listener, by the prefix of the ref_id.
 *
 * A pay-pasca whose ref_id begins with one of these is received whole,
 * counted and booked, and then answered so:
 *
 *	prefix	answer
 *	reset-	none: the connection is reset (RST)
 *	close-	none: the connection is closed (FIN)
 *	hang-	none, ever; the connection stays until the peer goes
 *	dead-	the connection's first request is answered as usual, keep-alive;
 *			as its second or a later one: RST, like reset-
 *
 * an answer that is not whole:
 *
 *	hdr-	headers, then nothing more; stays until the peer goes
 *	half-	headers with the full Content-Length, half the body, FIN
 *	tail-	all but the last byte, then nothing more; stays until the peer goes
 *	torn-	half the body, RST
 *	drip-	a byte of the body every tenth of a second
 *	cut-N-	the body's first N bytes, and a Content-Length that says so, FIN
 *	halfhead-	a part of the headers, FIN
 *
 * an answer in other words:
 *
 *	long-	more bytes than Content-Length says
 *	twice-	the answer, and a moment later the same answer once more, to
 *			nobody's question
 *	chunked-	in chunks of seven bytes
 *	badchunk-	a chunk's size is no number
 *	nolast-	the chunk that ends the body is missing, FIN
 *	toclose-	no Content-Length: the body ends with the connection
 *	hints-	a 100 and a 103 come first
 *	http10-	HTTP/1.0, FIN
 *	http09-	no headers at all, FIN
 *	abc-	the status is no number
 *
 * and an answer that is too much:
 *
 *	headers-	ten thousand headers
 *	bighead-	a header of a megabyte
 *	flood-	five gigabytes of body
 *
 * Directly after the prefix "nobook-" withholds the booking: reset-nobook-1
 * is reset and was never booked, and its status is "Data belum ada".
 *
 * Questions about such a ref_id (inq-pasca, status-pasca) are answered as
 * usual.  To have a fault in those, put the command first: inq-reset-1 is
 * reset when it is inquired about, status-hang-1 hangs when it is asked about;
 * both are paid as usual.
 *
 * A fault before there is a ref_id goes by the first part of the URL's path
 * (/early-reset/...), or, for every new connection, by the "accept_fault" of
 * POST /control; such requests are in no book.
 *
 * A further fault is a function that lays out steps (raw.h), and a row.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"

#define WITHHOLD "nobook-"
#define DRIP 100				/* ms between two bytes */
#define CHUNK 7					/* bytes */
#define FLOOD_PIECE 65536		/* bytes */
#define FLOOD_PIECES 80000

/*
 * Reset without a byte of an answer.
 */
static void
fault_reset(RawConnection *connection, const Answer *answer)
{
	(void) answer;
	raw_reset(connection);
}

/*
 * Close without a byte of an answer.
 */
static void
fault_close(RawConnection *connection, const Answer *answer)
{
	(void) answer;
	raw_close(connection);
}

/*
 * Promise all, send half, close.
 */
static void
fault_half(RawConnection *connection, const Answer *answer)
{
	Buffer		head = {0};

	raw_head(answer, answer->length, &head);
	raw_send(connection, head.data, head.length);
	raw_send(connection, answer->body, answer->length / 2);
	raw_close(connection);
	buffer_free(&head);
}

/*
 * Never answer.
 */
static void
fault_hang(RawConnection *connection, const Answer *answer)
{
	(void) answer;
	raw_hold(connection);
}

/*
 * Send the headers and no body.
 */
static void
fault_stall_after_headers(RawConnection *connection, const Answer *answer)
{
	Buffer		head = {0};

	raw_head(answer, answer->length, &head);
	raw_send(connection, head.data, head.length);
	raw_hold(connection);
	buffer_free(&head);
}

/*
 * Send the headers, and all of the body but its last byte.
 */
static void
fault_stall_at_last_byte(RawConnection *connection, const Answer *answer)
{
	Buffer		head = {0};

	raw_head(answer, answer->length, &head);
	raw_send(connection, head.data, head.length);
	raw_send(connection, answer->body, answer->length - 1);
	raw_hold(connection);
	buffer_free(&head);
}

/*
 * Promise all, send half, reset.
 */
static void
fault_torn(RawConnection *connection, const Answer *answer)
{
	Buffer		head = {0};

	raw_head(answer, answer->length, &head);
	raw_send(connection, head.data, head.length);
	raw_send(connection, answer->body, answer->length / 2);
	/* the bytes get there before the reset makes the peer forget them */
	raw_wait(connection, 50);
	raw_reset(connection);
	buffer_free(&head);
}

/*
 * Send the body byte by byte.
 */
static void
fault_drip(RawConnection *connection, const Answer *answer)
{
	Buffer		head = {0};
	size_t		i;

	raw_head(answer, answer->length, &head);
	raw_send(connection, head.data, head.length);
	for (i = 0; i < answer->length; i++)
	{
		raw_wait(connection, DRIP);
		raw_send(connection, answer->body + i, 1);
	}
	raw_answered(connection);
	buffer_free(&head);
}

/*
 * Send so much of the body as the ref_id says, as if that were all.
 */
static void
fault_cut(RawConnection *connection, const Answer *answer)
{
	Buffer		head = {0};
	size_t		length = strtoul(answer->ref_id + strlen("cut-"), NULL, 10);

	if (length > answer->length)
		length = answer->length;
	raw_head(answer, length, &head);
	raw_answered(connection);
	raw_send(connection, head.data, head.length);
	raw_send(connection, answer->body, length);
	raw_close(connection);
	buffer_free(&head);
}

/*
 * Send a part of the headers.
 */
static void
fault_half_head(RawConnection *connection, const Answer *answer)
{
	(void) answer;
	raw_send(connection, "HTTP/1.1 200 OK\r\nContent-Type: app", 34);
	raw_close(connection);
}

/*
 * Send more than was promised.  The connection stays open, as with an answer
 * that is as it should be.
 */
static void
fault_long(RawConnection *connection, const Answer *answer)
{
	raw_send_answer(connection, answer);
	raw_send(connection, "and more of it", 14);
}

/*
 * Answer twice.  The connection stays open: who asks on it next may take the
 * second answer for his.
 */
static void
fault_twice(RawConnection *connection, const Answer *answer)
{
	raw_send_answer(connection, answer);
	raw_wait(connection, 30);
	raw_send_answer(connection, answer);
}

/*
 * Send a head of our own: the first line, and headers in place of
 * Content-Length.
 */
static void
send_head(RawConnection *connection, const char *first_line, const char *headers)
{
	Buffer		head = {0};

	buffer_printf(&head, "%s\r\nContent-Type: application/json\r\n%s\r\n", first_line, headers);
	raw_send(connection, head.data, head.length);
	buffer_free(&head);
}

/*
 * Send the body in chunks; from that one on that stands at bad, their sizes
 * are no numbers.
 */
static void
send_chunks(RawConnection *connection, const Answer *answer, size_t bad)
{
	Buffer		all = {0};
	size_t		at;

	send_head(connection, "HTTP/1.1 200 OK", "Transfer-Encoding: chunked\r\n");
	for (at = 0; at < answer->length; at += CHUNK)
	{
		size_t		length = answer->length - at < CHUNK ? answer->length - at : CHUNK;

		buffer_printf(&all, at >= bad ? "x%zx\r\n" : "%zx\r\n", length);
		buffer_add(&all, answer->body + at, length);
		buffer_add_text(&all, "\r\n");
	}
	raw_send(connection, all.data, all.length);
	buffer_free(&all);
}

/*
 * The usual answer, in chunks.
 */
static void
fault_chunked(RawConnection *connection, const Answer *answer)
{
	raw_answered(connection);
	send_chunks(connection, answer, answer->length);
	raw_send(connection, "0\r\n\r\n", 5);
}

/*
 * The same, but chunk sizes stop to make sense half-way.
 */
static void
fault_bad_chunk(RawConnection *connection, const Answer *answer)
{
	send_chunks(connection, answer, answer->length / 2);
	raw_send(connection, "0\r\n\r\n", 5);
	raw_close(connection);
}

/*
 * All chunks but the one that ends them.
 */
static void
fault_no_last_chunk(RawConnection *connection, const Answer *answer)
{
	send_chunks(connection, answer, answer->length);
	raw_close(connection);
}

/*
 * A body that ends with the connection.
 */
static void
fault_until_close(RawConnection *connection, const Answer *answer)
{
	raw_answered(connection);
	send_head(connection, "HTTP/1.1 200 OK", "");
	raw_send(connection, answer->body, answer->length);
	raw_close(connection);
}

/*
 * Say something before the answer.
 */
static void
fault_hints(RawConnection *connection, const Answer *answer)
{
	static const char before[] = "HTTP/1.1 100 Continue\r\n\r\n"
		"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n";

	raw_send(connection, before, sizeof(before) - 1);
	raw_send_answer(connection, answer);
}

/*
 * Answer in the protocol of old.
 */
static void
fault_http10(RawConnection *connection, const Answer *answer)
{
	raw_answered(connection);
	send_head(connection, "HTTP/1.0 200 OK", "");
	raw_send(connection, answer->body, answer->length);
	raw_close(connection);
}

/*
 * Answer in the oldest one: no head.
 */
static void
fault_http09(RawConnection *connection, const Answer *answer)
{
	raw_send(connection, answer->body, answer->length);
	raw_close(connection);
}

/*
 * Answer with a status that is none.
 */
static void
fault_no_status(RawConnection *connection, const Answer *answer)
{
	send_head(connection, "HTTP/1.1 abc", "");
	raw_send(connection, answer->body, answer->length);
	raw_close(connection);
}

/*
 * Answer with the body behind a mass of headers.
 */
static void
fault_headers(RawConnection *connection, const Answer *answer)
{
	static const char header[] = "X-Header: 0123456789\r\n";

	raw_send(connection, "HTTP/1.1 200 OK\r\n", 17);
	raw_repeat(connection, header, sizeof(header) - 1, 10000);
	raw_send(connection, "\r\n", 2);
	raw_send(connection, answer->body, answer->length);
	raw_close(connection);
}

/*
 * Answer with the body behind one huge header.
 */
static void
fault_big_head(RawConnection *connection, const Answer *answer)
{
	raw_send(connection, "HTTP/1.1 200 OK\r\nX-Header: ", 27);
	raw_repeat(connection, "0123456789", 10, 100000);
	raw_send(connection, "\r\n\r\n", 4);
	raw_send(connection, answer->body, answer->length);
	raw_close(connection);
}

/*
 * Answer without an end; blanks, so that what follows would still be JSON.
 */
static void
fault_flood(RawConnection *connection, const Answer *answer)
{
	char	   *piece = must_alloc(FLOOD_PIECE);

	memset(piece, ' ', FLOOD_PIECE);
	send_head(connection, "HTTP/1.1 200 OK", "");
	raw_repeat(connection, piece, FLOOD_PIECE, FLOOD_PIECES);
	raw_send(connection, answer->body, answer->length);
	raw_close(connection);
	free(piece);
}

/*
 * Wait for the peer's first bytes, the beginning of TLS for one, and reset.
 */
static void
fault_reset_at_first_bytes(RawConnection *connection, const Answer *answer)
{
	(void) answer;
	raw_await(connection);
	raw_reset(connection);
}

/*
 * The same with the beginning of an answer in TLS: a ServerHello's header.
 */
static void
fault_reset_in_hello(RawConnection *connection, const Answer *answer)
{
	(void) answer;
	raw_await(connection);
	raw_send(connection, "\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03", 11);
	raw_wait(connection, 50);
	raw_reset(connection);
}

/* By ref_id, once the request is there: the rows that tests grow */
static const Fault faults[] = {
	{"reset-", 1, fault_reset},
	{"close-", 1, fault_close},
	{"hang-", 1, fault_hang},
	{"dead-", 2, fault_reset},
	{"hdr-", 1, fault_stall_after_headers},
	{"half-", 1, fault_half},
	{"tail-", 1, fault_stall_at_last_byte},
	{"torn-", 1, fault_torn},
	{"drip-", 1, fault_drip},
	{"cut-", 1, fault_cut},
	{"halfhead-", 1, fault_half_head},
	{"long-", 1, fault_long},
	{"twice-", 1, fault_twice},
	{"chunked-", 1, fault_chunked},
	{"badchunk-", 1, fault_bad_chunk},
	{"nolast-", 1, fault_no_last_chunk},
	{"toclose-", 1, fault_until_close},
	{"hints-", 1, fault_hints},
	{"http10-", 1, fault_http10},
	{"http09-", 1, fault_http09},
	{"abc-", 1, fault_no_status},
	{"headers-", 1, fault_headers},
	{"bighead-", 1, fault_big_head},
	{"flood-", 1, fault_flood},
};

/* By the path, once the headers are there, the body unread; answer is NULL */
static const Fault faults_at_headers[] = {
	{"/early-reset/", 1, fault_reset},
	{"/early-close/", 1, fault_close},
	{"/early-hang/", 1, fault_hang},
};

/* For every new connection; answer is NULL */
static const Fault faults_on_accept[] = {
	{"reset", 1, fault_reset},
	{"close", 1, fault_close},
	{"hang", 1, fault_hang},
	{"hello-reset", 1, fault_reset_at_first_bytes},
	{"hello-torn", 1, fault_reset_in_hello},
};

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

static _Atomic(const Fault *) accept_fault;

/*
 * Does text start with this?
 */
static bool
starts_with(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

/*
 * The part of the ref_id that names a fault of this command, or NULL.
 */
static const char *
fault_name(Command command, const char *ref_id)
{
	switch (command)
	{
		case COMMAND_PAY:
			return ref_id;
		case COMMAND_INQUIRE:
			return starts_with(ref_id, "inq-") ? ref_id + strlen("inq-") : NULL;
		case COMMAND_STATUS:
			return starts_with(ref_id, "status-") ? ref_id + strlen("status-") : NULL;
		case COMMAND_NONE:
		case COMMAND_CALL:
			break;
	}
	return NULL;
}

/*
 * The fault for a request, the request-th of its connection, counted from 1, or NULL;
 * and whether its booking is withheld.
 */
const Fault *
fault_find(Command command, const char *ref_id, int request, bool *withhold)
{
	const char *name = ref_id ? fault_name(command, ref_id) : NULL;
	size_t		i;

	*withhold = false;
	if (name == NULL)
		return NULL;
	for (i = 0; i < ROWS(faults); i++)
	{
		const Fault *fault = &faults[i];

		if (starts_with(name, fault->prefix) && request >= fault->from_request)
		{
			*withhold = starts_with(name + strlen(fault->prefix), WITHHOLD);
			return fault;
		}
	}
	return NULL;
}

/*
 * What becomes of a request once its headers are there, or NULL.
 */
FaultCall
fault_at_headers(const char *path)
{
	size_t		i;

	for (i = 0; i < ROWS(faults_at_headers); i++)
	{
		if (starts_with(path, faults_at_headers[i].prefix))
			return faults_at_headers[i].call;
	}
	return NULL;
}

/*
 * What becomes of every new connection, or NULL.
 */
FaultCall
fault_on_accept(void)
{
	const Fault *fault = accept_fault;

	return fault ? fault->call : NULL;
}

/*
 * Choose that by its name, NULL for none; false when there is no such.
 */
bool
fault_set_on_accept(const char *name)
{
	size_t		i;

	if (name == NULL)
	{
		accept_fault = NULL;
		return true;
	}
	for (i = 0; i < ROWS(faults_on_accept); i++)
	{
		if (strcmp(faults_on_accept[i].prefix, name) == 0)
		{
			accept_fault = &faults_on_accept[i];
			return true;
		}
	}
	return false;
}
