/*
 * fault.h
 *		The faults of the raw listener, by the prefix of the ref_id.
 */
#ifndef FAULT_H
#define FAULT_H

#include <stdbool.h>

#include "answer.h"
#include "books.h"
#include "raw.h"

typedef void (*FaultCall) (RawConnection *connection, const Answer *answer);

typedef struct Fault
{
	const char *prefix;			/* of the ref_id, with its dash */
	int			from_request;	/* not before this one of its connection */
	FaultCall	call;			/* lays out the steps */
} Fault;

extern const Fault *fault_find(Command command, const char *ref_id, int request, bool *withhold);
extern FaultCall fault_at_headers(const char *path);
extern FaultCall fault_on_accept(void);
extern bool fault_set_on_accept(const char *name);

#endif							/* FAULT_H */
