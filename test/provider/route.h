/*
 * route.h
 *		Which part of the double answers a request.
 */
#ifndef ROUTE_H
#define ROUTE_H

#include <stdbool.h>

#include "answer.h"
#include "dialect.h"

/* A request that is no transaction, as either listener read it */
typedef struct Route
{
	const char *method;
	const char *path;			/* without the query */
	const char *body;			/* NUL-terminated, or NULL */
	const char *ref_id;			/* of the query, or NULL */
	bool		summary;		/* the query says summary=1 */
} Route;

extern bool route_is_transaction(const char *method, const char *path, DialectNumber *dialect);
extern void route_answer(const Route *route, Answer *answer);

#endif							/* ROUTE_H */
