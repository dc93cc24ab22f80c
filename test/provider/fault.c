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
 *	half-	headers with the full Content-Length, half the body, FIN
 *	hang-	none, ever; the connection stays until the peer goes
 *	hdr-	headers, then nothing more; stays until the peer goes
 *	dead-	the connection's first request is answered as usual, keep-alive;
 *			as its second or a later one: RST, like reset-
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
#include <string.h>

#include "fault.h"

#define WITHHOLD "nobook-"

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

/* By ref_id, once the request is there: the rows that tests grow */
static const Fault faults[] = {
	{"reset-", 1, fault_reset},
	{"close-", 1, fault_close},
	{"half-", 1, fault_half},
	{"hang-", 1, fault_hang},
	{"hdr-", 1, fault_stall_after_headers},
	{"dead-", 2, fault_reset},
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
