/*
 * wire.h
 *		HTTP/1.1 requests, read by hand for the raw listener.
 */
#ifndef WIRE_H
#define WIRE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct WireRequest
{
	char	   *method;
	char	   *path;
	char	   *query;			/* or NULL */
	char	   *body;			/* filled in by the listener */
	size_t		length;			/* of the body, as promised */
	bool		last;			/* the client wants the connection closed */
} WireRequest;

extern bool wire_parse(char *head, WireRequest *request);
extern void wire_query(char *query, const char **ref_id, bool *summary);

#endif							/* WIRE_H */
